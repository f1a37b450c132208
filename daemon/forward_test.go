package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/edge"
	"tideover/queue"
	"tideover/terminal"
	"tideover/uplink"
	"tideover/wire"
)

// fakeHub speaks the hub's side over real QUIC on loopback; a test says what it answers.
type fakeHub struct {
	ledger [16]byte

	mu      sync.Mutex   // guards what follows
	welcome wire.Welcome // what it says beyond its ledger and the time
	refuse  *wire.Refused
	// answer says what follows got on a transaction's stream; nothing leaves the stream open for ever.
	answer func(msg any) []any
	heard  []any
	conns  []*quic.Conn
}

// anyCertificate makes both sides' certificates from nothing: trust is not what these tests are about.
func anyCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (f *fakeHub) listen(t *testing.T) string {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket, ConnectionIDLength: 8}
	l, err := transport.Listen(&tls.Config{Certificates: []tls.Certificate{anyCertificate(t)}, NextProtos: []string{wire.Protocol}},
		&quic.Config{EnableDatagrams: true, MaxIncomingStreams: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close(); socket.Close() })
	go func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			go f.echo(conn)
			go f.serve(conn)
		}
	}()
	return socket.LocalAddr().String()
}

func (f *fakeHub) echo(conn *quic.Conn) {
	for {
		b, err := conn.ReceiveDatagram(conn.Context())
		if err != nil {
			return
		}
		_ = conn.SendDatagram(b)
	}
}

func (f *fakeHub) serve(conn *quic.Conn) {
	for {
		st, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		go f.stream(st)
	}
}

func (f *fakeHub) stream(st *quic.Stream) {
	_, msg, err := wire.ReadFrame(st, wire.FromEdge)
	if err != nil {
		return
	}
	f.mu.Lock()
	refuse, answer, welcome := f.refuse, f.answer, f.welcome
	f.heard = append(f.heard, msg)
	f.mu.Unlock()
	if hello, ok := msg.(wire.Hello); ok {
		if refuse != nil {
			_ = wire.WriteFrame(st, wire.TypeRefused, *refuse)
			return
		}
		welcome.Ledger, welcome.LedgerTime, welcome.Terminals = f.ledger, tideover.MillisOf(time.Now()), hello.Terminals
		_ = wire.WriteFrame(st, wire.TypeWelcome, welcome)
		_ = wire.WriteFrame(st, wire.TypeCaughtUp, wire.CaughtUp{})
		for {
			_, msg, err := wire.ReadFrame(st, wire.FromEdge)
			if err != nil {
				return
			}
			f.mu.Lock()
			f.heard = append(f.heard, msg)
			f.mu.Unlock()
		}
	}
	_ = wire.WriteFrame(st, wire.TypeGot, wire.Got{})
	for _, m := range answer(msg) {
		switch m := m.(type) {
		case wire.Progress:
			_ = wire.WriteFrame(st, wire.TypeProgress, m)
		case wire.Refused:
			_ = wire.WriteFrame(st, wire.TypeRefused, m)
		case wire.Confirmation:
			_ = wire.WriteFrame(st, wire.TypeConfirmation, m)
		}
	}
}

// submits returns which transactions have arrived, once for each arrival.
func (f *fakeHub) submits() (all []wire.Submit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.heard {
		if s, ok := m.(wire.Submit); ok {
			all = append(all, s)
		}
	}
	return all
}

// drop closes every connection; what comes next is refused with r, if that is not nil.
func (f *fakeHub) drop(r *wire.Refused) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = r
	for _, c := range f.conns {
		_ = c.CloseWithError(wire.CloseDraining, "dropped")
	}
}

// connect lets the house speak with a hub, and carry.
func (h *house) connect(t *testing.T, f *fakeHub) {
	t.Helper()
	f.ledger = h.session.ledger
	log := slog.New(slog.DiscardHandler)
	h.session.uplink = uplink.New(uplink.Config{
		Name: "lo", Addresses: []string{f.listen(t)}, Pending: func() bool { return h.queue.Pending() > 0 },
		TLS: &tls.Config{Certificates: []tls.Certificate{anyCertificate(t)}, InsecureSkipVerify: true},
	}, h.session, log)
	h.books = newBooks(h.queue, h.session.uplink)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.session.uplink.Run(ctx) })
	running.Go(func() { _ = h.session.forwarder.Run(ctx) })
	running.Go(func() { _ = h.session.bury(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	soon(t, func() bool { return h.session.Past().Caught })
}

// soon waits for what must come about.
func soon(t *testing.T, come func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !come(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came about")
		}
	}
}

func (h *house) state(t *testing.T, id tideover.ID) tideover.State {
	t.Helper()
	got, err := h.queue.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return got.State
}

// TestForwarder_StuckOnesHoldBackNoSale: the platform says nothing about hundreds of advices; a sale is carried, and one whose time
// has run out ends, all the same.
func TestForwarder_StuckOnesHoldBackNoSale(t *testing.T) {
	h := newHouse(t)
	hub := &fakeHub{answer: func(msg any) []any {
		if s := msg.(wire.Submit); s.Request.Kind == tideover.KindSale {
			return []any{wire.Confirmation{ID: s.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}}
		}
		return nil
	}}
	h.connect(t, hub)
	var pressing sync.WaitGroup
	for i := range carriedMax + 10 {
		pressing.Go(func() {
			advice := saleOf(1)
			advice.Kind = tideover.KindAdvice
			if _, err := h.Accept(t.Context(), till1, fmt.Sprint("advice-", i), terminal.OverrideNone, advice); err != nil {
				t.Error(err)
			}
		})
	}
	pressing.Wait()
	soon(t, func() bool { return len(hub.submits()) >= carriedMax })
	sold := h.sell(t, till1, "A-1", 1299)
	soon(t, func() bool { return h.state(t, sold.ID) == tideover.StateApproved })
}

// TestForwarder_WhatAHubCouldNotTakeIsSentAgain: it was busy, or stopping.
func TestForwarder_WhatAHubCouldNotTakeIsSentAgain(t *testing.T) {
	h := newHouse(t)
	hub := &fakeHub{}
	hub.answer = func(msg any) []any {
		if len(hub.submits()) < 3 {
			return []any{wire.Refused{Reason: wire.ReasonBusy}}
		}
		return []any{wire.Confirmation{ID: msg.(wire.Submit).ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateApproved}}}
	}
	h.connect(t, hub)
	sold := h.sell(t, till1, "A-1", 1299)
	soon(t, func() bool { return h.state(t, sold.ID) == tideover.StateApproved })
}

