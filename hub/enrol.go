package hub

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"

	"tideover/wire"
)

// enrolWait bounds an enrolment's whole connection.
const enrolWait = 15 * time.Second

// enrol serves an enrolment's connection: one stream, one frame each way. The answer is said again to the same key for as long as
// the token lives, so that an answer that is lost costs nothing.
func (s *server) enrol(ctx context.Context, conn *quic.Conn, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, enrolWait)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(wire.CloseProtocol, "an enrolment must be quick") })()
	st, err := conn.AcceptStream(ctx)
	if err != nil {
		return
	}
	_ = st.SetDeadline(time.Now().Add(frameWait))
	_, msg, err := wire.ReadFrame(st, wire.FromEdge)
	ask, ok := msg.(wire.Enroll)
	if err != nil || !ok {
		s.metrics.malformed.Inc()
		log.Warn("bad enrolment", "err", err)
		_ = conn.CloseWithError(wire.CloseProtocol, "not an enrolment")
		return
	}
	answer, err := s.stores.enrol(ctx, ask)
	var kind wire.Type
	var reply any
	switch refusal, refused := errors.AsType[*Error](err); {
	case err == nil:
		s.metrics.enrolled.Inc()
		log.Info("store enrolled", "store", answer.Store)
		kind, reply = wire.TypeEnrolled, answer
	case refused:
		s.metrics.enrolRefused.Inc()
		log.Warn("enrolment refused", "err", err)
		reason := wire.ReasonToken
		if errors.Is(err, ErrBadCSR) {
			reason = wire.ReasonMalformed
		}
		kind, reply = wire.TypeRefused, wire.Refused{Reason: reason, Detail: refusal.What.En + ": " + refusal.Hint.En}
	default:
		log.Error("enrolment", "err", err)
		_ = conn.CloseWithError(wire.CloseInternal, "the ledger cannot be read or written")
		return
	}
	if err := wire.WriteFrame(st, kind, reply); err != nil {
		log.Warn("enrolment answer", "err", err)
		return
	}
	_ = st.Close()
	// The edge closes once it has the answer.
	<-conn.Context().Done()
}
