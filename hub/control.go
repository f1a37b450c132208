package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// control serves the control stream: hello, the outbox, then acknowledgements in and confirmations out. Its end is the
// connection's.
func (se *session) control(ctx context.Context, st *quic.Stream, hello wire.Hello) error {
	if se.opened.Swap(true) {
		return se.close(wire.CloseProtocol, "a second hello")
	}
	defer st.CancelRead(wire.StreamDone)
	welcome, err := se.hello(ctx, hello)
	var revoked *Error
	switch {
	case errors.As(err, &revoked) && errors.Is(err, errReplaced):
		se.srv.metrics.revoked.Inc()
		se.log.Warn("hello of a router that was replaced", "err", err)
		return se.turnAway(st, wire.ReasonSuperseded, wire.CloseRevoked, revoked.What.En+": "+revoked.Hint.En)
	case errors.As(err, &revoked):
		se.srv.metrics.revoked.Inc()
		se.log.Warn("certificate refused", "err", err)
		return se.turnAway(st, wire.ReasonRevoked, wire.CloseRevoked, revoked.What.En+": "+revoked.Hint.En)
	case errors.Is(err, ledger.ErrSuperseded):
		se.log.Warn("hello of an edge's process that a later one has replaced", "incarnation", fmt.Sprintf("%x", hello.Incarnation[:4]))
		return se.turnAway(st, wire.ReasonSuperseded, wire.CloseDone, err.Error())
	case err != nil:
		se.log.Error("hello", "err", err)
		return se.close(wire.CloseInternal, "the ledger cannot be read or written")
	}
	if err := se.write(st, wire.TypeWelcome, welcome); err != nil {
		return err
	}
	se.incarnation = hello.Incarnation
	close(se.ready)
	se.srv.supersede(se)
	se.log.Info("store connected", "incarnation", fmt.Sprintf("%x", hello.Incarnation[:4]), "software", hello.Software)
	defer se.log.Info("store disconnected")
	g, ctx := se.group(ctx)
	g.Go(func() error {
		open, err := se.sayAll(ctx, st, hello)
		if err != nil {
			return err
		}
		if err := se.write(st, wire.TypeCaughtUp, wire.CaughtUp{Through: welcome.GivenOut, Open: open}); err != nil {
			return err
		}
		// What the edge has and this hub does not know it to have: an acknowledgement was lost. The edge acknowledges it anew.
		if err := se.say(ctx, st, 0, hello.HaveThrough); err != nil {
			return err
		}
		return se.speak(ctx, st)
	})
	g.Go(func() error { return se.listen(ctx, st) })
	return g.Wait()
}

// turnAway answers a hello by a refusal. The edge closes once it has read why; one that does not is cut off.
func (se *session) turnAway(st *quic.Stream, reason wire.Reason, code quic.ApplicationErrorCode, why string) error {
	if err := se.write(st, wire.TypeRefused, wire.Refused{Reason: reason, Detail: why}); err == nil {
		_ = st.Close()
		select {
		case <-se.conn.Context().Done():
		case <-time.After(partWait):
		}
	}
	return se.close(code, why)
}

// sayAll writes what the outbox holds that the edge does not have, and, to an edge that asks for it, what the store has without an end; open says
// whether that was all. What ends once the list was read is found in the outbox after it; what had its end by then, and is undone before the outbox was read, in
// the second reading.
func (se *session) sayAll(ctx context.Context, st *quic.Stream, hello wire.Hello) (open bool, err error) {
	asks := hello.Features&wire.FeatureOpen != 0
	said := make(map[tideover.ID]bool)
	if asks {
		if open, err = se.sayOpen(ctx, st, said); err != nil {
			return false, err
		}
	}
	if err := se.say(ctx, st, hello.HaveThrough, math.MaxUint64); err != nil || !asks {
		return false, err
	}
	again, err := se.sayOpen(ctx, st, said)
	return open && again, err
}

// sayOpen writes what the store has without an end and was not said before, and says whether that was all.
func (se *session) sayOpen(ctx context.Context, st *quic.Stream, said map[tideover.ID]bool) (all bool, err error) {
	open, all, err := se.srv.desk.Open(ctx, se.store)
	if err != nil {
		return false, err
	}
	for _, o := range open {
		if said[o.Submit.ID] {
			continue
		}
		said[o.Submit.ID] = true
		err := se.write(st, wire.TypeOpen, o)
		if errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTooLarge) { // nothing was written; a row is no reason to part
			se.log.Error("a transaction without an end cannot be told to its edge", "txn", o.Submit.ID.String(), "err", err)
			all = false
			continue
		}
		if err != nil {
			return false, err
		}
	}
	return all, nil
}

// say writes what the outbox holds beyond a position, up to another.
func (se *session) say(ctx context.Context, st *quic.Stream, after, through uint64) error {
	for {
		page, err := se.srv.desk.Outbox(ctx, se.store, after, outboxPage)
		if err != nil {
			return err
		}
		for _, c := range page {
			if c.HubSeq > through {
				return nil
			}
			if err := se.confirmNow(st, c); err != nil {
				return err
			}
			after = c.HubSeq
		}
		if len(page) < outboxPage {
			return nil
		}
	}
}

func (se *session) confirmNow(st *quic.Stream, c wire.Confirmation) error {
	if err := se.write(st, wire.TypeConfirmation, c); err != nil {
		return err
	}
	se.mu.Lock()
	se.unack[c.HubSeq] = se.srv.now()
	se.mu.Unlock()
	return nil
}

