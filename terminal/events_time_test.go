package terminal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tideover"
)

// fountain is a feed with so many events, and no more.
type fountain struct {
	due  chan struct{}
	more atomic.Int64 // events that are due
	told atomic.Int64
	open atomic.Bool
}

func (f *fountain) Due() <-chan struct{} { return f.due }

func (f *fountain) Next() (Event, bool, error) {
	if f.more.Add(-1) < 0 {
		f.more.Store(0)
		return Event{}, false, nil
	}
	n := f.told.Add(1)
	return Event{fmt.Sprint(n), tideover.Transaction{Key: fmt.Sprint("key-", n), State: tideover.StatePending, Seq: uint64(n)}}, true, nil
}

func (f *fountain) Close() { f.open.Store(false) }

func (d *patient) Follow(context.Context, Caller, string) (Feed, error) {
	d.feed.open.Store(true)
	return &d.feed, nil
}

func (d *patient) Unfinished(_ context.Context, _ Caller, longer time.Duration, limit int) (oldest []tideover.Transaction, all int, err error) {
	if longer != leftAfter || limit != RemindedMax {
		return nil, 0, fmt.Errorf("asked for %d, older than %s", limit, longer)
	}
	all = int(d.unfinished.Load())
	return make([]tideover.Transaction, min(all, limit)), all, nil
}

const eventsHead = "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"

func TestEvents_CutsATillThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		d.feed.more.Store(1 << 40)
		conn := dial()
		if _, err := io.WriteString(conn, eventsHead); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeMax + time.Second)
		if d.feed.open.Load() {
			t.Error("it still waits for the till")
		}
		if n := d.feed.told.Load(); n > 2*pieceMax/300 {
			t.Errorf("%d events are held for who does not read", n)
		}
		if got, _ := hungUp(conn); strings.Contains(got, "\r\n0\r\n") {
			t.Error("what is cut reads as if it had ended in order")
		}
	})
}

// overHTTP2 returns how to ask for a path, and how many connections that took.
func overHTTP2(t *testing.T, dial func() net.Conn) (ask func(path string) *http.Response, dials *int) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	dials = new(int)
	transport := &http.Transport{
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			*dials++
			return dial(), nil
		},
	}
	return func(path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://edge"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer t")
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}, dials
}

// On HTTP/2 a deadline that has passed cuts a stream that writes nothing, too.
func TestEvents_DeadlinesSpareAQuietStream(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		ask, _ := overHTTP2(t, dial)
		res := ask("/v1/events")
		lines, beats := bufio.NewScanner(res.Body), 0
		for beats < 5 && lines.Scan() {
			if strings.HasPrefix(lines.Text(), ":") {
				beats++
			}
		}
		if beats < 5 {
			t.Errorf("cut after %d beats: %v", beats, lines.Err())
		}
		res.Body.Close()
	})
}

// On HTTP/2 the stream alone is cut, not what else its connection carries.
func TestEvents_CutsAStreamThatIsNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		d.feed.more.Store(1 << 40)
		ask, dials := overHTTP2(t, dial)
		res := ask("/v1/events")
		time.Sleep(2 * writeMax)
		if d.feed.open.Load() {
			t.Error("it still waits for the till")
		}
		if n := d.feed.told.Load(); n > (4<<20)/300 {
			t.Errorf("%d events are held for who does not read", n)
		}
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("what is cut reads as if it had ended in order")
		}
		other := ask("/v1/none")
		if other.Body.Close(); other.StatusCode != 404 || *dials != 1 {
			t.Errorf("%d over %d connections", other.StatusCode, *dials)
		}
	})
}

// follow reads a stream for a time. It returns when each line that begins with a word came, in seconds, and the names of the events.
func follow(t *testing.T, conn net.Conn, d time.Duration) (came map[string][]int, names []string) {
	t.Helper()
	begin := time.Now()
	came = map[string][]int{}
	go io.WriteString(conn, eventsHead)
	time.AfterFunc(d, func() { conn.Close() })
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		word, _, _ := strings.Cut(lines.Text(), " ")
		if word == "event:" {
			word = lines.Text()
			names = append(names, strings.TrimPrefix(word, "event: "))
		}
		came[word] = append(came[word], int(time.Since(begin)/time.Second))
	}
	return came, names
}

func TestEvents_ABeatIn15Seconds(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		go func() {
			for range 2 { // what is told moves the beat on
				time.Sleep(20 * time.Second)
				d.feed.more.Add(1)
				d.feed.due <- struct{}{}
			}
		}()
		came, _ := follow(t, dial(), 80*time.Second)
		if got := fmt.Sprint(came[":"], came["event: transaction"], came["retry:"]); got != "[15 35 55 70] [20 40] [0]" {
			t.Errorf("beats, events and advice came at %s", got)
		}
	})
}

func TestEvents_RemindsEachMinuteWhileItStaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		d.unfinished.Store(RemindedMax + 5)
		time.AfterFunc(150*time.Second, func() { d.unfinished.Store(0) })
		time.AfterFunc(250*time.Second, func() { d.unfinished.Store(1) })
		d.feed.more.Store(1)
		came, names := follow(t, dial(), 301*time.Second)
		if got := fmt.Sprint(came["event: reminder"], came["event: transaction"]); got != "[0 60 120 300] [0]" {
			t.Errorf("reminders and events came at %s", got)
		}
		if names[0] != "transaction" {
			t.Errorf("first came a %s", names[0])
		}
	})
}

// One that lost its power is noticed by TCP: see TestServer_LimitsWhatAPeerHolds.
func TestEvents_LetsGoOfATillThatLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, d *patient, dial func() net.Conn) {
		conn := dial()
		follow(t, conn, time.Second)
		synctest.Wait()
		if d.feed.open.Load() {
			t.Error("the stream goes on for nobody")
		}
	})
}
