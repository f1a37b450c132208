package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tideover"
	"tideover/edge"
)

// rule puts rules on record.
func (s *shop) rule(text string) Rules {
	s.t.Helper()
	r, err := s.q.SetRules(s.t.Context(), text)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestRules_EachVersionIsOnRecordOnce(t *testing.T) {
	s := newShop(t)
	if s.q.Rules().Seq != 0 {
		t.Fatalf("a fresh journal has rules: %+v", s.q.Rules())
	}
	first := s.rule("a = 1\n")
	if again := s.rule("a = 1\n"); again != first || first.Seq == 0 || first.At == 0 {
		t.Fatalf("the same rules are %+v, and then %+v", first, again)
	}
	under := func(key string, seq uint64) tideover.ID {
		d := draft("till", key)
		d.Rules = seq
		s.accept(d)
		return d.ID
	}
	under("k1", first.Seq)
	second := s.rule("a = 2\n")
	late := under("k2", first.Seq) // prepared before the change
	under("k3", second.Seq)
	back := s.rule("a = 1\n") // what it was before is another version all the same
	s.close()
	s.open(Options{})
	if s.q.Rules() != back || back.Seq <= second.Seq || second.Seq <= first.Seq {
		t.Fatalf("after a restart %+v are the newest; had %+v, %+v, %+v", s.q.Rules(), first, second, back)
	}
	if again := s.rule("a = 1\n"); again != back {
		t.Errorf("the same rules after a restart are %+v, not %+v", again, back)
	}
	want := []RulesVersion{{first, 2}, {second, 1}, {back, 0}}
	for most := 1; most <= 4; most++ {
		have, older, err := s.q.RulesHistory(t.Context(), most)
		if rest := max(0, 3-most); err != nil || older != rest || fmt.Sprint(have) != fmt.Sprint(want[rest:]) {
			t.Errorf("have %v, %d older, %v\nwant %v", have, older, err, want[rest:])
		}
	}
	steps, err := s.q.History(late)
	if err != nil || len(steps) != 1 || steps[0].Rules != first.Seq {
		t.Errorf("have %+v, %v; want version %d", steps, err, first.Seq)
	}
	if at, err := s.q.RulesAt(steps[0].Rules); err != nil || at != first {
		t.Errorf("version %d is %+v, %v", first.Seq, at, err)
	}
	for _, seq := range []uint64{0, 1, steps[0].Seq, 1 << 60} {
		if at, err := s.q.RulesAt(seq); !errors.Is(err, ErrUnknown) {
			t.Errorf("entry %d holds the rules %+v, %v", seq, at, err)
		}
	}
}

// Many who set rules at once, among accepts: each is told the version that holds its own text.
func TestRules_EachSetterIsToldItsOwnVersion(t *testing.T) {
	s := newShop(t)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			text := fmt.Sprintf("a = %d\n", i%5)
			r, err := s.q.SetRules(context.Background(), text)
			if err != nil || r.Text != text || r.Seq == 0 {
				t.Errorf("set %q, told %+v, %v", text, r, err)
				return
			}
			if on, err := s.q.RulesAt(r.Seq); err != nil || on != r {
				t.Errorf("told %+v, on record is %+v, %v", r, on, err)
			}
		})
		wg.Go(func() { s.accept(draft("till", fmt.Sprint("k", i))) })
	}
	wg.Wait()
	versions, _, err := s.q.RulesHistory(t.Context(), 100)
	if err != nil || len(versions) < 5 || versions[len(versions)-1].Rules != s.q.Rules() {
		t.Fatalf("%v, %v", versions, err)
	}
	for i := range versions[1:] {
		if versions[i].Text == versions[i+1].Text {
			t.Errorf("%q stands twice in a row", versions[i].Text)
		}
	}
}

func TestRules_ALongTextAndAFullDiskAreRefused(t *testing.T) {
	s := newShop(t)
	if _, err := s.q.SetRules(t.Context(), strings.Repeat("x", RulesMax+1)); err == nil || s.q.Rules().Seq != 0 {
		t.Errorf("a text of %d bytes: %v", RulesMax+1, err)
	}
	long := strings.Repeat("x", RulesMax)
	if r := s.rule(long); r.Text != long {
		t.Error("the longest text was not kept")
	}
	const shown = rulesShownMax / RulesMax
	for i := range shown + 2 {
		s.rule(fmt.Sprint(i, long)[:RulesMax])
	}
	if have, older, err := s.q.RulesHistory(t.Context(), 1000); err != nil || len(have) != shown || older != 3 || have[shown-1].Rules != s.q.Rules() {
		t.Errorf("of long texts %d are shown, %d are older, %v", len(have), older, err)
	}
	long = s.q.Rules().Text
	s.close()
	s.open(Options{SizeMax: 1})
	var err error
	for i := range 1 << 10 { // the file is as large as it was
		text := fmt.Sprint(i, long)[:RulesMax]
		if _, err = s.q.SetRules(t.Context(), text); err != nil {
			break
		}
		long = text
	}
	if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code != tideover.CodeStorageFull {
		t.Errorf("on a full disk: %v", err)
	}
	if s.q.Rules().Text != long {
		t.Error("what found no room is in force")
	}
	s.close()
	check(t, s.path)
}

// An event of rules belongs to no transaction.
func TestRules_AreNoTransactions(t *testing.T) {
	var r edge.Record
	if err := r.Apply(1, &edge.Event{Type: edge.EventRules, Rules: "a = 1\n"}, true); err == nil {
		t.Error("a transaction began with rules")
	}
}
