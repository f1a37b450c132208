package daemon

import (
	"context"
	"encoding/hex"
	"sort"
	"strconv"
	"strings"
	"time"

	"tideover"
	"tideover/queue"
	"tideover/terminal"
)

// feed lends a queue's feed to the endpoint.
type feed struct {
	*queue.Feed
	journal [16]byte
}

// Next implements terminal.Feed.
func (f feed) Next() (terminal.Event, bool, error) {
	c, ok, err := f.Feed.Next()
	return terminal.Event{ID: eventID(f.journal, c.Through), Transaction: c.Transaction}, ok, told(err)
}

// eventID is where a till is that was told everything up to a sequence of a journal, as text: the journal's name and the sequence. A
// replaced router has another journal, whose sequences mean something else.
func eventID(journal [16]byte, through uint64) string {
	return hex.EncodeToString(journal[:]) + "-" + strconv.FormatUint(through, 10)
}

// parseEventID reads what [eventID] has made for this journal; false for anything else.
func parseEventID(journal [16]byte, id string) (through uint64, ok bool) {
	_, digits, _ := strings.Cut(id, "-")
	through, err := strconv.ParseUint(digits, 10, 64)
	return through, err == nil && id == eventID(journal, through)
}

// Follow implements terminal.Desk.
func (d *desk) Follow(_ context.Context, by terminal.Caller, after string) (terminal.Feed, error) {
	journal := d.queue.Journal()
	through, ok := parseEventID(journal, after)
	if !ok {
		through = 0
	}
	f, err := d.queue.Follow(by.UID, through)
	if err != nil {
		return nil, told(err)
	}
	return feed{f, journal}, nil
}

// Unfinished implements terminal.Desk. Time is the wall clock, which may jump: what it puts into the future has been there for longer.
func (d *desk) Unfinished(
	_ context.Context, by terminal.Caller, longer time.Duration, limit int,
) (oldest []tideover.Transaction, all int, err error) {
	now := tideover.MillisOf(time.Now())
	d.queue.Live(func(t tideover.Transaction) {
		since := t.CreatedAt
		if t.Final() {
			since = t.UpdatedAt
		}
		if t.TerminalUID == by.UID && !t.Acknowledged && (since > now || since <= now.Add(-longer)) {
			oldest = append(oldest, t)
		}
	})
	sort.Slice(oldest, func(i, j int) bool {
		a, b := &oldest[i], &oldest[j]
		return a.CreatedAt < b.CreatedAt || a.CreatedAt == b.CreatedAt && a.Seq < b.Seq
	})
	all = len(oldest)
	return oldest[:min(limit, all)], all, nil
}
