package daemon

import (
	"strings"
	"testing"
	"time"

	"tideover"
)

var thisBoot = [16]byte{1}

// sale is a queued sale of 45 s, accepted at boot time 100 s and ledger time 1,000,000 ms, of which nothing has left.
func sale(change func(*record)) record {
	r := record{
		Kind: tideover.KindSale, State: tideover.StateQueued, NeverSent: true, ExpiresIn: 45 * time.Second,
		LedgerExpires: tideover.Millis(1_000_000).Add(45 * time.Second), Boot: thisBoot, BootAt: 100 * time.Second,
	}
	if change != nil {
		change(&r)
	}
	return r
}

// after is the moment d after that, with everything well.
func after(d time.Duration, change func(*moment)) moment {
	m := moment{
		LedgerNow: tideover.Millis(1_000_000).Add(d), LedgerKnown: true, Boot: thisBoot, BootNow: 100*time.Second + d,
		Caught: true, Connected: true,
	}
	if change != nil {
		change(&m)
	}
	return m
}

func unheard(m *moment) { m.Caught, m.Connected, m.LedgerKnown, m.LedgerNow = false, false, false, 0 }

func cut(m *moment) { m.Connected = false }

func TestDecide(t *testing.T) {
	reopened := func(r *record) { r.Reopened, r.NeverSent, r.State = true, false, tideover.StateInDoubt }
	for name, c := range map[string]struct {
		r      record
		m      moment
		want   act
		reason string
	}{
		"all is well":                             {sale(nil), after(time.Second, nil), actSend, "a link is up"},
		"no link":                                 {sale(nil), after(time.Second, cut), actHold, "no link"},
		"no link, too old, never sent":            {sale(nil), after(45*time.Second, cut), actExpire, "nothing of it has left"},
		"link, too old, never sent":               {sale(nil), after(46*time.Second, nil), actExpire, "nothing of it has left"},
		"no link, too old, sent":                  {sale(func(r *record) { r.NeverSent, r.State = false, tideover.StateSent }), after(time.Minute, cut), actDoubt, "may have left"},
		"link, too old, sent: the hub decides":    {sale(func(r *record) { r.NeverSent, r.State = false, tideover.StateInDoubt }), after(time.Minute, nil), actSend, ""},
		"hub unheard":                             {sale(nil), after(time.Second, unheard), actHold, "not been heard"},
		"hub unheard, too old: not ended here":    {sale(func(r *record) { r.LedgerExpires = 0 }), after(time.Minute, unheard), actDoubt, "not been heard"},
		"connected, but the outbox is not home":   {sale(nil), after(time.Second, func(m *moment) { m.Caught = false }), actHold, "not been heard"},
		"too old, but the outbox is not home":     {sale(nil), after(time.Minute, func(m *moment) { m.Caught = false }), actDoubt, "not been heard"},
		"reopened":                                {sale(reopened), after(time.Second, nil), actSend, ""},
		"reopened, too old: the hub decides":      {sale(reopened), after(time.Minute, nil), actSend, ""},
		"reopened in a restored journal":          {sale(reopened), after(time.Second, func(m *moment) { m.Restored = true }), actAsk, "restored"},
		"new in a restored journal":               {sale(nil), after(time.Second, func(m *moment) { m.Restored = true }), actSend, ""},
		"superseded":                              {sale(nil), after(time.Second, func(m *moment) { m.Superseded = true }), actDoubt, "taken over"},
		"superseded, too old: nothing ended here": {sale(nil), after(time.Minute, func(m *moment) { m.Superseded = true }), actDoubt, "taken over"},
		"refund without a link, however old":      {sale(func(r *record) { r.Kind, r.LedgerExpires = tideover.KindRefund, 0 }), after(time.Hour, cut), actHold, "no link"},
		"refund with a link, however old":         {sale(func(r *record) { r.Kind, r.LedgerExpires = tideover.KindRefund, 0 }), after(time.Hour, nil), actSend, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(c.r, c.m)
			if got.Act != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %d %q, want %d with %q", got.Act, got.Reason, c.want, c.reason)
			}
			if rests := got.Act == actHold || got.Act == actDoubt; rests && got.Until <= 0 {
				t.Errorf("rests for %v: a loop without a pause", got.Until)
			}
		})
	}
}

func TestExpiresAt(t *testing.T) {
	const base = tideover.Millis(1_000_000)
	for name, c := range map[string]struct {
		r     record
		m     moment
		want  tideover.Millis
		known bool
	}{
		"known at acceptance":                    {sale(nil), after(time.Second, nil), base.Add(45 * time.Second), true},
		"converted once the hub is heard":        {sale(func(r *record) { r.LedgerExpires = 0 }), after(10*time.Second, nil), base.Add(45 * time.Second), true},
		"not before":                             {sale(func(r *record) { r.LedgerExpires = 0 }), after(10*time.Second, unheard), 0, false},
		"accepted in another boot: age unknown":  {sale(func(r *record) { r.LedgerExpires, r.Boot = 0, [16]byte{2} }), after(0, nil), ageUnknown, true},
		"no boot id: age unknown":                {sale(func(r *record) { r.LedgerExpires, r.Boot = 0, [16]byte{} }), after(0, func(m *moment) { m.Boot = [16]byte{} }), ageUnknown, true},
		"another boot, but ledger time was kept": {sale(func(r *record) { r.Boot = [16]byte{2} }), after(0, nil), base.Add(45 * time.Second), true},
		"a refund never expires":                 {sale(func(r *record) { r.Kind = tideover.KindRefund }), after(0, nil), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, known := expiresAt(c.r, c.m); got != c.want || known != c.known {
				t.Errorf("got %d, %v; want %d, %v", got, known, c.want, c.known)
			}
		})
	}
}

func TestLedgerClock_RunsOnBootTime(t *testing.T) {
	boot := 5 * time.Second
	c := &ledgerClock{boot: func() time.Duration { return boot }}
	if _, known := c.Now(); known {
		t.Fatal("knows the time before any hub was heard")
	}
	c.Set(1_000)
	boot += 3 * time.Second
	if now, known := c.Now(); !known || now != 4_000 {
		t.Fatalf("got %d, %v; want 4000", now, known)
	}
}
