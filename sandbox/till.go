package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"tideover"
)

const (
	// answerMax bounds an answer that a till reads.
	answerMax = 256 << 10
	// patience is how long a till waits for an answer beyond the wait that it asked for.
	patience = 10 * time.Second
	// pauseMax is how long a till rests at most before it tries again what was not answered; it rests half of that on average.
	pauseMax = 200 * time.Millisecond
)

// Press is what a person asks of a till. The JSON is the body that the till sends.
type Press struct {
	Kind       tideover.Kind   `json:"kind"`
	Amount     int64           `json:"amount,omitempty"` // minor units
	Currency   string          `json:"currency,omitempty"`
	Method     string          `json:"method,omitempty"`
	Order      string          `json:"order,omitempty"`
	Original   *tideover.ID    `json:"original,omitempty"`
	Instrument string          `json:"instrument,omitempty"`
	ExpiresIn  int             `json:"expires_in,omitempty"` // seconds
	Payload    json.RawMessage `json:"payload,omitempty"`
}

// Note is what a till knows about one of its presses. It is written down before the first try, as a till's own store would have it.
type Note struct {
	Terminal string
	Key      string
	Press    Press

	ID       tideover.ID           // from the first answer
	Accepted bool                  // an answer of 200 or 202 was heard: a router has it on disk
	End      *tideover.Transaction // the last end that was told
	Ends     []tideover.State      // each end that differed from the one before
	Acked    bool                  // the edge has taken the acknowledgement of End
	Refused  tideover.Code         // the press was refused for good, and nothing of it was stored
	Cancel   Cancel
	Streamed tideover.State // as the stream of events told it last: see Till.Listen
	Wrong    []string       // answers that break the contract

	known  bool   // an answer of 200 or 202 was heard from the present router
	seq    uint64 // the newest that the present router has told
	open   bool   // what was told under that seq is not an end
	teller int    // the router that has told End
	shown  bool   // an acknowledgement was sent, and perhaps taken
	forgot bool   // the till has crashed since it last heard of the press: it has the key, and no id
}

// Cancel is what a till knows about having a press undone.
type Cancel struct {
	Asked    time.Time     // when it was written down, before the first try; zero: never
	Answered time.Time     // when it was first answered 200 or 202: from then on the customer must not be charged
	Status   int           // of that first answer
	Answers  int           // how many were 200 or 202
	Refused  tideover.Code // the latest refusal; it counts where nothing was ever answered 200 or 202
	// Overruled: approved was told by the router that had taken the cancel, and after it.
	Overruled bool

	seq    uint64 // of the transaction in the first answer
	router int    // that gave it
}

// Taken says whether the edge has taken the cancel: an answer of 200 or 202 was heard.
func (c Cancel) Taken() bool { return c.Answers > 0 }

// Till is a simulated terminal. It speaks the real API over real connections, keeps the key of each press before its first try,
// tries until it is answered, follows the transaction to its end and acknowledges that. Its methods may be called from many
// goroutines.
type Till struct {
	Name string
	// Token is the bearer token from pairing; "" names the till by header, for access = "open".
	Token string
	// Asks makes a till that never sends a press again once it was answered 202: from then on it only asks for it, by id or by key.
	// Other tills send the same press until they are told its end.
	Asks bool
	// Wait is how long the edge may hold an answer.
	Wait time.Duration

	base   string // http://host:port
	client *http.Client

	mu     sync.Mutex // guards what follows
	notes  map[string]*Note
	order  []string           // keys in the order of their presses
	router int                // how often the router was replaced
	life   context.Context    // ends when the till crashes
	crash  context.CancelFunc // ends life
}

// NewTill returns a till that is pointed at the edge's endpoint, such as "127.0.0.1:8400".
func NewTill(endpoint, name string) *Till {
	t := &Till{
		Name: name, Wait: 2 * time.Second, base: "http://" + endpoint, notes: map[string]*Note{},
		client: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 32, DisableCompression: true,
		}},
	}
	t.life, t.crash = context.WithCancel(context.Background())
	return t
}

// Notes returns a copy of everything that the till has written down, in the order of the presses.
func (t *Till) Notes() []Note {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Note, 0, len(t.order))
	for _, key := range t.order {
		n := *t.notes[key]
		n.Ends, n.Wrong = slices.Clone(n.Ends), slices.Clone(n.Wrong)
		all = append(all, n)
	}
	return all
}

