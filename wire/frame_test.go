package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/quic-go/quic-go/quicvarint"

	"tideover"
)

var update = flag.Bool("update", false, "write the golden frames anew")

// sample is one frame of the golden list.
type sample struct {
	name string
	t    Type
	msg  any
}

func fill(first byte) (b [32]byte) {
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func fill16(first byte) [16]byte { b := fill(first); return [16]byte(b[:16]) }

func sampleSubmit() Submit {
	return Submit{
		ID: tideover.MakeID("shop-0001", "u1", "k-1"), TerminalUID: "u1", Terminal: "till-1", Key: "k-1", Hash: fill(1),
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-1001", Instrument: "284512345678",
			Operator: "lin", ExpiresIn: 45 * time.Second, Payload: []byte(`{"a":1}`),
		},
		CreatedAt: 1_700_000_000_000, ExpiresAt: 1_700_000_045_000,
	}
}

func sampleConfirmation() Confirmation {
	return Confirmation{
		ID: sampleSubmit().ID, HubSeq: 7,
		Outcome: tideover.Outcome{Result: tideover.StateApproved, Code: "00", Message: "交易成功", Reference: "P-1", At: 1_700_000_001_000},
	}
}

// samples has every type of frames, bare and full where they differ much.
func samples() []sample {
	submit, confirmation := sampleSubmit(), sampleConfirmation()
	again := submit
	again.Again = true
	refund := Submit{
		ID: tideover.MakeID("shop-0001", "u1", "k-2"), TerminalUID: "u1", Terminal: "till-1", Key: "k-2", Hash: fill(2),
		Request: tideover.Request{Kind: tideover.KindRefund, Amount: 1, Currency: "CNY", Original: submit.ID}, CreatedAt: 1,
	}
	bare := submit
	bare.Request.Payload = nil
	barred := Submit{ID: submit.ID, TerminalUID: "u1", Terminal: "till-1", Key: "k-1"}
	adopted := confirmation
	adopted.Adopt, adopted.Corrected, adopted.Outcome.Result = &submit, true, tideover.StateReversed
	proven := confirmation
	proven.Receipt = tideover.Proof{Key: tideover.KeyID{1, 2}, Signature: [64]byte{3, 63: 4}, Terminal: "till-1", CreatedAt: 1_700_000_000_000}
	terminals := []tideover.Terminal{
		{UID: "u1", Name: "till-1", TokenHash: fill(3), PairedAt: 5}, {UID: "u2", Name: "till-2", TokenHash: fill(4), Revoked: true},
	}
	return []sample{
		{"hello", TypeHello, Hello{Incarnation: fill16(1), Seq: 9, Head: fill(2), HaveThrough: 4, Features: 5, Software: "tideover 0.1.0", Terminals: fill(3)}},
		{"hello-journal", TypeHello, Hello{
			Incarnation: fill16(1), Seq: 9, Head: fill(2), HaveThrough: 4, Terminals: fill(3), Journal: fill16(4), Highest: 6, Epoch: fill16(5),
		}},
		{"welcome-restored", TypeWelcome, Welcome{
			Ledger: fill16(1), LedgerTime: 1_700_000_000_000, AnchorSeq: 8, AnchorHead: fill(2), GivenOut: 6, Terminals: fill(3),
			Epoch: fill16(5), Gap: true, LostBefore: 9, LostFrom: 3, Replay: true,
		}},
		{"welcome", TypeWelcome, Welcome{
			Ledger: fill16(1), LedgerTime: 1_700_000_000_000, AnchorSeq: 8, AnchorHead: fill(2), PrunedBefore: 1, GivenOut: 5,
			Software: "tideover-hub 0.1.0", Terminals: fill(3),
		}},
		{"welcome-receipts", TypeWelcome, Welcome{Ledger: fill16(1), LedgerTime: 1, AnchorHead: fill(2), GivenOut: 5, Terminals: fill(3), ReceiptKey: fill(6)}},
		{"confirmation", TypeConfirmation, confirmation},
		{"confirmation-adopt", TypeConfirmation, adopted},
		{"confirmation-barred", TypeConfirmation, Confirmation{
			ID: submit.ID, HubSeq: 7, Outcome: tideover.Outcome{Result: tideover.StateCancelled, Code: "cancelled"}, Adopt: &barred, Asked: true,
		}},
		{"confirmation-receipt", TypeConfirmation, proven},
		{"open", TypeOpen, Open{Submit: bare, State: tideover.StatePending, WaitingFor: "customer"}},
		{"open-barred", TypeOpen, Open{Submit: barred, State: tideover.StateReversing}},
		{"caught-up", TypeCaughtUp, CaughtUp{Through: 7}},
		{"caught-up-open", TypeCaughtUp, CaughtUp{Through: 7, Open: true}},
		{"ack", TypeAck, Ack{Have: []Position{{ID: submit.ID, HubSeq: 7}, {ID: refund.ID, HubSeq: 8}}}},
		{"terminals", TypeTerminals, Terminals{Terminals: terminals}},
		{"terminals-none", TypeTerminals, Terminals{Terminals: []tideover.Terminal{}}},
		{"terminals-kept", TypeTerminalsKept, TerminalsKept{Digest: fill(1)}},
		{"go-away", TypeGoAway, GoAway{AfterMillis: 500}},
		{"anchor", TypeAnchor, Anchor{Seq: 10, Head: fill(2)}},
		{"replayed", TypeReplayed, Replayed{}},
		{"submit", TypeSubmit, submit},
		{"submit-again", TypeSubmit, again},
		{"submit-refund", TypeSubmit, refund},
		{"ask", TypeAsk, Ask{ID: submit.ID}},
		{"cancel", TypeCancel, Cancel{ID: submit.ID, TerminalUID: "u1", Terminal: "till-1", Key: "k-1"}},
		{"cancel-again", TypeCancel, Cancel{ID: submit.ID, TerminalUID: "u1", Terminal: "till-1", Key: "k-1", Again: true}},
		{"expire", TypeExpire, Expire{Submit: submit, Outcome: tideover.StateExpired}},
		{"expire-barred", TypeExpire, Expire{Submit: barred, Outcome: tideover.StateCancelled}},
		{"settle", TypeSettle, Settle{Submit: refund, As: tideover.StateReversed, By: "lin", Reason: "the acquirer's statement"}},
		{"replay", TypeReplay, Replay{Submit: refund, HubSeq: 9, Outcome: confirmation.Outcome, Corrected: true}},
		{"replay-barred", TypeReplay, Replay{Submit: barred, HubSeq: 9, Outcome: tideover.Outcome{Result: tideover.StateCancelled}}},
		{"reconcile-ledger", TypeReconcile, Reconcile{From: 1_700_000_000_000, To: 1_700_086_400_000, LedgerOnly: true}},
		{"reconcile", TypeReconcile, Reconcile{From: 1_700_000_000_000, To: 1_700_086_400_000}},
		{"booked", TypeBooked, Booked{Entries: []Booking{
			{
				Side: SideLedger, ID: submit.ID, TerminalUID: "u1", Terminal: "till-1", Kind: tideover.KindSale, Amount: 1299, Currency: "CNY",
				State: tideover.StateApproved, Reference: "P-1", CreatedAt: 1_700_000_000_000, Moving: true,
			},
			{Side: SideLedger, ID: refund.ID, State: tideover.StateCancelled, CreatedAt: 1},
			{
				Side: SidePlatform, ID: submit.ID, Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", State: tideover.StateApproved,
				Reference: "P-1", CreatedAt: 1_700_000_001_000,
			},
		}}},
		{"balanced", TypeBalanced, Balanced{Ledger: 2, Platform: 1, Statement: true}},
		{"balanced-alone", TypeBalanced, Balanced{Ledger: 2, Detail: "the platform gives no statement"}},
		{"got", TypeGot, Got{}},
		{"progress", TypeProgress, Progress{State: tideover.StatePending, WaitingFor: "customer"}},
		{"progress-unknown", TypeProgress, Progress{}},
		{"refused", TypeRefused, Refused{Reason: ReasonKeyReused, Detail: "another body", Adopt: &submit, End: &confirmation, Retry: 3}},
		{"enroll", TypeEnroll, Enroll{Secret: fill(9), CSR: []byte("csr")}},
		{"enrolled", TypeEnrolled, Enrolled{
			Store: "shop-0001", Certificate: []byte("cert"), CA: []byte("ca"), StoreSecret: fill(8), Ledger: fill16(1),
			Addresses: []string{"hub.example.com:8443", "[2001:db8::1]:8443"}, Terminals: terminals, LedgerTime: 1_700_000_000_000,
		}},
		{"enrolled-receipts", TypeEnrolled, Enrolled{
			Store: "shop-0001", Certificate: []byte("cert"), CA: []byte("ca"), StoreSecret: fill(8), Ledger: fill16(1),
			Addresses: []string{"127.0.0.1:8443"}, LedgerTime: 1, ReceiptKey: fill(6),
		}},
	}
}

