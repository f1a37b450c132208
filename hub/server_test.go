package hub

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

func TestServer_SaleIsExecutedOnceAndAnswered(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	if l.welcome.Ledger != e.enrolled.Ledger {
		t.Error("the welcome names another ledger than the enrolment")
	}
	if said, through := l.replay(); len(said) != 0 || through != 0 {
		t.Errorf("a new store's outbox: %v through %d", said, through)
	}
	s := e.sale("k1", 1299)
	first := mustEnd(t, l.submit(s), tideover.StateApproved)
	again := mustEnd(t, l.submit(s), tideover.StateApproved)
	if first.ID != s.ID || again != first {
		t.Errorf("a repeat is answered %+v, the first was %+v", again, first)
	}
	if n := h.platform.Count(s.ID).Executions; n != 1 {
		t.Errorf("executed %d times", n)
	}
	mustEnd(t, l.end(l.open(wire.TypeAsk, wire.Ask{ID: s.ID})), tideover.StateApproved)
}

func TestServer_OutboxIsRepeatedUntilAcknowledged(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	a := mustEnd(t, l.submit(e.sale("a", 1)), tideover.StateApproved)
	b := mustEnd(t, l.submit(e.sale("b", 2)), tideover.StateApproved)
	l.conn.CloseWithError(0, "")
	l = e.connect()
	said, through := l.replay()
	if len(said) != 2 || said[0].ID != a.ID || said[1].ID != b.ID || through < b.HubSeq {
		t.Fatalf("replay: %+v through %d", said, through)
	}
	if said[0].Adopt == nil || said[0].Adopt.Request.Amount != 1 {
		t.Error("the replay does not carry what an edge needs to adopt it")
	}
	l.ack(wire.Position{ID: a.ID, HubSeq: a.HubSeq})
	eventually(t, "the outbox shrinks", func() bool {
		st, err := newClient(h.config.Admin).Show(t.Context(), "shop-0001")
		return err == nil && st.Outbox == 1
	})
	l.conn.CloseWithError(0, "")
	if said, _ := e.connect().replay(); len(said) != 1 || said[0].ID != b.ID {
		t.Errorf("after an acknowledgement: %+v", said)
	}
	e.have = b.HubSeq
	l = e.connect()
	if said, _ := l.replay(); len(said) != 0 {
		t.Errorf("what the edge has is said again: %+v", said)
	}
	// Its acknowledgement was lost with a connection, or with the process that was to say it: it is asked for anew.
	if c, ok := l.next().(wire.Confirmation); !ok || c.ID != b.ID {
		t.Errorf("got %+v", c)
	}
}

func TestServer_LaterIncarnationSupersedes(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	old := e.connect()
	e.incarnation[0] ^= 1
	fresh := e.connect()
	s := e.sale("k", 5)
	r, ok := old.submit(s).(wire.Refused)
	if !ok || r.Reason != wire.ReasonSuperseded {
		t.Fatalf("an older incarnation's sale: %+v", r)
	}
	if n := h.platform.Count(s.ID).Executions; n != 0 {
		t.Errorf("executed %d times", n)
	}
	mustEnd(t, fresh.submit(s), tideover.StateApproved)
}

// A process that was replaced hears so on the connection that it still has, and what it acknowledges from then on is on the wrong disk.
func TestServer_ASupersededProcessIsPartedWith(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	old := e.connect()
	old.replay()
	c := mustEnd(t, old.submit(e.sale("k", 5)), tideover.StateApproved)
	e.incarnation[0] ^= 1
	fresh := e.connect()
	old.ack(wire.Position{ID: c.ID, HubSeq: c.HubSeq})
	if r, ok := old.next().(wire.Refused); !ok || r.Reason != wire.ReasonSuperseded {
		t.Errorf("got %+v", r)
	}
	if said, _ := fresh.replay(); len(said) != 1 || said[0].HubSeq != c.HubSeq {
		t.Errorf("the fresh process heard %+v", said)
	}
	eventually(t, "the old connection is closed", func() bool { return old.conn.Context().Err() != nil })
	if said, _ := e.connect().replay(); len(said) != 1 {
		t.Errorf("the old process has acknowledged what the fresh one does not have: %+v", said)
	}
}