// Note returns a copy of what is written down about one press.
func (t *Till) Note(key string) Note {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.notes[key]; n != nil {
		return *n
	}
	return Note{}
}

// Pair makes the till known with a code that the technician was shown.
func (t *Till) Pair(ctx context.Context, code string) error {
	body, err := json.Marshal(map[string]string{"code": code, "name": t.Name})
	if err != nil {
		return err
	}
	a, err := t.call(ctx, http.MethodPost, "/v1/pair", nil, body, 0)
	if err != nil {
		return err
	}
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		return fmt.Errorf("pairing %s: %s", t.Name, a)
	}
	var paired struct{ Token string }
	if err := json.Unmarshal(a.body, &paired); err != nil || paired.Token == "" {
		return fmt.Errorf("pairing %s: no token in %s", t.Name, a)
	}
	t.Token = paired.Token
	return nil
}

// Unacknowledged returns the ends that the edge still holds for this till.
func (t *Till) Unacknowledged(ctx context.Context) ([]tideover.Transaction, error) {
	a, err := t.call(ctx, http.MethodGet, "/v1/transactions?unacknowledged=1", nil, nil, 0)
	if err != nil {
		return nil, err
	}
	return a.list()
}

// Pending returns how many transactions of the shop the edge holds without an end.
func (t *Till) Pending(ctx context.Context) (int, error) {
	a, err := t.call(ctx, http.MethodGet, "/v1/health", nil, nil, 0)
	if err != nil {
		return 0, err
	}
	var health struct{ Pending *int }
	if err := json.Unmarshal(a.body, &health); err != nil || health.Pending == nil {
		return 0, fmt.Errorf("health: %s", a)
	}
	return *health.Pending, nil
}

// answer is what the edge said.
type answer struct {
	status int
	body   []byte
}

// String shows the beginning of an answer.
func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, bytes.TrimSpace(a.body)) }

func (a answer) transaction() (x tideover.Transaction, err error) {
	if err := json.Unmarshal(a.body, &x); err != nil || x.ID.IsZero() {
		return x, fmt.Errorf("not a transaction: %s", a)
	}
	return x, nil
}

func (a answer) list() ([]tideover.Transaction, error) {
	var page struct{ Transactions []tideover.Transaction }
	if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("not a list: %s", a)
	}
	return page.Transactions, nil
}

// none says whether a list is empty.
func (a answer) none() bool {
	page, err := a.list()
	return err == nil && len(page) == 0
}

// one returns the transaction of an answer to a question by id, or the only one of a list.
func (a answer) one(listed bool) (tideover.Transaction, error) {
	if !listed {
		return a.transaction()
	}
	page, err := a.list()
	if err != nil || len(page) != 1 {
		return tideover.Transaction{}, fmt.Errorf("want one transaction: %s", a)
	}
	return page[0], nil
}

func (a answer) refusal() *RefusedError {
	var p struct {
		Code   tideover.Code
		Detail string
	}
	if err := json.Unmarshal(a.body, &p); err != nil || p.Code == "" {
		p.Detail = a.String()
	}
	return &RefusedError{Status: a.status, Code: p.Code, Detail: p.Detail}
}

// errCut is an answer that broke off.
var errCut = errors.New("the answer broke off")

// call makes one request and reads its answer whole.
func (t *Till) call(ctx context.Context, method, path string, header http.Header, body []byte, wait time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+patience)
	defer cancel()
	r, err := t.request(ctx, method, path, header, body)
	if err != nil {
		return answer{}, err
	}
	res, err := t.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, answerMax))
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errCut, err)
	}
	return answer{status: res.StatusCode, body: b}, nil
}

// request makes a request of this till.
func (t *Till) request(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, t.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.GetBody = nil // repeats are the till's own, none is made behind its back
	maps.Copy(r.Header, header)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept-Language", "en")
	if t.Token != "" {
		r.Header.Set("Authorization", "Bearer "+t.Token)
	} else {
		r.Header.Set("Tideover-Terminal", t.Name)
	}
	return r, nil
}

// rest pauses between two tries, with full jitter.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(pauseMax)):
		return nil
	}
}
