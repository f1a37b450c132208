package conf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tideover"
)

// Text writes a configuration, or a part of one, as TOML with every key spelled out: the same values give the same text.
func Text(config any) string {
	var b strings.Builder
	_ = Write(&b, nil, config, tideover.English) // a Builder takes everything
	return b.String()
}

// Values reads a [Text] of this or of another version: every key that it has, with its value as TOML writes it.
func Values(text string) (map[string]string, error) {
	tree, err := parse([]byte(text))
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	flatten(values, "", tree)
	return values, nil
}

func flatten(into map[string]string, key string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			flatten(into, join(key, name), v)
		}
	case []any:
		for i, v := range value {
			flatten(into, fmt.Sprintf("%s[%d]", key, i), v)
		}
	case string:
		into[key] = quote(value)
	default:
		into[key] = fmt.Sprint(value)
	}
}

// DiffText lists what differs from one [Text] to the next, by key. A key that one of them does not have is "" there.
func DiffText(from, to string) (changes []Change, err error) {
	was, err := Values(from)
	if err != nil {
		return nil, err
	}
	is, err := Values(to)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if was[key] != is[key] {
			changes = append(changes, Change{key, was[key], is[key]})
		}
	}
	return changes, nil
}
