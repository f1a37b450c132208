package terminal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"tideover"
)

// What a stranger can hold, and for how long.
const (
	BodyMax             = 64 << 10         // bytes of a request's body; beyond it: 413
	SettlementBodyMax   = 1 << 20          // of a settlement's; beyond it: 413
	LargeBodiesMax      = 2                // bodies beyond BodyMax, or of unknown length, that are held at once; one more: 429
	bodyStrangerMax     = 4 << 10          // of a request's body, of whoever is not known: a pairing code and a name
	bodiesMax           = 8 << 20          // bytes of all bodies that are being read and decoded; beyond it: 429
	bodiesTillMax       = 2 << 20          // the same of one till
	headerMax           = 16 << 10         // bytes of a request's header; beyond it: 431
	headerTimeMax       = 5 * time.Second  // for a whole header; then the connection is closed
	bodyTimeMax         = 10 * time.Second // for a whole body; then the connection is closed
	writeMax            = 10 * time.Second // for taking an answer; then the connection is closed
	idleMax             = 2 * time.Minute  // between two requests of a connection
	ConnectionsMax      = 1024             // at once; one more is closed as it comes
	ConnectionsHostMax  = 128              // at once from one address that is not this machine's; one more is closed as it comes
	streamsMax          = 128              // at once on one HTTP/2 connection
	RequestsTerminalMax = 128              // at once of one till; one more: 429
	DrainMax            = 5 * time.Second  // for requests that are being answered when the endpoint stops; then they are cut
)

// Server is the endpoint.
type Server struct {
	cfg  Config
	desk Desk
	log  *slog.Logger
	http *http.Server

	listener net.Listener

	drained context.Context // ends when the endpoint begins to stop: waits end with it
	drain   context.CancelFunc

	pace pace

	mu       sync.Mutex // guards what follows
	requests int
	bodies   int64 // bytes of bodies that are being read and decoded
	bodiesOf map[string]int64
	stopped  bool
	idle     chan struct{} // closed once stopped, when no request is left
	byUID    map[string]int
	streams  int            // of events
	large    int            // bodies
	followed map[string]int // streams by the till's uid
}

// New makes an endpoint that does not listen yet. Errors are [*ConfigError].
func New(cfg Config, desk Desk, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, desk: desk, log: log, pace: pace{rate: float64(cfg.TillRate)}, idle: make(chan struct{}), byUID: map[string]int{}, bodiesOf: map[string]int64{}, followed: map[string]int{}}
	s.drained, s.drain = context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: s.Handler(), Protocols: protocols, MaxHeaderBytes: headerMax, ReadHeaderTimeout: headerTimeMax, IdleTimeout: idleMax,
		// Bodies and answers have deadlines of their own: one for the whole connection would end waits of a minute.
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streamsMax, MaxReceiveBufferPerStream: BodyMax, MaxReceiveBufferPerConnection: 4 * BodyMax,
			SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second, WriteByteTimeout: writeMax,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // strangers' broken handshakes
	}
	return s, nil
}

// Listen takes the port, and reads the certificate where there is one. [Server.Run] does it where it was not done before.
func (s *Server) Listen() error {
	var conf *tls.Config
	if s.cfg.TLS == TLSFiles {
		pair, err := tls.LoadX509KeyPair(s.cfg.TLSCert, s.cfg.TLSKey)
		if err != nil {
			return &ListenError{
				What: tideover.Textf("the certificate %s with the key %s cannot be used: %v", "无法使用证书 %s 及其密钥 %s：%v", s.cfg.TLSCert, s.cfg.TLSKey, err),
				Hint: tideover.Textf("check endpoint.tls_cert and endpoint.tls_key: PEM files that belong together", "请检查 endpoint.tls_cert 和 endpoint.tls_key：应为配套的 PEM 文件"),
				Err:  err,
			}
		}
		conf = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	socket := net.ListenConfig{Control: limitPeers}
	inner, err := socket.Listen(context.Background(), "tcp", s.cfg.Listen)
	if err != nil {
		return cannotListen(s.cfg.Listen, err)
	}
	s.listener = limitConns(inner, s.log)
	if conf != nil {
		s.listener = tls.NewListener(s.listener, conf)
	}
	return nil
}

// Addr returns where the endpoint listens; nil before [Server.Listen].
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run serves until ctx ends. Then it takes nothing new, ends all waits with what is known, gives what is being answered [DrainMax],
// and returns when no request is left.
func (s *Server) Run(ctx context.Context) error {
	if s.listener == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	s.log.Info("the endpoint listens", "address", s.listener.Addr().String(), "access", s.cfg.Access, "tls", s.cfg.TLS)
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("serve %s: %w", s.cfg.Listen, err)
		s.drain()
		s.http.Close()
	case <-ctx.Done():
		s.drain()
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainMax)
		defer cancel()
		if s.http.Shutdown(patience) != nil {
			s.http.Close()
		}
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = e
		}
	}
	s.stop()
	<-s.idle
	return err
}

// stop lets no request in any more.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.requests == 0 {
		close(s.idle)
	}
}

// enter counts a request in; false once the endpoint has stopped.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.requests++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	if s.stopped && s.requests == 0 {
		close(s.idle)
	}
}

// hold counts a till's request in; false where it has [RequestsTerminalMax] already.
func (s *Server) hold(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byUID[uid] >= RequestsTerminalMax {
		return false
	}
	s.byUID[uid]++
	return true
}

func (s *Server) letGo(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byUID[uid]--; s.byUID[uid] == 0 {
		delete(s.byUID, uid)
	}
}

// openStream counts a till's stream of events in; false where it has [StreamsTerminalMax] already, or all have [StreamsMax].
func (s *Server) openStream(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= StreamsMax || s.followed[uid] >= StreamsTerminalMax {
		return false
	}
	s.streams++
	s.followed[uid]++
	return true
}

func (s *Server) closeStream(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams--
	if s.followed[uid]--; s.followed[uid] == 0 {
		delete(s.followed, uid)
	}
}

// Handler returns what the endpoint serves, for tests and for other listeners.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.leave()
		defer func() {
			if p := recover(); p != nil {
				if p != any(http.ErrAbortHandler) {
					s.log.Error("a request broke the endpoint", "path", r.URL.Path, "err", p, "stack", string(debug.Stack()))
				}
				panic(http.ErrAbortHandler)
			}
		}()
		x := &exchange{s: s, w: w, r: r, lang: language(r.Header, s.cfg.Lang)}
		defer x.dropBody()
		if err := x.serve(); err != nil {
			x.fail(err)
		}
	})
}

var errShuttingDown = tideover.Refuse(tideover.CodeShuttingDown,
	"the edge is stopping; nothing was taken; send it again under the same key", "边缘服务正在停止；请求未受理；请稍后用同一幂等键重发")