func TestServer_KeyReusedIsRefusedWithTheLedgersOwn(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	mustEnd(t, l.submit(e.sale("k", 5)), tideover.StateApproved)
	r, ok := l.submit(e.sale("k", 6)).(wire.Refused)
	if !ok || r.Reason != wire.ReasonKeyReused || r.Adopt == nil || r.Adopt.Request.Amount != 5 || r.End == nil {
		t.Errorf("got %+v", r)
	}
}

func TestServer_RevokedOrReplacedCertificateIsToldWhy(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	if _, err := newClient(h.config.Admin).Revoke(t.Context(), "shop-0001"); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l.conn, wire.CloseRevoked)
	_, msg, err := e.hello(e.dial())
	if r, ok := msg.(wire.Refused); !ok || r.Reason != wire.ReasonRevoked {
		t.Errorf("hello of a revoked store: %#v, %v", msg, err)
	}

	second := newEdge(t, h.rotate("shop-0001"))
	if second.enrolled.StoreSecret != e.enrolled.StoreSecret {
		t.Error("a rotation changed the store's secret: ids and hashes would not survive a wiped edge")
	}
	l = second.connect()
	token := h.rotate("shop-0001")
	mustEnd(t, l.submit(second.sale("k", 1)), tideover.StateApproved) // a fresh token alone ends nothing
	third := newEdge(t, token)
	mustClose(t, l.conn, wire.CloseRevoked)
	// Its router was replaced: it is to take nothing more, instead of storing for a line that never comes back.
	_, msg, _ = second.hello(second.dial())
	if r, ok := msg.(wire.Refused); !ok || r.Reason != wire.ReasonSuperseded {
		t.Errorf("hello with a replaced certificate: %#v", msg)
	}
	mustEnd(t, third.connect().submit(third.sale("k", 1)), tideover.StateApproved)
	if n := h.platform.Count(third.sale("k", 1).ID).Executions; n != 1 {
		t.Errorf("the same key on the replaced edge was executed %d times", n)
	}
}

func mustClose(t *testing.T, conn *quic.Conn, code quic.ApplicationErrorCode) {
	t.Helper()
	select {
	case <-conn.Context().Done():
	case <-time.After(soon):
		t.Fatal("the connection lives")
	}
	e, ok := errors.AsType[*quic.ApplicationError](context.Cause(conn.Context()))
	if !ok || e.ErrorCode != code {
		t.Errorf("closed with %v, want code %d", context.Cause(conn.Context()), code)
	}
}

func TestServer_ForeignCertificateIsRefused(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	caKey, _ := newKey()
	ca, _ := newAuthority(caKey, time.Now())
	cert, _ := ca.store("shop-0001", &e.key.PublicKey, time.Now())
	e.enrolled.Certificate = cert.Raw
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	conn, err := quic.DialAddr(ctx, e.addr, e.tls(), nil)
	if err == nil { // TLS 1.3: the server's verdict comes after the client's last flight
		<-conn.Context().Done()
		err = context.Cause(conn.Context())
	}
	if te, ok := errors.AsType[*quic.TransportError](err); !ok || !te.ErrorCode.IsCryptoError() {
		t.Errorf("got %v, want a TLS alert", err)
	}
	none := e.tls()
	none.Certificates = nil
	conn, err = quic.DialAddr(ctx, e.addr, none, nil)
	if err == nil {
		<-conn.Context().Done()
		err = context.Cause(conn.Context())
	}
	if te, ok := errors.AsType[*quic.TransportError](err); !ok || !te.ErrorCode.IsCryptoError() {
		t.Errorf("without a certificate: got %v, want a TLS alert", err)
	}
}

