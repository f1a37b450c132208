package daemon

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/uplink"
	"tideover/wire"
)

const (
	// replayMax is how many ends are told again at once.
	replayMax = 64
	// holdMax is how long the hub may take to say its first word of a refund that it is told of again. One that it has not spoken of by then
	// waits for its original there, of which nothing else can be given back meanwhile.
	holdMax = 5 * time.Second
)

// replay tells a hub that was put back to an older copy what it has lost, before anything else is sent: the ends that it had told this
// router; then the refunds and reversals that have none yet, which count in the accounts of their originals as soon as the ledger knows of
// them; and at last that this was all. With an error it is to be done again, from the beginning.
func (s *session) replay(ctx context.Context, asked wire.Welcome) error {
	ids, err := s.queue.EndsAfter(asked.LostFrom)
	if err != nil {
		return err
	}
	var first, second []queue.Parcel // what undoes something is accounted under its original, which has to be there
	for _, id := range ids {
		p, err := s.queue.Parcel(id)
		switch {
		case err != nil:
			return err
		case !p.Final() || p.HubSeq == 0: // open again: the hub is asked, as for all that is
		case p.Kind.Undoes():
			second = append(second, p)
		default:
			first = append(first, p)
		}
	}
	open, err := s.queue.Undoing()
	if err != nil {
		return err
	}
	for _, turn := range []struct {
		of   []queue.Parcel
		tell func(context.Context, queue.Parcel) error
	}{{first, s.tellAgain}, {second, s.tellAgain}, {open, s.holdAgain}} {
		if err := each(ctx, turn.of, turn.tell); err != nil {
			return err
		}
	}
	if s.heard() != asked {
		return errOutdated // the next hub may have lost more
	}
	if err := s.uplink.Replayed(); err != nil {
		return err
	}
	s.log.Info("the hub knows again what it had told", "ends", len(first)+len(second))
	return nil
}

// each does something with each parcel, some at a time.
func each(ctx context.Context, parcels []queue.Parcel, do func(context.Context, queue.Parcel) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(replayMax)
	for _, p := range parcels {
		group.Go(func() error { return do(ctx, p) })
	}
	return group.Wait()
}

// tellAgain tells the hub an end that it had told.
func (s *session) tellAgain(ctx context.Context, p queue.Parcel) error {
	submit := submitOf(p, s.moment(), false)
	submit.Request.Payload, submit.Request.Instrument = nil, ""
	err := s.uplink.Replay(ctx, wire.Replay{Submit: submit, HubSeq: p.HubSeq, Outcome: *p.Outcome, Corrected: p.Corrected})
	if refused, ok := errors.AsType[*uplink.RefusedError](err); ok && refused.Refused.Reason == wire.ReasonMalformed {
		s.log.Error("the hub does not take an end back that it had told", "txn", p.ID, "err", err)
		return nil
	}
	return err
}

// holdAgain has the hub know of a refund or reversal that may have been sent before, and does not wait for its end.
func (s *session) holdAgain(ctx context.Context, p queue.Parcel) error {
	m := s.moment()
	switch {
	case p.Undo, !p.Lost(m.Past), p.Stale(m.Past), p.Unreadable:
		return nil // it is not to be sent
	case p.State == tideover.StateHeld:
		s.log.Warn("a restored hub is not told of a transaction that is held here: it may not count it", "txn", p.ID)
		return nil
	case p.Behind(p.Original):
		return nil // it would wait there as well
	}
	call, cancel := context.WithTimeout(ctx, holdMax)
	defer cancel()
	heard := false
	err := s.uplink.Submit(call, submitOf(p, m, true), uplink.Hooks{
		Sending: func(link string) error { return s.queue.Move(p.ID, tideover.CauseSent, edge.Note{Uplink: link}) },
		Progress: func(e wire.Progress) {
			s.progress(p.ID, e)
			heard = true
			cancel()
		},
	})
	_, refused := errors.AsType[*uplink.RefusedError](err)
	if heard || refused || errors.Is(call.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}