// TestFrames_Golden holds the bytes of version 1: what they are today is what an edge in the field says.
func TestFrames_Golden(t *testing.T) {
	seen := map[Type]bool{}
	for _, s := range samples() {
		seen[s.t] = true
		t.Run(s.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteFrame(&b, s.t, s.msg); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", s.name+".hex")
			if *update {
				if err := os.WriteFile(file, []byte(wrap(hex.EncodeToString(b.Bytes()))), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(golden, b.Bytes()) {
				t.Errorf("the frame changed:\n%x\nwas\n%x", b.Bytes(), golden)
			}
			kind, msg, err := ReadFrame(iotest.OneByteReader(bytes.NewReader(golden)), frameTypes[s.t].from)
			if err != nil || kind != s.t || !reflect.DeepEqual(msg, s.msg) {
				t.Errorf("read type %d, %+v, %v\nwant %+v", kind, msg, err, s.msg)
			}
		})
	}
	for kind := range frameTypes {
		if !seen[kind] {
			t.Errorf("no golden frame of type %d", kind)
		}
	}
}

func wrap(s string) string {
	var lines []string
	for len(s) > 96 {
		lines, s = append(lines, s[:96]), s[96:]
	}
	return strings.Join(append(lines, s), "\n") + "\n"
}

func frame(t Type, payload ...byte) []byte {
	b := quicvarint.Append(nil, uint64(t))
	b = quicvarint.Append(b, uint64(len(payload)))
	return append(b, payload...)
}

func written(t *testing.T, kind Type, msg any) []byte {
	t.Helper()
	b, err := AppendFrame(nil, kind, msg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadFrame_SkipsUnknownEvenTypes(t *testing.T) {
	in := bytes.Repeat(frame(1000, 1, 2, 3), SkippedMax)
	in = append(in, written(t, TypeGot, Got{})...)
	kind, msg, err := ReadFrame(bytes.NewReader(in), FromHub)
	if kind != TypeGot || msg != (Got{}) || err != nil {
		t.Errorf("read %d, %v, %v", kind, msg, err)
	}
	in = append(frame(1000), in...)
	if _, _, err := ReadFrame(bytes.NewReader(in), FromHub); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
}

func TestReadFrame_Refuses(t *testing.T) {
	ask := written(t, TypeAsk, Ask{ID: fill16(1)})
	id15 := append([]byte{0xa1, 0x01, 0x4f}, bytes.Repeat([]byte{7}, 15)...)
	id17 := append([]byte{0xa1, 0x01, 0x51}, bytes.Repeat([]byte{7}, 17)...)
	idNumbers := append([]byte{0xa1, 0x01, 0x90}, bytes.Repeat([]byte{7}, 16)...)
	for _, c := range []struct {
		name string
		in   []byte
		from Side
		want error
	}{
		{"nothing", nil, FromEdge, io.EOF},
		{"a type alone", ask[:1], FromEdge, io.ErrUnexpectedEOF},
		{"half a payload", ask[:9], FromEdge, io.ErrUnexpectedEOF},
		{"half a skipped payload", frame(1000, 1, 2)[:4], FromEdge, io.ErrUnexpectedEOF},
		{"unknown odd type", frame(1001), FromEdge, ErrUnknownType},
		{"the other side's type", ask, FromHub, ErrWrongSide},
		{"beyond its limit", quicvarint.Append(quicvarint.Append(nil, uint64(TypeAsk)), SmallMax+1), FromEdge, ErrTooLarge},
		{"skipped beyond the limit", quicvarint.Append(quicvarint.Append(nil, 1000), ListMax+1), FromEdge, ErrTooLarge},
		{"a length that no memory holds", quicvarint.Append(quicvarint.Append(nil, uint64(TypeSubmit)), quicvarint.Max), FromEdge, ErrTooLarge},
		{"empty payload", frame(TypeAsk), FromEdge, ErrMalformed},
		{"no map", frame(TypeAsk, 0x01), FromEdge, ErrMalformed},
		{"missing field", frame(TypeAsk, 0xa0), FromEdge, ErrMalformed},
		{"short id", frame(TypeAsk, id15...), FromEdge, ErrMalformed},
		{"long id", frame(TypeAsk, id17...), FromEdge, ErrMalformed},
		{"id as a list of numbers", frame(TypeAsk, idNumbers...), FromEdge, ErrMalformed},
		{"bytes behind the message", frame(TypeAsk, append(ask[2:len(ask):len(ask)], 0)...), FromEdge, ErrMalformed},
		{"field twice", frame(TypeCaughtUp, 0xa2, 1, 1, 1, 1), FromHub, ErrMalformed},
		{"indefinite length", frame(TypeCaughtUp, 0xbf, 1, 1, 0xff), FromHub, ErrMalformed},
		{"tag", frame(TypeCaughtUp, 0xa1, 1, 0xc2, 0x41, 1), FromHub, ErrMalformed},
		{"position below zero", frame(TypeCaughtUp, 0xa1, 1, 0x20), FromHub, ErrMalformed},
		{"nested beyond the limit", frame(TypeCaughtUp, append([]byte{0xa2, 1, 1, 2}, bytes.Repeat([]byte{0x81}, 40)...)...), FromHub, ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, msg, err := ReadFrame(bytes.NewReader(c.in), c.from); !errors.Is(err, c.want) {
				t.Errorf("read %v, %v; want %v", msg, err, c.want)
			}
		})
	}
}

// TestReadFrame_IgnoresNewFields: a later minor version may say more.
func TestReadFrame_IgnoresNewFields(t *testing.T) {
	_, msg, err := ReadFrame(bytes.NewReader(frame(TypeCaughtUp, 0xa2, 1, 7, 9, 0x82, 1, 0xa1, 0x61, 'x', 2)), FromHub)
	if err != nil || msg != (CaughtUp{Through: 7}) {
		t.Errorf("read %v, %v", msg, err)
	}
}

func TestReadFrame_PassesTheReadersError(t *testing.T) {
	lost := errors.New("link lost")
	ask := written(t, TypeAsk, Ask{ID: fill16(1)})
	for n := range len(ask) - 1 {
		r := io.MultiReader(bytes.NewReader(ask[:n]), iotest.ErrReader(lost))
		if _, _, err := ReadFrame(r, FromEdge); !errors.Is(err, lost) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// TestValidate_HoldsEachLimit breaks one limit at a time of a message that is well otherwise, writing and reading.
func TestValidate_HoldsEachLimit(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n+1) }
	submit := func(change func(*Submit)) Submit { s := sampleSubmit(); change(&s); return s }
	bare := func(change func(*Submit)) Submit {
		s := Submit{ID: sampleSubmit().ID, TerminalUID: "u1", Terminal: "till-1", Key: "k-1"}
		if change != nil {
			change(&s)
		}
		return s
	}
	confirmation := func(change func(*Confirmation)) Confirmation { c := sampleConfirmation(); change(&c); return c }
	booked := func(change func(*Booking)) Booked {
		b := Booking{Side: SideLedger, ID: fill16(1), Kind: tideover.KindSale, Amount: 1, Currency: "CNY", State: tideover.StateApproved, CreatedAt: 1}
		change(&b)
		return Booked{Entries: []Booking{b}}
	}
	other := sampleSubmit()
	other.ID = fill16(99)
	for i, c := range []struct {
		t   Type
		msg any
	}{
		{TypeHello, Hello{}},
		{TypeHello, Hello{Incarnation: fill16(1), Software: long(SoftwareMax)}},
		{TypeWelcome, Welcome{LedgerTime: 1}},
		{TypeWelcome, Welcome{Ledger: fill16(1)}},
		{TypeWelcome, Welcome{Ledger: fill16(1), LedgerTime: 1, PrunedBefore: -1}},
		{TypeWelcome, Welcome{Ledger: fill16(1), LedgerTime: 1, Replay: true}},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.ID = tideover.ID{} })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.HubSeq = 0 })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Outcome.Result = tideover.StatePending })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Outcome.Result = 200 })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Outcome.Message = long(MessageMax) })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Outcome.Code = long(CodeMax) })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Outcome.Reference = long(ReferenceMax) })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Adopt = &other })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Receipt = tideover.Proof{Terminal: long(TerminalMax)} })},
		{TypeConfirmation, confirmation(func(c *Confirmation) { c.Receipt = tideover.Proof{CreatedAt: -1} })},
		{TypeOpen, Open{Submit: sampleSubmit(), State: tideover.StatePending}},
		{TypeOpen, Open{Submit: bare(nil)}},
		{TypeOpen, Open{Submit: bare(nil), State: tideover.StateApproved}},
		{TypeOpen, Open{Submit: bare(nil), State: tideover.StateQueued}},
		{TypeOpen, Open{Submit: bare(nil), State: tideover.StatePending, WaitingFor: long(LabelMax)}},
		{TypeOpen, Open{Submit: bare(func(s *Submit) { s.Request.Order = "A" }), State: tideover.StatePending}},
		{TypeAck, Ack{}},
		{TypeAck, Ack{Have: make([]Position, AckMax+1)}},
		{TypeAck, Ack{Have: []Position{{ID: fill16(1)}}}},
		{TypeTerminals, Terminals{Terminals: make([]tideover.Terminal, TerminalsMax+1)}},
		{TypeTerminals, Terminals{Terminals: []tideover.Terminal{{UID: "u", Name: "a"}, {UID: "u", Name: "b"}}}},
		{TypeTerminals, Terminals{Terminals: []tideover.Terminal{{UID: "u", Name: long(TerminalMax)}}}},
		{TypeGoAway, GoAway{AfterMillis: -1}},
		{TypeSubmit, submit(func(s *Submit) { s.TerminalUID = "" })},
		{TypeSubmit, submit(func(s *Submit) { s.Terminal = long(TerminalMax) })},
		{TypeSubmit, submit(func(s *Submit) { s.Key = "" })},
		{TypeSubmit, submit(func(s *Submit) { s.Key = long(KeyMax) })},
		{TypeSubmit, submit(func(s *Submit) { s.Key = "a b" })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Kind = 0 })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Kind = 9 })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Amount = -1 })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Currency = "CN" })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Method = long(LabelMax) })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Order = "\xff" })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Operator = long(LabelMax) })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Instrument = long(InstrumentMax) })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Original = fill16(1) })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Kind = tideover.KindRefund })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.ExpiresIn = tideover.ExpiresInMax + 1 })},
		{TypeSubmit, submit(func(s *Submit) { s.Request.Payload = make([]byte, PayloadMax+1) })},
		{TypeSubmit, submit(func(s *Submit) { s.ExpiresAt = -1 })},
		{TypeAsk, Ask{}},
		{TypeCancel, Cancel{ID: fill16(1), TerminalUID: "u", Terminal: "t"}},
		{TypeExpire, Expire{Submit: sampleSubmit(), Outcome: tideover.StateApproved}},
		{TypeExpire, Expire{Outcome: tideover.StateExpired}},
		{TypeExpire, Expire{Submit: submit(func(s *Submit) { s.Request.Kind = 0 }), Outcome: tideover.StateCancelled}},
		{TypeSettle, Settle{Submit: sampleSubmit(), As: tideover.StateApproved}},
		{TypeSettle, Settle{Submit: bare(nil), As: tideover.StateExpired}},
		{TypeSettle, Settle{Submit: bare(nil), As: tideover.StateApproved, By: long(LabelMax)}},
		{TypeSettle, Settle{Submit: bare(nil), As: tideover.StateApproved, Reason: long(MessageMax)}},
		{TypeSettle, Settle{Submit: bare(func(s *Submit) { s.Key = "" }), As: tideover.StateApproved}},
		{TypeReplay, Replay{Submit: sampleSubmit(), HubSeq: 1, Outcome: sampleConfirmation().Outcome}},
		{TypeReplay, Replay{Submit: bare(nil), Outcome: sampleConfirmation().Outcome}},
		{TypeReplay, Replay{Submit: bare(nil), HubSeq: 1, Outcome: tideover.Outcome{Result: tideover.StatePending}}},
		{TypeReplay, Replay{Submit: bare(func(s *Submit) { s.Hash = fill(1) }), HubSeq: 1, Outcome: sampleConfirmation().Outcome}},
		{TypeReplay, Replay{Submit: bare(func(s *Submit) { s.Request.Order = "A" }), HubSeq: 1, Outcome: sampleConfirmation().Outcome}},
		{TypeReconcile, Reconcile{}},
		{TypeReconcile, Reconcile{From: 2, To: 2}},
		{TypeReconcile, Reconcile{From: -1, To: 2}},
		{TypeReconcile, Reconcile{From: 1, To: 2 + tideover.Millis(ReconcileSpanMax.Milliseconds())}},
		{TypeReconcile, Reconcile{From: 1, To: 1 << 62}},
		{TypeBooked, Booked{}},
		{TypeBooked, Booked{Entries: make([]Booking, BookedMax+1)}},
		{TypeBooked, booked(func(b *Booking) { b.ID = tideover.ID{} })},
		{TypeBooked, booked(func(b *Booking) { b.Side = 0 })},
		{TypeBooked, booked(func(b *Booking) { b.Side = 3 })},
		{TypeBooked, booked(func(b *Booking) { b.State = 0 })},
		{TypeBooked, booked(func(b *Booking) { b.State = tideover.StateQueued })},
		{TypeBooked, booked(func(b *Booking) { b.Side, b.State = SidePlatform, tideover.StateCancelled })},
		{TypeBooked, booked(func(b *Booking) { b.Side, b.Kind = SidePlatform, 0 })},
		{TypeBooked, booked(func(b *Booking) { b.Kind = 9 })},
		{TypeBooked, booked(func(b *Booking) { b.Amount = -1 })},
		{TypeBooked, booked(func(b *Booking) { b.Currency = "CN" })},
		{TypeBooked, booked(func(b *Booking) { b.Terminal = long(TerminalMax) })},
		{TypeBooked, booked(func(b *Booking) { b.TerminalUID = "\xff" })},
		{TypeBooked, booked(func(b *Booking) { b.Reference = long(ReferenceMax) })},
		{TypeBooked, booked(func(b *Booking) { b.CreatedAt = -1 })},
		{TypeBalanced, Balanced{Ledger: -1}},
		{TypeBalanced, Balanced{Platform: 1}},
		{TypeBalanced, Balanced{Detail: long(DetailMax)}},
		{TypeProgress, Progress{State: tideover.StateApproved}},
		{TypeProgress, Progress{State: tideover.StateQueued}},
		{TypeProgress, Progress{WaitingFor: long(LabelMax)}},
		{TypeRefused, Refused{}},
		{TypeRefused, Refused{Reason: ReasonBusy, Detail: long(DetailMax)}},
		{TypeEnroll, Enroll{}},
		{TypeEnroll, Enroll{CSR: make([]byte, CSRMax+1)}},
		{TypeEnrolled, Enrolled{Store: "s", Certificate: []byte{1}, CA: []byte{1}, Ledger: fill16(1), LedgerTime: 1}},
		{TypeEnrolled, Enrolled{Store: "s", Certificate: []byte{1}, CA: []byte{1}, Ledger: fill16(1), LedgerTime: 1, Addresses: []string{"no port"}}},
	} {
		t.Run(fmt.Sprintf("%d-%T", i, c.msg), func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteFrame(&b, c.t, c.msg); !errors.Is(err, ErrMalformed) || b.Len() > 0 {
				t.Errorf("written: %v, %d bytes", err, b.Len())
			}
			payload, err := encode(c.msg)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := ReadFrame(bytes.NewReader(frame(c.t, payload...)), frameTypes[c.t].from); err == nil {
				t.Error("read although it breaks a limit")
			}
		})
	}
}