// whole adds to an end what an edge without a record of it needs, where that is still owed: nobody waits for a pushed end, so perhaps
// nobody has pressed it at that edge.
func (se *session) whole(ctx context.Context, c wire.Confirmation) wire.Confirmation {
	page, err := se.srv.desk.Outbox(ctx, se.store, c.HubSeq-1, 1)
	if err == nil && len(page) > 0 && page[0].ID == c.ID && page[0].HubSeq == c.HubSeq {
		return page[0]
	}
	return c
}

// speak writes what is put into out, and says again what stays unacknowledged.
func (se *session) speak(ctx context.Context, st *quic.Stream) error {
	tick := time.NewTicker(repeatAfter / 4)
	defer tick.Stop()
	for {
		if se.missed.Swap(false) {
			if err := se.say(ctx, st, 0, math.MaxUint64); err != nil {
				return err
			}
		}
		select {
		case o := <-se.out:
			if o.msg == nil {
				se.missed.Store(true)
				continue
			}
			var err error
			switch m := o.msg.(type) {
			case wire.Confirmation:
				err = se.confirmNow(st, se.whole(ctx, m))
			case wire.Refused:
				return se.turnAway(st, m.Reason, wire.CloseDone, m.Detail)
			default:
				err = se.write(st, o.kind, o.msg)
			}
			if err != nil {
				return err
			}
		case <-tick.C:
			if se.overdue() {
				se.missed.Store(true)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// overdue says whether something said on this stream has stayed unacknowledged for too long. Everything is then said again, so the
// times start anew; an edge that acknowledges nothing hears it ever more rarely.
func (se *session) overdue() bool {
	se.mu.Lock()
	defer se.mu.Unlock()
	now, late := se.srv.now(), false
	for _, at := range se.unack {
		late = late || now.Sub(at) >= se.repeat
	}
	if late {
		clear(se.unack)
		se.repeat = min(2*se.repeat, repeatMax)
	}
	return late
}

// tell queues a frame for the control stream; where the queue is full the stream will replay the outbox instead.
func (se *session) tell(kind wire.Type, msg any) {
	select {
	case se.out <- outgoing{kind, msg}:
	default:
		se.missed.Store(true)
	}
}

func (se *session) confirm(c wire.Confirmation) { se.tell(wire.TypeConfirmation, c) }

// replay has everything in the outbox said again.
func (se *session) replay() { se.tell(0, nil) }

func (se *session) acknowledged(have []wire.Position) {
	se.mu.Lock()
	defer se.mu.Unlock()
	for _, p := range have {
		if _, said := se.unack[p.HubSeq]; said {
			delete(se.unack, p.HubSeq)
			se.repeat = repeatAfter
		}
	}
}

// listen reads the edge's frames on the control stream.
func (se *session) listen(ctx context.Context, st *quic.Stream) error {
	for {
		// Between frames the edge may be silent for as long as the connection lives.
		_ = st.SetReadDeadline(time.Time{})
		if _, err := st.Peek(make([]byte, 1)); err != nil {
			return se.ended(err)
		}
		_ = st.SetReadDeadline(time.Now().Add(frameWait))
		_, msg, err := wire.ReadFrame(st, wire.FromEdge)
		if err != nil {
			return se.ended(err)
		}
		se.touch()
		if err := se.heardFrame(ctx, msg); err != nil {
			return err
		}
	}
}

// ended says why the control stream cannot be read, and ends the connection where the edge is to blame.
func (se *session) ended(err error) error {
	var stream *quic.StreamError
	switch {
	case errors.Is(err, io.EOF), errors.As(err, &stream):
		return se.close(wire.CloseDone, "the control stream was closed")
	case se.conn.Context().Err() != nil:
		return err
	case isTimeout(err):
		se.srv.metrics.slow.Inc()
		return se.close(wire.CloseProtocol, "half a frame on the control stream")
	}
	se.srv.metrics.malformed.Inc()
	se.log.Warn("bad frame", "err", err)
	return se.close(wire.CloseProtocol, err.Error())
}

// hello compares the certificate with the store's row and has the ledger take the incarnation. An [Error] is for the edge.
func (se *session) hello(ctx context.Context, hello wire.Hello) (wire.Welcome, error) {
	if err := se.srv.stores.admits(se.store, se.certificate, se.issued); err != nil {
		return wire.Welcome{}, err
	}
	w, err := se.srv.desk.Hello(ctx, se.store, hello)
	w.Software, w.Features, w.ReceiptKey = software, wire.FeatureReconcile|wire.FeatureOpen, se.srv.keys.receiptKey()
	return w, err
}

// heardFrame acts on a frame of the control stream.
func (se *session) heardFrame(ctx context.Context, msg any) error {
	switch m := msg.(type) {
	case wire.Ack:
		se.srv.heardAck(se.store, m.Have)
		return se.srv.desk.Ack(ctx, se.store, se.incarnation, m.Have)
	case wire.Replayed:
		return se.srv.desk.Replayed(ctx, se.store, se.incarnation)
	case wire.Anchor:
		return se.srv.desk.Anchor(ctx, se.store, se.incarnation, m)
	case wire.Terminals:
		digest := wire.TerminalsDigest(m.Terminals)
		err := se.srv.stores.state.ledger.KeepTerminals(ctx, se.store, se.incarnation, m.Terminals, digest)
		if errors.Is(err, ledger.ErrSuperseded) {
			return nil // the edge's later process tells its own
		}
		if err == nil {
			se.tell(wire.TypeTerminalsKept, wire.TerminalsKept{Digest: digest})
		}
		return err
	}
	se.srv.metrics.malformed.Inc()
	return se.close(wire.CloseProtocol, "not a frame of the control stream")
}
