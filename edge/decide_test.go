package edge

import (
	"strings"
	"testing"
	"time"

	"tideover"
)

var thisBoot = [16]byte{1}

// sale is a queued sale of 45 s, accepted at boot time 100 s and ledger time 1,000,000 ms, of which nothing has left.
func sale(change func(*Record)) *Record {
	r := &Record{
		Transaction: tideover.Transaction{Kind: tideover.KindSale, State: tideover.StateQueued}, First: 7, ExpiresIn: 45 * time.Second,
		LedgerExpires: tideover.Millis(1_000_000).Add(45 * time.Second), Boot: thisBoot, BootAt: 100 * time.Second,
	}
	if change != nil {
		change(r)
	}
	return r
}

// after is the moment d after that, with everything well.
func after(d time.Duration, change func(*Moment)) Moment {
	m := Moment{
		LedgerNow: tideover.Millis(1_000_000).Add(d), LedgerKnown: true, Boot: thisBoot, BootNow: 100*time.Second + d,
		Past: Past{Caught: true}, Connected: true,
	}
	if change != nil {
		change(&m)
	}
	return m
}

func notHeard(m *Moment) { m.Caught, m.Connected, m.LedgerKnown, m.LedgerNow = false, false, false, 0 }

func cut(m *Moment) { m.Connected = false }

func TestDecide(t *testing.T) {
	lost := func(r *Record) { r.Unreadable = true }
	reopened := func(r *Record) { r.Reopened, r.State = true, tideover.StateInDoubt }
	for name, c := range map[string]struct {
		r      *Record
		m      Moment
		want   Act
		reason string
	}{
		"all is well":                              {sale(nil), after(time.Second, nil), ActSend, "a link is up"},
		"no link":                                  {sale(nil), after(time.Second, cut), ActHold, "no link"},
		"no link, too old, never sent":             {sale(nil), after(45*time.Second, cut), ActExpire, "nothing of it has left"},
		"link, too old, never sent":                {sale(nil), after(46*time.Second, nil), ActExpire, "nothing of it has left"},
		"no link, too old, sent":                   {sale(func(r *Record) { r.Left, r.State = true, tideover.StateSent }), after(time.Minute, cut), ActDoubt, "may have left"},
		"link, too old, sent: the hub decides":     {sale(func(r *Record) { r.Left, r.State = true, tideover.StateInDoubt }), after(time.Minute, nil), ActSend, ""},
		"hub unheard":                              {sale(nil), after(time.Second, notHeard), ActHold, "not been heard"},
		"hub unheard, too old: not ended here":     {sale(func(r *Record) { r.LedgerExpires = 0 }), after(time.Minute, notHeard), ActDoubt, "not been heard"},
		"connected, but the outbox is not home":    {sale(nil), after(time.Second, func(m *Moment) { m.Caught = false }), ActHold, "not been heard"},
		"too old, but the outbox is not home":      {sale(nil), after(time.Minute, func(m *Moment) { m.Caught = false }), ActDoubt, "not been heard"},
		"no link, too old, and orphans may be out": {sale(nil), after(time.Minute, func(m *Moment) { m.Connected, m.Orphans = false, true }), ActDoubt, "may have left"},
		"a link, and orphans may be out":           {sale(nil), after(time.Second, func(m *Moment) { m.Orphans = true }), ActSend, "a link is up"},
		"reopened":                                 {sale(reopened), after(time.Second, nil), ActSend, ""},
		"reopened, too old: the hub decides":       {sale(reopened), after(time.Minute, nil), ActSend, ""},
		"reopened in a restored journal":           {sale(reopened), after(time.Second, func(m *Moment) { m.Restored = true }), ActAsk, "restored"},
		"new in a restored journal":                {sale(nil), after(time.Second, func(m *Moment) { m.Restored = true }), ActSend, ""},
		"superseded":                               {sale(nil), after(time.Second, func(m *Moment) { m.Superseded = true }), ActDoubt, "taken over"},
		"superseded, too old: nothing ended here":  {sale(nil), after(time.Minute, func(m *Moment) { m.Superseded = true }), ActDoubt, "taken over"},
		"refund without a link, however old":       {sale(func(r *Record) { r.Kind, r.LedgerExpires = tideover.KindRefund, 0 }), after(time.Hour, cut), ActHold, "no link"},
		"refund with a link, however old":          {sale(func(r *Record) { r.Kind, r.LedgerExpires = tideover.KindRefund, 0 }), after(time.Hour, nil), ActSend, ""},
		"unreadable, never sent: it expires":       {sale(lost), after(time.Second, nil), ActHold, "expires unsent"},
		"unreadable, too old, never sent":          {sale(lost), after(time.Minute, nil), ActExpire, "nothing of it has left"},
		"unreadable, in a journal with a gap":      {sale(lost), after(time.Second, func(m *Moment) { m.Gap = true }), ActManual, "key was destroyed"},
		"unreadable advice, no link":               {sale(func(r *Record) { lost(r); r.Kind = tideover.KindAdvice }), after(time.Second, cut), ActManual, "key was destroyed"},
		"unreadable, may have left: asked about":   {sale(func(r *Record) { lost(r); reopened(r) }), after(time.Second, nil), ActAsk, "never sent"},
		"unreadable, its cancel is on disk":        {sale(func(r *Record) { lost(r); reopened(r); r.Undo = true }), after(time.Second, nil), ActCancel, ""},
		"unreadable, and settled":                  {sale(func(r *Record) { lost(r); reopened(r); r.Settle = tideover.StateDeclined }), after(time.Second, nil), ActSettle, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(c.r, nil, c.m)
			if got.Act != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %d %q, want %d with %q", got.Act, got.Reason, c.want, c.reason)
			}
			if rests := got.Act == ActHold || got.Act == ActDoubt; rests && got.Until <= 0 {
				t.Errorf("rests for %v: a loop without a pause", got.Until)
			}
		})
	}
}

func TestRecord_Expires(t *testing.T) {
	const base = tideover.Millis(1_000_000)
	for name, c := range map[string]struct {
		r     *Record
		m     Moment
		want  tideover.Millis
		known bool
	}{
		"known at acceptance":                    {sale(nil), after(time.Second, nil), base.Add(45 * time.Second), true},
		"converted once the hub is heard":        {sale(func(r *Record) { r.LedgerExpires = 0 }), after(10*time.Second, nil), base.Add(45 * time.Second), true},
		"not before":                             {sale(func(r *Record) { r.LedgerExpires = 0 }), after(10*time.Second, notHeard), 0, false},
		"accepted in another boot: age unknown":  {sale(func(r *Record) { r.LedgerExpires, r.Boot = 0, [16]byte{2} }), after(0, nil), ageUnknown, true},
		"no boot id: age unknown":                {sale(func(r *Record) { r.LedgerExpires, r.Boot = 0, [16]byte{} }), after(0, func(m *Moment) { m.Boot = [16]byte{} }), ageUnknown, true},
		"another boot, but ledger time was kept": {sale(func(r *Record) { r.Boot = [16]byte{2} }), after(0, nil), base.Add(45 * time.Second), true},
		"a refund never expires":                 {sale(func(r *Record) { r.Kind = tideover.KindRefund }), after(0, nil), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, known := c.r.Expires(c.m); got != c.want || known != c.known {
				t.Errorf("got %d, %v; want %d, %v", got, known, c.want, c.known)
			}
		})
	}
}
