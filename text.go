package tideover

import "fmt"

// Lang is a language that Tideover speaks to people.
type Lang string

// The languages.
const (
	English Lang = "en"
	Chinese Lang = "zh"
)

// Text is one sentence in both languages.
type Text struct {
	En string `json:"en"`
	Zh string `json:"zh"`
}

// In returns the text in lang; anything but [Chinese] reads English.
//
//go:noinline
func (t Text) In(lang Lang) string {
	if lang == Chinese {
		return t.Zh
	}
	return t.En
}

// Textf formats both sentences with the same arguments; a sentence that needs another order uses explicit indexes (%[2]s).
func Textf(en, zh string, args ...any) Text {
	return Text{En: fmt.Sprintf(en, args...), Zh: fmt.Sprintf(zh, args...)}
}

// Masked returns the text without card data; see [Mask].
func (t Text) Masked() Text { return Text{En: Mask(t.En), Zh: Mask(t.Zh)} }
