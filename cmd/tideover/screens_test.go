package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

// shop is a daemon's backend with a day of sales behind it.
type shop struct{ well bool }

var (
	noon   = tideover.MillisOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	saleID = tideover.MakeID("shop-0001", "uid", "A-1001")
)

func (s shop) Status() control.Status {
	st := control.Status{
		Version: "0.1.0", Store: "shop-0001", PID: 4711, StartedAt: noon.Add(-50 * time.Hour), Now: noon,
		Hub: control.Hub{
			Connected: s.well, Address: "192.0.2.1:8443", Uplink: "eth1", Since: noon.Add(-192 * time.Second), LedgerTime: noon,
			CaughtUp: true,
		},
		Queue: control.Queue{
			Pending: 3, OldestAt: noon.Add(-73 * time.Hour), ByState: map[string]int{"manual": 1, "queued": 2, "approved": 4},
			OpenAmounts: map[string]int64{"CNY": 123456, "JPY": 500}, Unacknowledged: 4, NotHandedOver: 2,
			Oldest: map[string]control.Oldest{"manual": {ID: saleID, At: noon.Add(-73 * time.Hour)}},
		},
		Uplinks: []control.Uplink{{
			Name: "fibre", Interface: "eth1", Connected: s.well, Address: "192.0.2.1:8443", RTTMillis: 30.06, Since: noon.Add(-192 * time.Second),
		}},
		Terminals: control.Terminals{Paired: 3, Revoked: 1},
		Endpoint:  control.Endpoint{Listen: "0.0.0.0:8400", Access: "paired", TLS: "off", Accepting: true},
		Storage: control.Storage{
			Path: "/var/lib/tideover/queue.db", FileBytes: 12_345_678, InsideBytes: 2_345_678, FreeBytes: 1_234_567_890, Commits: 321, Syncs: 642, Seq: 9876,
		},
		Keys:        control.Keys{Seals: "3f2a91c4"},
		Rules:       control.Rules{Version: 77, Since: noon},
		Certificate: control.Certificate{NotAfter: noon.Add(20 * 365 * 24 * time.Hour)},
	}
	if s.well {
		st.Queue = control.Queue{}
		st.Alarms = []control.Finding{{Code: "gap", Note: true, What: tideover.Textf("a gap", "缺口"), Next: tideover.Textf("look", "请查看")}}
	} else {
		st.Keys.Older = 2
		st.Hub.Error, st.Uplinks[0].Error = "no answer", "no answer"
	}
	st.Verdict = control.Judge(st, 72*time.Hour)
	return st
}

func sale(state tideover.State, terminal string) tideover.Transaction {
	return tideover.Transaction{
		ID: saleID, Terminal: terminal, Key: "A-1001", Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1001",
		Operator: "林", State: state, Attempts: 1, Uplink: "eth1", CreatedAt: noon, UpdatedAt: noon.Add(time.Second), Seq: 42,
	}
}

func (s shop) List(_ context.Context, f control.Filter) (control.Page, error) {
	if f.State == tideover.StateHeld {
		return control.Page{}, nil
	}
	refund := sale(tideover.StateInDoubt, "前台二号机")
	refund.Kind, refund.Amount, refund.Order = tideover.KindRefund, 5, ""
	hostile := sale(tideover.StateApproved, "till\x1b[2J")
	all := []control.Transaction{control.See(sale(tideover.StateApproved, "till-1"), noon), control.See(refund, noon), control.See(hostile, noon.Add(time.Hour))}
	if f.NotHandedOver {
		return control.Page{Transactions: all[2:]}, nil
	}
	return control.Page{Transactions: all, Next: "42"}, nil
}

// Find implements control.Backend.
func (s shop) Find(first, last tideover.ID) []tideover.ID {
	if bytes.Compare(first[:], saleID[:]) <= 0 && bytes.Compare(saleID[:], last[:]) <= 0 {
		return []tideover.ID{saleID}
	}
	return nil
}

