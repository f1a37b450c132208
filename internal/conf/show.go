package conf

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"tideover"
	"tideover/internal/columns"
)

// Write prints a configuration as TOML with every key spelled out, and behind each value where it came from; f may be nil, then that is
// left out. What it prints can be loaded again.
func Write(w io.Writer, f *File, config any, lang tideover.Lang) error {
	p := &printer{file: f, lang: lang}
	p.table("", reflect.Indirect(reflect.ValueOf(config)))
	_, err := io.WriteString(w, p.out.String())
	return err
}

// originColumn is where the remarks on origins begin, if the value is short enough.
const originColumn = 46

type printer struct {
	file *File
	lang tideover.Lang
	out  strings.Builder
}

// table prints a table's own values first, then the tables within it.
func (p *printer) table(key string, v reflect.Value) {
	for name, sf := range fields(v.Type()) {
		if t := sf.Type; isTable(t) || t.Kind() == reflect.Slice && isTable(t.Elem()) {
			continue
		}
		if value, ok := literal(v.FieldByIndex(sf.Index)); ok {
			p.line(name+" = "+value, join(key, name))
		}
	}
	for name, sf := range fields(v.Type()) {
		sub, at := v.FieldByIndex(sf.Index), join(key, name)
		switch {
		case isTable(sf.Type):
			fmt.Fprintf(&p.out, "\n[%s]\n", at)
			p.table(at, sub)
		case sf.Type.Kind() == reflect.Slice && isTable(sf.Type.Elem()):
			for i := range sub.Len() {
				fmt.Fprintf(&p.out, "\n[[%s]]\n", at)
				p.table(fmt.Sprintf("%s[%d]", at, i), sub.Index(i))
			}
		}
	}
}

// line prints one value and its origin.
func (p *printer) line(text, key string) {
	if p.file == nil {
		p.out.WriteString(text + "\n")
		return
	}
	from := tideover.Textf("default", "默认值")
	if o, ok := p.file.origins[key]; ok && o.line > 0 {
		from = tideover.Textf("line %d", "第 %d 行", o.line)
	} else if ok {
		from = tideover.Textf("%s", "%s", o.name)
	}
	fmt.Fprintf(&p.out, "%s%s # %s\n", text, strings.Repeat(" ", max(0, originColumn-columns.Width(text))), from.In(p.lang))
}

// literal writes a value as TOML; false for one that was not given.
func literal(v reflect.Value) (string, bool) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return "", false
	case v.Kind() == reflect.Pointer:
		return literal(v.Elem())
	case v.Kind() == reflect.Slice:
		all := make([]string, v.Len())
		for i := range all {
			all[i] = quote(v.Index(i).String())
		}
		return "[" + strings.Join(all, ", ") + "]", true
	}
	switch value := plain(v).(type) {
	case string:
		// A name that is empty is one that was not given: its type would not read it back.
		return quote(value), value != "" || v.Kind() == reflect.String
	case int64:
		return strconv.FormatInt(value, 10), true
	case bool:
		return strconv.FormatBool(value), true
	default:
		panic(fmt.Sprintf("conf: a value of type %s cannot be written", v.Type()))
	}
}

// plain returns a leaf as a string, an int64 or a bool.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(value)
	case Size:
		return value.String()
	case encoding.TextMarshaler:
		b, err := value.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	default:
		return v.Int()
	}
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Tree returns a configuration as maps, lists and plain values, under the keys of the file: what `config show --json` prints.
func Tree(config any) map[string]any {
	return tree(reflect.Indirect(reflect.ValueOf(config)))
}

func tree(v reflect.Value) map[string]any {
	t := map[string]any{}
	for name, sf := range fields(v.Type()) {
		value := v.FieldByIndex(sf.Index)
		switch {
		case isTable(sf.Type):
			t[name] = tree(value)
		case value.Kind() == reflect.Pointer && value.IsNil():
			t[name] = nil
		case value.Kind() == reflect.Pointer:
			t[name] = plain(value.Elem())
		case value.Kind() == reflect.Slice && isTable(sf.Type.Elem()):
			list := make([]any, value.Len())
			for i := range list {
				list[i] = tree(value.Index(i))
			}
			t[name] = list
		case value.Kind() == reflect.Slice:
			t[name] = append([]string{}, value.Interface().([]string)...)
		default:
			t[name] = plain(value)
		}
	}
	return t
}

// Change is one value in which two configurations differ.
type Change struct {
	Key      string
	Old, New string // as the file would have them; "" where the key is not given
}

// Diff lists what differs from one configuration to the next, both of one type, in the order of the file.
func Diff(from, to any) (changes []Change) {
	was, is := flat(from), flat(to)
	for _, e := range was {
		if v := find(is, e.key); v != e.value {
			changes = append(changes, Change{e.key, e.value, v})
		}
	}
	for _, e := range is {
		if !slices.ContainsFunc(was, func(o entry) bool { return o.key == e.key }) {
			changes = append(changes, Change{e.key, "", e.value})
		}
	}
	return changes
}

// entry is one value of a configuration.
type entry struct{ key, value string }

func find(all []entry, key string) string {
	for _, e := range all {
		if e.key == key {
			return e.value
		}
	}
	return ""
}

// flat lists every value of a configuration.
func flat(config any) (all []entry) {
	var walk func(key string, v reflect.Value)
	walk = func(table string, v reflect.Value) {
		for name, sf := range fields(v.Type()) {
			value, key := v.FieldByIndex(sf.Index), join(table, name)
			switch {
			case isTable(sf.Type):
				walk(key, value)
			case sf.Type.Kind() == reflect.Slice && isTable(sf.Type.Elem()):
				for i := range value.Len() {
					walk(fmt.Sprintf("%s[%d]", key, i), value.Index(i))
				}
			default:
				if s, ok := literal(value); ok {
					all = append(all, entry{key, s})
				}
			}
		}
	}
	walk("", reflect.Indirect(reflect.ValueOf(config)))
	return all
}
