package conf

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"tideover"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isTable says whether t is a struct of keys, and not one value that reads text.
func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

// fields yields the keys of a table and their fields.
func fields(t reflect.Type) func(yield func(string, reflect.StructField) bool) {
	return func(yield func(string, reflect.StructField) bool) {
		for sf := range t.Fields() {
			name, _, _ := strings.Cut(sf.Tag.Get("toml"), ",")
			if name != "" && name != "-" && !yield(name, sf) {
				return
			}
		}
	}
}

// leaves lists the dotted keys of all values outside arrays of tables, in the order of their fields.
func leaves(t reflect.Type, table string) (keys []string) {
	for name, sf := range fields(t) {
		key := join(table, name)
		switch {
		case isTable(sf.Type):
			keys = append(keys, leaves(sf.Type, key)...)
		case sf.Type.Kind() == reflect.Slice && isTable(sf.Type.Elem()):
		default:
			keys = append(keys, key)
		}
	}
	return keys
}

// field returns the table's field of that name, or the zero Value.
func field(table reflect.Value, name string) reflect.Value {
	for n, sf := range fields(table.Type()) {
		if n == name {
			return table.FieldByIndex(sf.Index)
		}
	}
	return reflect.Value{}
}

// setTable takes what the file says of a table.
func (f *File) setTable(into reflect.Value, table string, tree map[string]any) {
	for name, value := range tree {
		key := join(table, name)
		v := field(into, name)
		switch {
		case !v.IsValid():
			f.unknown(into.Type(), table, name)
		case isTable(v.Type()):
			if sub, ok := value.(map[string]any); ok {
				f.setTable(v, key, sub)
			} else {
				f.mistyped(key, v.Type(), value)
			}
		case v.Kind() == reflect.Slice && isTable(v.Type().Elem()):
			f.setArray(v, key, value)
		default:
			f.setLeaf(v, key, value)
		}
	}
}

// setArray takes an array of tables; it replaces the default.
func (f *File) setArray(v reflect.Value, key string, value any) {
	list, ok := value.([]any)
	if !ok {
		f.mistyped(key, v.Type(), value)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, member := range list {
		at := fmt.Sprintf("%s[%d]", key, i)
		if sub, ok := member.(map[string]any); ok {
			f.setTable(v.Index(i), at, sub)
		} else {
			f.mistyped(key, v.Type(), value)
		}
	}
}

// setLeaf takes one value of the file.
func (f *File) setLeaf(v reflect.Value, key string, value any) {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		before := len(f.errs)
		if f.setLeaf(p.Elem(), key, value); len(f.errs) == before {
			v.Set(p)
		}
		return
	}
	if v.Kind() == reflect.Slice {
		f.setList(v, key, value)
		return
	}
	switch value := value.(type) {
	case string:
		if v.Kind() != reflect.Bool && !plainInt(v.Type()) {
			f.parse(v, key, value)
			return
		}
	case int64:
		switch {
		case v.Type() == sizeType, v.Type() == durationType && value == 0:
			f.parse(v, key, strconv.FormatInt(value, 10))
			return
		case plainInt(v.Type()) && !v.OverflowInt(value):
			v.SetInt(value)
			return
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(value)
			return
		}
	}
	f.mistyped(key, v.Type(), value)
}

// setList takes a list of strings; it replaces the default.
func (f *File) setList(v reflect.Value, key string, value any) {
	list, ok := value.([]any)
	all := make([]string, len(list))
	for i := 0; ok && i < len(list); i++ {
		all[i], ok = list[i].(string)
	}
	if !ok {
		f.mistyped(key, v.Type(), value)
		return
	}
	v.Set(reflect.ValueOf(all))
}

// plainInt says whether t is a whole number that is written without a unit.
func plainInt(t reflect.Type) bool {
	return (t.Kind() == reflect.Int || t.Kind() == reflect.Int64) && t != durationType && t != sizeType
}

// setText takes a value from outside the file, where everything is text.
func (f *File) setText(root reflect.Value, key, value string, from origin) {
	v := root
	for name := range strings.SplitSeq(key, ".") {
		if v = field(v, name); !v.IsValid() {
			panic("conf: no key " + key)
		}
	}
	f.origins[key] = from
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	f.parse(v, key, value)
}

// parse reads text into a value. What cannot be read leaves the value as it is, so that nobody complains about it once more.
func (f *File) parse(v reflect.Value, key, s string) {
	var err error
	switch {
	case v.Type() == durationType:
		var d time.Duration
		if d, err = ParseDuration(s); err == nil {
			v.SetInt(int64(d))
		}
	case v.Type() == sizeType:
		var n Size
		if n, err = ParseSize(s); err == nil {
			v.SetInt(int64(n))
		}
	case reflect.PointerTo(v.Type()).Implements(textType):
		err = v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s))
	case plainInt(v.Type()):
		var n int64
		if n, err = strconv.ParseInt(s, 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
		}
	case v.Kind() == reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(s); err == nil {
			v.SetBool(b)
		}
	case v.Kind() == reflect.Slice:
		list := []string{}
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		v.Set(reflect.ValueOf(list))
	case v.Kind() == reflect.String:
		v.SetString(s)
	default:
		panic("conf: " + key + " has a type that no value can be read into: " + v.Type().String())
	}
	if err != nil {
		w := want(v.Type())
		f.Reject(key,
			tideover.Text{En: fmt.Sprintf("%q is not %s", s, w.En), Zh: fmt.Sprintf("%q 不是%s", s, w.Zh)}, example(v.Type()))
	}
}
