package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"

	"tideover/wire"
)

// Reconcile asks the hub what its ledger and its platform have of a time. each is given what the hub says as it comes, at least one entry at
// a time, from the goroutine of the call; what it returns is returned, and ends the call. Only once Reconcile has returned without an error
// was everything said: before that, or after an error, nothing of it counts. It changes nothing at the hub and may be repeated.
//
// Other errors are [ErrNoLink], [ErrHubTooOld], [RefusedError] and [ErrLost]. ctx bounds the call: a hub may take minutes, as long as its
// platform's statement takes.
func (u *Uplink) Reconcile(ctx context.Context, q wire.Reconcile, each func(wire.Booked) error) (wire.Balanced, error) {
	c := call{kind: wire.TypeReconcile, msg: q}
	frame, err := wire.AppendFrame(nil, c.kind, c.msg)
	if err != nil {
		return wire.Balanced{}, &RefusedError{wire.Refused{Reason: wire.ReasonMalformed, Detail: err.Error()}}
	}
	u.calls.Add(1)
	defer u.calls.Add(-1)
	s := u.current()
	if s == nil {
		return wire.Balanced{}, ErrNoLink
	}
	if s.welcome.Features&wire.FeatureReconcile == 0 {
		return wire.Balanced{}, ErrHubTooOld
	}
	s.inflight.Add(1)
	defer s.inflight.Add(-1)
	st, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		return wire.Balanced{}, fmt.Errorf("%w: %w", ErrNoLink, err)
	}
	defer st.CancelRead(wire.StreamDone)
	if err := s.send(ctx, st, c, frame); err != nil {
		st.CancelWrite(wire.StreamDone)
		return wire.Balanced{}, err
	}
	return s.booked(ctx, st, each)
}

// booked reads what the hub has, up to the frame that closes it.
func (s *session) booked(ctx context.Context, st *quic.Stream, each func(wire.Booked) error) (none wire.Balanced, err error) {
	defer context.AfterFunc(ctx, func() { st.CancelRead(wire.StreamDone) })()
	_ = st.SetReadDeadline(time.Now().Add(gotMax))
	var ledger, platform int
	for {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return none, fmt.Errorf("%w: %w", ErrLost, ctx.Err())
		default:
			if closeCode(err) == wire.CloseProtocol {
				_ = s.conn.CloseWithError(wire.CloseProtocol, err.Error())
			}
			return none, fmt.Errorf("%w: %w", ErrLost, s.why(err))
		}
		s.pulse.touch()
		switch m := msg.(type) {
		case wire.Got:
			_ = st.SetReadDeadline(time.Time{})
		case wire.Booked:
			for i := range m.Entries {
				if m.Entries[i].Side == wire.SideLedger {
					ledger++
				} else {
					platform++
				}
			}
			if err := each(m); err != nil {
				return none, err
			}
		case wire.Balanced:
			if m.Ledger != ledger || m.Platform != platform {
				return none, s.breach(fmt.Errorf("%w: it has said %d and %d entries, and counts %d and %d", errProtocol, ledger, platform, m.Ledger, m.Platform))
			}
			return m, nil
		case wire.Refused:
			return none, &RefusedError{m}
		default:
			return none, s.breach(fmt.Errorf("%w: a %T on a reconcile's stream", errProtocol, msg))
		}
	}
}
