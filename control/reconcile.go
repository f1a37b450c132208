package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"tideover"
)

// ReconcileMax is how long a reconciliation may take: the platform has to write its statement.
const ReconcileMax = 3 * time.Minute

// ReconcileQuery says what to compare.
type ReconcileQuery struct {
	Date string // of the router's time zone, 2006-01-02; "" is today
	All  bool   // every transaction is wanted, and not only what differs
}

// reconcileLine is one line of the answer: transactions, and then the whole.
type reconcileLine struct {
	Transaction    *tideover.Compared       `json:"transaction,omitempty"`
	Reconciliation *tideover.Reconciliation `json:"reconciliation,omitempty"`
}

// reconcile writes lines of JSON, the last of which is the whole. Nothing is written before everything was read and compared, so that what
// goes wrong until then is answered as everywhere.
func (s *Server) reconcile(w http.ResponseWriter, r *http.Request) {
	q := ReconcileQuery{Date: r.URL.Query().Get("date"), All: r.URL.Query().Has("all")}
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	_ = out.SetWriteDeadline(time.Now().Add(ReconcileMax))
	began := false
	write := func(l reconcileLine) error {
		if !began {
			w.Header().Set("Content-Type", "application/jsonl")
			began = true
		}
		if err := out.SetWriteDeadline(time.Now().Add(answerWait)); err != nil {
			return err
		}
		return lines.Encode(l)
	}
	ctx, cancel := context.WithTimeout(r.Context(), ReconcileMax)
	defer cancel()
	whole, err := s.backend.Reconcile(ctx, q, func(c tideover.Compared) error { return write(reconcileLine{Transaction: &c}) })
	switch {
	case err == nil:
		err = write(reconcileLine{Reconciliation: &whole})
	case !began:
		s.write(w, asError(err))
		return
	}
	if err != nil {
		s.log.Error("a reconciliation was broken off", "err", err)
		panic(http.ErrAbortHandler)
	}
}

// Reconcile compares all sides of a day. With All it calls each for every transaction, as they arrive, and returns its first error; an
// [*Error] where the daemon broke off.
func (c *Client) Reconcile(
	ctx context.Context, q ReconcileQuery, each func(tideover.Compared) error,
) (whole tideover.Reconciliation, err error) {
	values := url.Values{}
	if q.Date != "" {
		values.Set("date", q.Date)
	}
	if q.All {
		values.Set("all", "")
	}
	patient := Client{path: c.path, wait: max(c.wait, ReconcileMax)}
	a, err := patient.send(ctx, http.MethodGet, "/v1/reconcile?"+values.Encode(), nil)
	if err != nil {
		return whole, err
	}
	defer a.Close()
	for lines := json.NewDecoder(a.Body); ; {
		var l reconcileLine
		a.extend(c.wait) // everything was read and compared before the first line
		err := lines.Decode(&l)
		switch {
		case ctx.Err() != nil:
			return whole, ctx.Err()
		case err != nil || l.Transaction == nil && l.Reconciliation == nil:
			return whole, &Error{
				Status: http.StatusInternalServerError, Code: string(tideover.CodeInternal),
				What: tideover.Textf("the daemon broke off: what was written is not the whole", "守护进程中断了对账：已写出的内容不完整"),
				Hint: tideover.Textf("look at its log, and ask again", "请查看其日志后重试"),
			}
		case l.Reconciliation != nil:
			return *l.Reconciliation, nil
		}
		if err := each(*l.Transaction); err != nil {
			return whole, err
		}
	}
}
