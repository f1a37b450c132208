package control

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tideover"
)

// Unknown says that the journal has no transaction that is, or begins with, id.
func Unknown(id string) *Error {
	return NotFound(string(tideover.CodeUnknownTransaction),
		tideover.Textf("no transaction %s is in the journal", "日志中没有交易 %s", id),
		tideover.Textf("see: tideover queue list", "请查看：tideover queue list"))
}

func (s *Server) list(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := Filter{Terminal: q.Get("terminal"), NotHandedOver: q.Has("not_handed_over"), After: q.Get("after"), Limit: ListDefault}
	if v := q.Get("state"); v != "" {
		if err := f.State.UnmarshalText([]byte(v)); err != nil {
			return nil, badRequest(err)
		}
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > ListMax {
			return nil, badRequest(errors.New("limit is a number from 1 to " + strconv.Itoa(ListMax)))
		}
		f.Limit = n
	}
	page, err := s.backend.List(r.Context(), f)
	if page.Transactions == nil {
		page.Transactions = []Transaction{}
	}
	return page, err
}

// id returns the transaction that a call's path names, by its whole id or by its first characters.
func (s *Server) id(r *http.Request) (tideover.ID, error) {
	short := r.PathValue("id")
	first, last, err := tideover.ParseShort(short)
	if err != nil {
		return first, badRequest(err)
	}
	if first == last {
		return first, nil
	}
	switch found := s.backend.Find(first, last); len(found) {
	case 0:
		return first, Unknown(short)
	case 1:
		return found[0], nil
	default:
		names := make([]string, len(found))
		for i, id := range found {
			names[i] = id.String()
		}
		return first, Refused("ambiguous_id",
			tideover.Textf("several transactions begin with %s", "有多笔交易以 %s 开头", short),
			tideover.Textf("write more of the id: %s", "请输入更完整的编号：%s", strings.Join(names, ", ")))
	}
}

func (s *Server) show(r *http.Request) (any, error) {
	id, err := s.id(r)
	if err != nil {
		return nil, err
	}
	return s.backend.Show(r.Context(), id)
}

func (s *Server) act(r *http.Request) (any, error) {
	var a Action
	if err := read(r, &a); err != nil {
		return nil, err
	}
	a.Verb = Verb(r.PathValue("verb"))
	if err := a.Check(); err != nil {
		return nil, err
	}
	id, err := s.id(r)
	if err != nil {
		return nil, err
	}
	a.Reason = strings.TrimSpace(a.Reason)
	return s.backend.Act(r.Context(), id, a, peerFrom(r.Context()))
}

// export writes every transaction as a line of JSON, for as long as it is read. The answer has begun by the time that something can go wrong: then it is broken
// off, and the client sees that it has no end.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl")
	out, lines := http.NewResponseController(w), json.NewEncoder(w)
	err := s.backend.Export(r.Context(), func(d Detail) error {
		if err := out.SetWriteDeadline(time.Now().Add(answerWait)); err != nil {
			return err
		}
		return lines.Encode(d)
	})
	if err != nil {
		s.log.Error("an export was broken off", "err", err)
		panic(http.ErrAbortHandler)
	}
}
