package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/queue"
	"tideover/terminal"
	"tideover/wire"
)

// receipts is what this edge makes of the hub's signatures: the keys that it knows, in memory and in the state directory, and receipts out of
// the journal. An end counts as it is told, whatever its signature: it came over a connection that the hub alone can make. The signature is
// for those who were not there.
type receipts struct {
	store string
	dir   string // of the state; "" keeps keys in memory alone
	queue *queue.Queue
	log   *slog.Logger

	mu   sync.Mutex // guards what follows
	keys map[tideover.KeyID]ed25519.PublicKey
}

func newReceipts(store, dir string, q *queue.Queue, log *slog.Logger) *receipts {
	s := &receipts{store: store, dir: dir, queue: q, log: log, keys: make(map[tideover.KeyID]ed25519.PublicKey)}
	known, err := install.ReceiptKeys(dir)
	if err != nil {
		log.Error("the keys of receipts cannot be read; sales go on without them", "err", err)
	}
	for _, key := range known {
		s.keys[tideover.KeyIDOf(key)] = key
	}
	return s
}

// learn takes the key that a hub has told in its welcome. It is on disk when learn returns, if the disk takes it: the next welcome brings it
// again, and until then receipts are checked by it in this process alone.
func (s *receipts) learn(told [ed25519.PublicKeySize]byte) {
	if told == [ed25519.PublicKeySize]byte{} {
		return // a hub that signs none
	}
	key := ed25519.PublicKey(told[:])
	name := tideover.KeyIDOf(key)
	s.mu.Lock()
	_, known := s.keys[name]
	s.keys[name] = key
	s.mu.Unlock()
	if known {
		return
	}
	s.log.Info("the hub signs receipts with a new key", "key", name)
	if err := install.KeepReceiptKey(s.dir, key); err != nil {
		s.log.Error("the key of receipts is not on disk", "key", name, "err", err)
	}
}

// check checks a signature by the keys that are known.
func (s *receipts) check(r *tideover.Receipt) error {
	s.mu.Lock()
	key := s.keys[r.Key]
	s.mu.Unlock()
	return r.Verify(key) // none is no key of it
}

// proof returns an end's signature if it holds for the journal's record or for the hub's, whichever will stand there; else nil.
func (s *receipts) proof(c wire.Confirmation) *tideover.Proof {
	if c.Receipt.IsZero() {
		return nil
	}
	var bare []tideover.Receipt
	if t, err := s.queue.Landed(c.ID); err == nil && t.Kind != tideover.KindNone { // of a bar nothing is known but its key
		t.State, t.Outcome, t.Corrected = c.Outcome.Result, &c.Outcome, c.Corrected
		bare = append(bare, tideover.ReceiptOf(s.store, t))
	}
	if c.Adopt != nil { // the hub's record, which enters the journal where that has none, or another
		bare = append(bare, c.Adopt.Receipt(s.store, c.Outcome, c.Corrected))
	}
	var why error
	for _, r := range bare {
		signed := r.With(c.Receipt)
		if why = s.check(&signed); why == nil {
			return &c.Receipt
		}
	}
	if why == nil {
		return nil // there is no request that it could be of
	}
	s.log.Error("the hub's signature of an end does not hold: there is no receipt of it", "txn", c.ID, "key", c.Receipt.Key, "err", why)
	return nil
}

// of returns the receipt of a transaction. Where its present end has none that holds, signed is false, and the receipt says what the journal
// has. Errors are the queue's.
func (s *receipts) of(id tideover.ID) (r tideover.Receipt, signed bool, err error) {
	t, proof, current, err := s.queue.Receipt(id)
	if err != nil {
		return r, false, err
	}
	if r = tideover.ReceiptOf(s.store, t); proof == nil {
		return r, false, nil
	}
	r = r.With(*proof)
	if !current {
		return r, false, nil
	}
	// The key may have been lost with its file: then the journal is believed, which took the signature when it held.
	if err := s.check(&r); errors.Is(err, tideover.ErrReceiptChanged) {
		s.log.Error("a receipt in the journal does not hold", "txn", id, "err", err)
		return r, false, nil
	}
	return r, true, nil
}

// Receipt implements terminal.Desk.
func (d *desk) Receipt(_ context.Context, by terminal.Caller, id tideover.ID) (tideover.Receipt, bool, error) {
	if _, err := d.own(by, id); err != nil {
		return tideover.Receipt{}, false, err
	}
	r, signed, err := d.receipts.of(id)
	return r, signed, told(err)
}

// Receipt implements control.Backend.
func (r *Router) Receipt(_ context.Context, id tideover.ID) (tideover.Receipt, error) {
	receipt, signed, err := r.receipts.of(id)
	switch {
	case err != nil:
		return receipt, plain(id, err)
	case signed:
		return receipt, nil
	case !receipt.State.Final():
		return receipt, control.Refused(string(tideover.CodeNotPossible),
			tideover.Textf("%s has no end yet: it is %s", "交易 %s 尚无最终结果：状态为 %s", id, receipt.State),
			tideover.Textf("ask again once it has one: tideover queue show %s", "有结果后再试：tideover queue show %s", id))
	case receipt.Kind == tideover.KindNone:
		return receipt, control.Refused(string(tideover.CodeNotPossible),
			tideover.Textf("the key of %s was cancelled before its request was taken: there is no payment", "交易 %s 的键在请求受理之前已被取消：没有付款", id),
			tideover.Textf("there will be no receipt of it; see: tideover queue show %s", "不会有它的收据；请查看：tideover queue show %s", id))
	default:
		return receipt, control.Refused(string(tideover.CodeNotPossible),
			tideover.Textf("the end of %s, %s, is not signed by the hub", "交易 %s 的结果（%s）没有 hub 的签名", id, receipt.State),
			tideover.Textf("an end that this router gave by itself is signed once the hub has heard of it; one from before the hub signed receipts never is",
				"本机自行给出的结果在 hub 获知后才有签名；hub 启用收据之前的结果没有签名"))
	}
}

// Compare implements control.Backend.
func (r *Router) Compare(_ context.Context, receipt tideover.Receipt) (control.Comparison, error) {
	record, _, err := r.receipts.of(receipt.ID)
	if errors.Is(err, queue.ErrUnknown) {
		return control.Comparison{}, &control.Error{
			Status: http.StatusNotFound, Code: string(tideover.CodeUnknownTransaction),
			What: tideover.Textf("the journal has no transaction %s", "日志中没有交易 %s", receipt.ID),
			Hint: tideover.Textf("it is of another shop (this is %s), or of a time that the journal does not keep any more; --offline checks the signature alone",
				"它属于其他门店（本店为 %s），或日志已不再保留；--offline 只校验签名", r.id.Store),
		}
	}
	if err != nil {
		return control.Comparison{}, plain(receipt.ID, err)
	}
	return control.Comparison{State: record.State, Differs: tideover.CompareReceipts(receipt, record)}, nil
}
