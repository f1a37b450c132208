package tideover_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tideover"
)

// The ids were made by another implementation (Python's hashlib): a change here would give every till's old press a new id.
func TestMakeID_GoldenValues(t *testing.T) {
	for _, c := range []struct{ store, uid, key, want string }{
		{"shop-0001", "till-1", "A-1001", "9t2kqx4r5hq9njbnyenbxwg120"},
		{"", "", "", "mf0npf8j8b7t5a2cb8td68w5r8"},
		{"a", "bc", "d", "bh7zfvf83qx5d42897r8tp101c"},
		{"ab", "c", "d", "7e4bayvw6srdgxnsxstjp6vkxc"},
		{"店-1", "uid", strings.Repeat("k", 128), "n07v8trc6h7d6srtet8p0r7dx4"},
	} {
		if got := tideover.MakeID(c.store, c.uid, c.key).String(); got != c.want {
			t.Errorf("MakeID(%q, %q, %q) = %s, want %s", c.store, c.uid, c.key, got, c.want)
		}
	}
}

func TestMakeID_DependsOnEachPartAndItsBounds(t *testing.T) {
	part := rapid.StringN(0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		a := [3]string{part.Draw(t, "store"), part.Draw(t, "uid"), part.Draw(t, "key")}
		b := [3]string{part.Draw(t, "store'"), part.Draw(t, "uid'"), part.Draw(t, "key'")}
		same := tideover.MakeID(a[0], a[1], a[2]) == tideover.MakeID(b[0], b[1], b[2])
		if same != (a == b) {
			t.Fatalf("%q and %q: same id is %v", a, b, same)
		}
	})
}

func TestParseID_ReadsWhatStringPrints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := tideover.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		got, err := tideover.ParseID(id.String())
		if err != nil || got != id {
			t.Fatalf("ParseID(%s) = %s, %v", id, got, err)
		}
	})
}

func TestParseID_RefusesEveryOtherSpelling(t *testing.T) {
	good := "9t2kqx4r5hq9njbnyenbxwg120"
	for name, s := range map[string]string{
		"empty": "", "short": good[:25], "long": good + "0", "upper case": strings.ToUpper(good),
		"letter l": "l" + good[1:], "letter i": "i" + good[1:], "letter o": "o" + good[1:], "letter u": "u" + good[1:],
		"space": " " + good, "line end": good + "\n", "line end inside": good[:13] + "\n" + good[13:],
		"padding": good + "======", "unused bits set": good[:25] + "1", "hyphen": good[:13] + "-" + good[13:],
	} {
		var id tideover.ID
		if err := id.UnmarshalText([]byte(s)); !errors.Is(err, tideover.ErrBadID) {
			t.Errorf("%s: %q: %v, want ErrBadID", name, s, err)
		}
	}
}

func TestID_ZeroIsNoTransaction(t *testing.T) {
	if !(tideover.ID{}).IsZero() || tideover.MakeID("", "", "").IsZero() {
		t.Error("only the zero value is zero")
	}
}

func TestParseShort_BoundsWhatBeginsWithIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := tideover.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		other := tideover.ID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "other"))
		same := rapid.IntRange(0, 16).Draw(t, "same")
		copy(other[:same], id[:same])
		short := id.String()[:rapid.IntRange(tideover.ShortMin, 26).Draw(t, "characters")]
		first, last, err := tideover.ParseShort(short)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []tideover.ID{id, other} {
			within := bytes.Compare(first[:], x[:]) <= 0 && bytes.Compare(x[:], last[:]) <= 0
			if within != strings.HasPrefix(x.String(), short) {
				t.Fatalf("%s: %s is within: %v", short, x, within)
			}
		}
		if (first == last) != (len(short) == 26) {
			t.Fatalf("%s: from %s to %s", short, first, last)
		}
	})
}

func TestParseShort_RefusesWhatNoIDBeginsWith(t *testing.T) {
	for _, s := range []string{
		"", "9t2kq", "9T2KQX", "9t2kql", "9t2kqx ", "9t2kq\nx", "9t2kqx\n", "9t2kqx4r5hq9njbnyenbxwg121", "9t2kqx4r5hq9njbnyenbxwg1200",
	} {
		if _, _, err := tideover.ParseShort(s); !errors.Is(err, tideover.ErrBadID) {
			t.Errorf("%q: %v, want ErrBadID", s, err)
		}
	}
}
