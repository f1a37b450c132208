package hub

import (
	"context"

	"tideover"
)

// status tells how the running hub is.
func (h *hub) status(ctx context.Context) (Status, error) {
	list, err := h.stores.List(ctx)
	if err != nil {
		return Status{}, err
	}
	stats, err := h.state.ledger.Stats()
	if err != nil {
		return Status{}, err
	}
	s := Status{
		Version: h.ready.Version, PID: h.ready.PID, StartedAt: tideover.MillisOf(h.started), Draining: h.server.isDraining(),
		Listen: h.ready.Listen, Metrics: h.ready.Metrics, Addresses: h.ready.Addresses, Ledger: h.ready.Ledger,
		CA: h.ready.CA, CANotAfter: tideover.MillisOf(h.state.keys.ca.cert.NotAfter),
		Platform: PlatformStatus{Adapter: h.config.Platform.Adapter, URL: h.config.Platform.URL, Guarantee: h.config.Platform.Guarantee, Notify: h.ready.Notify},
		Stores:   len(list.Stores), Connections: h.server.connections.Load(), InFlight: h.server.inflight.Load(),
		Transactions: stats.Rows, Open: stats.Open, Manual: stats.Manual, Outbox: stats.Outbox, LedgerTime: h.state.ledger.Now(),
	}
	if s.Platform.Adapter != AdapterHTTP {
		s.Platform.URL = ""
	}
	for _, st := range list.Stores {
		if st.State == StoreEnrolled {
			s.Enrolled++
		}
		if st.Connections > 0 {
			s.Connected++
		}
	}
	s.RestoredAt = h.state.ledger.RestoredAt()
	if s.Forgetful, err = h.stores.forgetful(); err != nil {
		return Status{}, err
	}
	s.Well, s.Verdict = verdict(s)
	return s, nil
}

// verdict says in one line how the hub is. It is well unless it stops or something needs a person.
func verdict(s Status) (well bool, line tideover.Text) {
	switch {
	case s.Draining:
		return false, text("draining: the hub is stopping", "正在停止：hub 即将退出")
	case len(s.Forgetful) > 0:
		return false, text("restored from an older copy: %d stores have not told yet what it lacks", "已从旧副本恢复：还有 %d 家门店尚未补报副本缺少的结果", len(s.Forgetful))
	case s.Manual > 0:
		return false, text("%d of the ledger's transactions need a person", "账本中有 %d 笔交易需要人工处理", s.Manual)
	}
	return true, text("well", "正常")
}
