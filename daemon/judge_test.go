package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/control"
	"tideover/internal/conf"
	"tideover/queue"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

// strict are rules under which nothing above a yuan is sold.
func strict() rules.Rules {
	return rules.Rules{Limits: rules.Limits{SaleMax: 100}, Duplicates: rules.DefaultDuplicates()}
}

// A router whose rules have changed, and whose disk is full, starts and answers what it knows; new requests are refused until the rules are on
// record, and judged by them then. A reload is refused there, and the old rules stay.
func TestJudge_AFullDisk(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.sizeMax = 1 << 20
	h.open(t)
	var last string
	for full, n := false, 0; !full; n++ {
		request := saleOf(1)
		if n%2 == 0 && n < 60 {
			request.Payload = make([]byte, 20_000)
		}
		key := fmt.Sprint(n)
		_, err := h.Accept(t.Context(), till1, key, terminal.OverrideNone, request)
		if r, ok := errors.AsType[*tideover.Refusal](err); ok && r.Code == tideover.CodeStorageFull && len(request.Payload) > 100 {
			continue // a small one may find room
		}
		if full = err != nil; full {
			wantCode(t, err, tideover.CodeStorageFull)
			continue
		}
		if len(request.Payload) <= 100 {
			last = key
		}
	}
	_, err := h.judge.enact(t.Context(), strict())
	wantCode(t, err, tideover.CodeStorageFull)
	if b := h.judge.now.Load(); b.Limits.SaleMax != 0 || b.on.Seq == 0 {
		t.Errorf("a reload that found no room is in force: %+v", b)
	}

	h.judge = &judge{queue: h.queue, log: slog.New(slog.DiscardHandler)} // as at a start
	if err := h.judge.begin(t.Context(), strict()); err != nil {
		t.Fatalf("the router does not start: %v", err)
	}
	if b := h.judge.now.Load(); b.Limits.SaleMax != 100 || b.on.Seq != 0 {
		t.Errorf("in force is %+v", b)
	}
	if known, err := h.Accept(t.Context(), till1, last, terminal.OverrideNone, saleOf(1)); err != nil || !known.Replayed {
		t.Errorf("a known key: %+v, %v", known, err)
	}
	_, err = h.Accept(t.Context(), till1, "new", terminal.OverrideNone, saleOf(1))
	wantCode(t, err, tideover.CodeStorageFull)

	h.stop()
	h.sizeMax = 0
	h.open(t)
	h.judge = &judge{queue: h.queue, log: slog.New(slog.DiscardHandler)}
	h.judge.now.Store(&rulebook{Rules: strict()})
	_, err = h.Accept(t.Context(), till1, "new", terminal.OverrideNone, saleOf(101))
	wantCode(t, err, tideover.CodeAmountAboveLimit)
	sold := h.sell(t, till1, "new", 99)
	steps, err := h.queue.History(sold.ID)
	if err != nil || h.judge.now.Load().on != h.queue.Rules() || steps[0].Rules != h.queue.Rules().Seq || !strings.Contains(h.queue.Rules().Text, "sale_max = 100") {
		t.Errorf("judged by %+v, %v; on record is %+v", steps, err, h.queue.Rules())
	}
}

// TestJudge_AnAcceptDoesNotUndoAReload keeps out that a press which waits for the old rules to come on record, after the disk was full, puts them
// in force again over those that a reload has enacted meanwhile.
func TestJudge_AnAcceptDoesNotUndoAReload(t *testing.T) {
	h := newHouse(t)
	j := &judge{queue: h.queue, log: slog.New(slog.DiscardHandler)}
	j.now.Store(&rulebook{}) // the disk was full at the start
	j.one.Lock()             // a reload is under way
	found := make(chan *rulebook)
	go func() {
		b, err := j.book(t.Context())
		if err != nil {
			t.Error(err)
		}
		found <- b
	}()
	time.Sleep(20 * time.Millisecond)
	if _, err := j.enactLocked(t.Context(), strict()); err != nil {
		t.Error(err)
	}
	j.one.Unlock()
	if b := <-found; b.Limits.SaleMax != 100 || b != j.now.Load() || b.on != h.queue.Rules() {
		t.Errorf("judged by %+v; in force is %+v, on record %+v", b, j.now.Load(), h.queue.Rules())
	}
}

