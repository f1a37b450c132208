package hub

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"tideover/hub/ledger/bolt"
)

// meters count what the server does; /metrics shows them.
type meters struct {
	set           *metrics.Set
	confirmations *metrics.Counter // written to edges, repeats included
	refused       *metrics.Counter
	malformed     *metrics.Counter // frames that broke a limit or the protocol
	slow          *metrics.Counter // streams given up on
	enrolled      *metrics.Counter
	enrolRefused  *metrics.Counter
	revoked       *metrics.Counter // hellos with a certificate that is not the store's any more
	hints         *metrics.Counter // the platform's, taken
	hintsLimited  *metrics.Counter // not taken: too many
}

func newMeters() *meters {
	s := metrics.NewSet()
	return &meters{
		set:           s,
		confirmations: s.NewCounter("tideover_hub_confirmations_sent_total"),
		refused:       s.NewCounter("tideover_hub_frames_refused_total"),
		malformed:     s.NewCounter("tideover_hub_frames_malformed_total"),
		slow:          s.NewCounter("tideover_hub_streams_slow_total"),
		enrolled:      s.NewCounter("tideover_hub_enrolments_total"),
		enrolRefused:  s.NewCounter("tideover_hub_enrolments_refused_total"),
		revoked:       s.NewCounter("tideover_hub_certificates_refused_total"),
		hints:         s.NewCounter("tideover_hub_hints_total"),
		hintsLimited:  s.NewCounter("tideover_hub_hints_refused_total"),
	}
}

// watch adds what the parts know by themselves.
func (m *meters) watch(h *hub) {
	s := h.server
	gauge := func(name string, read func() int64) {
		m.set.NewGauge("tideover_hub_"+name, func() float64 { return float64(read()) })
	}
	gauge("connections", s.connections.Load)
	gauge("handshakes", s.handshaking.Load)
	gauge("transactions_in_flight", s.inflight.Load)
	gauge("stores_connected", func() int64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return int64(len(s.sessions))
	})
	gauge("platform_calls", func() int64 { return int64(h.desk.Load().Calls) })
	gauge("transactions_working", func() int64 { return int64(h.desk.Load().Working) })
	ledger := func(name string, pick func(bolt.Stats) int64) {
		gauge("ledger_"+name, func() int64 {
			stats, err := h.state.ledger.Stats()
			if err != nil {
				return -1
			}
			return pick(stats)
		})
	}
	ledger("transactions", func(s bolt.Stats) int64 { return s.Rows })
	ledger("open", func(s bolt.Stats) int64 { return s.Open })
	ledger("manual", func(s bolt.Stats) int64 { return s.Manual })
	ledger("outbox", func(s bolt.Stats) int64 { return s.Outbox })
	ledger("commits", func(s bolt.Stats) int64 { return s.Commits })
	ledger("bytes", func(s bolt.Stats) int64 { return s.Bytes })
}

// probes answers /metrics, /healthz (the committing loop is alive) and /readyz (the hub takes transactions).
func (m *meters) probes(alive, ready func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		m.set.WritePrometheus(w)
		metrics.WriteProcessMetrics(w)
	})
	probe := func(check func(context.Context) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
			defer cancel()
			if err := check(ctx); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("ok\n"))
		}
	}
	mux.HandleFunc("GET /healthz", probe(alive))
	mux.HandleFunc("GET /readyz", probe(ready))
	return mux
}

// listenMetrics takes the metrics address; nil where there is none.
func listenMetrics(addr string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError("TCP", addr, "metrics", err)
	}
	return l, nil
}