// TestForwarder_WhatNeedsAPersonRests: the hub has said that it cannot resolve a transaction; it is not asked again each second.
func TestForwarder_WhatNeedsAPersonRests(t *testing.T) {
	h := newHouse(t)
	hub := &fakeHub{answer: func(any) []any { return []any{wire.Progress{State: tideover.StateManual}} }}
	h.connect(t, hub)
	sold := h.sell(t, till1, "A-1", 1299)
	soon(t, func() bool { return h.state(t, sold.ID) == tideover.StateManual })
	time.Sleep(3 * retryAfter)
	if n := len(hub.submits()); n != 1 {
		t.Errorf("submitted %d times in %s", n, 3*retryAfter)
	}
}

// TestForwarder_ASupersededProcessEndsNothing: a later process of this store has said hello, and may carry what this one holds.
func TestForwarder_ASupersededProcessEndsNothing(t *testing.T) {
	h := newHouse(t)
	hub := &fakeHub{}
	h.connect(t, hub)
	hub.drop(&wire.Refused{Reason: wire.ReasonSuperseded})
	soon(t, func() bool { st := h.session.uplink.State(); return !st.Connected && st.Err != nil })
	request := saleOf(1299)
	request.ExpiresIn = time.Second
	soon(t, func() bool { return h.session.moment().Superseded })
	taken := func(key string) tideover.Transaction { // as this was learned
		sold, err := h.queue.Accept(t.Context(), h.draft(till1, key, request), func(queue.View) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return sold
	}
	sold := taken("A-1")
	soon(t, func() bool { return h.state(t, sold.ID) != tideover.StateQueued })
	if got := h.state(t, sold.ID); got != tideover.StateInDoubt {
		t.Errorf("it is %s", got)
	}
	kept := taken("A-2")
	if got, err := h.Cancel(t.Context(), till1, kept.ID); err != nil || got.State != tideover.StateReversing {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestDesk_AReplacedRouterTakesNothingNew: what it took would have no end. What it has is answered, and what takes risk away is kept.
func TestDesk_AReplacedRouterTakesNothingNew(t *testing.T) {
	h := newHouse(t)
	sold := h.sell(t, till1, "A-1", 1299)
	h.session.learn(func(p *edge.Past) { p.Superseded = true })
	for _, kind := range []tideover.Kind{tideover.KindSale, tideover.KindAdvice} {
		request := saleOf(1299)
		request.Kind = kind
		before := h.queue.Pending()
		_, err := h.Accept(t.Context(), till1, "A-2", terminal.OverrideNone, request)
		if wantCode(t, err, tideover.CodeSuperseded); h.queue.Pending() != before {
			t.Errorf("a %s was refused, and stored", kind)
		}
	}
	if again := h.sell(t, till1, "A-1", 1299); !again.Replayed || again.ID != sold.ID {
		t.Errorf("a known key: %+v", again)
	}
	reversal := tideover.Request{Kind: tideover.KindReversal, Original: sold.ID, ExpiresIn: tideover.ExpiresInDefault}
	if _, err := h.Accept(t.Context(), till1, "A-3", terminal.OverrideNone, reversal); err != nil {
		t.Errorf("a reversal: %v", err)
	}
}

// TestSession_ATombstoneThatTheHubHasAnsweredIsNotToldAgain: the hub had the id all the same, undid it and pushed that; its answer to the
// tombstone itself was lost.
func TestSession_ATombstoneThatTheHubHasAnsweredIsNotToldAgain(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	sold := h.sell(t, till1, "A-1", 1299)
	expired := tideover.Outcome{Result: tideover.StateExpired}
	if err := h.queue.EndHere(t.Context(), sold.ID, tideover.CauseExpired, expired); err != nil {
		t.Fatal(err)
	}
	err := h.session.Confirm(wire.Confirmation{ID: sold.ID, HubSeq: 1, Corrected: true, Outcome: tideover.Outcome{Result: tideover.StateReversed}})
	if err != nil {
		t.Fatal(err)
	}
	h.connect(t, &fakeHub{answer: func(any) []any { return nil }})
	soon(t, func() bool { return h.queue.Stats().Untold == 0 })
}

// TestSession_OneTombstoneHoldsUpNoOther: the hub is undoing what the first one is about, and that takes as long as it takes.
func TestSession_OneTombstoneHoldsUpNoOther(t *testing.T) {
	h := newHouse(t)
	h.welcome(t, wire.Welcome{})
	var ids []tideover.ID
	for _, key := range []string{"A-1", "A-2"} {
		sold := h.sell(t, till1, key, 1299)
		ids = append(ids, sold.ID)
		if err := h.queue.EndHere(t.Context(), sold.ID, tideover.CauseExpired, tideover.Outcome{Result: tideover.StateExpired}); err != nil {
			t.Fatal(err)
		}
	}
	h.connect(t, &fakeHub{answer: func(msg any) []any {
		if m := msg.(wire.Expire); m.Submit.ID == ids[1] {
			return []any{wire.Confirmation{ID: m.Submit.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateExpired}}}
		}
		return nil
	}})
	soon(t, func() bool { return h.queue.Stats().Untold == 1 })
}

// TestSession_KnowsACopyOfItsOwnJournal: the hub has heard of entries that were written after the copy was made; a process that opens
// the copy draws sequences beyond them at once.
func TestSession_KnowsACopyOfItsOwnJournal(t *testing.T) {
	h := newHouse(t)
	h.sell(t, till1, "A-1", 1299)
	h.stop()
	copied := readFile(t, h.path)
	h.open(t)
	h.sell(t, till1, "A-2", 1299)
	seq, head := h.queue.Head()
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: head})
	if h.session.Past().Restored {
		t.Error("the journal itself is taken for a copy")
	}
	h.stop()
	writeFile(t, h.path, copied)
	for range 2 { // the copy is started twice
		h.open(t)
		h.stop()
	}
	h.open(t)
	if mine, _ := h.queue.Head(); mine <= seq {
		t.Fatalf("the copy's sequences are not beyond %d: this test shows nothing", seq)
	}
	h.welcome(t, wire.Welcome{AnchorSeq: seq, AnchorHead: head})
	if !h.session.Past().Restored {
		t.Error("a restored copy goes unnoticed: what it holds open would be sent")
	}
}

