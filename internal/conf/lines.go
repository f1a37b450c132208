package conf

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines returns the line that each key and table of a valid document begins at, by dotted key; members of an array of tables are
// key[0], key[1] and so on.
func lines(data []byte) map[string]int {
	at := map[string]int{}
	members := map[string]int{} // how many an array of tables has so far
	table := ""
	p := unstable.Parser{}
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = ""
			it := e.Key()
			for it.Next() {
				last := it.IsLast()
				table = join(table, string(it.Node().Data))
				note(at, table, &p, it.Node())
				if e.Kind == unstable.ArrayTable && last {
					members[table]++
				}
				if n := members[table]; n > 0 {
					table = fmt.Sprintf("%s[%d]", table, n-1)
					note(at, table, &p, it.Node())
				}
			}
		case unstable.KeyValue:
			noteKeyValue(at, table, &p, e)
		}
	}
	return at
}

// noteKeyValue notes a key, and the keys within its value.
func noteKeyValue(at map[string]int, table string, p *unstable.Parser, e *unstable.Node) {
	key := table
	it := e.Key()
	for it.Next() {
		key = join(key, string(it.Node().Data))
		note(at, key, p, it.Node())
	}
	noteValue(at, key, p, e.Value())
}

func noteValue(at map[string]int, key string, p *unstable.Parser, value *unstable.Node) {
	switch value.Kind {
	case unstable.InlineTable:
		it := value.Children()
		for it.Next() {
			noteKeyValue(at, key, p, it.Node())
		}
	case unstable.Array:
		it := value.Children()
		for i := 0; it.Next(); i++ {
			if it.Node().Raw.Length > 0 {
				note(at, fmt.Sprintf("%s[%d]", key, i), p, it.Node())
			}
			noteValue(at, fmt.Sprintf("%s[%d]", key, i), p, it.Node())
		}
	}
}

// note keeps the first line at which a key stands.
func note(at map[string]int, key string, p *unstable.Parser, n *unstable.Node) {
	if _, ok := at[key]; !ok {
		at[key] = p.Shape(n.Raw).Start.Line
	}
}

// join appends a segment to a dotted key; one that TOML would have to quote is quoted.
func join(table, segment string) string {
	if segment == "" || strings.ContainsFunc(segment, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		segment = fmt.Sprintf("%q", segment)
	}
	if table == "" {
		return segment
	}
	return table + "." + segment
}
