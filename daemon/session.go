package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/uplink"
	"tideover/wire"
)

// clockOffMax is how far the wall clock may be from the ledger's before a technician is told. Nothing else depends on it.
const clockOffMax = 2 * time.Minute

// session is the edge's side of the conversation with the hub that is not about one transaction: hello, the outbox, terminals.
type session struct {
	*forwarder
	ctx         context.Context // ends with the process
	ledger      [16]byte        // pinned at enrolment
	overlaps    bool            // as configured
	incarnation [16]byte

	mu      sync.Mutex      // guards what follows
	welcome wire.Welcome    // the last one
	said    tideover.Millis // when it came, the edge's wall clock
	home    bool            // what its outbox held is on disk
}

// Hello implements uplink.Peer.
func (s *session) Hello() wire.Hello {
	at := s.anchor()
	var features wire.Features
	if s.Past().Orphans {
		features |= wire.FeatureOpen
	}
	return wire.Hello{
		Features:    features,
		Incarnation: s.incarnation, Seq: at.Seq, Head: at.Head, HaveThrough: s.queue.HaveThrough(),
		Software: "tideover " + tideover.Version, Terminals: wire.TerminalsDigest(s.queue.Terminals()),
		Journal: s.queue.Journal(), Highest: s.queue.Highest(), Epoch: s.queue.Epoch(),
	}
}

// tellTime lets the journal know the ledger's time now and then, until ctx ends: on a good line months pass without a hello, and by that time
// alone what is over leaves the journal.
func (s *session) tellTime(ctx context.Context) error {
	tick := time.NewTicker(tellTimeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if now, known := s.clock.Now(); known {
				s.queue.NoteLedgerTime(now)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// tellTimeEvery is seldom: it rides the commits of others, and a month need not end to the minute.
const tellTimeEvery = time.Hour

// Welcome implements uplink.Peer. It refuses a hub whose ledger is not the one that this edge was enrolled with.
func (s *session) Welcome(addr string, hello wire.Hello, w wire.Welcome) error {
	if w.Ledger != s.ledger {
		return fmt.Errorf("the hub at %s keeps another ledger (%x) than the one this edge was enrolled with (%x): "+
			"correct hub.addresses, or enroll again with a token of that hub", addr, w.Ledger[:4], s.ledger[:4])
	}
	s.receipts.learn(w.ReceiptKey)
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
	if holds {
		s.queue.Anchored(w.AnchorSeq)
	}
	// A copy that is no older than the anchor goes through it. What was open in it may have been ended by the journal that was lost, and the
	// hub may not know that.
	said := edge.Welcome{
		OffChain: (w.AnchorSeq != 0 && !holds) || s.queue.OpenOfCopy() > 0, Gap: w.Gap || s.queue.Gap(),
		LostBefore: max(w.LostBefore, s.queue.HearEpoch(w.Epoch)), Replay: w.Replay,
	}
	if said.OffChain && !s.Past().Restored {
		s.log.Error("this journal is older than the one the hub has heard of: what it holds open is asked about, not sent",
			"seq", hello.Seq, "hub_seq", w.AnchorSeq)
		if err := s.queue.NoteGap(s.ctx, w.AnchorSeq); err != nil {
			return err
		}
	}
	s.learn(func(p *edge.Past) {
		*p = p.Welcomed(said)
		s.lists = w.Features&wire.FeatureOpen != 0
	})
	s.hear(w)
	return nil
}

// hear notes what a welcome asks for beyond what it tells.
func (s *session) hear(w wire.Welcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Replay && !s.welcome.Replay {
		s.log.Error("the hub was restored from an older copy: it is told again what it had told this router", "above", w.LostFrom)
	}
	s.welcome, s.said, s.home = w, tideover.MillisOf(time.Now()), false
}

// owed returns the last welcome while its hub is still to be told again what it has lost, and its own outbox is on disk.
func (s *session) owed() (w wire.Welcome, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.welcome, s.welcome.Replay && s.home
}

// paid notes that the hub was told again what a welcome asked for; false where another welcome has come since.
func (s *session) paid(w wire.Welcome) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.welcome != w {
		return false
	}
	s.welcome.Replay = false
	return true
}

// heard returns the last welcome.
func (s *session) heard() wire.Welcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.welcome
}

// lastWelcome returns the last welcome, and when it came.
func (s *session) lastWelcome() (w wire.Welcome, at tideover.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.welcome, s.said
}

// Open implements uplink.Peer.
func (s *session) Open(o wire.Open) error { return s.found(o) }

// Confirm implements uplink.Peer.
func (s *session) Confirm(c wire.Confirmation) error { return s.confirm(c) }

// CaughtUp implements uplink.Peer: the outbox of the hello is put on disk before the edge sends or ends anything by itself.
func (s *session) CaughtUp(c wire.CaughtUp) error {
	w := s.heard()
	s.queue.CaughtUp(c.Through)
	whole := c.Open || !s.Past().Orphans
	if whole {
		s.queue.Early(s.overlaps && w.Features&wire.FeatureOpen != 0)
	}
	if err := s.queue.Flush(s.ctx); err != nil {
		if _, full := errors.AsType[*tideover.Refusal](err); !full || !s.Past().Caught {
			return err
		}
		// The disk is full. A link that is given up for that could bring nothing to its end any more.
		s.log.Error("the ends that the hub has told find no room on the disk", "err", err)
		whole = false
	}
	if whole {
		s.learn(func(p *edge.Past) { p.Orphans = false })
	}
	s.mu.Lock()
	s.home = true
	s.mu.Unlock()
	if !w.Replay { // else once the hub knows again what it has forgotten
		s.catchUp()
	}
	return nil
}

// catchUp lets the edge send, and end by itself what has not left.
func (s *session) catchUp() {
	s.learn(func(p *edge.Past) { p.Caught = true })
	s.queue.Wake()
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
		again, changed := edge.LookAgain, s.uplink.Changed()
		asked, owed := s.owed()
		switch m := s.moment(); {
		case m.Connected && owed:
			again = retryAfter
			if err := s.replay(ctx, asked); err != nil {
				s.log.Debug("the hub does not know yet all that it had told", "err", err)
				break
			}
			if s.paid(asked) {
				s.catchUp()
			}
			again = 0
		case !m.Caught:
			again = retryAfter
		case m.Connected:
			_ = each(ctx, s.queue.Tombstones(), func(ctx context.Context, p queue.Parcel) error {
				s.buryOne(ctx, p)
				return nil
			})
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
	if !p.Final() {
		return // the hub had the id, and is undoing it
	}
	ctx, cancel := context.WithTimeout(ctx, buryMax)
	defer cancel()
	var err error
	switch submit := submitOf(p, s.moment(), false); {
	case p.State != tideover.StateExpired && p.State != tideover.StateCancelled && p.Kind != tideover.KindReversal:
		// The hub had the id, and has told how it ended.
	case p.Barred():
		err = s.uplink.Cancel(ctx, cancelOf(p, false), uplink.Hooks{})
	case p.Kind == tideover.KindReversal && p.State == tideover.StateApproved:
		err = s.uplink.Submit(ctx, submit, uplink.Hooks{}) // the hub finds the same: there is nothing to undo
	default:
		err = s.uplink.Expire(ctx, wire.Expire{Submit: submit, Outcome: p.State})
	}
	if err != nil {
		s.log.Debug("tombstone not told", "txn", p.ID, "err", err)
		return
	}
	s.queue.TombstoneTold(p.ID)
}
