package uplink

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/wire"
)

var question = wire.Reconcile{From: 1_700_000_000_000, To: 1_700_086_400_000}

// books are n entries of each side.
func books(n int) (b wire.Booked) {
	for i := range n {
		e := wire.Booking{ID: tideover.ID{byte(i + 1)}, Kind: tideover.KindSale, Amount: 1, Currency: "CNY", State: tideover.StateApproved, CreatedAt: 1}
		for _, e.Side = range []wire.BookingSide{wire.SideLedger, wire.SidePlatform} {
			b.Entries = append(b.Entries, e)
		}
	}
	return b
}

// reconciles is a hub that can, and answers with these messages; the stream ends after them.
func reconciles(said ...any) func(*testHub) {
	return func(h *testHub) {
		h.welcome.Features = wire.FeatureReconcile
		h.answer = func(st *quic.Stream, _ wire.Type, _ any) error {
			err := wire.WriteFrame(st, wire.TypeGot, wire.Got{})
			for _, m := range said {
				switch m := m.(type) {
				case wire.Booked:
					err = errors.Join(err, wire.WriteFrame(st, wire.TypeBooked, m))
				case wire.Balanced:
					err = errors.Join(err, wire.WriteFrame(st, wire.TypeBalanced, m))
				case wire.Refused:
					err = errors.Join(err, wire.WriteFrame(st, wire.TypeRefused, m))
				case time.Duration:
					time.Sleep(m)
				}
			}
			return err
		}
	}
}

func TestReconcile_BringsWhatTheHubHas(t *testing.T) {
	want := wire.Balanced{Ledger: 5, Platform: 5, Statement: true}
	// A platform's statement takes longer than a frame may take to be read.
	hub := reconciles(3*gotMax, books(2), books(3), want)
	bubble(t, hub, func(t *testing.T, s *shop, h *testHub) {
		var got []wire.Booked
		b, err := s.up.Reconcile(t.Context(), question, func(b wire.Booked) error { got = append(got, b); return nil })
		if err != nil || b != want || !reflect.DeepEqual(got, []wire.Booked{books(2), books(3)}) {
			t.Errorf("%+v, %+v, %v", b, got, err)
		}
		if asked := heardOf[wire.Reconcile](h); len(asked) != 1 || asked[0] != question {
			t.Errorf("the hub was asked %+v", asked)
		}
	})
}

// What was not closed is no answer, whatever of it was heard.
func TestReconcile_HalfAnAnswerIsAnError(t *testing.T) {
	broken := errors.New("the disk is full")
	for name, c := range map[string]struct {
		hub  func(*testHub)
		each func(wire.Booked) error
		want error
		lost bool // with the connection
	}{
		"the stream ends":         {hub: reconciles(books(2)), want: ErrLost},
		"nothing at all":          {hub: reconciles(), want: ErrLost},
		"it counts less":          {hub: reconciles(books(2), wire.Balanced{Ledger: 2, Platform: 1, Statement: true}), want: errProtocol, lost: true},
		"it counts more":          {hub: reconciles(books(2), wire.Balanced{Ledger: 3, Platform: 2, Statement: true}), want: errProtocol, lost: true},
		"no statement after all":  {hub: reconciles(books(2), wire.Balanced{Ledger: 2}), want: errProtocol, lost: true},
		"the reader has an error": {hub: reconciles(books(2), books(2)), each: func(wire.Booked) error { return broken }, want: broken},
		"a transaction's answer":  {hub: func(h *testHub) { h.welcome.Features, h.answer = wire.FeatureReconcile, wrongStream }, want: errProtocol, lost: true},
		"an older hub":            {hub: nil, want: ErrHubTooOld},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, c.hub, func(t *testing.T, s *shop, h *testHub) {
				each := c.each
				if each == nil {
					each = func(wire.Booked) error { return nil }
				}
				b, err := s.up.Reconcile(t.Context(), question, each)
				if !errors.Is(err, c.want) || b != (wire.Balanced{}) {
					t.Errorf("%+v, %v; want %v", b, err, c.want)
				}
				if c.want == ErrHubTooOld && len(heardOf[wire.Reconcile](h)) > 0 {
					t.Error("it was sent")
				}
				if c.lost {
					s.until(time.Second, func() bool { return h.connections()[0].Context().Err() != nil })
				}
			})
		})
	}
}

func wrongStream(st *quic.Stream, _ wire.Type, _ any) error {
	return wire.WriteFrame(st, wire.TypeConfirmation, confirmation(tideover.ID{1}, 1))
}

func TestReconcile_Refused(t *testing.T) {
	hub := reconciles(books(1), wire.Refused{Reason: wire.ReasonDraining, Detail: "this hub is stopping"})
	bubble(t, hub, func(t *testing.T, s *shop, _ *testHub) {
		_, err := s.up.Reconcile(t.Context(), question, func(wire.Booked) error { return nil })
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Refused.Reason != wire.ReasonDraining {
			t.Errorf("%v", err)
		}
		_, err = s.up.Reconcile(t.Context(), wire.Reconcile{From: 2, To: 1}, nil)
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Refused.Reason != wire.ReasonMalformed {
			t.Errorf("a time that ends before it begins: %v", err)
		}
	})
}

func TestReconcile_EndsWithItsContextAndItsConnection(t *testing.T) {
	forever := func(h *testHub) { h.welcome.Features, h.answer = wire.FeatureReconcile, gotOnly }
	bubble(t, forever, func(t *testing.T, s *shop, h *testHub) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if _, err := s.up.Reconcile(ctx, question, nil); !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) < time.Minute {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		done := make(chan error, 1)
		go func() { _, err := s.up.Reconcile(t.Context(), question, nil); done <- err }()
		s.until(time.Second, func() bool { return len(heardOf[wire.Reconcile](h)) == 2 })
		h.connections()[0].CloseWithError(wire.CloseDraining, "stopping")
		if err := <-done; !errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no link", func(t *testing.T) {
		u := New(Config{Name: "eth1"}, &testPeer{}, testLog(t))
		if _, err := u.Reconcile(t.Context(), question, nil); !errors.Is(err, ErrNoLink) {
			t.Errorf("%v", err)
		}
	})
}
