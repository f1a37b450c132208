package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"tideover"
)

const (
	hintWait = 2 * time.Second // for a hint to be taken
	hintsMax = 16              // on their way at once; more are not given
)

// hinter calls back.
type hinter struct {
	url    string
	client *http.Client
	places chan struct{}
}

func newHinter(base string) *hinter {
	return &hinter{
		url:    strings.TrimRight(base, "/") + "/outcomes",
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: hintsMax, IdleConnTimeout: 5 * time.Second}},
		places: make(chan struct{}, hintsMax),
	}
}

// hintAt calls back when a payment that is pending until then is decided, if nothing has barred it. The mutex is held.
func (p *Platform) hintAt(id tideover.ID, decided time.Time) {
	if p.hints == nil {
		return
	}
	time.AfterFunc(time.Until(decided), func() {
		p.mu.Lock()
		x := p.get(id)
		news := x != nil && x.decided
		p.mu.Unlock()
		if news {
			p.hint(id)
		}
	})
}

// hint calls back about an id. What is not taken is lost: a hint is a courtesy.
func (p *Platform) hint(id tideover.ID) {
	h := p.hints
	if h == nil {
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		return
	}
	body, err := json.Marshal(map[string]tideover.ID{"id": id})
	if err != nil {
		panic("sandbox: " + err.Error()) // an id is text
	}
	ctx, cancel := context.WithTimeout(context.Background(), hintWait)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := h.client.Do(r)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, bodyMax))
	res.Body.Close()
}
