package control_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/control"
)

func TestSee_TellsWhatIsPaidAndNotHandedOver(t *testing.T) {
	const end = tideover.Millis(1 << 40)
	paid := tideover.Transaction{State: tideover.StateApproved, UpdatedAt: end}
	seen, declined := paid, paid
	seen.Acknowledged, declined.State = true, tideover.StateDeclined
	for name, tc := range map[string]struct {
		t    tideover.Transaction
		now  tideover.Millis
		want bool
	}{
		"just paid":         {paid, end.Add(control.HandOverMax), false},
		"paid":              {paid, end.Add(control.HandOverMax + 1e6), true},
		"the clock was set": {paid, end.Add(-24 * time.Hour), true},
		"acknowledged":      {seen, end.Add(time.Hour), false},
		"declined":          {declined, end.Add(time.Hour), false},
	} {
		have := control.See(tc.t, tc.now)
		if have.NotHandedOver != tc.want {
			t.Errorf("%s: %v", name, have.NotHandedOver)
		}
		var back control.Transaction
		b, err := json.Marshal(have)
		if err != nil || json.Unmarshal(b, &back) != nil || back != have {
			t.Errorf("%s: %v, %s", name, err, b)
		}
	}
}

func TestServer_ActsForAPersonOnRecord(t *testing.T) {
	h := &house{}
	path, _ := open(t, h)
	a := control.Action{Verb: control.VerbSettle, As: tideover.StateReversed, Reason: " 顾客已退款 "}
	d, err := control.Dial(path).Act(t.Context(), theID.String()[:8], a)
	if err != nil || d.Transaction.ID != theID || len(d.History) != 1 {
		t.Fatalf("have %+v, %v", d, err)
	}
	if a.Reason = "顾客已退款"; h.target != theID || h.acted != a {
		t.Errorf("acted %+v on %s", h.acted, h.target)
	}
	name := fmt.Sprintf("uid %d", os.Geteuid())
	if u, err := user.Current(); err == nil {
		name += " (" + u.Username + ")"
	}
	if h.by.String() != name {
		t.Errorf("by %q, want %q", h.by, name)
	}
}

func TestAction_ChecksWhatAPersonTyped(t *testing.T) {
	for name, tc := range map[string]struct {
		a    control.Action
		good bool
	}{
		"hold":             {control.Action{Verb: control.VerbHold}, true},
		"cancel, and why":  {control.Action{Verb: control.VerbCancel, Reason: "the customer left"}, true},
		"settle":           {control.Action{Verb: control.VerbSettle, As: tideover.StateDeclined, Reason: "平台确认"}, true},
		"longest":          {control.Action{Verb: control.VerbDrop, Reason: strings.Repeat("字", control.ReasonMax)}, true},
		"too long":         {control.Action{Verb: control.VerbDrop, Reason: strings.Repeat("x", control.ReasonMax+1)}, false},
		"no reason":        {control.Action{Verb: control.VerbDrop, Reason: " "}, false},
		"settle as manual": {control.Action{Verb: control.VerbSettle, As: tideover.StateManual, Reason: "x"}, false},
		"drop as approved": {control.Action{Verb: control.VerbDrop, As: tideover.StateApproved, Reason: "x"}, false},
		"retry, and why":   {control.Action{Verb: control.VerbRetry, Reason: "x"}, true},
		"line end":         {control.Action{Verb: control.VerbDrop, Reason: "a\nb"}, false},
		"escape":           {control.Action{Verb: control.VerbDrop, Reason: "a\x1b[2J"}, false},
		"turned text":      {control.Action{Verb: control.VerbDrop, Reason: "a\u202eb"}, false},
		"not UTF-8":        {control.Action{Verb: control.VerbDrop, Reason: "\xff"}, false},
		"nothing":          {control.Action{}, false},
	} {
		err := tc.a.Check()
		if e, ok := errors.AsType[*control.Error](err); (err == nil) != tc.good || ok && (e.Status != http.StatusBadRequest || e.What.Zh == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServer_ExportsTheWholeOrSaysThatItDidNot(t *testing.T) {
	for _, broken := range []bool{false, true} {
		path, _ := open(t, &house{broken: broken})
		n := 0
		err := control.Dial(path).Export(t.Context(), func(d control.Detail) error {
			if n++; !reflect.DeepEqual(d, theDetail()) {
				t.Fatalf("have %+v", d)
			}
			return nil
		})
		e, _ := errors.AsType[*control.Error](err)
		if !broken && (err != nil || n != exported) || broken && (e == nil || e.Status != http.StatusInternalServerError) {
			t.Errorf("broken %v: %d lines, %v", broken, n, err)
		}
	}
	path, _ := open(t, &house{})
	full := errors.New("the disk is full")
	if err := control.Dial(path).Export(t.Context(), func(control.Detail) error { return full }); !errors.Is(err, full) {
		t.Error(err)
	}
	if err := control.Dial(filepath.Join(t.TempDir(), "none")).Export(t.Context(), nil); !errors.Is(err, control.ErrUnreachable) {
		t.Error(err)
	}
}
