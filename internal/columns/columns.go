// Package columns prints tables for people: columns are padded by display width, since a Chinese character is two cells wide, and
// nothing in a cell can move the cursor or colour the screen, since names come from tills.
package columns

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// gap is the space between two columns, in cells.
const gap = 2

// Write prints rows with their columns aligned. A row may be shorter than others. It returns the writer's first error.
func Write(w io.Writer, rows [][]string) error {
	var wide []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(wide) {
				wide = append(wide, 0)
			}
			wide[i] = max(wide[i], Width(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = Plain(cell)
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", wide[i]-Width(cell)+gap))
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// Plain replaces what a terminal would act on instead of showing: control characters, and those that turn the direction of text.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// twoCells are the ranges of characters that take two cells: those that Unicode's East Asian Width calls wide or full-width, and emoji.
var twoCells = [...][2]rune{
	{0x1100, 0x115f},
	{0x2e80, 0x303e},
	{0x3041, 0xa4cf},
	{0xa960, 0xa97f},
	{0xac00, 0xd7a3},
	{0xf900, 0xfaff},
	{0xfe10, 0xfe19},
	{0xfe30, 0xfe6f},
	{0xff01, 0xff60},
	{0xffe0, 0xffe6},
	{0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff},
	{0x1f900, 0x1faff},
	{0x20000, 0x3fffd},
}

// Width is how many cells a terminal gives a text, as [Plain] leaves it.
func Width(s string) (cells int) {
	for _, r := range Plain(s) {
		if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
			continue // drawn on or with its neighbour
		}
		cells++
		for _, span := range twoCells {
			if r >= span[0] && r <= span[1] {
				cells++
				break
			}
		}
	}
	return cells
}
