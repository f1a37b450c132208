package hub

import (
	"context"
	"testing"

	"tideover"
	"tideover/wire"
)

func TestMailbox_KeepsTheNewestProgressAndTheEnd(t *testing.T) {
	m := newMailbox()
	m.put(wire.Progress{State: tideover.StatePending})
	m.put(wire.Progress{State: tideover.StateReversing})
	msg, last, err := m.take(t.Context())
	if p, ok := msg.(wire.Progress); !ok || p.State != tideover.StateReversing || last || err != nil {
		t.Errorf("got %#v, %v, %v", msg, last, err)
	}
	m.put(wire.Progress{State: tideover.StatePending})
	m.put(wire.Confirmation{HubSeq: 7})
	m.put(wire.Progress{State: tideover.StatePending}) // too late
	msg, last, _ = m.take(t.Context())
	if c, ok := msg.(wire.Confirmation); !ok || c.HubSeq != 7 || !last {
		t.Errorf("got %#v, %v", msg, last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := m.take(ctx); err == nil {
		t.Error("take does not end with its context")
	}
}

func TestMailbox_AbandonedEndGoesElsewhere(t *testing.T) {
	for name, late := range map[string]bool{"waiting in the box": false, "coming later": true} {
		t.Run(name, func(t *testing.T) {
			m := newMailbox()
			var pushed []wire.Confirmation
			push := func(c wire.Confirmation) { pushed = append(pushed, c) }
			if late {
				m.abandon(push)
				m.put(wire.Progress{})
				m.put(wire.Confirmation{HubSeq: 7})
			} else {
				m.put(wire.Confirmation{HubSeq: 7})
				m.abandon(push)
			}
			if len(pushed) != 1 || pushed[0].HubSeq != 7 {
				t.Errorf("pushed %+v", pushed)
			}
		})
	}
}
