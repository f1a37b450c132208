package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tideover"
	"tideover/rules"
	"tideover/terminal"
	"tideover/wire"
)

func stern() rules.Methods {
	no := false
	return rules.Methods{{Name: "qr", MayWait: &no, Offer: "cash"}, {Name: "card"}}
}

func TestStanding_BannerSaysWhichAndWhatNext(t *testing.T) {
	why := tideover.Text{En: "Spent: take cash.", Zh: "已满：请收现金。"}
	for name, c := range map[string]struct {
		standing
		accepting bool
		en, zh    string
		qr, card  bool   // accepting
		message   string // of qr, a part of it
	}{
		"well":                    {standing{heard: true}, true, "Online.", "在线。", true, true, ""},
		"no line":                 {standing{}, true, "Not taken until the line is back: QR code (instead: cash)", "扫码支付（请改用现金）", false, true, "Offer the customer: cash."},
		"stopping":                {standing{closing: true, heard: true, superseded: true}, false, "stopping. Wait", "正在停止", false, false, "stopping"},
		"replaced":                {standing{superseded: true, full: true}, false, "This router was replaced", "已被替换", false, false, "replaced"},
		"full":                    {standing{heard: true, full: true, spent: true, why: why}, false, "storage is full", "存储已满", false, false, "Take cash, and call"},
		"spent":                   {standing{heard: true, spent: true, why: why}, false, "Spent: take cash.", "已满：请收现金。", false, false, "Spent"},
		"spent, no line":          {standing{spent: true, why: why}, false, "Spent: take cash.", "已满：请收现金。", false, false, "Spent"},
		"one currency spent":      {standing{heard: true, why: why}, true, "Spent: take cash.", "已满：请收现金。", true, true, ""},
		"the same without a line": {standing{why: why}, true, "QR code (instead: cash). Spent: take cash.", "改用现金）。已满", false, true, "Offer the customer"},
	} {
		t.Run(name, func(t *testing.T) {
			c.methods, c.uplink = stern(), "eth1"
			h := c.health()
			if h.Accepting != c.accepting || !strings.Contains(h.Message.En, c.en) || !strings.Contains(h.Message.Zh, c.zh) {
				t.Errorf("have %+v", h)
			}
			if (h.Uplink != "") != c.heard || h.Connected != c.heard {
				t.Errorf("the link: %+v", h)
			}
			qr, card := h.Methods[0], h.Methods[1]
			if qr.Accepting != c.qr || card.Accepting != c.card || qr.Offer != "cash" || qr.MayWait || !card.MayWait {
				t.Errorf("methods: %+v", h.Methods)
			}
			if !strings.Contains(qr.Message.En, c.message) || (qr.Message.En == "") != (c.message == "") {
				t.Errorf("the method's banner: %q", qr.Message.En)
			}
		})
	}
}

// What may not wait is refused before it is stored, and is taken under the same key as soon as a hub is heard. A known key, what undoes
// and what has happened already are not affected.
func TestDesk_RefusesWhatMayNotWait(t *testing.T) {
	h := newHouse(t)
	h.rule(t, rules.Rules{Limits: rules.DefaultLimits(), Methods: stern()})
	card := saleOf(1299)
	card.Method = "card"
	if _, err := h.Accept(t.Context(), till1, "A-0", terminal.OverrideNone, card); err != nil {
		t.Errorf("a method that may wait: %v", err)
	}
	_, err := h.Accept(t.Context(), till1, "A-1", terminal.OverrideNone, saleOf(1299))
	wantCode(t, err, tideover.CodeOfflineLimit)
	if r, _ := errors.AsType[*tideover.Refusal](err); r == nil || r.RetryAfter != rules.RetryOffline || !strings.Contains(r.Detail.En, "cash") {
		t.Errorf("have %v", err)
	}
	if n := h.queue.Stats().Transactions; n != 1 {
		t.Errorf("%d transactions: what was refused was stored", n)
	}
	advice := saleOf(500)
	advice.Kind = tideover.KindAdvice
	if _, err := h.Accept(t.Context(), till1, "A-2", terminal.OverrideNone, advice); err != nil {
		t.Errorf("an advice: %v", err)
	}
	h.welcome(t, wire.Welcome{})
	sold := h.sell(t, till1, "A-1", 1299)
	h.heard = func() bool { return false }
	if again := h.sell(t, till1, "A-1", 1299); again.ID != sold.ID || !again.Replayed {
		t.Errorf("a known key without a line: %+v", again)
	}
	reversal := tideover.Request{Kind: tideover.KindReversal, Original: sold.ID, Method: "qr", ExpiresIn: tideover.ExpiresInDefault}
	if _, err := h.Accept(t.Context(), till1, "A-3", terminal.OverrideNone, reversal); err != nil {
		t.Errorf("a reversal: %v", err)
	}
	refund := saleOf(1)
	refund.Kind, refund.Original = tideover.KindRefund, sold.ID
	if _, err := h.Accept(t.Context(), till1, "A-4", terminal.OverrideNone, refund); err != nil {
		if r, ok := errors.AsType[*tideover.Refusal](err); !ok || r.Code == tideover.CodeOfflineLimit {
			t.Errorf("a refund: %v", err)
		}
	}
}

// A banner says that the storage is full exactly when a sale finds no room.
func TestQueue_FullIsWhatAcceptSays(t *testing.T) {
	h := newHouse(t)
	h.stop()
	h.sizeMax = 2 << 20
	h.open(t)
	h.rule(t, rules.Rules{})
	for _, size := range []int{30 << 10, 3 << 10} { // fill it fast, and to the brim
		large := saleOf(1)
		large.Payload = []byte(`"` + strings.Repeat("x", size) + `"`)
		var err error
		for i := 0; err == nil; i++ {
			_, err = h.Accept(t.Context(), till1, fmt.Sprint(size, "-", i), terminal.OverrideNone, large)
		}
		wantCode(t, err, tideover.CodeStorageFull)
	}
	for i := range 2000 {
		full := h.queue.Full()
		_, err := h.Accept(t.Context(), till1, fmt.Sprint("small", i), terminal.OverrideNone, saleOf(1))
		if full != (err != nil) {
			t.Fatalf("after %d sales: full says %v, a sale %v", i, full, err)
		}
		if err != nil {
			wantCode(t, err, tideover.CodeStorageFull)
			return
		}
	}
	t.Fatal("it was never full")
}
