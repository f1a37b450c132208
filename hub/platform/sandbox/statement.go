package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tideover"
	"tideover/hub/platform"
)

// pageMax is how many entries the simulated platform puts on one page.
const pageMax = 500

// line is one execution in the platform's book.
type line struct {
	at  tideover.Millis
	of  *payment
	ref string
}

// enter writes an execution down. Times never go back, whatever the clock does: pages are cut by position.
func (p *Platform) enter(x *payment, ref string) {
	at := tideover.MillisOf(time.Now())
	if n := len(p.book); n > 0 {
		at = max(at, p.book[n-1].at)
	}
	p.book = append(p.book, line{at: at, of: x, ref: ref})
}

// errCursor is the answer to a cursor that no page had.
var errCursor = errors.New("sandbox: no such cursor")

// List implements [platform.Lister]: one entry for each execution, with a number of its own; what was declined moved nothing and is not
// listed.
func (p *Platform) List(ctx context.Context, page platform.Page) (out platform.Listing, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return out, ctx.Err()
	case p.behaviour.Down:
		return out, errDown
	case p.behaviour.NoStatement:
		return out, platform.ErrNoStatement
	}
	if page.After == "" {
		for _, x := range p.payments { // what was pending until now is executed
			p.mature(x)
		}
	}
	at, _ := slices.BinarySearchFunc(p.book, page.From, func(l line, from tideover.Millis) int { return cmp.Compare(l.at, from) })
	if page.After != "" {
		if at, err = strconv.Atoi(page.After); err != nil || at < 0 || at > len(p.book) {
			return out, errCursor
		}
	}
	for ; at < len(p.book) && p.book[at].at < page.To; at++ {
		l := p.book[at]
		switch {
		case l.of.store != page.Store || l.of.lost:
		case len(out.Entries) == pageMax:
			out.Next = strconv.Itoa(at)
			return out, nil
		default:
			e := platform.Entry{
				ID: l.of.id, Kind: l.of.kind, Amount: l.of.amount, Currency: l.of.currency, Result: platform.ResultApproved, Reference: l.ref, At: l.at,
			}
			if l.of.reversed {
				e.Result = platform.ResultReversed
			}
			out.Entries = append(out.Entries, e)
		}
	}
	return out, nil
}

// Twice executes once more what was executed and not undone, as a platform does that breaks its word: the money is moved twice, and its
// statement has two entries of the id. False: it was not.
func (p *Platform) Twice(id tideover.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.payments[id]
	if x == nil || !x.approved || x.reversed {
		return false
	}
	p.execute(x)
	return true
}

// Lose takes what was executed out of the platform's statement, as a platform does that forgets what it has approved. Counts, and
// the answers to questions, still have it. False: there was nothing.
func (p *Platform) Lose(id tideover.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.payments[id]
	if x == nil || !x.approved || x.lost {
		return false
	}
	x.lost = true
	return true
}

// wireLine is an entry of a statement as the contract has it.
type wireLine struct {
	ID        tideover.ID     `json:"id"`
	Kind      tideover.Kind   `json:"kind"`
	Amount    int64           `json:"amount"`
	Currency  string          `json:"currency"`
	Result    string          `json:"result"`
	Reference string          `json:"reference"`
	At        tideover.Millis `json:"at"`
}

func (p *Platform) getStatement(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	page := platform.Page{Store: q.Get("store"), After: q.Get("after")}
	for name, to := range map[string]*tideover.Millis{"from": &page.From, "to": &page.To} {
		at, err := time.Parse(time.RFC3339, q.Get(name))
		if err != nil || page.Store == "" {
			write(w, http.StatusBadRequest, map[string]string{"error": "store, from and to are needed, the times in RFC 3339"})
			return
		}
		*to = tideover.MillisOf(at)
	}
	list, err := p.List(r.Context(), page)
	switch {
	case errors.Is(err, platform.ErrNoStatement):
		write(w, http.StatusNotFound, map[string]string{"error": "no statement"})
	case errors.Is(err, errCursor):
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	case err != nil:
		write(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	default:
		out := struct {
			Payments []wireLine `json:"payments"`
			Next     *string    `json:"next"`
		}{Payments: []wireLine{}}
		if list.Next != "" {
			out.Next = &list.Next
		}
		for _, e := range list.Entries {
			out.Payments = append(out.Payments, wireLine{
				ID: e.ID, Kind: e.Kind, Amount: e.Amount, Currency: e.Currency, Result: e.Result.String(), Reference: e.Reference, At: e.At,
			})
		}
		write(w, http.StatusOK, out)
	}
}

// inject breaks the platform's word for one id, by the names of [Platform.Twice] and [Platform.Lose].
func (p *Platform) inject(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Twice *tideover.ID `json:"twice"`
		Lose  *tideover.ID `json:"lose"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || in.Twice == nil && in.Lose == nil {
		write(w, http.StatusBadRequest, map[string]string{"error": `want {"twice": ID} or {"lose": ID}`})
		return
	}
	if in.Twice != nil && !p.Twice(*in.Twice) || in.Lose != nil && !p.Lose(*in.Lose) {
		write(w, http.StatusNotFound, map[string]string{"error": "it was not executed, or is undone or lost already"})
		return
	}
	write(w, http.StatusOK, struct{}{})
}
