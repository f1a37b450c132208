package hub

import (
	"context"
	"sync"

	"tideover/wire"
)

// mailbox takes what the desk tells one stream. It never blocks the desk and never grows: of several progresses only the newest is
// kept, and an end, after which nothing follows, replaces them all.
type mailbox struct {
	mu        sync.Mutex // guards what follows
	progress  *wire.Progress
	end       any                     // wire.Confirmation or wire.Refused
	elsewhere func(wire.Confirmation) // set once nobody takes from the box any more
	wake      chan struct{}
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put takes a wire.Progress, wire.Confirmation or wire.Refused. What comes after an end is dropped.
func (m *mailbox) put(msg any) {
	m.mu.Lock()
	if m.elsewhere != nil {
		elsewhere := m.elsewhere
		m.mu.Unlock()
		if c, ok := msg.(wire.Confirmation); ok {
			elsewhere(c)
		}
		return
	}
	switch msg := msg.(type) {
	case wire.Progress:
		if m.end == nil {
			m.progress = &msg
		}
	case wire.Confirmation, wire.Refused:
		if m.end == nil {
			m.progress, m.end = nil, msg
		}
	default:
		panic("hub: the desk told a stream something that no stream carries")
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take waits for the next message; last says that it is the end.
func (m *mailbox) take(ctx context.Context) (msg any, last bool, err error) {
	for {
		m.mu.Lock()
		switch {
		case m.end != nil:
			msg, m.end = m.end, nil
			m.mu.Unlock()
			return msg, true, nil
		case m.progress != nil:
			msg, m.progress = *m.progress, nil
			m.mu.Unlock()
			return msg, false, nil
		}
		m.mu.Unlock()
		select {
		case <-m.wake:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// abandon says that nobody takes from the box any more: a confirmation that is in it, or comes yet, goes elsewhere.
func (m *mailbox) abandon(elsewhere func(wire.Confirmation)) {
	m.mu.Lock()
	m.elsewhere = elsewhere
	end, waits := m.end.(wire.Confirmation)
	m.mu.Unlock()
	if waits {
		elsewhere(end)
	}
}
