package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/internal/die"
	"tideover/wire"
)

// gotMax is how long the hub may take to say that it has read a frame, on a connection that is alive otherwise. After it a call is lost.
const gotMax = 5 * time.Second

// Hooks are told how a call goes. Each may be nil; they are called from the goroutine of the call.
type Hooks struct {
	// Sending runs immediately before the first byte can leave, with the uplink's name. An error stops the call with [ErrVetoed].
	Sending func(link string) error
	// Progress hears what the hub says before an end.
	Progress func(wire.Progress)
}

// Submit carries a transaction to the hub and returns nil once its end has been given to the Peer's Confirm, or once the hub has said
// that it is manual: an end that comes later is pushed. Other errors are [ErrNoLink], [ErrVetoed], [RefusedError] and [ErrLost].
func (u *Uplink) Submit(ctx context.Context, m wire.Submit, h Hooks) error {
	return u.call(ctx, call{kind: wire.TypeSubmit, msg: m, id: m.ID, sale: m.Request.Kind == tideover.KindSale, hooks: h})
}

// Ask asks what the ledger has of a transaction. It returns nil as Submit does, or once the hub has said that it has no row.
func (u *Uplink) Ask(ctx context.Context, m wire.Ask, progress func(wire.Progress)) error {
	return u.call(ctx, call{kind: wire.TypeAsk, msg: m, id: m.ID, hooks: Hooks{Progress: progress}})
}

// Knows asks whether the ledger has a transaction that the journal lacks. An end that it has is not taken home. Errors are as Submit's.
func (u *Uplink) Knows(ctx context.Context, id tideover.ID) (known bool, err error) {
	err = u.call(ctx, call{kind: wire.TypeAsk, msg: wire.Ask{ID: id}, id: id, known: &known})
	return known, err
}

// Cancel asks the hub to bar a transaction or to undo it. It returns as Submit does.
func (u *Uplink) Cancel(ctx context.Context, m wire.Cancel, h Hooks) error {
	return u.call(ctx, call{kind: wire.TypeCancel, msg: m, id: m.ID, hooks: h})
}

// Expire tells the hub an end that this edge has said by itself. It returns as Submit does.
func (u *Uplink) Expire(ctx context.Context, m wire.Expire) error {
	return u.call(ctx, call{kind: wire.TypeExpire, msg: m, id: m.Submit.ID})
}

// Settle tells the hub a person's word on a transaction that is manual. It returns as Submit does.
func (u *Uplink) Settle(ctx context.Context, m wire.Settle, progress func(wire.Progress)) error {
	return u.call(ctx, call{kind: wire.TypeSettle, msg: m, id: m.Submit.ID, hooks: Hooks{Progress: progress}})
}

// Replay tells the hub an end that its ledger may have lost. It returns nil once the hub has committed it, or knows better: an end is
// given to the Peer's Confirm; one that the hub still has to find is pushed. Other errors are as Submit's.
func (u *Uplink) Replay(ctx context.Context, m wire.Replay) error {
	return u.call(ctx, call{kind: wire.TypeReplay, msg: m, id: m.Submit.ID})
}

// call is one frame that opens a stream, and who hears the answers.
type call struct {
	kind  wire.Type
	msg   any
	id    tideover.ID
	sale  bool
	hooks Hooks
	known *bool // set where only that is asked: whether the ledger has the id
}

func (u *Uplink) call(ctx context.Context, c call) error {
	frame, err := wire.AppendFrame(nil, c.kind, c.msg)
	if err != nil {
		// No hub could read it: said as the hub would.
		return &RefusedError{wire.Refused{Reason: wire.ReasonMalformed, Detail: err.Error()}}
	}
	u.calls.Add(1)
	defer u.calls.Add(-1)
	s := u.current()
	if s == nil {
		return ErrNoLink
	}
	s.inflight.Add(1)
	defer s.inflight.Add(-1)
	st, err := s.conn.OpenStreamSync(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoLink, err)
	}
	defer st.CancelRead(wire.StreamDone)
	if err := s.send(ctx, st, c, frame); err != nil {
		st.CancelWrite(wire.StreamDone)
		return err
	}
	return s.answers(ctx, st, c)
}

// send puts the frame on its stream. Up to the hook nothing has left.
func (s *session) send(ctx context.Context, st *quic.Stream, c call, frame []byte) error {
	if c.sale {
		if err := s.awaitFresh(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrNoLink, err)
		}
	}
	if c.hooks.Sending != nil {
		if err := c.hooks.Sending(s.u.cfg.Name); err != nil {
			return fmt.Errorf("%w: %w", ErrVetoed, err)
		}
	}
	switch c.kind {
	case wire.TypeSubmit:
		die.At("edge.send.before")
		defer die.At("edge.send.after")
	case wire.TypeCancel:
		die.At("edge.cancel.before")
		defer die.At("edge.cancel.after")
	default:
	}
	_ = st.SetWriteDeadline(time.Now().Add(gotMax))
	if _, err := st.Write(frame); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, s.why(err))
	}
	if err := st.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, s.why(err))
	}
	return nil
}

// answers reads what the hub says until an end.
func (s *session) answers(ctx context.Context, st *quic.Stream, c call) error {
	defer context.AfterFunc(ctx, func() { st.CancelRead(wire.StreamDone) })()
	_ = st.SetReadDeadline(time.Now().Add(gotMax))
	told := false
	for {
		_, msg, err := wire.ReadFrame(st, wire.FromHub)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrLost, ctx.Err())
		case errors.Is(err, io.EOF) && told && c.kind == wire.TypeAsk:
			return nil
		default:
			if closeCode(err) == wire.CloseProtocol {
				_ = s.conn.CloseWithError(wire.CloseProtocol, err.Error())
			}
			return fmt.Errorf("%w: %w", ErrLost, s.why(err))
		}
		s.pulse.touch()
		switch m := msg.(type) {
		case wire.Got:
			_ = st.SetReadDeadline(time.Time{})
		case wire.Progress:
			told = true
			if c.known != nil {
				*c.known = m.State != tideover.StateNone
				return nil
			}
			if c.hooks.Progress != nil {
				c.hooks.Progress(m)
			}
			if m.State == tideover.StateManual || (m.State == tideover.StateNone && c.kind == wire.TypeAsk) || c.kind == wire.TypeReplay {
				return nil
			}
		case wire.Confirmation:
			if m.ID != c.id {
				return s.breach(fmt.Errorf("%w: the end of %s on the stream of %s", errProtocol, m.ID, c.id))
			}
			if c.known != nil {
				*c.known = true
				return nil
			}
			if err := s.u.peer.Confirm(m); err != nil {
				return fmt.Errorf("%w: %w", ErrLost, err)
			}
			return nil
		case wire.Refused:
			return &RefusedError{m}
		default:
			return s.breach(fmt.Errorf("%w: a %T on a transaction's stream", errProtocol, msg))
		}
	}
}

// breach ends a connection whose hub breaks the protocol.
func (s *session) breach(why error) error {
	_ = s.conn.CloseWithError(wire.CloseProtocol, why.Error())
	return fmt.Errorf("%w: %w", ErrLost, why)
}
