package conf

import (
	"fmt"
	"strings"

	"tideover"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	File string // the file's name, the variable's or the flag's: where the value stands; "" is a default
	Line int    // 1 is the first; 0 where there is none
	Key  string // dotted; "" where no key is to blame
	What tideover.Text
	Hint tideover.Text // what to do next
	Err  error         // the cause, if another package told it
}

// place is file:line: key, as far as they are known, with its colon.
func (e *Error) place() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	return b.String()
}

// Error implements error: file:line: key: what is wrong (what to do next), in English.
func (e *Error) Error() string {
	s := e.place() + e.What.En
	if e.Hint.En != "" {
		s += " (" + e.Hint.En + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Explain returns what is wrong, with its place, and what to do next, each in both languages.
func (e *Error) Explain() (what, hint tideover.Text) {
	place := e.place()
	return tideover.Text{En: place + e.What.En, Zh: place + e.What.Zh}, e.Hint
}

// Errors is everything that is wrong with a configuration, in the order of the lines. It is never empty.
type Errors []*Error

// Error implements error: one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each of them.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}
