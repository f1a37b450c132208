package terminal

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tideover"
)

// WaitMax is how long an answer is held at most.
const WaitMax = 60 * time.Second

// preferredWait reads `wait` from Prefer, RFC 7240. The first one counts; more than [WaitMax] is taken as that; what is not a whole
// number of seconds is no preference, as the RFC asks.
func preferredWait(h http.Header) (d time.Duration, ok bool) {
	for _, line := range h.Values("Prefer") {
		for preference := range splitQuoted(line, ',') {
			first, _ := cutQuoted(preference, ';') // parameters of wait mean nothing
			name, value, _ := strings.Cut(first, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(unquote(strings.TrimSpace(value)), 10, 63)
			if err != nil {
				return 0, false
			}
			return time.Duration(min(n, uint64(WaitMax/time.Second))) * time.Second, true
		}
	}
	return 0, false
}

// splitQuoted yields the parts of s between separators that stand outside of quotes.
func splitQuoted(s string, sep byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for s != "" {
			part, rest := cutQuoted(s, sep)
			if !yield(part) {
				return
			}
			s = rest
		}
	}
}

// cutQuoted cuts s at its first separator outside of quotes.
func cutQuoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == sep:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// weight returns the q of a list member's parameters, 0 to 1000; a broken one is 0.
func weight(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return int(q * 1000)
		}
	}
	return 1000
}

// language chooses between the languages there are by Accept-Language; fallback where it names neither.
func language(h http.Header, fallback tideover.Lang) tideover.Lang {
	best, bestQ := fallback, 0
	for _, line := range h.Values("Accept-Language") {
		for member := range strings.SplitSeq(line, ",") {
			tag, params, _ := strings.Cut(member, ";")
			primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
			lang := fallback
			switch primary {
			case "zh":
				lang = tideover.Chinese
			case "en":
				lang = tideover.English
			case "*":
			default:
				continue
			}
			if q := weight(params); q > bestQ {
				best, bestQ = lang, q
			}
		}
	}
	return best
}

// eventStream is the media type of Server-Sent Events.
const eventStream = "text/event-stream"

// accepts says whether Accept allows a media type; the most specific range that matches counts, RFC 9110 12.5.1.
func accepts(h http.Header, mediaType string) bool {
	whole, _, _ := strings.Cut(mediaType, "/")
	lines := h.Values("Accept")
	if strings.TrimSpace(strings.Join(lines, "")) == "" {
		return true
	}
	specific, q := -1, 0
	for _, line := range lines {
		for member := range splitQuoted(line, ',') {
			mediaRange, params := cutQuoted(member, ';')
			s := -1
			switch strings.ToLower(strings.TrimSpace(mediaRange)) {
			case "*/*":
				s = 0
			case whole + "/*":
				s = 1
			case mediaType:
				s = 2
			}
			if w := weight(params); s > specific || s == specific && w > q {
				specific, q = s, w
			}
		}
	}
	return specific >= 0 && q > 0
}

// sendsJSON says whether a request's body is JSON in plain UTF-8; a till that names no type is taken at its word.
func sendsJSON(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	if h.Get("Content-Type") == "" {
		return true
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
