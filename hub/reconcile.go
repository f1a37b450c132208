package hub

import (
	"context"
	"errors"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// Limits of reconciles. They are asked for in the evening, by many stores at once: payments go first.
const (
	// reconcilesMax is how many are answered at once, and as many again of the ledger alone, which no platform keeps waiting; more wait for
	// their turn, within reconcileMax.
	reconcilesMax = 4
	// reconcileMax is how long one may take, its turn included. Beyond it, it is refused as busy, whatever of it was said.
	reconcileMax = 2 * time.Minute
	// reconcileRetry is when an edge that was refused as busy should ask again.
	reconcileRetry = 10 * time.Second
)

// errDrained ends a reconcile whose hub stops: it would hold that up, and the edge may ask another hub at once.
var errDrained = errors.New("this hub is stopping")

// errUnderWay refuses a store's second reconcile at once.
var errUnderWay = errors.New("the store has a reconcile under way")

// errUnread tells that the edge does not take what it asked for.
var errUnread = errors.New("the edge does not read its answer")

// reconcile serves the stream of a reconcile: got at once, then the books, then their balance.
func (se *session) reconcile(ctx context.Context, st *quic.Stream, q wire.Reconcile) error {
	if err := se.write(st, wire.TypeGot, wire.Got{}); err != nil {
		st.CancelWrite(wire.StreamSlow)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reconcileMax)
	defer cancel()
	defer context.AfterFunc(st.Context(), cancel)() // the edge has stopped listening
	balanced, err := se.books(ctx, st, q)
	switch {
	case errors.Is(err, errUnread):
		st.CancelWrite(wire.StreamSlow)
		return nil
	case err == nil:
		if err := se.write(st, wire.TypeBalanced, balanced); err != nil {
			st.CancelWrite(wire.StreamSlow)
			return nil
		}
		_ = st.Close()
		return nil
	}
	refused, broken := refusedReconcile(err)
	if broken {
		se.log.Error("reconcile", "err", err)
	}
	return se.finish(st, refused)
}

// books waits for the store's turn and says what there is. Once it has returned, the store may ask again: it is told the last word after that.
func (se *session) books(ctx context.Context, st *quic.Stream, q wire.Reconcile) (wire.Balanced, error) {
	switch {
	case se.srv.isDraining():
		return wire.Balanced{}, errDrained
	case !se.srv.reconcileBegins(se.store):
		return wire.Balanced{}, errUnderWay
	}
	defer se.srv.reconcileEnds(se.store)
	turns := se.srv.reconciles
	if q.LedgerOnly { // a cashier stands before it
		turns = se.srv.closings
	}
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-ctx.Done():
		return wire.Balanced{}, ctx.Err()
	}
	return se.srv.desk.Reconcile(ctx, se.store, se.incarnation, q, func(b wire.Booked) error {
		if se.srv.isDraining() {
			return errDrained
		}
		err := se.write(st, wire.TypeBooked, b)
		switch {
		case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge):
			return err // nothing was written: what stands in the books breaks a limit, and the operator is to hear of it
		case err != nil:
			return errUnread
		}
		return nil
	})
}

// refusedReconcile is what the edge hears of an error, and whether the hub's operator should.
func refusedReconcile(err error) (r wire.Refused, broken bool) {
	switch {
	case errors.Is(err, errDrained):
		return wire.Refused{Reason: wire.ReasonDraining, Detail: errDrained.Error()}, false
	case errors.Is(err, errUnderWay):
		return busyReconcile(errUnderWay.Error()), false
	case errors.Is(err, ledger.ErrSuperseded):
		return wire.Refused{Reason: wire.ReasonSuperseded, Detail: ledger.ErrSuperseded.Error()}, false
	case errors.Is(err, context.DeadlineExceeded):
		return busyReconcile("it took longer than " + reconcileMax.String()), false
	case errors.Is(err, context.Canceled): // the edge does not listen any more, or the hub has stopped
		return busyReconcile("it was given up"), false
	}
	return busyReconcile("the ledger could not be read; see the hub's log"), true
}

func busyReconcile(why string) wire.Refused {
	return wire.Refused{Reason: wire.ReasonBusy, Detail: why, Retry: tideover.Millis(reconcileRetry.Milliseconds())}
}

// reconcileBegins takes the one place that a store has.
func (s *server) reconcileBegins(store string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reconciling[store] {
		return false
	}
	s.reconciling[store] = true
	return true
}

func (s *server) reconcileEnds(store string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reconciling, store)
}
