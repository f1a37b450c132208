package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"tideover"
)

// What the streams of events may hold, and for how long.
const (
	StreamsMax         = 256              // at once; one more: 429
	StreamsTerminalMax = 8                // at once of one till; one more: 429
	pieceMax           = 16 << 10         // bytes that are gathered before they are written; by then a piece ends with the event under way
	pieceKept          = 4 << 10          // bytes of memory that a stream keeps from piece to piece
	heartbeat          = 15 * time.Second // the longest silence: then a comment is written
	streamRetry        = 2 * time.Second  // when a till that lost its stream comes again
	leftAfter          = time.Minute      // how long a press is unfinished before its till is reminded
	remindEvery        = time.Minute
	RemindedMax        = 20 // transactions that one reminder shows
	echoesMax          = 64 // ends of which the stream remembers that it has just told them
)

// stream is what GET /v1/events answers: Server-Sent Events, as the WHATWG's HTML standard has them.
type stream struct {
	*exchange
	http *http.ResponseController
	feed Feed
	beat *time.Timer

	piece  bytes.Buffer
	ends   []tideover.Transaction // in the piece
	echoes map[tideover.ID]tideover.Transaction
}

// events tells the caller's own transactions as they change: GET /v1/events. Once the stream has begun it returns nil, at the
// endpoint's draining or when the till is let in no more; whatever else ends it cuts the connection.
func (x *exchange) events() error {
	if _, err := x.query(); err != nil {
		return err
	}
	if x.s.drained.Err() != nil {
		return errShuttingDown
	}
	h := x.w.Header()
	if x.r.Method == http.MethodHead {
		h.Set("Content-Type", eventStream)
		_ = x.send(http.StatusOK, nil)
		return nil
	}
	if !x.s.openStream(x.by.UID) {
		r := tideover.Refuse(tideover.CodeTooManyRequests,
			"this till has %[1]d streams of events open, or all tills together %[2]d; close one, or ask with GET /v1/transactions?unacknowledged=1",
			"本终端已打开 %[1]d 个事件流，或全部终端合计已达 %[2]d 个；请关闭其一，或用 GET /v1/transactions?unacknowledged=1 查询",
			StreamsTerminalMax, StreamsMax)
		r.RetryAfter = heartbeat
		return r
	}
	defer x.s.closeStream(x.by.UID)
	feed, err := x.s.desk.Follow(x.r.Context(), x.by, strings.Join(x.r.Header.Values("Last-Event-ID"), ","))
	if err != nil {
		return err
	}
	defer feed.Close()
	h.Set("Content-Type", eventStream)
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers what it passes on would keep ends from the till
	st := &stream{
		exchange: x, http: http.NewResponseController(x.w), feed: feed, beat: time.NewTimer(heartbeat),
		echoes: map[tideover.ID]tideover.Transaction{},
	}
	defer st.beat.Stop()
	x.w.WriteHeader(http.StatusOK)
	fmt.Fprintf(&st.piece, "retry: %d\n\n", streamRetry.Milliseconds())
	if err := st.run(); err != nil {
		if !errors.Is(err, errNotTaken) && !errors.Is(err, ErrAbort) && x.r.Context().Err() == nil {
			x.s.log.Error("a stream of events failed", "terminal", x.by.Name, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	_ = st.http.SetWriteDeadline(time.Now().Add(writeMax)) // for the end of the stream itself
	return nil
}

// errNotTaken ends a stream whose till has gone, or does not read.
var errNotTaken = errors.New("the till does not take what is written")

// run writes what is due, what was left unfinished, and then each change, until the endpoint drains or the till is let in no more; then
// it returns nil.
func (st *stream) run() error {
	if more, err := st.pour(); !more {
		return err
	}
	if more, err := st.remind(); !more {
		return err
	}
	reminder := time.NewTicker(remindEvery)
	defer reminder.Stop()
	for {
		step := st.pour
		select {
		case <-st.feed.Due():
		case <-reminder.C:
			step = st.remind
		case <-st.beat.C:
			step = st.keepAlive
		case <-st.s.drained.Done():
			return nil
		case <-st.r.Context().Done():
			return st.r.Context().Err()
		}
		if more, err := step(); !more {
			return err
		}
	}
}

// pour writes what is due, piece by piece, until nothing is. more is false where the stream is over.
func (st *stream) pour() (more bool, err error) {
	for {
		e, due, err := st.feed.Next()
		if err != nil {
			return false, err
		}
		if due && !st.echo(e.Transaction) {
			st.put("transaction", e.ID, e.Transaction)
			if e.Final() {
				st.ends = append(st.ends, e.Transaction)
			}
		}
		if due && st.piece.Len() < pieceMax {
			continue
		}
		if more, err := st.flush(); !more || !due {
			return more, err
		}
	}
}

// echo says that all that is new about a transaction is that this stream has told its end.
func (st *stream) echo(t tideover.Transaction) bool {
	told, ok := st.echoes[t.ID]
	delete(st.echoes, t.ID)
	told.Delivered, told.Seq, told.UpdatedAt = true, t.Seq, t.UpdatedAt
	return ok && told == t
}

// remind tells what the till has left unfinished.
func (st *stream) remind() (more bool, err error) {
	oldest, all, err := st.s.desk.Unfinished(st.r.Context(), st.by, leftAfter, RemindedMax)
	if err != nil || all == 0 {
		return err == nil, err
	}
	st.put("reminder", "", reminder{Count: all, Transactions: oldest})
	return st.flush()
}

// reminder is the data of the event of that name.
type reminder struct {
	Count        int                    `json:"count"`        // of all that is unfinished
	Transactions []tideover.Transaction `json:"transactions"` // the oldest of them
}

// keepAlive writes a comment, so that both sides and what is between them see that the stream lives.
func (st *stream) keepAlive() (more bool, err error) {
	st.piece.WriteString(": alive\n\n")
	return st.flush()
}

// put adds an event to the piece.
func (st *stream) put(name, id string, data any) {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err) // every event's type is ours
	}
	fmt.Fprintf(&st.piece, "event: %s\n", name)
	if id != "" {
		fmt.Fprintf(&st.piece, "id: %s\n", id)
	}
	fmt.Fprintf(&st.piece, "data: %s\n\n", body)
}

// flush writes the piece within [writeMax], if the till is still let in, and the endpoint does not drain. The ends in it then count as
// delivered.
func (st *stream) flush() (more bool, err error) {
	if st.s.drained.Err() != nil || st.authenticate() != nil {
		return false, nil
	}
	if st.piece.Len() == 0 {
		return true, nil
	}
	st.beat.Reset(heartbeat)
	_ = st.http.SetWriteDeadline(time.Now().Add(writeMax))
	if _, err := st.w.Write(st.piece.Bytes()); err != nil || st.http.Flush() != nil {
		return false, errNotTaken
	}
	_ = st.http.SetWriteDeadline(time.Time{})
	if st.piece.Reset(); st.piece.Cap() > pieceKept {
		st.piece = bytes.Buffer{}
	}
	for _, t := range st.ends {
		if !t.Delivered && len(st.echoes) < echoesMax {
			st.echoes[t.ID] = t
		}
		st.delivered(t)
	}
	st.ends = nil
	return true, nil
}
