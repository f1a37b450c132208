package conf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is the unit that [ParseDuration] knows beyond Go's own.
const Day = 24 * time.Hour

// ParseDuration reads a length of time as [time.ParseDuration] does, and days before that: "30d", "1d12h", "0". It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	bad := func() error { return fmt.Errorf("%q is not a length of time", s) }
	var sum time.Duration
	rest := s
	if days, after, found := strings.Cut(s, "d"); found {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0 && n*float64(Day) < math.MaxInt64/2) {
			return 0, bad()
		}
		sum, rest = time.Duration(n*float64(Day)), after
		if rest == "" {
			return sum, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || sum+d < 0 {
		return 0, bad()
	}
	return sum + d, nil
}

// FormatDuration writes what [ParseDuration] reads, without the zeros that [time.Duration.String] leaves at the end: "72h", "25s", "0s".
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of bytes; 0 mostly means no limit. It is written with a unit: "2GB" (powers of 1000), "512MiB" (powers of 1024).
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// ParseSize reads "2GB", "1.5 GiB", "0" or a bare number of bytes.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if before, found := strings.CutSuffix(number, u.name); found {
			number, unit = strings.TrimSpace(before), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*float64(unit) < math.MaxInt64/2) {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return Size(n * float64(unit)), nil
}

// String writes the size in the largest unit that needs no fraction.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10) + "B"
	if s == 0 {
		return "0"
	}
	for _, u := range sizeUnits {
		if u.name != "KB" && int64(s)%u.bytes == 0 {
			if short := strconv.FormatInt(int64(s)/u.bytes, 10) + u.name; len(short) < len(best) {
				best = short
			}
		}
	}
	return best
}