func TestEnrol_TokenWorksOnce(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	token := h.add("shop-0001")
	if token.Addresses[0] != h.ready.Listen || token.Store != "shop-0001" {
		t.Errorf("the token says %+v, the hub listens on %s", token, h.ready.Listen)
	}
	e := newEdge(t, token)
	again, err := e.enrol(token)
	if got, ok := again.(wire.Enrolled); !ok || string(got.Certificate) != string(e.enrolled.Certificate) {
		t.Errorf("the same key with a lost answer: %#v, %v", again, err)
	}
	mustRefuse := func(what string, token wire.Token) {
		t.Helper()
		other := &testEdge{t: t, addr: h.ready.Listen}
		other.key, _ = newKey()
		msg, err := other.enrol(token)
		if r, ok := msg.(wire.Refused); !ok || r.Reason != wire.ReasonToken || r.Detail == "" {
			t.Errorf("%s: got %#v, %v", what, msg, err)
		}
	}
	mustRefuse("used", token)
	unknown := token
	unknown.Secret[0] ^= 1
	mustRefuse("unknown", unknown)
	old := h.rotate("shop-0001")
	h.rotate("shop-0001")
	mustRefuse("replaced by a newer token", old)
	short := h.token(newClient(h.config.Admin).Add(t.Context(), "shop-0002", tokenLifeMin))
	time.Sleep(tokenLifeMin + 50*time.Millisecond)
	mustRefuse("expired", short)
	mustEnd(t, e.connect().submit(e.sale("k", 1)), tideover.StateApproved) // none of it touched the enrolled edge
}

func TestServer_BrokenProtocolEndsTheConnection(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	for name, bytes := range map[string]string{
		"unknown critical frame": "\x3f\x00",
		"the hub's own frame":    "\x03\x00",
		"too large":              "\x23\x80\xff\xff\xff",
		"not CBOR":               "\x23\x02\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			l := e.connect()
			st, err := l.conn.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			st.Write([]byte(bytes))
			mustClose(t, l.conn, wire.CloseProtocol)
		})
	}
	t.Run("second hello", func(t *testing.T) {
		l := e.connect()
		e.hello(l.conn)
		mustClose(t, l.conn, wire.CloseProtocol)
	})
	t.Run("unknown even frames are skipped", func(t *testing.T) {
		l := e.connect()
		st, _ := l.conn.OpenStream()
		st.Write([]byte("\x3e\x03abc"))
		s := e.sale("even", 1)
		if err := wire.WriteFrame(st, wire.TypeSubmit, s); err != nil {
			t.Fatal(err)
		}
		mustEnd(t, l.end(st), tideover.StateApproved)
	})
}

func TestServer_SlowStreamIsGivenUpAlone(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	st, _ := l.conn.OpenStream()
	st.Write([]byte{byte(wire.TypeSubmit)}) // and nothing more
	st.SetReadDeadline(time.Now().Add(frameWait + soon))
	_, err := st.Read(make([]byte, 1))
	if se, ok := errors.AsType[*quic.StreamError](err); !ok || se.ErrorCode != wire.StreamSlow {
		t.Errorf("got %v, want the stream cancelled as slow", err)
	}
	mustEnd(t, l.submit(e.sale("k", 1)), tideover.StateApproved)
}

func TestServer_DatagramsComeBack(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	l := newEdge(t, h.add("shop-0001")).connect()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if err := l.conn.SendDatagram([]byte("probe 1")); err != nil {
		t.Fatal(err)
	}
	b, err := l.conn.ReceiveDatagram(ctx)
	if err != nil || string(b) != "probe 1" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestServer_TerminalsAndAnchorAreKept(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	list := []tideover.Terminal{{UID: "uid-1", Name: "till-1", PairedAt: 1}, {UID: "uid-2", Name: "till-2", Revoked: true}}
	if err := wire.WriteFrame(l.control, wire.TypeTerminals, wire.Terminals{Terminals: list}); err != nil {
		t.Fatal(err)
	}
	if kept, ok := l.next().(wire.TerminalsKept); !ok || kept.Digest != wire.TerminalsDigest(list) {
		t.Errorf("got %+v", kept)
	}
	head := wire.Anchor{Seq: 42, Head: [32]byte{1, 2, 3}}
	if err := wire.WriteFrame(l.control, wire.TypeAnchor, head); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the anchor is kept", func() bool {
		w := e.connect().welcome
		return w.AnchorSeq == 42 && w.AnchorHead == head.Head && w.Terminals == wire.TerminalsDigest(list)
	})
	if again := newEdge(t, h.rotate("shop-0001")); len(again.enrolled.Terminals) != 2 {
		t.Errorf("a replaced router gets %d terminals back", len(again.enrolled.Terminals))
	}
}

