package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"tideover"
	"tideover/hub/platform"
)

// bodyMax is the largest body that is read: a payload of 64 KiB with every field around it.
const bodyMax = 256 << 10

// ServeHTTP serves the platform to other processes; a Platform is an [http.Handler].
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

func (p *Platform) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", p.postPayment)
	mux.HandleFunc("GET /payments", p.getStatement)
	mux.HandleFunc("GET /payments/{id}", p.getPayment)
	mux.HandleFunc("POST /payments/{id}/reverse", p.postReverse)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		s := p.Stats()
		if r.URL.Query().Get("by_id") != "1" {
			s.ByID = nil
		}
		write(w, http.StatusOK, s)
	})
	mux.HandleFunc("GET /stats/{id}", func(w http.ResponseWriter, r *http.Request) {
		if id, ok := pathID(w, r); ok {
			write(w, http.StatusOK, p.Count(id))
		}
	})
	mux.HandleFunc("GET /control", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, p.Behaviour()) })
	mux.HandleFunc("POST /control", p.control)
	mux.HandleFunc("POST /inject", p.inject)
	return mux
}

// wirePayment is the body of POST /payments, as the contract has it.
type wirePayment struct {
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

// wireAnswer is the body of every 200.
type wireAnswer struct {
	Result     string  `json:"result"`
	Code       string  `json:"code"`
	Message    string  `json:"message"`
	Reference  string  `json:"reference"`
	Amount     int64   `json:"amount"`
	Currency   string  `json:"currency"`
	WaitingFor *string `json:"waiting_for"`
}

func (p *Platform) postPayment(w http.ResponseWriter, r *http.Request) {
	in, err := readPayment(w, r)
	if err != nil {
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	a, f, err := p.serve(r.Context(), in)
	if err != nil {
		write(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	switch f {
	case fateAnswered:
		p.answer(w, r, in.ID, a)
	case fateFailed:
		write(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
	case fateGarbled:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>Bad gateway")
	case fateLostRequest, fateLostAnswer, fateHung, fateLate:
		panic(http.ErrAbortHandler) // cuts the connection
	}
}

// readPayment reads a body strictly: the sandbox also tells whether a hub keeps to the contract.
func readPayment(w http.ResponseWriter, r *http.Request) (platform.Payment, error) {
	var in wirePayment
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return platform.Payment{}, err
	}
	switch {
	case r.Header.Get("Idempotency-Key") != in.ID.String():
		return platform.Payment{}, errors.New("the Idempotency-Key is not the id")
	case in.Kind != tideover.KindSale && in.Kind != tideover.KindRefund && in.Kind != tideover.KindAdvice:
		return platform.Payment{}, fmt.Errorf("kind %q is never called for", in.Kind)
	case in.Amount <= 0 || in.Currency == "":
		return platform.Payment{}, errors.New("no amount or no currency")
	case (in.Kind == tideover.KindRefund) != (in.Original != nil):
		return platform.Payment{}, errors.New("a refund, and nothing else, names its original")
	}
	out := platform.Payment{
		ID: in.ID, Store: in.Store, Terminal: in.Terminal, CreatedAt: in.CreatedAt, ExpiresAt: in.ExpiresAt,
		Request: tideover.Request{Kind: in.Kind, Amount: in.Amount, Currency: in.Currency, Payload: in.Payload},
	}
	return out, nil
}

func (p *Platform) getPayment(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	_, delay, lost, err := p.question(id)
	switch {
	case err != nil:
		write(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	case !wait(r.Context(), delay) || lost:
		panic(http.ErrAbortHandler)
	default:
		p.answer(w, r, id, p.look(id))
	}
}

func (p *Platform) postReverse(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	if r.Header.Get("Idempotency-Key") != id.String()+":reverse" {
		write(w, http.StatusBadRequest, map[string]string{"error": "the Idempotency-Key is not ID:reverse"})
		return
	}
	a, delay, lost, err := p.undo(id)
	switch {
	case err != nil:
		write(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	case !wait(r.Context(), delay) || lost:
		panic(http.ErrAbortHandler)
	default:
		p.answer(w, r, id, a)
	}
}

// answer writes what is known of an id; it counts as given once it is written whole and its caller is still there.
func (p *Platform) answer(w http.ResponseWriter, r *http.Request, id tideover.ID, a platform.Answer) {
	if a.Result == platform.ResultMissing {
		write(w, http.StatusNotFound, map[string]string{"error": "no such payment (yet)"})
		return
	}
	out := wireAnswer{Result: a.Result.String(), Code: a.Code, Message: a.Message, Reference: a.Reference, Amount: a.Amount, Currency: a.Currency}
	if a.WaitingFor != "" {
		out.WaitingFor = &a.WaitingFor
	}
	if write(w, http.StatusOK, out) == nil && r.Context().Err() == nil {
		p.given(id, a)
	}
}

// control changes the behaviour: the keys that a body names, and no others.
func (p *Platform) control(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	d.DisallowUnknownFields()
	var body json.RawMessage
	err := d.Decode(&body)
	if err == nil {
		var bad error
		err = p.Control(func(b *Behaviour) {
			strict := json.NewDecoder(bytes.NewReader(body))
			strict.DisallowUnknownFields()
			changed := *b
			if bad = strict.Decode(&changed); bad == nil {
				*b = changed
			}
		})
		err = errors.Join(err, bad)
	}
	if err != nil {
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	write(w, http.StatusOK, p.Behaviour())
}

// pathID reads the id of a path, or answers that there is none.
func pathID(w http.ResponseWriter, r *http.Request) (tideover.ID, bool) {
	id, err := tideover.ParseID(r.PathValue("id"))
	if err != nil {
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return id, false
	}
	return id, true
}

// write answers with JSON, whole, and returns whether it could be written.
func write(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
