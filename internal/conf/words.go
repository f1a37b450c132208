package conf

import (
	"reflect"
	"strings"

	"tideover"
)

// want names what a value must be.
func want(t reflect.Type) tideover.Text {
	switch {
	case t == durationType:
		return tideover.Textf("a length of time", "时长")
	case t == sizeType:
		return tideover.Textf("a size", "容量")
	case reflect.PointerTo(t).Implements(textType):
		return tideover.Textf("a value known here", "此处可用的值")
	case plainInt(t):
		return tideover.Textf("a whole number", "整数")
	case t.Kind() == reflect.Bool:
		return tideover.Textf("true or false", "true 或 false")
	case isTable(t):
		return tideover.Textf("a table", "表")
	case t.Kind() == reflect.Slice && isTable(t.Elem()):
		return tideover.Textf("an array of tables", "表数组")
	case t.Kind() == reflect.Slice:
		return tideover.Textf("a list of strings", "字符串列表")
	default:
		return tideover.Textf("a string", "字符串")
	}
}

// example shows how a value is written.
func example(t reflect.Type) tideover.Text {
	switch {
	case t == durationType:
		return tideover.Textf(`write a number and a unit: "30s", "5m", "72h", "30d"`, `请写数字加单位："30s"、"5m"、"72h"、"30d"`)
	case t == sizeType:
		return tideover.Textf(`write a number and a unit: "500MB", "2GB"`, `请写数字加单位："500MB"、"2GB"`)
	case plainInt(t):
		return tideover.Textf("write digits only", "请只写数字")
	case t.Kind() == reflect.Bool:
		return tideover.Textf("write true or false", "请写 true 或 false")
	case isTable(t):
		return tideover.Textf("write a header [name], and its keys below", "请写表头 [名称]，并把键写在其下")
	case t.Kind() == reflect.Slice && isTable(t.Elem()):
		return tideover.Textf("write a header [[name]] for each", "请为每一项写一个表头 [[名称]]")
	case t.Kind() == reflect.Slice:
		return tideover.Textf(`write a list: ["one", "two"]`, `请写成列表：["one", "two"]`)
	case t.Kind() == reflect.String:
		return tideover.Textf("put the value in double quotes", "请用双引号把值括起来")
	default:
		return tideover.Textf("correct the value", "请修改该值")
	}
}

// nameOfValue names what a value is.
func nameOfValue(v any) tideover.Text {
	switch v := v.(type) {
	case string:
		return tideover.Textf("the string %q", "字符串 %q", v)
	case int64:
		return tideover.Textf("the number %d", "数字 %d", v)
	case float64:
		return tideover.Textf("the number %v", "数字 %v", v)
	case bool:
		return tideover.Textf("%v", "%v", v)
	case []any:
		return tideover.Textf("a list", "列表")
	case map[string]any:
		return tideover.Textf("a table", "表")
	case moment:
		if v.dated {
			return tideover.Textf("a date", "日期")
		}
	}
	return tideover.Textf("a date or time", "日期或时间")
}

// mistyped complains about a value of the wrong type.
func (f *File) mistyped(key string, t reflect.Type, value any) {
	want, have := want(t), nameOfValue(value)
	f.Reject(key,
		tideover.Text{En: "wants " + want.En + ", has " + have.En, Zh: "应为" + want.Zh + "，实为" + have.Zh},
		example(t))
}

// unknown complains about a key that does not exist, and names what does.
func (f *File) unknown(t reflect.Type, table, name string) {
	var known []string
	for n := range fields(t) {
		known = append(known, n)
	}
	hint := tideover.Textf("remove it; known here: %s", "请删除；此处可用的键：%s", strings.Join(known, ", "))
	if near := nearest(name, known); near != "" {
		hint = tideover.Textf("did you mean %s?", "是否应为 %s?", near)
	}
	f.Reject(join(table, name), tideover.Textf("unknown key", "未知的键"), hint)
}

// nearest returns the known name that differs least, if it differs little.
func nearest(name string, known []string) string {
	best, bestDistance := "", (len(name)+1)/3
	for _, k := range known {
		if d := distance(name, k); d <= bestDistance {
			best, bestDistance = k, d-1
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