// Act implements control.Backend: what is cancelled is undone at once, what is settled waits for the hub, and what is dropped was sold.
func (s shop) Act(ctx context.Context, id tideover.ID, a control.Action, by control.Peer) (control.Detail, error) {
	d, err := s.Show(ctx, id)
	if err != nil {
		return d, err
	}
	d.History = append(d.History, control.Event{Seq: 43, At: noon, Event: string(a.Verb), State: tideover.StateManual, By: by.String(), Detail: a.Reason})
	switch t := &d.Transaction; a.Verb {
	case control.VerbHold:
		t.State = tideover.StateHeld
	case control.VerbRelease, control.VerbRetry:
		t.State = tideover.StateInDoubt
	case control.VerbCancel:
		if t.State = tideover.StateReversed; !s.well {
			t.State = tideover.StateReversing
		}
	case control.VerbSettle:
		if t.State = tideover.StateApproved; !s.well {
			t.State = tideover.StateManual
		}
	case control.VerbDrop:
		if t.Acknowledged = true; !s.well {
			return d, tideover.Refuse(tideover.CodeNotPossible, "it may have been sent", "可能已发出")
		}
	}
	return d, nil
}

// Export implements control.Backend.
func (s shop) Export(ctx context.Context, each func(control.Detail) error) error {
	d, err := s.Show(ctx, saleID)
	if err == nil {
		err = each(d)
	}
	d.Transaction.Order, d.Transaction.Operator, d.Transaction.Terminal = `=HYPERLINK("http://x","y")`, "a;=1+1", "till\x1b[2J\n"
	d.Transaction.Original, d.Transaction.Outcome, d.Transaction.ExpiresAt = saleID, nil, noon
	d.History = append(d.History, control.Event{At: noon, Event: "dropped", State: tideover.StateApproved, By: "uid 0 (root)", Detail: "@SUM(1)"})
	if err == nil && !s.well {
		err = each(d)
	}
	return err
}

func (s shop) Show(_ context.Context, id tideover.ID) (control.Detail, error) {
	if id != saleID {
		return control.Detail{}, control.Unknown(id.String())
	}
	t := sale(tideover.StateApproved, "till-1")
	t.Outcome = &tideover.Outcome{Result: tideover.StateApproved, Code: "00", Message: "approved", Reference: "P-77", At: noon.Add(time.Second)}
	t.Delivered, t.Corrected = true, true
	return control.Detail{Transaction: control.See(t, noon.Add(time.Hour)), Rules: &control.Rules{Version: 77, Since: noon}, History: []control.Event{
		{Seq: 40, At: noon, Event: "accepted", State: tideover.StateQueued},
		{Seq: 42, At: noon.Add(time.Second), Event: "told approved", State: tideover.StateApproved, By: "hub", Detail: "position 7"},
	}}, nil
}

func (s shop) Rules(context.Context) (control.RulesHistory, error) {
	h := control.RulesHistory{Versions: []control.RulesVersion{
		{
			Rules: control.Rules{Version: 77, Since: noon}, InForce: true, Judged: 12,
			Changes: []control.RuleChange{{Key: "duplicates.window", Old: `"2m"`, New: `"5m"`}, {Key: "limits.sale_max", New: "500000"}},
			Values:  map[string]string{"limits.sale_max": "500000"},
		},
		{Rules: control.Rules{Version: 3, Since: noon.Add(-time.Hour)}, Judged: 1234},
	}}
	if !s.well {
		h.Older = 2
	}
	return h, nil
}

func (s shop) Check(context.Context) (control.Check, error) { return control.Check{}, nil }

func (s shop) Backup(context.Context, string) (control.Backup, error) {
	return control.Backup{}, nil
}

func (s shop) Compact(context.Context) (control.Compacted, error) {
	return control.Compacted{}, nil
}

