package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"tideover"
	"tideover/hub/platform"
)

// Limits of the adapter.
const (
	answerMax      = 64 << 10 // bytes of an answer's body; a longer one cannot be read
	headerMax      = 32 << 10
	connectionsMax = 1024 // to the platform
	idleMax        = 128
	idleTime       = 30 * time.Second // shorter than servers usually keep a connection: a dead one costs a call its answer
	dialTime       = 5 * time.Second
)

// Platform calls a platform over HTTP/1.1 or HTTP/2.
type Platform struct {
	base   string
	client *nethttp.Client
}

var _ platform.Platform = (*Platform)(nil)

// New makes the adapter for a base URL, http or https, without query, fragment or user. It does not dial.
func New(base string) (*Platform, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not a plain http:// or https:// address", base)
	}
	return &Platform{
		base: strings.TrimRight(u.String(), "/"),
		client: &nethttp.Client{
			Transport: &nethttp.Transport{
				Proxy: nethttp.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTime}).DialContext, ForceAttemptHTTP2: true,
				MaxConnsPerHost: connectionsMax, MaxIdleConns: idleMax, MaxIdleConnsPerHost: idleMax, IdleConnTimeout: idleTime,
				MaxResponseHeaderBytes: headerMax, TLSHandshakeTimeout: dialTime,
			},
			// A redirect would be another call.
			CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse },
		},
	}, nil
}

// payment is the body of POST /payments.
type payment struct {
	ID         tideover.ID     `json:"id"`
	Store      string          `json:"store"`
	Terminal   string          `json:"terminal"`
	Kind       tideover.Kind   `json:"kind"`
	Amount     int64           `json:"amount"`
	Currency   string          `json:"currency"`
	Method     *string         `json:"method"`
	Order      *string         `json:"order"`
	Original   *tideover.ID    `json:"original"`
	Instrument *string         `json:"instrument"`
	Operator   *string         `json:"operator"`
	Payload    json.RawMessage `json:"payload"`
	CreatedAt  tideover.Millis `json:"created_at"`
	ExpiresAt  tideover.Millis `json:"expires_at"`
}

// answer is the body of every 200.
type answer struct {
	Result     string `json:"result"`
	Code       string `json:"code"`
	Message    string `json:"message"`
	Reference  string `json:"reference"`
	Amount     int64  `json:"amount"`
	Currency   string `json:"currency"`
	WaitingFor string `json:"waiting_for"`
}

func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Pay implements [platform.Platform].
func (p *Platform) Pay(ctx context.Context, in platform.Payment) (platform.Answer, error) {
	r := in.Request
	body, err := json.Marshal(payment{
		ID: in.ID, Store: in.Store, Terminal: in.Terminal, Kind: r.Kind, Amount: r.Amount, Currency: r.Currency, Method: orNull(r.Method),
		Order: orNull(r.Order), Original: orNull(r.Original), Instrument: orNull(r.Instrument), Operator: orNull(r.Operator),
		Payload: r.Payload, CreatedAt: in.CreatedAt, ExpiresAt: in.ExpiresAt,
	})
	if err != nil {
		return platform.Answer{}, fmt.Errorf("platform: a payment that cannot be written: %w", err)
	}
	return p.do(ctx, nethttp.MethodPost, "/payments", in.ID.String(), body,
		platform.ResultApproved, platform.ResultDeclined, platform.ResultPending)
}

// Query implements [platform.Platform].
func (p *Platform) Query(ctx context.Context, id tideover.ID) (platform.Answer, error) {
	return p.do(ctx, nethttp.MethodGet, "/payments/"+id.String(), "", nil,
		platform.ResultApproved, platform.ResultDeclined, platform.ResultPending, platform.ResultReversed, platform.ResultMissing)
}

// Reverse implements [platform.Platform].
func (p *Platform) Reverse(ctx context.Context, id tideover.ID) (platform.Answer, error) {
	return p.do(ctx, nethttp.MethodPost, "/payments/"+id.String()+"/reverse", id.String()+":reverse", []byte("{}"),
		platform.ResultReversed, platform.ResultNotExecuted, platform.ResultDeclined)
}

// do makes one request and reads its answer; only the results that are named are believed.
func (p *Platform) do(ctx context.Context, method, path, key string, body []byte, known ...platform.Result) (platform.Answer, error) {
	var none platform.Answer
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := nethttp.NewRequestWithContext(ctx, method, p.base+path, reader)
	if err != nil {
		return none, err
	}
	req.GetBody = nil // no repeat behind the ledger's back
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return none, unwrapURL(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	switch {
	case err != nil:
		return none, fmt.Errorf("read the platform's answer: %w", err)
	case len(raw) > answerMax:
		return none, fmt.Errorf("the platform's answer has more than %d bytes", answerMax)
	case resp.StatusCode == nethttp.StatusNotFound && method == nethttp.MethodGet:
		return platform.Answer{Result: platform.ResultMissing}, nil
	case resp.StatusCode != nethttp.StatusOK:
		return none, fmt.Errorf("the platform answered %s", resp.Status)
	}
	return read(raw, known)
}

// unwrapURL leaves the address out of an error: it says nothing that the configuration does not.
func unwrapURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("call the platform: %w", u.Err)
	}
	return fmt.Errorf("call the platform: %w", err)
}

// read takes an answer whose result is known; anything else is no answer.
func read(raw []byte, known []platform.Result) (platform.Answer, error) {
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return platform.Answer{}, fmt.Errorf("the platform's answer is not what it should be: %w", err)
	}
	for _, r := range known {
		if r != platform.ResultMissing && r.String() == a.Result {
			return platform.Answer{
				Result: r, Code: cut(a.Code, platform.CodeMax), Message: cut(tideover.Mask(a.Message), platform.MessageMax),
				Reference: cut(a.Reference, platform.ReferenceMax), Amount: a.Amount, Currency: a.Currency,
				WaitingFor: cut(a.WaitingFor, platform.CodeMax),
			}, nil
		}
	}
	return platform.Answer{}, errors.New("the platform's answer has no result that is known here")
}

// cut shortens a text to at most n bytes, at the bound of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
