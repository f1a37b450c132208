package control_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

func TestJudge_FindsWhatIsWrong(t *testing.T) {
	now := tideover.MillisOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	well := func() control.Status {
		return control.Status{
			Store: "shop", Now: now, Hub: control.Hub{Connected: true, LedgerTime: now, CaughtUp: true, Since: now.Add(-time.Minute)},
			Endpoint: control.Endpoint{Accepting: true}, Storage: control.Storage{FreeBytes: 1 << 30, Path: "/var/lib/tideover"},
			Certificate: control.Certificate{NotAfter: now.Add(365 * 24 * time.Hour)},
			Uplinks:     []control.Uplink{{Name: "eth1", Connected: true}},
		}
	}
	if v := control.Judge(well(), 72*time.Hour); !v.Well || v.Findings == nil {
		t.Errorf("a shop that is well: %+v", v)
	}
	runbook, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, change := range map[string]func(*control.Status){
		"not_accepting": func(s *control.Status) { s.Endpoint.Accepting = false },
		"storage_low":   func(s *control.Status) { s.Storage.FreeBytes = 1 << 20 },
		"manual":        func(s *control.Status) { s.Queue.ByState = map[string]int{"manual": 3} },
		"hub_unreachable": func(s *control.Status) {
			s.Hub.Connected, s.Hub.Since, s.Hub.Error = false, now.Add(-time.Hour), "timeout"
		},
		"hub_refused": func(s *control.Status) {
			s.Hub.Connected, s.Hub.Refused, s.Hub.Error = false, true, "the store was revoked"
		},
		"offline_age": func(s *control.Status) {
			s.Queue.OldestAt = now.Add(-73 * time.Hour)
			s.Queue.Oldest = map[string]control.Oldest{"held": {theID, s.Queue.OldestAt}}
		},
		"not_handed_over": func(s *control.Status) { s.Queue.NotHandedOver = 1 },
		"in_doubt": func(s *control.Status) {
			s.Queue.Oldest = map[string]control.Oldest{"in_doubt": {theID, now.Add(-6 * time.Minute)}}
		},
		"reversing": func(s *control.Status) {
			s.Queue.Oldest = map[string]control.Oldest{"reversing": {theID, now.Add(-time.Hour)}}
		},
		"clock_off":   func(s *control.Status) { s.Hub.LedgerTime = now.Add(time.Hour) },
		"certificate": func(s *control.Status) { s.Certificate.NotAfter = now.Add(24 * time.Hour) },
		"uplink_down": func(s *control.Status) { s.Uplinks = append(s.Uplinks, control.Uplink{Name: "wwan0"}) },
		"superseded":  func(s *control.Status) { s.Alarms = []control.Finding{{Code: "superseded"}} },
	} {
		s := well()
		change(&s)
		v := control.Judge(s, 72*time.Hour)
		if v.Well || len(v.Findings) != 1 || v.Findings[0].Code != code {
			t.Errorf("%s: %+v", code, v)
		}
		if !strings.Contains(string(runbook), "`"+code+"`") {
			t.Errorf("the runbook does not know %s", code)
		}
	}
}

// What the machines still work at is no alarm, and a note leaves the verdict as it is.
func TestJudge_LeavesInPeaceWhatIsUnderWay(t *testing.T) {
	now := tideover.MillisOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for name, change := range map[string]func(*control.Status){
		"young": func(s *control.Status) {
			s.Queue.Oldest["in_doubt"] = control.Oldest{ID: theID, At: now.Add(-4 * time.Minute)}
		},
		"just connected": func(s *control.Status) { s.Hub.Since = now.Add(-time.Second) },
		"another state": func(s *control.Status) {
			s.Queue.Oldest = map[string]control.Oldest{"held": {theID, now.Add(-time.Hour)}}
		},
		"a note of the past": func(s *control.Status) { s.Queue.Oldest, s.Alarms = nil, []control.Finding{{Code: "gap", Note: true}} },
	} {
		s := control.Status{
			Now: now, Hub: control.Hub{Connected: true, LedgerTime: now, Since: now.Add(-time.Minute)}, Endpoint: control.Endpoint{Accepting: true},
			Storage: control.Storage{FreeBytes: 1 << 30},
			Queue:   control.Queue{Oldest: map[string]control.Oldest{"in_doubt": {ID: theID, At: now.Add(-time.Hour)}}},
		}
		change(&s)
		if v := control.Judge(s, 72*time.Hour); !v.Well {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// The command in a finding can be typed as it stands: it names the transaction.
func TestJudge_NamesTheTransaction(t *testing.T) {
	s := control.Status{Queue: control.Queue{
		ByState: map[string]int{"manual": 1}, Oldest: map[string]control.Oldest{"manual": {ID: theID, At: 1}}, OldestAt: 1,
	}, Now: 1 << 40}
	for _, f := range control.Judge(s, time.Hour).Findings {
		for _, text := range []string{f.Next.En, f.Next.Zh} {
			if (f.Code == "manual" || f.Code == "offline_age") && !strings.Contains(text, "tideover queue settle "+theID.String()+" --as") {
				t.Errorf("%s: %s", f.Code, text)
			}
		}
	}
}
