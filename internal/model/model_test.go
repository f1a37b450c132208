package model

import (
	"testing"
	"time"

	"tideover"
)

func sale() press   { return press{kind: tideover.KindSale, amount: 1299, original: -1} }
func advice() press { return press{kind: tideover.KindAdvice, amount: 1299, original: -1} }
func refund() press { return press{kind: tideover.KindRefund, amount: 900, original: 0} }
func reverse() press {
	return press{kind: tideover.KindReversal, amount: 1299, original: 0}
}

type may = map[fault]uint8

func TestModel_Small(t *testing.T) {
	for _, sc := range []*scenario{
		{name: "sale cancel crash", presses: []press{sale()}, idempotent: true, allow: may{fCancel: 1, fProcess: 1, fSilent: 1}},
		{name: "sale crash ticks", presses: []press{sale()}, idempotent: true, allow: may{fSilent: 1, fProcess: 1, fTick: 3}},
		{name: "sale reboot ticks", presses: []press{sale()}, idempotent: true, allow: may{fReboot: 1, fTick: 3, fJump: 1}},
		{name: "sale hub crash", presses: []press{sale()}, idempotent: true, allow: may{fSilent: 1, fHub: 1, fTick: 2}},
		{name: "sale hub crash cancel", presses: []press{sale()}, idempotent: true, allow: may{fSilent: 1, fHub: 1, fCancel: 1}},
		{name: "sale status only", presses: []press{sale()}, allow: may{fSilent: 1, fHub: 1, fTick: 2, fRefuse: 1}},
		{name: "pending", presses: []press{sale()}, allow: may{fSilent: 1, fPending: 1, fTick: 2, fCancel: 1, fRefuse: 1}},
		{name: "wrong", presses: []press{sale()}, idempotent: true, allow: may{fSilent: 1, fWrong: 1, fTick: 1, fCancel: 1, fAck: 1}},
		{name: "twice", presses: []press{sale()}, idempotent: true, allow: may{fTwice: 1, fProcess: 1, fCancel: 1}},
		{name: "replaced", presses: []press{sale()}, idempotent: true, allow: may{fReplace: 1, fTick: 2, fRepeat: 1}},
		{name: "replaced cancel", presses: []press{sale()}, idempotent: true, allow: may{fReplace: 1, fCancel: 1, fRepeat: 1}},
		{name: "restored", presses: []press{sale()}, idempotent: true, allow: may{fCopy: 1, fCancel: 1, fAck: 1}},
		{name: "hub restored", presses: []press{sale()}, idempotent: true, allow: may{fHubCopy: 1, fCancel: 1}},
		{name: "hub restored status only", presses: []press{sale()}, allow: may{fHubCopy: 1, fTick: 1, fAck: 1}},
		{name: "marked copy", presses: []press{sale()}, idempotent: true, marked: true, allow: may{fHubCopy: 1, fCancel: 1, fTick: 1}},
		{name: "marked copy refund", presses: []press{advice(), refund()}, idempotent: true, marked: true, allow: may{fHubCopy: 1}},
		{name: "marked copy reversal", presses: []press{advice(), reverse()}, idempotent: true, marked: true, allow: may{fHubCopy: 1}},
		{name: "marked copy status only", presses: []press{sale()}, marked: true, allow: may{fHubCopy: 1, fCancel: 1, fTick: 1, fSilent: 1}},
		{name: "refund reversal", presses: []press{advice(), refund(), reverse()}, idempotent: true, allow: may{}},
		{name: "sale reversal", presses: []press{sale(), reverse()}, idempotent: true, allow: may{fCancel: 1, fAck: 1}},
		{name: "sale reversal crash", presses: []press{sale(), reverse()}, idempotent: true, allow: may{fProcess: 1}},
		{name: "sale refund hub crash", presses: []press{sale(), refund()}, idempotent: true, allow: may{fHub: 1, fSilent: 1}},
		{name: "late", presses: []press{sale()}, idempotent: true, late: true, fine: true, allow: may{fProcess: 1, fCancel: 1}},
	} {
		t.Run(sc.name, func(t *testing.T) {
			sc.prepare()
			begun := time.Now()
			f := explore(newWorld(sc), 500_000, time.Now().Add(20*time.Second))
			t.Log(f, time.Since(begun))
			if f.err != nil {
				report(t, sc, f.err, f.trace)
			}
		})
	}
}
