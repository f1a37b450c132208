package columns_test

import (
	"strings"
	"testing"

	"tideover/internal/columns"
)

func TestWrite_AlignsByDisplayWidth(t *testing.T) {
	var b strings.Builder
	err := columns.Write(&b, [][]string{{"终端", "状态", "x"}, {"till-1", "ok"}, {"前台二号机", "", "end"}, {}})
	want := "" +
		"终端        状态  x\n" +
		"till-1      ok\n" +
		"前台二号机        end\n" +
		"\n"
	if err != nil || b.String() != want {
		t.Errorf("%v, have\n%swant\n%s", err, b.String(), want)
	}
}

func TestWidth_CountsCells(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "abc": 3, "中文": 4, "（a）": 5, "ｱ": 1, "カ": 2, "한": 2, "é": 1, "e\u0301": 1, "🙂": 2, "a\tb": 3, "…": 1, "。": 2,
	} {
		if have := columns.Width(s); have != want {
			t.Errorf("%q is %d cells wide, want %d", s, have, want)
		}
	}
}

func TestPlain_LeavesNothingThatATerminalActsOn(t *testing.T) {
	if have, want := columns.Plain("a\x1b[31mb\nc\u202ed\u0085"), "a\ufffd[31mb\ufffdc\ufffdd\ufffd"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
}