// TestFrames_FitWithEveryFieldFull: a message whose fields are all within their limits is within its frame's.
func TestFrames_FitWithEveryFieldFull(t *testing.T) {
	full := func(n int) string { return strings.Repeat("x", n) }
	submit := Submit{
		ID: fill16(1), TerminalUID: full(TerminalMax), Terminal: full(TerminalMax), Key: full(KeyMax), Hash: fill(1),
		Request: tideover.Request{
			Kind: tideover.KindRefund, Amount: 1 << 62, Currency: "CNY", Method: full(LabelMax), Order: full(LabelMax), Original: fill16(1),
			Instrument: full(InstrumentMax), Operator: full(LabelMax), ExpiresIn: tideover.ExpiresInMax, Payload: make([]byte, PayloadMax),
		},
		CreatedAt: 1 << 62, ExpiresAt: 1 << 62, Again: true,
	}
	end := Confirmation{
		ID: fill16(1), HubSeq: 1 << 63,
		Outcome: tideover.Outcome{Result: tideover.StateReversed, Code: full(CodeMax), Message: full(MessageMax), Reference: full(ReferenceMax), At: 1 << 62},
	}
	end.Receipt = tideover.Proof{Key: tideover.KeyID{1}, Signature: [64]byte{1}, Terminal: full(TerminalMax), CreatedAt: 1 << 62}
	adopted := end
	adopted.Adopt = &submit
	without := submit
	without.Request.Payload = nil
	terminals := make([]tideover.Terminal, TerminalsMax)
	for i := range terminals {
		terminals[i] = tideover.Terminal{
			UID: fmt.Sprintf("%0*d", TerminalMax, i), Name: full(TerminalMax), TokenHash: fill(1), Revoked: true, PairedAt: 1 << 62,
		}
	}
	addresses := make([]string, AddressesMax)
	for i := range addresses {
		addresses[i] = full(255) + ":12345"
	}
	positions := make([]Position, AckMax)
	for i := range positions {
		positions[i] = Position{ID: fill16(1), HubSeq: 1 << 63}
	}
	bookings := make([]Booking, BookedMax)
	for i := range bookings {
		bookings[i] = Booking{
			Side: SidePlatform, ID: fill16(1), TerminalUID: full(TerminalMax), Terminal: full(TerminalMax), Kind: tideover.KindAdvice, Amount: 1 << 62,
			Currency: "CNY", State: tideover.StatePending, Reference: full(ReferenceMax), CreatedAt: 1 << 62, Moving: true,
		}
	}
	for _, s := range []sample{
		{"submit", TypeSubmit, submit},
		{"booked", TypeBooked, Booked{Entries: bookings}},
		{"balanced", TypeBalanced, Balanced{Ledger: 1<<31 - 1, Platform: 1<<31 - 1, Statement: true, Detail: full(DetailMax)}},
		{"expire", TypeExpire, Expire{Submit: submit, Outcome: tideover.StateExpired}},
		{"settle", TypeSettle, Settle{Submit: without, As: tideover.StateApproved, By: full(LabelMax), Reason: full(MessageMax)}},
		{"open", TypeOpen, Open{Submit: without, State: tideover.StatePending, WaitingFor: full(LabelMax)}},
		{"replay", TypeReplay, Replay{Submit: without, HubSeq: 1 << 63, Outcome: end.Outcome, Corrected: true}},
		{"confirmation", TypeConfirmation, adopted},
		{"refused", TypeRefused, Refused{Reason: ReasonKeyReused, Detail: full(DetailMax), Adopt: &submit, End: &end}},
		{"terminals", TypeTerminals, Terminals{Terminals: terminals}},
		{"ack", TypeAck, Ack{Have: positions}},
		{"enroll", TypeEnroll, Enroll{CSR: make([]byte, CSRMax)}},
		{"enrolled", TypeEnrolled, Enrolled{
			Store: full(StoreMax), Certificate: make([]byte, CertMax), CA: make([]byte, CertMax), Ledger: fill16(1), Addresses: addresses,
			Terminals: terminals, LedgerTime: 1,
		}},
	} {
		t.Run(s.name, func(t *testing.T) {
			b, err := AppendFrame(nil, s.t, s.msg)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := ReadFrame(bytes.NewReader(b), frameTypes[s.t].from); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, s := range samples() {
		b, err := AppendFrame(nil, s.t, s.msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, from := range []Side{FromEdge, FromHub} {
			r := bytes.NewReader(b)
			for {
				kind, msg, err := ReadFrame(r, from)
				if err != nil {
					break
				}
				again, err := AppendFrame(nil, kind, msg)
				if err != nil {
					t.Fatalf("%+v was read and cannot be written: %v", msg, err)
				}
				_, back, err := ReadFrame(bytes.NewReader(again), from)
				if err != nil {
					t.Fatalf("%+v was written and cannot be read: %v", msg, err)
				}
				if b, err := AppendFrame(nil, kind, back); err != nil || !bytes.Equal(b, again) {
					t.Fatalf("%+v came back as %+v, %v", msg, back, err)
				}
			}
		}
	})
}

// TestSubmit_NamesAreCountedInCharactersByTheTerminal keeps out a fault: names of 64 Chinese characters were taken from tills and refused here.
func TestSubmit_NamesAreCountedInCharactersByTheTerminal(t *testing.T) {
	s := sampleSubmit()
	s.Terminal = strings.Repeat("收", 64)
	s.TerminalUID = s.Terminal // with open access
	s.Request.Order, s.Request.Operator, s.Request.Instrument = s.Terminal, s.Terminal, strings.Repeat("码", 256)
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}
