package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"tideover"
)

// Config is the technician's part of the edge's configuration, `[admin]`.
type Config struct {
	Socket string `toml:"socket"`
	Web    string `toml:"web"` // the technician's page; "" is off
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{Socket: "/run/tideover/control.sock", Web: "127.0.0.1:8480"}
}

// Backend is what the API needs of the house behind it. Its methods are called from many goroutines at once. An error that is an
// [*Error] or a [*tideover.Refusal] is answered as it is; any other is answered as internal, in its own words.
type Backend interface {
	// Status does not block on the network. Its Verdict is the backend's to make, with [Judge].
	Status() Status

	// List returns transactions, the newest first. Filter.Limit is between 1 and [ListMax].
	List(ctx context.Context, f Filter) (Page, error)

	// Find returns ids from first to last, both included, that the journal has: all of them, or the first few.
	Find(first, last tideover.ID) []tideover.ID

	// Show returns one transaction with its history; an unknown one is [Unknown].
	Show(ctx context.Context, id tideover.ID) (Detail, error)

	// Receipt returns the signed receipt of a transaction's present end. Where there is none it is refused with what to do.
	Receipt(ctx context.Context, id tideover.ID) (tideover.Receipt, error)

	// Compare holds a receipt against the record of its transaction.
	Compare(ctx context.Context, r tideover.Receipt) (Comparison, error)

	// Act does to a transaction what a person wants. What it returns is on disk; the hub's answer to it, where it needs one, is waited
	// for a few seconds. An unknown transaction is [Unknown].
	Act(ctx context.Context, id tideover.ID, a Action, by Peer) (Detail, error)

	// Export calls each for every transaction in the journal, the newest first, and returns its first error.
	Export(ctx context.Context, each func(Detail) error) error

	// Rules returns the versions of the shop's rules on record, at most [RulesMax].
	Rules(ctx context.Context) (RulesHistory, error)

	// VerifyJournal looks at every entry of the journal, and holds it against what the hub has said, and against anchor, SEQ:HASH, where
	// that is not "". It may take minutes, and delays nobody.
	VerifyJournal(ctx context.Context, anchor string) (Journal, error)

	// Check looks at the whole store: at every entry as VerifyJournal does, at every sealed part, and at where the file lies. It may take
	// minutes, and delays nobody.
	Check(ctx context.Context) (Check, error)

	// Backup writes a copy of the journal to path, which is absolute, and opens it. It may take minutes, and delays nobody.
	Backup(ctx context.Context, path string) (Backup, error)

	// Compact makes the journal's file as small as what it holds. It may take minutes, and delays nobody but for an instant.
	Compact(ctx context.Context) (Compacted, error)

	// Keys returns the keys of the journal, the newest first. It reads through what is sealed.
	Keys(ctx context.Context) (KeyList, error)

	// RotateKey lets a new key seal what is accepted; it is on disk and on record when it returns.
	RotateKey(ctx context.Context, by Peer) (KeyList, error)

	// DestroyKeys destroys every key but the one that seals. Where something open would be lost by that it is refused without Force.
	DestroyKeys(ctx context.Context, d KeyDestruction, by Peer) (KeyList, error)

	// Reconcile compares all sides of a day. With All it calls each for every transaction before it returns, and returns its first error.
	Reconcile(ctx context.Context, q ReconcileQuery, each func(tideover.Compared) error) (tideover.Reconciliation, error)

	// Terminals lists every till, revoked ones included.
	Terminals(ctx context.Context) (TerminalList, error)

	// Pair makes a code that lets one till in.
	Pair(ctx context.Context, r PairRequest, by Peer) (Pairing, error)

	// Revoke ends a till's access; it returns once that is on disk. An unknown name is [NotFound].
	Revoke(ctx context.Context, name string, by Peer) error
}

// Limits of a conversation. A technician's request is small and answered at once; a peer that dawdles loses its connection.
const (
	bodyMax     = 64 << 10 // bytes
	headerMax   = 16 << 10
	readWait    = 5 * time.Second
	answerWait  = 30 * time.Second
	idleWait    = 30 * time.Second
	shutdownMax = 2 * time.Second // for what is being answered when the daemon stops
)

// Server answers technicians. Use [New].
type Server struct {
	config  Config
	backend Backend
	log     *slog.Logger
	socket  *socket
}

// New makes a server; nothing is listened on yet.
func New(c Config, b Backend, log *slog.Logger) *Server {
	return &Server{config: c, backend: b, log: log}
}

// Listen makes the socket, so that a second daemon fails before it touches anything else. Errors are [*SocketError]. Whoever has called
// it calls Run or Close.
func (s *Server) Listen() (err error) {
	s.socket, err = listen(s.config.Socket)
	return err
}

// Close removes the socket of a server that never ran.
func (s *Server) Close() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// Run answers until ctx ends; it listens first where [Server.Listen] was not called. The socket is gone when it returns.
func (s *Server) Run(ctx context.Context) error {
	if s.socket == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	h := &http.Server{
		Handler: s.handler(), MaxHeaderBytes: headerMax, ReadHeaderTimeout: readWait, ReadTimeout: readWait,
		WriteTimeout: answerWait, IdleTimeout: idleWait, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// What is being answered when the daemon stops has shutdownMax to end; ending ctx does not cut it off.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c.(*conn).peer)
		},
	}
	defer s.socket.Close()
	served := make(chan error, 1)
	go func() { served <- h.Serve(&acceptor{socket: s.socket, slots: make(chan struct{}, connsMax)}) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownMax)
	defer cancel()
	if h.Shutdown(drain) != nil {
		h.Close()
	}
	<-served
	return nil
}

