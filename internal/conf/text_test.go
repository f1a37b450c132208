package conf_test

import (
	"reflect"
	"testing"
	"time"

	"tideover/internal/conf"
)

// A text says the same of the same values, and what differs from one to the next is told by key, over versions that know other keys, too.
func TestText_IsComparedByKey(t *testing.T) {
	from, to := defaults(), defaults()
	from.Uplinks = []uplink{{Interface: "eth1"}}
	to.Endpoint.Wait, to.Endpoint.Count = time.Minute, 7
	if again := from; conf.Text(from) != conf.Text(again) || conf.Text(from) == conf.Text(to) {
		t.Error("a text is not a function of its values")
	}
	have, err := conf.DiffText(conf.Text(from), conf.Text(to)+"[later]\nkey = \"a \\\"b\\\"\"\nbig = 1000000000000\n")
	want := []conf.Change{
		{"endpoint.count", "0", "7"},
		{"endpoint.default_wait", `"25s"`, `"1m"`},
		{"later.big", "", "1000000000000"},
		{"later.key", "", `"a \"b\""`},
		{"uplink[0].interface", `"eth1"`, ""},
		{"uplink[0].monthly_cap", `"0"`, ""},
	}
	if err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("have %v, %v\nwant %v", have, err, want)
	}
	if have, err := conf.DiffText(conf.Text(from), conf.Text(from)); err != nil || have != nil {
		t.Errorf("from itself: %v, %v", have, err)
	}
	if _, err := conf.DiffText("a = ", ""); err == nil {
		t.Error("what is no text was compared")
	}
}
