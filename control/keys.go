package control

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	"tideover"
)

// Key is one key of the journal's payloads.
type Key struct {
	Name        string          `json:"name"`    // tells it apart from others, and tells nothing of it
	Since       tideover.Millis `json:"since"`   // when it began to seal; 0 where it never did in this journal
	Seals       bool            `json:"seals"`   // now
	Held        bool            `json:"held"`    // it is in the file of keys
	Sealed      int             `json:"sealed"`  // payloads and tills' reports that it sealed and that are still kept
	Open        int             `json:"open"`    // of these, of transactions that have no end yet
	Reports     int             `json:"reports"` // of these, of tills' reports: they stay for retention.final
	Lost        bool            `json:"lost"`    // nothing that it sealed can be read
	DestroyedAt tideover.Millis `json:"destroyed_at"`
	By          string          `json:"by"` // who destroyed it; "" where that was the daemon
	Reason      string          `json:"reason"`
}

// KeyList is every key that the journal was ever sealed with, the newest first: `tideover key list`.
type KeyList struct {
	Path string `json:"path"` // of the file of keys
	Keys []Key  `json:"keys"`
}

// KeyDestruction asks for the end of every key but the one that seals.
type KeyDestruction struct {
	Force  bool   `json:"force"`  // also where something open is lost by it
	Reason string `json:"reason"` // with Force one is wanted
}

// Check refuses what cannot be done. Errors are an [*Error] of status 400.
func (d KeyDestruction) Check() error {
	switch {
	case d.Force && strings.TrimSpace(d.Reason) == "":
		return badAction(tideover.Textf("with --force a reason is wanted: it goes on record", "使用 --force 时请说明原因：原因会记入日志"))
	case utf8.RuneCountInString(d.Reason) > ReasonMax:
		return badAction(tideover.Textf("the reason is too long: at most %d characters", "原因过长：最多 %d 个字符", ReasonMax))
	case !printable(d.Reason):
		return badAction(tideover.Textf("the reason holds characters that cannot be shown", "原因含有无法显示的字符"))
	}
	return nil
}

func (s *Server) destroyKeys(r *http.Request) (any, error) {
	var d KeyDestruction
	if err := read(r, &d); err != nil {
		return nil, err
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	return s.backend.DestroyKeys(r.Context(), d, peerFrom(r.Context()))
}

// Keys returns the keys of the daemon's journal.
func (c *Client) Keys(ctx context.Context) (l KeyList, err error) {
	err = c.patient().call(ctx, http.MethodGet, "/v1/keys", nil, &l)
	return l, err
}

// RotateKey has the daemon seal with a new key from now on.
func (c *Client) RotateKey(ctx context.Context) (l KeyList, err error) {
	err = c.patient().call(ctx, http.MethodPost, "/v1/keys/rotate", nil, &l)
	return l, err
}

// DestroyKeys has the daemon destroy every key but the one that seals.
func (c *Client) DestroyKeys(ctx context.Context, d KeyDestruction) (l KeyList, err error) {
	err = c.patient().call(ctx, http.MethodPost, "/v1/keys/destroy", d, &l)
	return l, err
}
