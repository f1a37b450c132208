package uplink

import (
	"testing"
	"time"
)

// TestPulse_Look is the table of when a connection is probed and given up. Times are milliseconds after the hub was heard.
func TestPulse_Look(t *testing.T) {
	base := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name                   string
		out, firstOut, last    int // probes since then; when the first and the last were sent
		now                    int
		rttMS                  int
		pending, asked, doubts bool
		want                   beat
	}{
		{"idle, just probed", 1, -20, -20, 30, 20, false, false, false, beat{Wait: probePending}},
		{"idle, a second later", 0, -980, -980, 20, 20, false, false, false, beat{Probe: true, Wait: probePending}},
		{"pending", 0, -250, -250, 0, 20, true, false, false, beat{Probe: true, Wait: probePending}},
		{"pending, too early", 0, -100, -100, 0, 20, true, false, false, beat{Wait: 150 * time.Millisecond}},
		{"doubted", 0, -250, -250, 0, 20, false, false, true, beat{Probe: true, Wait: probePending}},
		{"idle, its probe is late", 1, 980, 980, 1230, 20, false, false, false, beat{Probe: true, Wait: probePending}},
		{"idle on a slow link, its probe is not late", 1, 980, 980, 1230, 400, false, false, false, beat{Wait: probePending}},
		{"asked", 0, -100, -100, 0, 20, false, true, false, beat{Probe: true, Wait: probePending}},
		{"asked twice at once", 1, -10, -10, 0, 20, false, true, false, beat{Wait: 40 * time.Millisecond}},
		{"silent, three probes out", 5, 100, 1350, 1600, 20, true, false, false, beat{Dead: true}},
		{"silent, two probes out", 2, 1000, 1300, 1600, 20, false, false, false, beat{Probe: true, Wait: probePending}},
		{"three probes out, and not silent for long", 3, 100, 600, 1400, 20, true, false, false, beat{Probe: true, Wait: probePending}},
		{"three probes out, all of them new", 3, 1400, 1500, 1600, 20, true, true, false, beat{Probe: true, Wait: probePending}},
		{"silent on a link of two seconds", 9, 100, 2350, 2600, 2000, true, false, false, beat{Probe: true, Wait: probePending}},
		{"silent for too long even so", 20, 100, 4350, 4600, 2000, true, false, false, beat{Dead: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pulse{heard: at(0), doubted: c.doubts, out: c.out, firstOut: at(c.firstOut), lastSent: at(c.last)}
			if got := p.look(at(c.now), time.Duration(c.rttMS)*time.Millisecond, c.pending, c.asked); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
