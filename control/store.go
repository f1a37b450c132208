package control

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"tideover"
)

// Check is what a look at the whole store has found: `tideover check`.
type Check struct {
	Well       bool            `json:"well"` // it verifies, and the daemon can run where it lies
	Journal                    // every entry of it
	Sealed     int             `json:"sealed"` // sealed parts, each of which the key opens
	Bytes      int64           `json:"bytes"`  // of the file
	InUse      int64           `json:"in_use"` // of them that hold something
	FileSystem string          `json:"file_system"`
	FreeBytes  int64           `json:"free_bytes"` // that are left there
	Warnings   []tideover.Text `json:"warnings"`
}

// Backup is a copy of the journal that was made, and opened: `tideover backup`.
type Backup struct {
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`
	Entries      int    `json:"entries"`
	Transactions int    `json:"transactions"`
	Seq          uint64 `json:"seq"`  // the journal's entry with which it ends
	Head         string `json:"head"` // the chain's hash there, hexadecimal
}

// Compacted is a journal whose file was made as small as what it holds: `tideover compact`.
type Compacted struct {
	Path          string  `json:"path"`
	BeforeBytes   int64   `json:"before_bytes"`
	AfterBytes    int64   `json:"after_bytes"`
	TookMillis    float64 `json:"took_ms"`
	StalledMillis float64 `json:"stalled_ms"` // commits waited so long, in the end; 0 where no daemon ran
}

// Restored is a journal that was put back to a copy: `tideover restore`.
type Restored struct {
	Path         string          `json:"path"`
	Aside        string          `json:"aside"` // where the file is now that was there; "" where none was
	Entries      int             `json:"entries"`
	Transactions int             `json:"transactions"`
	LastAt       tideover.Millis `json:"last_at"` // of its newest entry, the mark
}

// backupRequest asks for a copy.
type backupRequest struct {
	Path string `json:"path"`
}

func (s *Server) backup(r *http.Request) (any, error) {
	var b backupRequest
	if err := read(r, &b); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(b.Path) {
		return nil, badRequest(errors.New("the path is not absolute"))
	}
	return s.backend.Backup(r.Context(), b.Path)
}

// Backup has the daemon write a copy of its journal to path, which is absolute.
func (c *Client) Backup(ctx context.Context, path string) (b Backup, err error) {
	err = c.patient().call(ctx, http.MethodPost, "/v1/backup", backupRequest{Path: path}, &b)
	return b, err
}

// Compact has the daemon compact its journal.
func (c *Client) Compact(ctx context.Context) (made Compacted, err error) {
	err = c.patient().call(ctx, http.MethodPost, "/v1/compact", struct{}{}, &made)
	return made, err
}

// storeWait bounds a call that reads the whole journal: half a gigabyte on a slow router takes minutes.
const storeWait = 10 * time.Minute

// slow serves a call that may take [storeWait]. Without the deadline that it sets the answer comes within [answerWait], or not.
func slow(write func(http.ResponseWriter, any), call func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		deadline := time.Now().Add(storeWait)
		_ = http.NewResponseController(w).SetWriteDeadline(deadline)
		ctx, cancel := context.WithDeadline(r.Context(), deadline)
		defer cancel()
		v, err := call(r.WithContext(ctx))
		if err != nil {
			v = asError(err)
		}
		write(w, v)
	}
}

// patient is the same client for what takes long.
func (c *Client) patient() *Client { return &Client{path: c.path, wait: storeWait} }

func (s *Server) checkStore(r *http.Request) (any, error) { return s.backend.Check(r.Context()) }

// Check has the daemon look at the whole of its store.
func (c *Client) Check(ctx context.Context) (found Check, err error) {
	err = c.patient().call(ctx, http.MethodGet, "/v1/check", nil, &found)
	return found, err
}
