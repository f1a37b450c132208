package uplink

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/wire"
)

func TestCall_Ends(t *testing.T) {
	id := submit("k", tideover.KindRefund).ID
	say := func(frames ...any) func(*quic.Stream, wire.Type, any) error {
		return func(st *quic.Stream, _ wire.Type, _ any) error {
			for i := 0; i < len(frames); i += 2 {
				if err := wire.WriteFrame(st, frames[i].(wire.Type), frames[i+1]); err != nil {
					return err
				}
			}
			<-st.Context().Done()
			return nil
		}
	}
	refund := func(ctx context.Context, u *Uplink) error {
		return u.Submit(ctx, submit("k", tideover.KindRefund), Hooks{})
	}
	ask := func(ctx context.Context, u *Uplink) error { return u.Ask(ctx, wire.Ask{ID: id}, nil) }
	replay := func(ctx context.Context, u *Uplink) error {
		end := confirmation(id, 1)
		return u.Replay(ctx, wire.Replay{Submit: submit("k", tideover.KindRefund), HubSeq: end.HubSeq, Outcome: end.Outcome})
	}
	for _, c := range []struct {
		name   string
		answer func(*quic.Stream, wire.Type, any) error
		call   func(context.Context, *Uplink) error
		want   error // nil: none
		within time.Duration
		closes bool
	}{
		{"asked about what the ledger does not have", say(wire.TypeGot, wire.Got{}, wire.TypeProgress, wire.Progress{}), ask, nil, time.Second, false},
		{"asked about what is manual", say(wire.TypeProgress, wire.Progress{State: tideover.StateManual}), ask, nil, time.Second, false},
		{"asked about what is pending, told its end", approve, ask, nil, time.Second, false},
		{"asked, and the stream ends", func(st *quic.Stream, _ wire.Type, _ any) error {
			return wire.WriteFrame(st, wire.TypeProgress, wire.Progress{State: tideover.StateInDoubt})
		}, ask, nil, time.Second, false},
		{"submitted, now manual", say(wire.TypeProgress, wire.Progress{State: tideover.StateManual}), refund, nil, time.Second, false},
		{"cancelled", approve, func(ctx context.Context, u *Uplink) error {
			return u.Cancel(ctx, wire.Cancel{ID: id, TerminalUID: "u1", Terminal: "till-1", Key: "k"}, Hooks{})
		}, nil, time.Second, false},
		{"a tombstone", approve, func(ctx context.Context, u *Uplink) error {
			return u.Expire(ctx, wire.Expire{Submit: submit("k", tideover.KindSale), Outcome: tideover.StateExpired})
		}, nil, time.Second, false},
		{"settled", approve, func(ctx context.Context, u *Uplink) error {
			return u.Settle(ctx, wire.Settle{Submit: submit("k", tideover.KindSale), As: tideover.StateApproved, By: "lin"}, nil)
		}, nil, time.Second, false},
		{"replayed", approve, replay, nil, time.Second, false},
		{
			"replayed, and the hub still has to find the end", say(wire.TypeGot, wire.Got{}, wire.TypeProgress, wire.Progress{State: tideover.StateReversing}),
			replay, nil, time.Second, false,
		},
		{"replayed, and the hub does not say that it has it", func(st *quic.Stream, _ wire.Type, _ any) error {
			return wire.WriteFrame(st, wire.TypeGot, wire.Got{})
		}, replay, ErrLost, time.Second, false},
		{"submitted, and the stream ends", func(st *quic.Stream, _ wire.Type, _ any) error {
			return wire.WriteFrame(st, wire.TypeGot, wire.Got{})
		}, refund, ErrLost, time.Second, false},
		{"the stream is reset", func(st *quic.Stream, _ wire.Type, _ any) error { return errors.New("reset") }, refund, ErrLost, time.Second, false},
		{"nobody reads it", say(), refund, ErrLost, gotMax + time.Second, false},
		{"another's end", say(wire.TypeConfirmation, confirmation(tideover.ID{9}, 1)), refund, ErrLost, time.Second, true},
		{"a frame that does not belong there", say(wire.TypeCaughtUp, wire.CaughtUp{}), refund, ErrLost, time.Second, true},
		{"no frame", func(st *quic.Stream, _ wire.Type, _ any) error {
			_, err := st.Write([]byte{0x21, 0x01, 0xff})
			return err
		}, refund, ErrLost, time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(h *testHub) { h.answer = c.answer }, func(t *testing.T, s *shop, h *testHub) {
				begin := time.Now()
				err := c.call(t.Context(), s.up)
				if (c.want == nil) != (err == nil) || (c.want != nil && !errors.Is(err, c.want)) || time.Since(begin) > c.within {
					t.Errorf("%v after %s; want %v", err, time.Since(begin), c.want)
				}
				time.Sleep(100 * time.Millisecond)
				if closed := h.connections()[0].Context().Err() != nil; closed != c.closes {
					t.Errorf("the connection was closed: %v", closed)
				}
			})
		})
	}
}

func TestSubmit_Refused(t *testing.T) {
	bubble(t, func(h *testHub) {
		h.answer = func(st *quic.Stream, _ wire.Type, _ any) error {
			return wire.WriteFrame(st, wire.TypeRefused, wire.Refused{Reason: wire.ReasonSuperseded, Detail: "another router"})
		}
	}, func(t *testing.T, s *shop, h *testHub) {
		err := s.up.Submit(t.Context(), submit("k", tideover.KindSale), Hooks{})
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Refused.Reason != wire.ReasonSuperseded {
			t.Error(err)
		}
		bad := submit("k", tideover.KindSale)
		bad.Key = "not visible\n"
		err = s.up.Submit(t.Context(), bad, Hooks{Sending: func(string) error { t.Error("it left"); return nil }})
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Refused.Reason != wire.ReasonMalformed {
			t.Error(err)
		}
	})
}

func TestSubmit_ContextEnds(t *testing.T) {
	bubble(t, func(h *testHub) { h.answer = gotOnly }, func(t *testing.T, s *shop, h *testHub) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.up.Submit(ctx, submit("k", tideover.KindSale), Hooks{})
		if !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if !s.up.State().Connected {
			t.Error("the connection went with it")
		}
	})
}
