package command

import (
	"slices"
	"strings"
	"testing"
)

func TestCommand_Completes(t *testing.T) {
	var r result
	root := r.ours(tree())
	persistent(root.PersistentFlags())
	Offer(root.PersistentFlags(), "config", "near", "far")
	for _, c := range []struct {
		typed, want string // words with spaces between; the last of typed is being typed
	}{
		{"", "queue"},
		{"q", "queue"},
		{"x", ""},
		{"run", ""}, // hidden
		{"queue ", "list show queue"},
		{"queue li", "list"},
		{"queue list ", ""}, // takes words of its own
		{"queue queue ", ""},
		{"queue nothing li", ""},
		{"--quiet queue sh", "show"},
		{"--quiet que", "queue"},
		{"-", "--config --help --quiet"},
		{"queue list --l", "--limit"},
		{"queue --l", "--list"},
		{"queue list --limit ", ""}, // a value
		{"queue list -n ", ""},
		{"queue list -n 7 --j", "--json"},
		{"queue show ID --st", "--state"},
		{"--config ", "near far"},
		{"-c f", "far"},
		{"queue --config n", "near"},
		{"queue list --unknown ", ""},
		{"queue -- --l", ""},
		{"-- ", ""},
	} {
		var have []string
		for _, found := range root.Complete(strings.Split(c.typed, " ")) {
			have = append(have, found.Word)
		}
		if !slices.Equal(have, strings.Fields(c.want)) {
			t.Errorf("%q: %q, want %q", c.typed, have, c.want)
		}
	}
	if have := root.Complete(nil); len(have) != 1 || have[0].Word != "queue" {
		t.Errorf("nothing typed: %v", have)
	}
}