// TestSession_AFullDiskKeepsTheLink: what is open must still reach the hub when what it tells at a hello finds no room at once. There is room for
// the ends of what this router has taken; here the hub tells of what it has lost.
func TestSession_AFullDiskKeepsTheLink(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.sizeMax = 2 << 20
	h.open(t)
	h.welcome(t, wire.Welcome{})
	for n, full := 0, false; !full; n++ {
		request := saleOf(1)
		request.Payload = make([]byte, 30_000)
		_, err := h.Accept(t.Context(), till1, fmt.Sprint(n), terminal.OverrideNone, request)
		if full = err != nil; full {
			wantCode(t, err, tideover.CodeStorageFull)
		}
	}
	const ends = 700
	for i := range ends {
		lost := fmt.Sprint("lost-", i)
		id := tideover.MakeID("shop-0001", till1.UID, lost)
		err := h.session.Confirm(wire.Confirmation{
			ID: id, HubSeq: uint64(i + 1), Outcome: tideover.Outcome{Result: tideover.StateApproved},
			Adopt: &wire.Submit{ID: id, TerminalUID: till1.UID, Terminal: "till-1", Key: lost, Request: saleOf(1), Hash: [32]byte{1}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := h.session.CaughtUp(wire.CaughtUp{Through: ends}); err != nil {
		t.Errorf("the link is given up: %v", err)
	}
	if have := h.queue.HaveThrough(); have >= ends {
		t.Fatalf("have through %d: there was room, and this test shows nothing", have)
	}
}

// TestSession_ARestoredJournalIsNotAnchored until nothing is open any more that it was restored with: a later process must know of it.
func TestSession_ARestoredJournalIsNotAnchored(t *testing.T) {
	h := newHouse(t)
	sold := h.sell(t, till1, "A-1", 1299)
	h.stop()
	h.open(t)
	if h.session.Hello().Seq == 0 {
		t.Error("a plain restart says no head")
	}
	h.welcome(t, wire.Welcome{AnchorSeq: 5, AnchorHead: [32]byte{5}})
	if hello := h.session.Hello(); hello.Seq != 0 || hello.Head != [32]byte{} {
		t.Errorf("says the head %d", hello.Seq)
	}
	err := h.session.Confirm(wire.Confirmation{ID: sold.ID, HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StateDeclined}})
	if err != nil {
		t.Fatal(err)
	}
	if h.session.Hello().Seq == 0 {
		t.Error("says no head, and nothing is open")
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
