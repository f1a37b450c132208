package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"tideover"
)

// quietMax is the longest silence of a stream that a till takes for life; the edge writes something every 15 s.
const quietMax = 40 * time.Second

// Listen follows the till's stream of events until ctx ends, through every break, and writes down what it is told like any other
// answer; [Note.Streamed] is what the stream alone has told. It neither sends nor acknowledges anything.
func (t *Till) Listen(ctx context.Context) {
	place := ""
	for ctx.Err() == nil {
		life, end := t.living(ctx)
		place = t.stream(life, place) // kept, as the till's presses are: what was acknowledged in between comes to no other
		_ = end(nil)
		_ = rest(ctx)
	}
}

// stream reads one stream to its end, and returns the place that it came to.
func (t *Till) stream(ctx context.Context, place string) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(quietMax, cancel)
	defer silence.Stop()
	_, router := t.memory("")
	r, err := t.request(ctx, http.MethodGet, "/v1/events", nil, nil)
	if err != nil {
		return place
	}
	if place != "" {
		r.Header.Set("Last-Event-ID", place)
	}
	res, err := t.client.Do(r)
	if err != nil {
		return place
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return place
	}
	var name, id string
	var data []byte
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, answerMax)
	for lines.Scan() {
		silence.Reset(quietMax)
		switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			data = append(data, value...)
		case "":
			var x tideover.Transaction
			if name == "transaction" && json.Unmarshal(data, &x) == nil && t.streamed(x, router) {
				place = id
			}
			name, id, data = "", "", nil
		}
	}
	return place
}

// streamed writes an event down; false where it is not about a press of this till.
func (t *Till) streamed(x tideover.Transaction, router int) bool {
	if n, _ := t.memory(x.Key); n.Key == "" {
		return false
	}
	t.told(x.Key, x, router)
	t.change(x.Key, func(n *Note) { n.Streamed = x.State })
	return true
}
