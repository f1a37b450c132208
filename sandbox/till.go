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
	"net/url"
	"slices"
	"strconv"
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
	Accepted bool                  // an answer of 200 or 202 was heard: the edge has it on disk
	End      *tideover.Transaction // the last end that was told
	Ends     []tideover.State      // each end that differed from the one before
	Acked    bool                  // the edge has taken the acknowledgement of End
	Refused  tideover.Code         // the press was refused for good, and nothing of it was stored
	Wrong    []string              // answers that break the contract
}

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

	mu    sync.Mutex // guards notes and what they point to
	notes map[string]*Note
	order []string // keys in the order of their presses
}

// NewTill returns a till that is pointed at the edge's endpoint, such as "127.0.0.1:8400".
func NewTill(endpoint, name string) *Till {
	return &Till{
		Name: name, Wait: 2 * time.Second, base: "http://" + endpoint, notes: map[string]*Note{},
		client: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 32, DisableCompression: true,
		}},
	}
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

// NewRouter tells the till that the shop's router was replaced by one with an empty disk: that one may know nothing of what the old
// one had answered.
func (t *Till) NewRouter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.notes {
		n.Accepted, n.Acked = false, false
	}
}

// note writes a press down, or finds it.
func (t *Till) note(key string, p Press) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.notes[key] == nil {
		t.notes[key] = &Note{Terminal: t.Name, Key: key, Press: p}
		t.order = append(t.order, key)
	}
}

// RefusedError is a press that the edge refused for good.
type RefusedError struct {
	Status int
	Code   tideover.Code
	Detail string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("refused: %s: %s", e.Code, e.Detail) }

// Sell presses under key and follows the transaction until its end is told and acknowledged. It returns that end, a
// [*RefusedError], or ctx's error; then the same call under the same key takes it up again.
func (t *Till) Sell(ctx context.Context, key string, p Press) (tideover.Transaction, error) {
	t.note(key, p)
	x, err := t.Send(ctx, key)
	for err == nil {
		if x.Final() {
			var done bool
			if done, err = t.acknowledge(ctx, key, x); err != nil || done {
				return x, err
			}
			x, err = t.askOnce(ctx, key, 0)
			continue
		}
		x, err = t.follow(ctx, key)
	}
	return x, err
}

// follow looks again at a press that is not final, in the way of this till.
func (t *Till) follow(ctx context.Context, key string) (tideover.Transaction, error) {
	if t.Asks {
		return t.askOnce(ctx, key, t.Wait)
	}
	if err := rest(ctx); err != nil {
		return tideover.Transaction{}, err
	}
	return t.Send(ctx, key)
}

// Press writes a press down and sends it until it is answered; it does not follow it.
func (t *Till) Press(ctx context.Context, key string, p Press) (tideover.Transaction, error) {
	t.note(key, p)
	return t.Send(ctx, key)
}

// Send sends a press that was written down until it is answered 200 or 202, or refused for good.
func (t *Till) Send(ctx context.Context, key string) (tideover.Transaction, error) {
	t.mu.Lock()
	body, err := json.Marshal(t.notes[key].Press)
	t.mu.Unlock()
	if err != nil {
		return tideover.Transaction{}, err
	}
	header := http.Header{"Idempotency-Key": {key}, "Prefer": {"wait=" + strconv.Itoa(int(t.Wait.Seconds()))}}
	for {
		known := t.Accepted(key)
		a, err := t.call(ctx, http.MethodPost, "/v1/transactions", header, body, t.Wait)
		if err == nil {
			x, again, err := t.heard(key, a, known)
			if !again {
				return x, err
			}
		}
		if err := rest(ctx); err != nil {
			return tideover.Transaction{}, err
		}
	}
}

// Accepted says whether a press was answered 200 or 202.
func (t *Till) Accepted(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.notes[key]
	return n != nil && n.Accepted
}

