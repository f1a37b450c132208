package tideover_test

import (
	"testing"

	"tideover"
)

func TestMoney_ReadsAsPeopleWriteIt(t *testing.T) {
	for want, have := range map[string]string{
		"12.99 CNY": tideover.Money(1299, "CNY"), "0.05 EUR": tideover.Money(5, "EUR"), "500 JPY": tideover.Money(500, "JPY"), "1.234 KWD": tideover.Money(1234, "KWD"),
		"-": tideover.Money(0, ""), "0.00 CNY": tideover.Money(0, "CNY"), "10.00 CNY": tideover.Money(1000, "CNY"), "0.0007 CLF": tideover.Money(7, "CLF"),
	} {
		if have != want {
			t.Errorf("have %q, want %q", have, want)
		}
	}
}