func TestServer_DrainAnswersWhatIsInFlight(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{LatencyMS: 300})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	st := l.open(wire.TypeSubmit, e.sale("k", 1))
	eventually(t, "it is in flight", func() bool { return h.platform.Count(e.sale("k", 1).ID).Calls > 0 })
	h.stop()
	if _, ok := l.next().(wire.GoAway); !ok {
		t.Error("no go-away")
	}
	late, ok := l.submit(e.sale("late", 1)).(wire.Refused)
	if !ok || late.Reason != wire.ReasonDraining {
		t.Errorf("a sale while draining: %+v", late)
	}
	mustEnd(t, l.end(st), tideover.StateApproved)
	mustClose(t, l.conn, wire.CloseDraining)
	if err := h.shut(); err != nil {
		t.Errorf("drained with %v", err)
	}
	if _, err := os.Stat(h.config.StateDir + "/" + fileRun); !errors.Is(err, os.ErrNotExist) {
		t.Error("run.json outlives the hub")
	}
}

func TestServer_OutcomeNobodyWaitsForIsPushed(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{LatencyMS: 200})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	s := e.sale("k", 1)
	st := l.open(wire.TypeSubmit, s)
	eventually(t, "it is in flight", func() bool { return h.platform.Count(s.ID).Calls > 0 })
	st.CancelRead(0)
	if c, ok := l.next().(wire.Confirmation); !ok || c.ID != s.ID || c.Adopt == nil || c.Adopt.Key != "k" {
		t.Errorf("got %+v: an edge that lost its record could not take it", c)
	}
}

func TestServer_ProbesAndMetrics(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": "tideover_hub_handshakes 0"} {
		resp, err := http.Get("http://" + h.ready.Metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		_ = resp.Write(&b)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s", path, b.String())
		}
	}
}

func TestServer_UnacknowledgedPushIsSaidAgain(t *testing.T) {
	t.Parallel()
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	l := e.connect()
	l.replay()
	c := mustEnd(t, l.submit(e.sale("k", 1)), tideover.StateApproved)
	l.conn.CloseWithError(0, "")
	l = e.connect()
	l.replay() // said once, and not acknowledged
	if again, ok := l.next().(wire.Confirmation); !ok || again.ID != c.ID || again.HubSeq != c.HubSeq {
		t.Errorf("got %+v, want %+v again", again, c)
	}
}

func TestServer_EndsOfADeadLinkAreSaidOnAnother(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	alive := e.connect()
	alive.replay()
	mustEnd(t, alive.submit(e.sale("k", 1)), tideover.StateApproved)
	dead := e.connect()
	dead.replay() // heard the end, and dies without a word
	dead.conn.CloseWithError(0, "")
	if c, ok := alive.next().(wire.Confirmation); !ok || c.ID != e.sale("k", 1).ID {
		t.Errorf("got %+v", c)
	}
}

func TestServer_ConnectionsOfAStoreAreBounded(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	e := newEdge(t, h.add("shop-0001"))
	first := e.connect()
	for range storeConnectionsMax {
		time.Sleep(2 * time.Millisecond) // the first one is the longest silent
		e.connect()
	}
	mustClose(t, first.conn, wire.CloseBusy)
}

func TestServer_StreamsOfAConnectionAreBounded(t *testing.T) {
	h := newTestHub(t, sandbox.Behaviour{})
	l := newEdge(t, h.add("shop-0001")).connect()
	for n := 1; ; n++ {
		if _, err := l.conn.OpenStream(); err != nil {
			if n != streamsMax { // the control stream is one of them
				t.Errorf("stream %d is refused: %v", n, err)
			}
			return
		}
		if n > streamsMax {
			t.Fatal("no limit")
		}
	}
}

func TestVerdict_WhatNeedsAPersonIsNotWell(t *testing.T) {
	for _, s := range []Status{{Manual: 1}, {Draining: true}} {
		if well, line := verdict(s); well || line.En == "" || line.Zh == "" {
			t.Errorf("%+v: %v, %q", s, well, line)
		}
	}
	if well, _ := verdict(Status{Open: 3, Outbox: 5}); !well {
		t.Error("work under way is not well")
	}
}