// What a technician is told of the rules: each version with what changed, and the one that judged a transaction.
func TestRouter_TellsTheRulesOverTime(t *testing.T) {
	h := newHouse(t)
	tech, _ := h.technician(t)
	first := h.sell(t, till1, "A-1", 1299)
	h.rule(t, strict())
	second := h.sell(t, till1, "A-2", 99)
	have, err := tech.Rules(t.Context())
	if err != nil || len(have.Versions) != 2 || have.Older != 0 {
		t.Fatalf("%+v, %v", have, err)
	}
	now, was := have.Versions[0], have.Versions[1]
	if !now.InForce || was.InForce || now.Judged != 1 || was.Judged != 1 || now.Values["limits.sale_max"] != "100" || len(was.Changes) != 0 {
		t.Errorf("%+v", have)
	}
	changed := map[string]string{}
	for _, c := range now.Changes {
		changed[c.Key] = c.Old + ">" + c.New
	}
	if len(changed) != 3 || changed["limits.sale_max"] != "0>100" || changed["limits.offline_age_max"] != `"72h">"0s"` || changed["limits.offline_count_max"] != "1000>0" {
		t.Errorf("changed: %v", changed)
	}
	for id, want := range map[tideover.ID]control.Rules{first.ID: was.Rules, second.ID: now.Rules} {
		if d, err := tech.Show(t.Context(), id.String()); err != nil || d.Rules == nil || *d.Rules != want {
			t.Errorf("%s was judged by %+v, %v; want %+v", id, d.Rules, err, want)
		}
	}
	for n := range control.RulesMax + 3 {
		s := strict()
		s.Limits.SaleMax += int64(n + 1)
		h.rule(t, s)
	}
	if have, err = tech.Rules(t.Context()); err != nil || len(have.Versions) != control.RulesMax || have.Older != 5 || len(have.Versions[control.RulesMax-1].Changes) != 1 {
		t.Errorf("%d versions, %d older, %v", len(have.Versions), have.Older, err)
	}
}

// A verification is held against the head that the hub told last, and against one that a person has copied from there.
func TestRouter_VerifiesAgainstTheHubsHead(t *testing.T) {
	h := newHouse(t)
	tech, r := h.technician(t)
	h.sell(t, till1, "A-1", 1299)
	j, err := tech.VerifyJournal(t.Context(), "")
	if err != nil || !j.Verified || j.Transactions != 1 || len(j.Anchors) != 0 || j.Newer != j.Entries || j.Seq == 0 || j.FirstAt == 0 || len(j.Flaws) != 0 {
		t.Fatalf("without a hub: %+v, %v", j, err)
	}
	seq, head := h.queue.Head()
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: head})
	h.sell(t, till1, "A-2", 1300)
	j, err = tech.VerifyJournal(t.Context(), "")
	if err != nil || !j.Verified || len(j.Anchors) != 1 || j.Anchors[0].Seq != seq || j.Anchors[0].SaidAt == 0 || j.Newer == 0 || j.Newer >= j.Entries {
		t.Errorf("with the hub's head: %+v, %v", j, err)
	}
	newest := queue.Anchor{}
	newest.Seq, newest.Hash = h.queue.Head()
	j, err = tech.VerifyJournal(t.Context(), newest.String())
	if err != nil || !j.Verified || len(j.Anchors) != 2 || j.Newer != 0 || j.Anchors[0].SaidAt != 0 {
		t.Errorf("with the newest head: %+v, %v", j, err)
	}
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: [32]byte{9}})
	j, err = tech.VerifyJournal(t.Context(), "")
	if err != nil || j.Verified || len(j.Flaws) != 1 || j.Flaws[0].Entry != seq || !strings.Contains(j.Flaws[0].What.En, "another head") || j.Flaws[0].What.Zh == "" {
		t.Errorf("with another head: %+v, %v", j, err)
	}
	journalAlarm := func() bool {
		return slices.ContainsFunc(r.alarms(), func(f control.Finding) bool {
			return f.Code == "journal" && strings.Contains(f.What.En, "another head")
		})
	}
	if !journalAlarm() {
		t.Errorf("status does not say it: %+v", r.alarms())
	}
	h.welcome(t, wire.Welcome{AnchorSeq: newest.Seq, AnchorHead: newest.Hash})
	j, err = tech.VerifyJournal(t.Context(), queue.Anchor{Seq: newest.Seq}.String())
	if err != nil || j.Verified || !journalAlarm() {
		t.Errorf("against a head that was mistyped: %+v, %v", j, err)
	}
	if j, err = tech.VerifyJournal(t.Context(), ""); err != nil || !j.Verified || journalAlarm() {
		t.Errorf("once it verifies again: %+v, %v, %+v", j, err, r.alarms())
	}
	_, err = tech.VerifyJournal(t.Context(), "17")
	wantRefused(t, err, http.StatusBadRequest, tideover.CodeInvalidRequest)
	r.verifying.Lock()
	_, err = tech.VerifyJournal(t.Context(), "")
	r.verifying.Unlock()
	wantRefused(t, err, http.StatusConflict, "busy")
}

// Every configuration that is well can be put on record, whatever words a shop has for its methods.
func TestRules_FitOnRecord(t *testing.T) {
	r := rules.Rules{Limits: rules.DefaultLimits(), Duplicates: rules.DefaultDuplicates()}
	for i := range rules.MethodsMax {
		long, words := strings.Repeat(`"`, rules.MethodMax), strings.Repeat("💳", rules.BannerMax)
		r.Methods = append(r.Methods, rules.Method{
			Name: fmt.Sprintf("%02d%s", i, long[2:]), Offer: long, OfferEn: words, OfferZh: words, BannerEn: words, BannerZh: words,
		})
	}
	for _, wrong := range r.Check() {
		if wrong.Grave {
			t.Fatalf("they are not well: %v", wrong)
		}
	}
	if text := conf.Text(r); len(text) > queue.RulesMax*3/4 {
		t.Errorf("%d bytes of %d", len(text), queue.RulesMax)
	}
}