func (s shop) Keys(context.Context) (control.KeyList, error) {
	l := control.KeyList{Path: "/var/lib/tideover/queue.key", Keys: []control.Key{
		{Name: "3f2a91c4", Since: noon, Seals: true, Held: true, Sealed: 12, Open: 3},
		{Name: "90b1e0aa", Since: noon.Add(-40 * 24 * time.Hour), Held: true, Sealed: 2, Reports: 2},
	}}
	if !s.well {
		l.Keys = append(l.Keys, control.Key{
			Name: "00c0ffee", Since: noon.Add(-80 * 24 * time.Hour), Lost: true, Sealed: 5, DestroyedAt: noon, By: "uid 0 (root)", Reason: "read by a stranger",
		})
	}
	return l, nil
}

func (s shop) RotateKey(ctx context.Context, _ control.Peer) (control.KeyList, error) {
	return s.Keys(ctx)
}

func (s shop) DestroyKeys(ctx context.Context, _ control.KeyDestruction, _ control.Peer) (control.KeyList, error) {
	return s.Keys(ctx)
}

func (s shop) VerifyJournal(_ context.Context, anchor string) (control.Journal, error) {
	j := control.Journal{
		Verified: s.well, Path: "/var/lib/tideover/queue.db", Entries: 1234, Transactions: 345, FirstAt: noon.Add(-time.Hour), LastAt: noon,
		Seq: 1048600, Head: strings.Repeat("9f", 32), Newer: 3, Anchors: []control.JournalAnchor{{Seq: 1048592, Head: strings.Repeat("a1", 32), SaidAt: noon}},
	}
	if !s.well {
		j.Flaws = []control.Flaw{{Entry: 1048590, What: tideover.Textf("the chain is broken at entry 1048590", "哈希链在第 1048590 条记录处断裂")}}
	}
	if anchor != "" {
		j.Anchors, j.Newer = nil, 1234
	}
	return j, nil
}

