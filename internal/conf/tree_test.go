package conf

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"
)

// theirs reads a document by go-toml's own decoder, into what parse makes of it.
func theirs(text string) (map[string]any, error) {
	tree := map[string]any{}
	if err := toml.Unmarshal([]byte(text), &tree); err != nil {
		return nil, err
	}
	return alike(tree).(map[string]any), nil
}

// alike returns v with every date and time made one: parse keeps what was written.
func alike(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, sub := range v {
			v[name] = alike(sub)
		}
	case []any:
		for i, sub := range v {
			v[i] = alike(sub)
		}
	case moment:
		return moment{dated: v.dated}
	case time.Time:
		return moment{dated: true}
	case toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return moment{}
	case float64:
		return fmt.Sprint(v) // NaN is not itself
	}
	return v
}

// dated says whether there is a date or a time in v.
func dated(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), dated)
	case []any:
		return slices.ContainsFunc(v, dated)
	}
	_, is := v.(moment)
	return is
}

var almostDated = regexp.MustCompile(`\d[-:]`)

// compare has both read a document.
func compare(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string,
) {
	t.Helper()
	want, theirErr := theirs(text)
	have, err := parse([]byte(text))
	if have != nil {
		have = alike(have).(map[string]any)
	}
	// A day that no calendar has is no date to go-toml, and some date to us: nobody takes one. It complains about that first.
	if theirErr != nil && err == nil && dated(have) {
		return
	}
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("%q:\nhave %v, %v\nwant %v, %v", text, have, err, want, theirErr)
	}
	if d, ok := errors.AsType[*toml.DecodeError](theirErr); ok {
		line, _ := d.Position()
		if s, ok := errors.AsType[*syntax](err); !ok || s.line != line && !(s.line > line && almostDated.MatchString(text)) {
			t.Fatalf("%q: have %#v, want line %d: %v", text, err, line, theirErr)
		}
	}
	if err == nil && !reflect.DeepEqual(have, want) {
		t.Fatalf("%q:\nhave %#v\nwant %#v", text, have, want)
	}
}

// documents are those where decoders have differed, or a rule of TOML's is easily forgotten.
var documents = []string{
	"", "a = 1", "a = 1\na = 2", "a.b = 1\na.c = 2", "a = 1\na.b = 2", "a.b = 1\na = 2", "\"a\".'b' = 1\na.b = 2",
	"[a]\n[a]", "[a.b]\n[a]", "[a]\n[a.b]", "[a.b]\n[a]\nb = 1", "[a.b]\n[a]\nb.c = 1", "[a]\nb.c = 1\n[a.b]", "[a]\nb.c = 1\n[a.b.d]\n", "[a]\nb.c = 1\n[a.b.c]",
	"a.b.c = 1\n[a]", "a.b.c = 1\n[a.x]", "a.b.c = 1\n[[a.x]]\n[[a.x]]", "[[a]]\n[[a]]\nb = 1", "[[a]]\n[a]", "[a]\n[[a]]", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "[[a.b]]\n[a]\nc = 1",
	"[[a]]\nb.c = 1\n[[a]]\nb.c = 1", "[[a]]\n[[a.b]]\n[[a.b]]\n[[a]]\n[[a.b]]", "a = []\n[[a]]", "a = [{}]\n[[a]]", "a = {}\n[a]", "a = {}\n[a.b]", "a = {}\na.b = 1", "a = {b.c = 1, b.d = 2}", "a = {b = 1, b = 2}",
	"a = {b.c = 1, b = 2}", "a = [{b = 1, b = 2}]", "a = [[{b.c = 1, b.c = 2}]]", "a = {b = {c = 1}, b.d = 2}", "a = [1, [2, \"x\"], {y = true}]", "a = [\n1,\n# x\n2,\n]",
	"a = 0", "a = -0", "a = +7", "a = 1_000", "a = 0x_1", "a = 0xDEAD_beef", "a = 0o17", "a = 0b101", "a = 017", "a = 0x8000000000000000", "a = 0o1000000000000000000000", "a = 9223372036854775807",
	"a = 9223372036854775808", "a = -9223372036854775808", "a = -9223372036854775809", "a = -0x1", "a = 0x", "a = 0X1", "a = 1e3", "a = 1.5", "a = 1e999", "a = -inf", "a = +nan", "a = 1_0.0_1e1_0", "a = .5", "a = 5.",
	"a = true", "a = True", "a = \"\\u00e9\\n\"", "a = '\\u00e9'", "a = \"\"\"\n x \\\n  y\"\"\"", "a = '''\nx'''", "a = \"\\q\"", "a = 2020-01-02", "a = 2020-01-02T03:04:05Z", "a = 2020-01-02 03:04:05.5", "a = 03:04:05",
	"a = 2020-13-45", "[]", "[a", "[a.]", "[ a . b ]", "[[a]", "[[a] ]", "= 1", "a", "a =", "a = 1 b = 2", "a = 1 # x\n#\n", "a = 1\r\nb = 2\r\n", "a = 1\rb = 2", "\"\" = 1\n'' = 2", "[\"\"]\n\"\" = 1", "# \x00", "a = \"\x7f\"",
	"é = 1", "\"é\".b = 1\n[\"\\u00e9\"]", "a.\"b.c\" = 1\n[a.b]", "true = 1\n1 = 2\n1.2 = 3", "a = {b = 1,}", "a = {b = 1\n}", "a = {,}", "[a]]", "\ufeffa = 1",
}

// What the configuration is read with reads as go-toml's own decoder does.
func TestParse_ReadsAsGoTOMLDoes(t *testing.T) {
	for _, text := range documents {
		compare(t, text)
	}
}

// Keys are defined in every order and in every way.
func TestParse_RefusesWhatGoTOMLRefuses(t *testing.T) {
	key := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "'a'"}), 1, 3).Draw(t, "key"), ".")
	})
	value := rapid.OneOf(rapid.SampledFrom([]string{"1", "[]", "{}", "'x'", "[{}]"}), rapid.Custom(func(t *rapid.T) string {
		return "{" + key.Draw(t, "first") + " = 1, " + key.Draw(t, "second") + " = [{" + key.Draw(t, "third") + " = 2}]}"
	}))
	line := rapid.Custom(func(t *rapid.T) string {
		k := key.Draw(t, "key")
		return rapid.SampledFrom([]string{"[" + k + "]", "[[" + k + "]]", k + " = " + value.Draw(t, "value")}).Draw(t, "line")
	})
	rapid.Check(t, func(t *rapid.T) {
		compare(t, strings.Join(rapid.SliceOfN(line, 1, 8).Draw(t, "document"), "\n"))
	})
}

// FuzzParse holds what reads the configuration to go-toml's own decoder.
func FuzzParse(f *testing.F) {
	for _, text := range documents {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { compare(t, text) })
}