// heard takes the answer to a press. known says that the press had been answered 200 or 202 before this try began: then the edge
// must still know it.
func (t *Till) heard(key string, a answer, known bool) (x tideover.Transaction, again bool, err error) {
	switch a.status {
	case http.StatusOK, http.StatusAccepted:
		x, err := a.transaction()
		if err != nil {
			t.wrong(key, "%v", err)
			return x, false, err
		}
		if known && !x.Replayed {
			t.wrong(key, "it had been answered before, and was taken as new: %s", a)
		}
		if (a.status == http.StatusOK) != x.Final() {
			t.wrong(key, "the status and the state disagree: %s", a)
		}
		t.told(key, x)
		return x, false, nil
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusInsufficientStorage:
		return x, true, nil
	}
	r := a.refusal()
	if known {
		t.wrong(key, "it had been answered before, and was refused: %s", a)
	}
	t.mu.Lock()
	t.notes[key].Refused = r.Code
	t.mu.Unlock()
	return x, false, r
}

// told writes down what the edge said about a press.
func (t *Till) told(key string, x tideover.Transaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.notes[key]
	if !n.ID.IsZero() && n.ID != x.ID {
		n.Wrong = append(n.Wrong, fmt.Sprintf("its id was %s and is now %s", n.ID, x.ID))
	}
	if n.ID = x.ID; x.Key != key || x.Amount != n.Press.Amount && n.Press.Amount != 0 {
		n.Wrong = append(n.Wrong, fmt.Sprintf("the answer is about key %q and %d, not about this press", x.Key, x.Amount))
	}
	n.Accepted = true
	if !x.Final() {
		return
	}
	if n.End != nil && n.End.State != x.State && !x.Corrected && (n.End.State != tideover.StateApproved || x.State != tideover.StateReversed) {
		n.Wrong = append(n.Wrong, fmt.Sprintf("it was told %q and then %q", n.End.State, x.State))
	}
	if n.End == nil || n.End.State != x.State {
		n.Ends = append(n.Ends, x.State)
	}
	n.End = &x
}

// Ask looks at a press once it can be reached, without sending it: by id, or by key, as the dice fall.
func (t *Till) Ask(ctx context.Context, key string) (tideover.Transaction, error) {
	return t.askOnce(ctx, key, 0)
}

func (t *Till) askOnce(ctx context.Context, key string, wait time.Duration) (tideover.Transaction, error) {
	t.mu.Lock()
	id := t.notes[key].ID
	t.mu.Unlock()
	for {
		byKey := rand.IntN(2) == 0
		path := "/v1/transactions/" + id.String() + "?wait=" + strconv.Itoa(int(wait.Seconds()))
		if byKey {
			path = "/v1/transactions?key=" + url.QueryEscape(key)
		}
		a, err := t.call(ctx, http.MethodGet, path, nil, nil, wait)
		if err == nil && a.status == http.StatusOK {
			x, err := a.one(byKey)
			if err != nil {
				t.wrong(key, "%v", err)
				return x, err
			}
			t.told(key, x)
			if byKey && !x.Final() && wait > 0 {
				err = rest(ctx) // a list is not held back until something changes
			}
			return x, err
		}
		if err == nil && a.status == http.StatusNotFound {
			t.wrong(key, "it had been answered, and is unknown now: %s", a)
			return tideover.Transaction{}, a.refusal()
		}
		if err := rest(ctx); err != nil {
			return tideover.Transaction{}, err
		}
	}
}

// acknowledge tells the edge that the end was shown, until it is answered. It returns false if another end has come meanwhile.
func (t *Till) acknowledge(ctx context.Context, key string, x tideover.Transaction) (done bool, err error) {
	body := fmt.Appendf(nil, `{"seq":%d}`, x.Seq)
	for {
		a, err := t.call(ctx, http.MethodPost, "/v1/transactions/"+x.ID.String()+"/ack", nil, body, 0)
		if err == nil {
			switch a.status {
			case http.StatusNoContent:
				t.mu.Lock()
				t.notes[key].Acked = true
				t.mu.Unlock()
				return true, nil
			case http.StatusConflict: // after a crash of the edge the hub tells the end again, under a later seq
				return false, rest(ctx)
			case http.StatusServiceUnavailable, http.StatusTooManyRequests:
			default:
				t.wrong(key, "its acknowledgement of seq %d was refused: %s", x.Seq, a)
				return false, a.refusal()
			}
		}
		if err := rest(ctx); err != nil {
			return false, err
		}
	}
}

func (t *Till) wrong(key, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes[key].Wrong = append(t.notes[key].Wrong, fmt.Sprintf(format, args...))
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
	r, err := http.NewRequestWithContext(ctx, method, t.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
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

// rest pauses between two tries, with full jitter.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(rand.N(pauseMax)):
		return nil
	}
}
