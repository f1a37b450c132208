package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"tideover"
)

// section is one part of the document. Each can be measured by itself, and leaves the others as they were.
type section struct {
	name  string // for -only
	title string
	cut   bool // it is measured while no hub can be reached
	long  bool // it takes minutes whatever -rounds and -each say
	// measure returns the text below the heading, and how the figures stand to their limits.
	measure func(context.Context, *measurement) (text string, verdicts []verdict, err error)
}

// sections in the order of the document.
var sections = []section{
	{name: "accept", title: "Durable accept", cut: true, measure: acceptSection},
	{name: "alone", title: "The queue alone", measure: aloneSection},
	{name: "slow", title: "On a slow disk", cut: true, measure: slowSection},
	{name: "life", title: "A whole transaction on the disk", measure: lifeSection},
	{name: "hour", title: "A quiet hour", long: true, measure: hourSection},
	{name: "confirm", title: "Confirmed round trip", measure: confirmSection},
	{name: "overlap", title: "A sale that leaves while it is synced", measure: overlapSection},
	{name: "outage", title: "A long outage", cut: true, measure: outageSection},
	{name: "drained", title: "After a million transactions", long: true, measure: drainedSection},
	{name: "memory", title: "Memory", measure: memorySection},
	{name: "peers", title: "The queue beside other stores", measure: peersSection},
}

// verdict is one figure beside its limit.
type verdict struct {
	what  string
	is    float64
	limit float64
	least bool // the limit is the least that is wanted, and not the most
	unit  string
}

func (v verdict) kept() bool {
	if v.least {
		return v.is >= v.limit
	}
	return v.is <= v.limit
}

func (v verdict) String() string {
	sign, word := "≤", "kept"
	if v.least {
		sign = "≥"
	}
	if !v.kept() {
		word = "MISSED"
	}
	return fmt.Sprintf("%-6s %s: %.3g%s, limit %s %.3g%s", word, v.what, v.is, v.unit, sign, v.limit, v.unit)
}

// chosen returns the sections that are to be measured: those that need the hub first, since the cable is cut for good.
func chosen(only string) ([]section, error) {
	var all []section
	names := strings.Split(only, ",")
	for _, name := range names {
		if only != "" && !slices.ContainsFunc(sections, func(s section) bool { return s.name == name }) {
			return nil, fmt.Errorf("there is no section %q; there are: %s", name, strings.Join(sectionNames(), ", "))
		}
	}
	for _, cut := range []bool{false, true} {
		for _, s := range sections {
			if s.cut == cut && (only == "" || slices.Contains(names, s.name)) {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// measured says when, where and how often: the last line of each section.
func measured(o options) string {
	return fmt.Sprintf("\nMeasured %s, %s/%s, %d processors, Tideover %s, medians of %d rounds of %v each.\n",
		time.Now().UTC().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), tideover.Version, o.rounds, o.each)
}

// preface is what the document begins with.
const preface = `# What a transaction costs

Written by ` + "`make bench`" + `; ` + "`bench/doc.go`" + ` says how it is measured. Trust the ratios: times are those of one machine in one hour. Floor and product are taken in
turn within each round; figures are medians over the rounds, with their range. ` + "`go run ./bench -only accept`" + ` measures one section again and leaves the others.
`

// document is docs/benchmarks.md: its sections by title.
type document map[string]string

// readDocument reads one that is there already; a missing one is empty.
func readDocument(path string) (document, error) {
	d := document{}
	b, err := os.ReadFile(path)
	if path == "" || os.IsNotExist(err) {
		return d, nil
	}
	_, rest, _ := strings.Cut(string(b), "\n## ")
	for part := range strings.SplitSeq(rest, "\n## ") {
		if title, text, ok := strings.Cut(part, "\n"); ok {
			d[title] = strings.Trim(text, "\n") + "\n"
		}
	}
	return d, err
}

// String is the whole document. Sections of an older program, which nothing measures any more, are left out.
func (d document) String() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, s := range sections {
		if text, ok := d[s.title]; ok {
			fmt.Fprintf(&b, "\n## %s\n\n%s", s.title, strings.TrimLeft(text, "\n"))
		}
	}
	return b.String()
}