type peerKey struct{}

func peerFrom(ctx context.Context) Peer { p, _ := ctx.Value(peerKey{}).(Peer); return p }

// handler routes.
func (s *Server) handler() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /v1/status", s.answer(func(r *http.Request) (any, error) { return s.backend.Status(), nil }))
	m.Handle("GET /v1/transactions", s.answer(s.list))
	m.Handle("GET /v1/transactions/{id}", s.answer(s.show))
	m.Handle("GET /v1/transactions/{id}/receipt", s.answer(s.receipt))
	m.Handle("POST /v1/receipts/compare", s.answer(s.compare))
	m.Handle("POST /v1/transactions/{id}/{verb}", s.answer(s.act))
	m.Handle("GET /v1/export", s.allowed(s.export))
	m.Handle("GET /v1/rules", s.answer(func(r *http.Request) (any, error) { return s.backend.Rules(r.Context()) }))
	m.Handle("GET /v1/journal/verify", s.allowed(slow(s.write, s.verify)))
	m.Handle("GET /v1/check", s.allowed(slow(s.write, s.checkStore)))
	m.Handle("POST /v1/backup", s.allowed(slow(s.write, s.backup)))
	m.Handle("POST /v1/compact", s.allowed(slow(s.write, func(r *http.Request) (any, error) { return s.backend.Compact(r.Context()) })))
	m.Handle("GET /v1/keys", s.allowed(slow(s.write, func(r *http.Request) (any, error) { return s.backend.Keys(r.Context()) })))
	m.Handle("POST /v1/keys/rotate", s.allowed(slow(s.write, func(r *http.Request) (any, error) {
		return s.backend.RotateKey(r.Context(), peerFrom(r.Context()))
	})))
	m.Handle("POST /v1/keys/destroy", s.allowed(slow(s.write, s.destroyKeys)))
	m.Handle("GET /v1/reconcile", s.allowed(s.reconcile))
	m.Handle("GET /v1/terminals", s.answer(func(r *http.Request) (any, error) { return s.backend.Terminals(r.Context()) }))
	m.Handle("POST /v1/terminals/pair", s.answer(s.pair))
	m.Handle("POST /v1/terminals/revoke", s.answer(s.revoke))
	m.Handle("/", s.answer(func(r *http.Request) (any, error) {
		return nil, NotFound("unknown_call",
			tideover.Textf("this daemon (%[3]s) does not know %[1]s %[2]s", "此守护进程（%[3]s）不支持 %[1]s %[2]s", r.Method, r.URL.Path, tideover.Version),
			tideover.Textf("the command and the daemon are of different versions: restart the daemon", "命令与守护进程版本不一致：请重启守护进程"))
	}))
	return m
}

// allowed runs one call for a peer that may ask.
//
//go:noinline
func (s *Server) allowed(call http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := peerFrom(r.Context())
		if !peer.may() {
			s.log.Warn("refused on the control socket", "uid", peer.UID, "pid", peer.PID)
			s.write(w, &Error{
				Status: http.StatusForbidden, Code: string(tideover.CodeForbidden),
				What: tideover.Textf("%s may not control this daemon", "用户 %s 无权控制此守护进程", peer),
				Hint: tideover.Textf("run the command as root (sudo)", "请以 root 身份运行（sudo）"),
			})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		call(w, r)
	})
}

// answer runs one call for a peer that may ask, and writes what it returns as JSON.
func (s *Server) answer(call func(*http.Request) (any, error)) http.Handler {
	return s.allowed(func(w http.ResponseWriter, r *http.Request) {
		v, err := call(r)
		if err != nil {
			v = asError(err)
		}
		s.write(w, v)
	})
}

// write sends v; an [*Error] with its own status, and without the card data that somebody may have typed.
func (s *Server) write(w http.ResponseWriter, v any) {
	status := http.StatusOK
	if e, ok := v.(*Error); ok {
		status = e.Status
		v = &Error{Code: e.Code, What: e.What.Masked(), Hint: e.Hint.Masked()}
	}
	body, err := json.Marshal(v)
	if err != nil {
		s.log.Error("an answer on the control socket cannot be written", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// badRequest says what is wrong with a call; the commands never make one like it.
func badRequest(err error) *Error {
	return &Error{
		Status: http.StatusBadRequest, Code: string(tideover.CodeInvalidRequest),
		What: tideover.Textf("malformed call: %v", "请求格式错误：%v", err), Hint: tideover.Textf("correct the call", "请修改请求"),
	}
}

// read decodes a body of exactly one JSON object.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badRequest(err)
	}
	if d.More() {
		return badRequest(errors.New("more follows the object"))
	}
	return nil
}

func (s *Server) pair(r *http.Request) (any, error) {
	var p PairRequest
	if err := read(r, &p); err != nil {
		return nil, err
	}
	if p.Replace && p.Name == "" {
		return nil, badRequest(errors.New("replace wants a name"))
	}
	return s.backend.Pair(r.Context(), p, peerFrom(r.Context()))
}

// revocation is the body of a call that ends a till's access.
type revocation struct {
	Name string `json:"name"`
}

func (s *Server) revoke(r *http.Request) (any, error) {
	var v revocation
	if err := read(r, &v); err != nil {
		return nil, err
	}
	return v, s.backend.Revoke(r.Context(), v.Name, peerFrom(r.Context()))
}
