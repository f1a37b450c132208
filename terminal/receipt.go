package terminal

import (
	"net/http"

	"tideover"
)

// receipt answers with what the hub has signed of a transaction's end: GET /v1/transactions/ID/receipt.
func (x *exchange) receipt() error {
	if _, err := x.query(); err != nil {
		return err
	}
	r, signed, err := x.s.desk.Receipt(x.r.Context(), x.by, x.id)
	switch {
	case err != nil:
		return err
	case !signed:
		return unsigned(r)
	}
	_ = x.write(http.StatusOK, "application/json", r) // the till asks again if it did not hear it
	return nil
}

// unsigned tells a till why there is no receipt, and what it can do.
func unsigned(r tideover.Receipt) error {
	if r.Kind == tideover.KindNone { // nothing but its key is known, and the hub signs no such thing
		return tideover.Refuse(tideover.CodeNotPossible,
			"this key was cancelled before its request was taken: there is no payment, and there will be no receipt of it",
			"该键在请求受理之前已被取消：没有付款，也不会有收据")
	}
	if r.State.Final() {
		return tideover.Refuse(tideover.CodeNotPossible,
			"the end of this transaction, %s, is not signed by the hub; ask again once the line is back, and print the transaction itself meanwhile",
			"该交易的结果（%s）没有 hub 的签名；线路恢复后可再次查询，此前请打印交易本身", r.State)
	}
	no := tideover.Refuse(tideover.CodeNotPossible, "this transaction has no end yet (it is %s); ask for its receipt when it has one",
		"该交易尚无最终结果（状态 %s）；有结果后再查询收据", r.State)
	no.RetryAfter = askAgain(tideover.Transaction{Kind: r.Kind, State: r.State})
	return no
}
