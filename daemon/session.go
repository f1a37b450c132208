package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tideover"
	"tideover/queue"
	"tideover/wire"
)

// clockOffMax is how far the wall clock may be from the ledger's before a technician is told. Nothing else depends on it.
const clockOffMax = 2 * time.Minute

// session is the edge's side of the conversation with the hub that is not about one transaction: hello, the outbox, terminals.
type session struct {
	*forwarder
	ctx         context.Context // ends with the process
	ledger      [16]byte        // pinned at enrolment
	incarnation [16]byte
}

// Hello implements uplink.Peer.
func (s *session) Hello() wire.Hello {
	seq, head := s.queue.Head()
	if s.restored.Load() && s.queue.Reopened() > 0 {
		seq, head = 0, [32]byte{} // not to be anchored: a later process must see that this journal was restored
	}
	return wire.Hello{
		Incarnation: s.incarnation, Seq: seq, Head: head, HaveThrough: s.queue.HaveThrough(),
		Software: "tideover " + tideover.Version, Terminals: wire.TerminalsDigest(s.queue.Terminals()),
	}
}

// Welcome implements uplink.Peer. It refuses a hub whose ledger is not the one that this edge was enrolled with.
func (s *session) Welcome(addr string, hello wire.Hello, w wire.Welcome) error {
	if w.Ledger != s.ledger {
		return fmt.Errorf("the hub at %s keeps another ledger (%x) than the one this edge was enrolled with (%x): "+
			"correct hub.addresses, or enroll again with a token of that hub", addr, w.Ledger[:4], s.ledger[:4])
	}
	s.clock.Set(w.LedgerTime)
	s.queue.NoteLedgerTime(w.LedgerTime)
	if off := time.Since(w.LedgerTime.Time()); off.Abs() > clockOffMax {
		s.log.Warn("this router's clock is wrong; sales go on by the hub's time", "off", off.Round(time.Second))
	}
	// A process draws its first sequence far beyond the journal's last one: only the chain shows whether the hub's anchor is behind.
	holds, err := s.queue.Holds(w.AnchorSeq, w.AnchorHead)
	if err != nil {
		return err
	}
	if w.AnchorSeq != 0 && !holds && !s.restored.Swap(true) {
		s.log.Error("this journal is older than the one the hub has heard of: what it holds open is asked about, not sent",
			"seq", hello.Seq, "hub_seq", w.AnchorSeq)
	}
	if hello.HaveThrough > w.GivenOut && !s.again.Swap(true) {
		s.log.Error("the hub was restored from an older copy: what is sent again says so",
			"have", hello.HaveThrough, "given_out", w.GivenOut)
	}
	return nil
}

// Confirm implements uplink.Peer.
func (s *session) Confirm(c wire.Confirmation) error { return s.confirm(c) }

// CaughtUp implements uplink.Peer: the outbox of the hello is put on disk before the edge sends or ends anything by itself.
func (s *session) CaughtUp(c wire.CaughtUp) error {
	s.queue.CaughtUp(c.Through)
	if err := s.queue.Flush(s.ctx); err != nil {
		if _, full := errors.AsType[*tideover.Refusal](err); !full || !s.caught.Load() {
			return err
		}
		// The disk is full. A link that is given up for that could bring nothing to its end any more.
		s.log.Error("the ends that the hub has told find no room on the disk", "err", err)
	}
	s.caught.Store(true)
	s.queue.Wake()
	return nil
}

// Terminals implements uplink.Peer.
func (s *session) Terminals() []tideover.Terminal { return s.queue.Terminals() }

// durable is called by the queue after each commit that put hub ends on disk.
func (s *session) durable(have []queue.Position) {
	positions := make([]wire.Position, len(have))
	for i, p := range have {
		positions[i] = wire.Position{ID: p.ID, HubSeq: p.HubSeq}
	}
	s.uplink.Ack(positions)
}

// bury tells the hub of the ends that this edge has said by itself, so that a stray copy of them is refused for good.
func (s *session) bury(ctx context.Context) error {
	for {
		again, changed := lookAgain, s.uplink.Changed()
		switch m := s.moment(); {
		case !m.Caught:
			again = retryAfter
		case m.Connected:
			for _, p := range s.queue.Tombstones() {
				s.buryOne(ctx, p)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(again):
		}
	}
}

// buryMax is how long the hub may take to answer one tombstone. It answers at once unless it has the id and undoes it, which may take
// as long as the platform is silent; that end is pushed, and the others are not to wait for it.
const buryMax = 5 * time.Second

func (s *session) buryOne(ctx context.Context, p queue.Parcel) {
	if p.State != tideover.StateExpired && p.State != tideover.StateCancelled {
		if p.Final() {
			s.queue.TombstoneTold(p.ID) // the hub had the id, and has told how it ended
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, buryMax)
	defer cancel()
	expires, _ := expiresAt(recordOf(p), s.moment())
	err := s.uplink.Expire(ctx, wire.Expire{
		Submit: wire.Submit{
			ID: p.ID, TerminalUID: p.TerminalUID, Terminal: p.Terminal, Key: p.Key, Hash: p.Hash, Request: p.Request,
			CreatedAt: p.CreatedAt, ExpiresAt: expires,
		},
		Outcome: p.State,
	})
	if err != nil {
		s.log.Debug("tombstone not told", "txn", p.ID, "err", err)
		return
	}
	s.queue.TombstoneTold(p.ID)
}
