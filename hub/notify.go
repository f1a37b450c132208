package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tideover"
)

// Limits of the address at which the platform calls back. Anybody who reaches it may speak there, so what a stranger can hold is
// little, and what he can cause is questions to the platform that would have been asked anyway.
const (
	hintBodyMax        = 4 << 10
	hintHeaderMax      = 8 << 10
	hintTimeMax        = 5 * time.Second  // for a whole request, and for taking its answer
	hintIdleMax        = 30 * time.Second // between two requests of a connection
	hintConnectionsMax = 64               // one more is closed as it comes
	hintRate           = 500              // a second, of all callers together; beyond it: 429
	hintBurst          = 1000
)

// hints serves the platform's hints: POST /outcomes {"id": "…"}. Every well-formed one is answered 202, whether the id is known, has
// its end, or is nobody's; what is done about it is the desk's to decide.
type hints struct {
	hint    func(tideover.ID)
	metrics *meters
	log     *slog.Logger
	now     func() time.Time

	mu     sync.Mutex // guards the token bucket
	tokens float64
	filled time.Time
}

func newHints(hint func(tideover.ID), m *meters, log *slog.Logger, now func() time.Time) *hints {
	return &hints{hint: hint, metrics: m, log: log, now: now, tokens: hintBurst, filled: now()}
}

// listenNotify takes the address at which the platform calls back; nil where there is none.
func listenNotify(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError("TCP", addr, "platform.notify", err)
	}
	return &fewConns{Listener: l, places: make(chan struct{}, hintConnectionsMax)}, nil
}

// serve serves on l until ctx ends.
func (h *hints) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/outcomes", h.outcome)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, tideover.CodeNotFound, "there is nothing here but POST /outcomes")
	})
	s := &http.Server{
		Handler: mux, ReadTimeout: hintTimeMax, WriteTimeout: hintTimeMax, IdleTimeout: hintIdleMax, MaxHeaderBytes: hintHeaderMax,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	return serveUntil(ctx, s, l)
}

// outcome takes one hint.
func (h *hints) outcome(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, tideover.CodeMethodNotAllowed, "a hint is given with POST")
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, tideover.CodeUnsupportedMediaType, "the body must be application/json")
		return
	}
	if wait := h.wait(); wait > 0 {
		h.metrics.hintsLimited.Inc()
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		problem(w, http.StatusTooManyRequests, tideover.CodeTooManyRequests, "too many hints; the hub asks by itself")
		return
	}
	id, err := readHint(http.MaxBytesReader(w, r.Body, hintBodyMax))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		problem(w, http.StatusRequestEntityTooLarge, tideover.CodeTooLarge, "a hint has at most "+strconv.Itoa(hintBodyMax)+" bytes")
		return
	case err != nil:
		problem(w, http.StatusBadRequest, tideover.CodeInvalidRequest, err.Error())
		return
	}
	h.metrics.hints.Inc()
	h.hint(id)
	w.WriteHeader(http.StatusAccepted)
}

// wait takes a token; where there is none, it returns how long until there is one.
func (h *hints) wait() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.tokens = min(hintBurst, h.tokens+hintRate*max(0, now.Sub(h.filled).Seconds()))
	h.filled = now
	if h.tokens < 1 {
		return max(time.Millisecond, time.Duration((1-h.tokens)/hintRate*float64(time.Second)))
	}
	h.tokens--
	return 0
}

// readHint reads {"id": "…"} and nothing else.
func readHint(body io.Reader) (tideover.ID, error) {
	var in struct {
		ID *tideover.ID `json:"id"`
	}
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return tideover.ID{}, err
	}
	if in.ID == nil {
		return tideover.ID{}, errors.New(`"id" is missing`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tideover.ID{}, large
		}
		return tideover.ID{}, errors.New("there is something after the body's object")
	}
	return *in.ID, nil
}

// problem answers as RFC 9457 says.
func problem(w http.ResponseWriter, status int, code tideover.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Type   string        `json:"type"`
		Title  string        `json:"title"`
		Status int           `json:"status"`
		Detail string        `json:"detail"`
		Code   tideover.Code `json:"code"`
	}{"urn:tideover:problem:" + string(code), http.StatusText(status), status, detail, code})
}

// fewConns is a listener that closes the connections it has no place for.
type fewConns struct {
	net.Listener
	places chan struct{}
}

// Accept implements net.Listener.
func (l *fewConns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &placedConn{Conn: c, free: sync.OnceFunc(func() { <-l.places })}, nil
		default:
			c.Close()
		}
	}
}

// placedConn gives its place back when it is closed.
type placedConn struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
