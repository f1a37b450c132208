package control

import (
	"context"
	"net/http"
	"net/url"

	"tideover"
)

// Rules name one version of the shop's rules.
type Rules struct {
	Version uint64          `json:"version"` // sequence of its entry in the journal; 0 where none is on record
	Since   tideover.Millis `json:"since"`   // when it came into force; 0 where that is not known
}

// RulesVersion is one version of the shop's rules on record.
type RulesVersion struct {
	Rules
	InForce bool              `json:"in_force"`
	Judged  int               `json:"judged"`  // transactions that were accepted under it
	Changes []RuleChange      `json:"changes"` // against the version before; empty for the first
	Values  map[string]string `json:"values"`  // every rule, as the configuration's file would have it
}

// RuleChange is a rule in which a version differs from the one before; "" where a version does not have it.
type RuleChange struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// RulesMax is how many versions of the rules are told, the newest.
const RulesMax = 200

// RulesHistory is what `tideover rules` shows.
type RulesHistory struct {
	Versions []RulesVersion `json:"versions"` // the newest first
	Older    int            `json:"older"`    // versions on record that are left out
}

// Journal is what a look at every entry of the journal has found: `tideover journal verify`.
type Journal struct {
	Verified     bool            `json:"verified"`
	Path         string          `json:"path"`
	Entries      int             `json:"entries"`
	Transactions int             `json:"transactions"`
	Pruned       int             `json:"pruned"` // entries that have left the journal since what they were of was over
	FirstAt      tideover.Millis `json:"first_at"`
	LastAt       tideover.Millis `json:"last_at"`
	Seq          uint64          `json:"seq"`  // of the last entry
	Head         string          `json:"head"` // the chain's hash there, hexadecimal
	// Anchors are heads of this chain that the hub keeps; without one a journal that was computed anew, or cut at its end, does not show.
	Anchors []JournalAnchor `json:"anchors"`
	Newer   int             `json:"newer"` // entries after the newest anchor; all of them where there is none
	Flaws   []Flaw          `json:"flaws"`
	// Unreadable counts sealed parts whose key was destroyed. Nobody can read them, and that is no flaw.
	Unreadable int `json:"unreadable"`
}

// JournalAnchor is a head of the journal's chain that the hub keeps.
type JournalAnchor struct {
	Seq    uint64          `json:"seq"`
	Head   string          `json:"head"`    // hexadecimal
	SaidAt tideover.Millis `json:"said_at"` // when the hub told this daemon; null where it was given with the command
}

// Flaw is something that an honest journal does not have.
type Flaw struct {
	Entry uint64        `json:"entry"` // where it shows; 0 is the file as a whole
	What  tideover.Text `json:"what"`
}

func (s *Server) verify(r *http.Request) (any, error) {
	return s.backend.VerifyJournal(r.Context(), r.URL.Query().Get("anchor"))
}

// VerifyJournal has the daemon look at every entry of its journal. anchor is SEQ:HASH, a head that the hub keeps, or "".
func (c *Client) VerifyJournal(ctx context.Context, anchor string) (j Journal, err error) {
	err = c.patient().call(ctx, http.MethodGet, "/v1/journal/verify?"+url.Values{"anchor": {anchor}}.Encode(), nil, &j)
	return j, err
}

// Rules returns the versions of the shop's rules on record.
func (c *Client) Rules(ctx context.Context) (h RulesHistory, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/rules", nil, &h)
	return h, err
}
