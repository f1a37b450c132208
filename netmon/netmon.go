package netmon

import (
	"fmt"
	"slices"
	"strings"
)

// Change names what has changed since the last one that was taken.
type Change struct {
	Interfaces []string // sorted; empty where only routes without an interface changed
	What       What
}

// What is a set of kinds of changes.
type What uint8

// The kinds.
const (
	Links     What = 1 << iota // an interface came, went, or changed its state
	Addresses                  // an address came or went
	Routes                     // a route came or went
)

// String names the kinds, as "links+routes".
func (w What) String() string {
	var names []string
	for i, name := range []string{"links", "addresses", "routes"} {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// String describes the change for logs.
func (c Change) String() string {
	return fmt.Sprintf("%s of %s", c.What, strings.Join(c.Interfaces, ", "))
}

// and adds another change to c.
func (c Change) and(o Change) Change {
	c.What |= o.What
	c.Interfaces = slices.Concat(c.Interfaces, o.Interfaces)
	slices.Sort(c.Interfaces)
	c.Interfaces = slices.Compact(c.Interfaces)
	return c
}
