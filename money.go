package tideover

import (
	"strconv"
	"strings"
)

// decimals are the currencies whose minor unit is not a hundredth (ISO 4217, list one).
var decimals = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0,
	"VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3, "CLF": 4, "UYW": 4,
}

// Money shows minor units as people write the amount: 12.99 CNY, 500 JPY; "-" where neither amount nor currency was given.
func Money(minor int64, currency string) string {
	if currency == "" && minor == 0 {
		return "-" // a reversal that left it out
	}
	places, ok := decimals[currency]
	if !ok {
		places = 2
	}
	digits := strconv.FormatInt(minor, 10)
	if places > 0 {
		digits = strings.Repeat("0", max(0, places+1-len(digits))) + digits
		digits = digits[:len(digits)-places] + "." + digits[len(digits)-places:]
	}
	return strings.TrimSpace(digits + " " + currency)
}