func (s shop) Reconcile(_ context.Context, q control.ReconcileQuery, each func(tideover.Compared) error) (tideover.Reconciliation, error) {
	if q.Date == "2026-02-28" {
		return tideover.Reconciliation{}, control.Refused("invalid_date", tideover.Textf("no such day", "没有这一天"), tideover.Textf("another", "换一天"))
	}
	sale, refund, none := tideover.KindSale, tideover.KindRefund, tideover.Sum{}
	sum := func(count, amount int64) *tideover.Sum { return &tideover.Sum{Count: count, Amount: amount} }
	r := tideover.Reconciliation{
		ID: saleID, Store: "shop-0001", Date: "2026-03-01", From: noon.Add(-12 * time.Hour), To: noon.Add(12 * time.Hour), Result: tideover.VerdictMatch,
		Compared: 3, Hub: true, Statement: true, Unreported: []tideover.Unreported{}, Findings: []tideover.Compared{}, Rest: []tideover.Balance{},
		Reports: []tideover.Reported{{ID: saleID, Terminal: "till-1", From: noon.Add(-4 * time.Hour), To: noon.Add(9 * time.Hour), Result: tideover.VerdictMatch, Totals: []tideover.Balance{
			{Terminal: "till-1", Kind: sale, Currency: "CNY", Till: sum(2, 129900), Journal: sum(2, 129900), Hub: sum(2, 129900), Platform: sum(2, 129900), Result: tideover.VerdictMatch},
			{Terminal: "till-1", Kind: sale, Currency: "JPY", Till: sum(1, 500), Journal: sum(1, 500), Hub: sum(1, 500), Platform: sum(1, 500), Result: tideover.VerdictMatch},
		}}},
	}
	said := func(state tideover.State, reference string) *tideover.Said {
		return &tideover.Said{Kind: &sale, Amount: 1299, Currency: "CNY", State: state, Reference: reference, At: noon}
	}
	line := tideover.Compared{
		ID: saleID, Key: "=1+1", Terminal: "前台二号机", Result: tideover.VerdictMismatch, Reason: "twice", Till: said(tideover.StateApproved, ""),
		Journal: said(tideover.StateApproved, "P-1"), Hub: said(tideover.StateApproved, "P-1"),
		Platform: []tideover.Said{*said(tideover.StateApproved, "P-1"), *said(tideover.StateApproved, "P-2")},
		What:     tideover.Text{En: "platform: approved P-1 and approved P-2", Zh: "平台：已成功 P-1、已成功 P-2"}, Next: tideover.Text{En: "give one back", Zh: "请退回一笔"},
	}
	if !s.well {
		r.Result, r.Statement, r.HubWhy = tideover.VerdictMismatch, false, "the platform gives none"
		r.Findings = []tideover.Compared{line, {ID: saleID, Result: tideover.VerdictOpen, Reason: "open", Hub: said(tideover.StatePending, ""), What: line.What, Next: line.Next}}
		r.Reports = append(r.Reports, tideover.Reported{ID: saleID, Terminal: "till-1", From: noon.Add(-50 * time.Hour), To: noon, Result: tideover.VerdictMatch, Superseded: true},
			tideover.Reported{ID: saleID, Terminal: "till-9", From: noon, To: noon.Add(time.Second), Result: tideover.VerdictMatch})
		r.Rest = []tideover.Balance{{Terminal: "前台二号机", Kind: refund, Currency: "CNY", Journal: sum(1, 1299), Hub: &none, Result: tideover.VerdictOneSided}}
		r.Unreported = []tideover.Unreported{{Terminal: "till-1", Count: 3, Since: noon, Reported: true}, {Terminal: "前台二号机", Count: 1, Since: noon}}
	}
	if q.All {
		for _, c := range []tideover.Compared{line, {ID: saleID, Result: tideover.VerdictMatch, Journal: said(tideover.StateDeclined, "")}} {
			if err := each(c); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func (s shop) Terminals(context.Context) (control.TerminalList, error) {
	if s.well {
		return control.TerminalList{Terminals: []control.Terminal{}}, nil
	}
	return control.TerminalList{Terminals: []control.Terminal{
		{Terminal: tideover.Terminal{UID: "u1", Name: "till-1", PairedAt: noon}, Open: 2},
		{Terminal: tideover.Terminal{UID: "u2", Name: "前台二号机", PairedAt: noon, Revoked: true}},
	}}, nil
}

func (s shop) Pair(_ context.Context, r control.PairRequest, _ control.Peer) (control.Pairing, error) {
	if r.Name == "till-1" && !r.Replace {
		return control.Pairing{}, control.Refused("name_in_use", tideover.Textf("taken", "已占用"), tideover.Textf("another", "换一个"))
	}
	return control.Pairing{Code: "012345", Name: r.Name, ExpiresAt: noon, Endpoint: "0.0.0.0:8400"}, nil
}

func (s shop) Revoke(_ context.Context, name string, _ control.Peer) error {
	if name != "till-1" {
		return control.NotFound("unknown_terminal", tideover.Textf("no till %q", "没有终端 %q", name), tideover.Text{})
	}
	return nil
}

// open serves a shop on a real socket, which the program is pointed at through its environment.
func (s shop) open(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	server := control.New(control.Config{Socket: path}, s, slog.New(slog.DiscardHandler))
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TIDEOVER_ADMIN_SOCKET", path)
}

// Every screen in both languages: columns stay in line beside Chinese, and nothing from a till moves the cursor.
func TestScreens_AreWhatTheyWere(t *testing.T) {
	for _, well := range []bool{true, false} {
		shop{well}.open(t)
		for _, lang := range []string{"en", "zh"} {
			var all strings.Builder
			for _, args := range []string{
				"status", "terminal list", "terminal pair --name till-9", "terminal pair --replace till-1", "terminal pair --name till-1",
				"terminal revoke till-1", "terminal revoke till-7", "queue list", "queue list --state held", "queue list --not-handed-over",
				"queue show " + saleID.String(), "queue show " + saleID.String()[:6], "queue hold " + saleID.String(), "queue release " + saleID.String(),
				"queue retry " + saleID.String(), "queue cancel " + saleID.String(), "queue settle --as approved --reason x " + saleID.String(),
				"queue settle --as declined --reason x " + saleID.String(), "queue drop --reason x " + saleID.String(), "queue drop --reason x 000000",
				"queue export", "reconcile", "reconcile --csv -", "reconcile --date 1.3.2026", "reconcile --date 2026-02-28", "reconcile --json --csv -", "journal verify", "journal verify --anchor none", "rules", "key list", "key rotate", "key destroy --force", "key destroy --force --reason x", "queue show " + tideover.MakeID("x", "y", "z").String(), "enroll tov1.x",
			} {
				status, out, words := call(t, append(strings.Fields(args), "--lang", lang)...)
				fmt.Fprintf(&all, "$ tideover %s\n%s", args, out)
				for line := range strings.Lines(words) {
					all.WriteString("2> " + line)
				}
				fmt.Fprintf(&all, "[%d]\n\n", status)
			}
			if strings.ContainsRune(all.String(), '\x1b') {
				t.Error("an escape sequence reaches the technician's screen")
			}
			golden(t, fmt.Sprintf("screens.%s.%v.txt", lang, map[bool]string{true: "well", false: "degraded"}[well]), all.String())
		}
	}
}

// --json prints the very type that the API serves.
func TestJSON_IsTheAPIsOwnType(t *testing.T) {
	s := shop{}
	s.open(t)
	_, out, _ := call(t, "status", "--json")
	var st control.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || !reflect.DeepEqual(st, s.Status()) {
		t.Errorf("%v, have %s", err, out)
	}
	status, out, _ := call(t, "queue", "list", "--json")
	var page control.Page
	if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Transactions) != 3 || page.Next != "42" || status != exitWell {
		t.Errorf("%v, have %s", err, out)
	}
	_, out, _ = call(t, "queue", "list", "--state", "held", "--json")
	if want := "{\n  \"transactions\": [],\n  \"next\": \"\"\n}\n"; out != want {
		t.Errorf("an empty list is %s", out)
	}
	_, out, _ = call(t, "queue", "show", saleID.String(), "--json")
	var d control.Detail
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Transaction.ID != saleID || len(d.History) != 2 {
		t.Errorf("%v, have %s", err, out)
	}
	status, out, _ = call(t, "reconcile", "--json")
	var r tideover.Reconciliation
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Findings) != 2 || len(r.Reports) != 3 || status != exitRefused {
		t.Errorf("%d, %v, have %s", status, err, out)
	}
	_, out, _ = call(t, "terminal", "list", "--json")
	var l control.TerminalList
	if err := json.Unmarshal([]byte(out), &l); err != nil || len(l.Terminals) != 2 || l.Terminals[0].Open != 2 {
		t.Errorf("%v, have %s", err, out)
	}
	_, out, _ = call(t, "terminal", "pair", "--json")
	var p control.Pairing
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.Code != "012345" {
		t.Errorf("%v, have %s", err, out)
	}
}

// A file of a comparison is there whole or not at all, with a cell for each column.
func TestReconcile_WritesEachTransactionToAFile(t *testing.T) {
	shop{well: true}.open(t)
	file := filepath.Join(t.TempDir(), "day.csv")
	status, out, _ := call(t, "reconcile", "--csv", file)
	if status != exitWell || !strings.Contains(out, "till-1") {
		t.Fatalf("%d %s", status, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll() // it refuses rows of unequal length
	if err != nil || len(rows) != 3 || rows[1][2] != "'=1+1" || rows[1][27] != "P-1 | P-2" || rows[1][29] != "2" || rows[2][6] != "" {
		t.Errorf("%v in %q", err, rows)
	}
	if status, _, words := call(t, "reconcile", "--date", "2026-02-28", "--csv", file+"x"); status == exitWell {
		t.Errorf("%d %s", status, words)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
