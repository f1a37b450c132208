package control

import (
	"context"
	"net/http"
	"net/url"

	"tideover"
)

// Comparison says what the record has beside a receipt.
type Comparison struct {
	State   tideover.State        `json:"state"`   // of the record, now
	Differs []tideover.Difference `json:"differs"` // empty where both say the same
}

func (s *Server) receipt(r *http.Request) (any, error) {
	id, err := s.id(r)
	if err != nil {
		return nil, err
	}
	return s.backend.Receipt(r.Context(), id)
}

func (s *Server) compare(r *http.Request) (any, error) {
	var receipt tideover.Receipt
	if err := read(r, &receipt); err != nil {
		return nil, err
	}
	c, err := s.backend.Compare(r.Context(), receipt)
	if c.Differs == nil {
		c.Differs = []tideover.Difference{}
	}
	return c, err
}

// Receipt returns the signed receipt of a transaction's present end. id is as in [Client.Show].
func (c *Client) Receipt(ctx context.Context, id string) (r tideover.Receipt, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/transactions/"+url.PathEscape(id)+"/receipt", nil, &r)
	return r, err
}

// Compare holds a receipt against the record of its transaction.
func (c *Client) Compare(ctx context.Context, r tideover.Receipt) (s Comparison, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/receipts/compare", r, &s)
	return s, err
}
