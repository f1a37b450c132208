package http

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"net/url"
	"time"

	"tideover"
	"tideover/hub/platform"
)

// listingMax is the largest page of a statement that is read, in bytes: platform.PageMax lines of 1 kB.
const listingMax = 1 << 20

var _ platform.Lister = (*Platform)(nil)

// line is one entry of a statement. Ids and kinds are read here, since an error of theirs would repeat what stands there.
type line struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	Amount    int64           `json:"amount"`
	Currency  string          `json:"currency"`
	Result    string          `json:"result"`
	Reference string          `json:"reference"`
	At        tideover.Millis `json:"at"`
}

// listing is the body of a statement's page.
type listing struct {
	Payments *[]line `json:"payments"` // an answer without it is none
	Next     *string `json:"next"`
}

// List implements [platform.Lister]: the contract leaves this call to the platform, and 404, 405 and 501 mean that it does not have it.
func (p *Platform) List(ctx context.Context, page platform.Page) (none platform.Listing, err error) {
	q := url.Values{"store": {page.Store}, "from": {instant(page.From)}, "to": {instant(page.To)}}
	if page.After != "" {
		q.Set("after", page.After)
	}
	req, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodGet, p.base+"/payments?"+q.Encode(), nil)
	if err != nil {
		return none, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return none, unwrapURL(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, listingMax+1))
	switch {
	case resp.StatusCode == nethttp.StatusNotFound, resp.StatusCode == nethttp.StatusMethodNotAllowed, resp.StatusCode == nethttp.StatusNotImplemented:
		return none, platform.ErrNoStatement
	case resp.StatusCode != nethttp.StatusOK:
		return none, fmt.Errorf("the platform answered %s to the question for its statement", resp.Status)
	case err != nil:
		return none, fmt.Errorf("read the platform's statement: %w", err)
	case len(raw) > listingMax:
		return none, fmt.Errorf("a page of the platform's statement has more than %d bytes", listingMax)
	}
	return readListing(raw)
}

// instant writes a time as the contract does.
func instant(m tideover.Millis) string {
	return time.UnixMilli(int64(m)).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// readListing takes a page whole or not at all: a line that was left out would be taken for money that the platform does not have.
func readListing(raw []byte) (none platform.Listing, err error) {
	var in listing
	if err := json.Unmarshal(raw, &in); err != nil {
		return none, fmt.Errorf("the platform's statement is not what it should be: %w", err)
	}
	switch {
	case in.Payments == nil:
		return none, fmt.Errorf("the platform's statement has no payments")
	case len(*in.Payments) > platform.PageMax:
		return none, fmt.Errorf("a page of the platform's statement has %d payments, at most %d", len(*in.Payments), platform.PageMax)
	case in.Next != nil && len(*in.Next) > platform.CursorMax:
		return none, fmt.Errorf("the cursor of the platform's statement has more than %d bytes", platform.CursorMax)
	}
	var out platform.Listing
	if in.Next != nil {
		out.Next = *in.Next
	}
	for i, l := range *in.Payments {
		e, ok := l.entry()
		if !ok {
			return none, fmt.Errorf("payment %d of a page of the platform's statement cannot be read: it needs id, kind, amount, currency, at and a result that is known here", i+1)
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

// listed are the results that a statement may name.
var listed = []platform.Result{platform.ResultApproved, platform.ResultDeclined, platform.ResultReversed, platform.ResultPending}

// entry reads a line; false where it says less than it must.
func (l line) entry() (e platform.Entry, ok bool) {
	id, err := tideover.ParseID(l.ID)
	if err != nil || e.Kind.UnmarshalText([]byte(l.Kind)) != nil {
		return e, false
	}
	e.ID, e.Amount, e.Currency, e.Reference, e.At = id, l.Amount, l.Currency, cut(l.Reference, platform.ReferenceMax), l.At
	for _, r := range listed {
		if r.String() == l.Result {
			e.Result = r
		}
	}
	return e, e.Result != platform.ResultNone && !id.IsZero() && e.Kind != tideover.KindNone && e.Amount >= 0 && len(e.Currency) == 3 && e.At > 0
}
