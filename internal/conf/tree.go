package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// parse reads TOML: tables are map[string]any, lists []any, values string, int64, float64, bool or [moment]. go-toml parses; what stands here
// puts its expressions together, and refuses what is defined twice. go-toml's own decoder, which does that too, fills structs by
// reflection besides: 0.2 MB on mipsle that nothing here needs. A test has both read the same. An error is a [*syntax].
func parse(data []byte) (map[string]any, error) {
	var p unstable.Parser
	p.Reset(data)
	root, table := newTable(opened), ""
	at := root
	for p.NextExpression() {
		e := p.Expression()
		first, name := e.Key(), ""
		first.Next()
		for key := e.Key(); key.Next(); {
			name = join(name, string(key.Node().Data))
		}
		var err error
		if e.Kind == unstable.KeyValue {
			name = strings.TrimPrefix(table+"."+name, ".")
			err = at.keyValue(e)
		} else {
			table = name
			at, err = root.header(e.Key(), e.Kind == unstable.ArrayTable)
		}
		if err != nil {
			return nil, &syntax{line: p.Shape(first.Node().Raw).Start.Line, key: name, text: err.Error()}
		}
	}
	if err := p.Error(); err != nil {
		return nil, &syntax{line: lineOf(data, err), text: err.Error()}
	}
	return root.values, nil
}

// syntax is where a document stops being TOML, and why.
type syntax struct {
	line int    // 0 where that is not known
	key  string // "" where it is not a key's fault
	text string
}

// Error implements error.
func (s *syntax) Error() string { return s.text }

// lineOf returns the line that the parser complains about: what it highlights is a part of data, and tells by its capacity which.
func lineOf(data []byte, err error) int {
	e, ok := errors.AsType[*unstable.ParserError](err)
	if !ok {
		return 0
	}
	at := cap(data) - cap(e.Highlight)
	if at < 0 || at > len(data) {
		return 0
	}
	return 1 + strings.Count(string(data[:at]), "\n")
}

// defined is how a key came to be.
type defined uint8

const (
	value   defined = iota // with a value: nothing can be added to it
	implied                // as a part of a longer header: a header of its own may follow
	opened                 // by a header
	dotted                 // as a part of a dotted key: further dotted keys and longer headers may add to it
	listed                 // by a header in double brackets, of which each adds a table
)

// place is a key that has been defined.
type place struct {
	by     defined
	values map[string]any    // of a table; of the last one of a list
	below  map[string]*place // what is defined in values
}

func newTable(by defined) *place {
	return &place{by: by, values: map[string]any{}, below: map[string]*place{}}
}

// add defines a table right below t.
func (t *place) add(name string, by defined) *place {
	sub := newTable(by)
	t.below[name], t.values[name] = sub, sub.values
	return sub
}

// header opens the table that a header names, below the root t.
func (t *place) header(key unstable.Iterator, list bool) (*place, error) {
	for key.Next() {
		name, last := string(key.Node().Data), key.IsLast()
		sub := t.below[name]
		switch {
		case last && list:
			return t.member(name)
		case last:
			return t.open(name)
		case sub == nil:
			sub = t.add(name, implied)
		case sub.by == value:
			return nil, fmt.Errorf("key %s already exists as a value", name)
		}
		t = sub
	}
	return t, nil
}

// open opens a table that was not opened before.
func (t *place) open(name string) (*place, error) {
	sub := t.below[name]
	if sub == nil {
		return t.add(name, opened), nil
	}
	switch sub.by {
	case implied:
		sub.by = opened
		return sub, nil
	case opened:
		return nil, fmt.Errorf("table %s already exists", name)
	case dotted:
		return nil, fmt.Errorf("table %s already exists as defined by a dotted key", name)
	case listed:
		return nil, fmt.Errorf("table %s already exists as an array of tables", name)
	default:
		return nil, fmt.Errorf("key %s should be a table, not a value", name)
	}
}

// member adds a table to a list of them.
func (t *place) member(name string) (*place, error) {
	sub := newTable(listed)
	if before := t.below[name]; before != nil && before.by != listed {
		return nil, fmt.Errorf("key %s already exists, and is no array of tables", name)
	}
	list, _ := t.values[name].([]any)
	t.below[name], t.values[name] = sub, append(list, sub.values)
	return sub, nil
}

// keyValue defines a key in t, and what lies on its way if it is dotted.
func (t *place) keyValue(e *unstable.Node) error {
	for key := e.Key(); key.Next(); {
		name := string(key.Node().Data)
		sub := t.below[name]
		switch {
		case key.IsLast() && sub == nil:
			v, err := valueOf(e.Value())
			t.below[name], t.values[name] = &place{by: value}, v
			return err
		case key.IsLast() || sub != nil && sub.by != dotted:
			return fmt.Errorf("key %s is already defined", name)
		case sub == nil:
			sub = t.add(name, dotted)
		}
		t = sub
	}
	return nil
}

// moment is a date or a time, which no key of ours takes: what it says is kept as it was written.
type moment struct {
	written string
	dated   bool // with a zone: an instant
}

// String returns what was written.
func (m moment) String() string { return m.written }

// valueOf returns what stands behind a key.
func valueOf(n *unstable.Node) (any, error) {
	written := string(n.Data)
	switch n.Kind {
	case unstable.String:
		return written, nil
	case unstable.Bool:
		return written == "true", nil
	case unstable.Integer:
		return integer(written)
	case unstable.Float:
		if strings.HasSuffix(written, "nan") {
			return math.NaN(), nil // Go's has no sign
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(written, "_", ""), 64)
		if err != nil {
			return nil, fmt.Errorf("unable to parse float: %w", err)
		}
		return f, nil
	case unstable.Array:
		list := []any{}
		for it := n.Children(); it.Next(); {
			v, err := valueOf(it.Node())
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case unstable.InlineTable:
		t := newTable(value)
		for it := n.Children(); it.Next(); {
			if err := t.keyValue(it.Node()); err != nil {
				return nil, err
			}
		}
		return t.values, nil
	default:
		return moment{written, n.Kind == unstable.DateTime}, nil
	}
}

// integer reads a whole number as TOML writes it: the parser has seen to its form. A zero in front would be octal in Go, and is none here.
func integer(written string) (int64, error) {
	digits, base := strings.ReplaceAll(written, "_", ""), 10
	if len(digits) > 2 && digits[0] == '0' {
		digits, base = digits[2:], map[byte]int{'x': 16, 'o': 8, 'b': 2}[digits[1]]
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large to fit in a 64-bit signed integer", written)
	}
	return n, nil
}
