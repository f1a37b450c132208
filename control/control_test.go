package control_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
	"tideover/control"
)

// ownerSocket makes the test binary a daemon that owns this socket, to be killed.
const ownerSocket = "TIDEOVER_TEST_CONTROL_OWNER"

func TestMain(m *testing.M) {
	if path := os.Getenv(ownerSocket); path != "" {
		s := control.New(control.Config{Socket: path}, &house{}, quiet())
		if err := s.Listen(); err != nil {
			os.Stdout.WriteString("failed " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString("listening\n")
		s.Run(context.Background())
		return
	}
	os.Exit(m.Run())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// house is a backend of one transaction and a few tills.
type house struct {
	mu      sync.Mutex // guards what follows
	asked   control.Filter
	pair    control.PairRequest
	by      control.Peer
	revoked string
	acted   control.Action
	target  tideover.ID
	broken  bool          // Export fails on its way
	block   chan struct{} // closed: Status returns
	entered chan struct{}
}

var theID = tideover.MakeID("shop", "uid", "key")

// twins begin with the same characters.
var twins = []tideover.ID{{0: 0xff, 15: 1}, {0: 0xff, 15: 2}}

func (h *house) Status() control.Status {
	if h.block != nil {
		close(h.entered)
		<-h.block
	}
	s := control.Status{Version: "0.1.0", Store: "shop", Storage: control.Storage{FreeBytes: 1 << 40}}
	s.Verdict = control.Judge(s, 0)
	return s
}

func (h *house) List(_ context.Context, f control.Filter) (control.Page, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = f
	return control.Page{Next: "more"}, nil
}

func (h *house) Show(_ context.Context, id tideover.ID) (control.Detail, error) {
	if id != theID {
		return control.Detail{}, control.Unknown(id.String())
	}
	return theDetail(), nil
}

func (h *house) Receipt(_ context.Context, id tideover.ID) (tideover.Receipt, error) {
	if id != theID {
		return tideover.Receipt{}, control.Refused(string(tideover.CodeNotPossible), tideover.Textf("no end", "无结果"), tideover.Textf("wait", "请等待"))
	}
	return theReceipt(), nil
}

func theReceipt() tideover.Receipt {
	r := tideover.ReceiptOf("shop", theDetail().Transaction.Transaction)
	r.Sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	return r
}

func (h *house) Compare(_ context.Context, r tideover.Receipt) (control.Comparison, error) {
	if r.ID != theID {
		return control.Comparison{}, control.Unknown(r.ID.String())
	}
	return control.Comparison{State: tideover.StateReversed, Differs: tideover.CompareReceipts(r, theReceipt())}, nil
}

func theDetail() control.Detail {
	t := tideover.Transaction{ID: theID, State: tideover.StateApproved, Kind: tideover.KindSale, Terminal: "till-1"}
	return control.Detail{
		Transaction: control.Transaction{Transaction: t, NotHandedOver: true},
		History:     []control.Event{{Seq: 1, Event: "accepted", State: tideover.StateQueued, By: "uid 0 (root)", Detail: "why"}},
	}
}

func (h *house) Find(first, last tideover.ID) (found []tideover.ID) {
	for _, id := range append(twins, theID) {
		if bytes.Compare(first[:], id[:]) <= 0 && bytes.Compare(id[:], last[:]) <= 0 {
			found = append(found, id)
		}
	}
	return found
}

func (h *house) Act(ctx context.Context, id tideover.ID, a control.Action, by control.Peer) (control.Detail, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.target, h.acted, h.by = id, a, by
	if a.Verb == control.VerbDrop {
		return control.Detail{}, tideover.Refuse(tideover.CodeNotPossible, "it may have been sent", "可能已发出")
	}
	return h.Show(ctx, id)
}

// exported is more than any buffer on the way holds.
const exported = 5000

func (h *house) Export(_ context.Context, each func(control.Detail) error) error {
	for n := range exported {
		if h.broken && n == exported/2 {
			return errors.New("the journal is damaged")
		}
		if err := each(theDetail()); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) Rules(context.Context) (control.RulesHistory, error) {
	return control.RulesHistory{Versions: []control.RulesVersion{{Rules: control.Rules{Version: 7}, Judged: 3}}}, nil
}

func (h *house) Check(context.Context) (control.Check, error) { return control.Check{}, nil }

func (h *house) Backup(context.Context, string) (control.Backup, error) {
	return control.Backup{}, nil
}

func (h *house) Compact(context.Context) (control.Compacted, error) {
	return control.Compacted{BeforeBytes: 9, AfterBytes: 3}, nil
}

func (h *house) Keys(context.Context) (control.KeyList, error) {
	return control.KeyList{Keys: []control.Key{{Name: "3f2a91c4", Seals: true, Held: true, Sealed: 3}}}, nil
}

func (h *house) RotateKey(ctx context.Context, by control.Peer) (control.KeyList, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by = by
	return h.Keys(ctx)
}

func (h *house) DestroyKeys(ctx context.Context, d control.KeyDestruction, by control.Peer) (control.KeyList, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.by = by
	if !d.Force {
		return control.KeyList{}, control.Refused("key_needed", tideover.Textf("needed", "需要"), tideover.Text{})
	}
	return h.Keys(ctx)
}

func (h *house) VerifyJournal(_ context.Context, anchor string) (control.Journal, error) {
	if anchor == "bad" {
		return control.Journal{}, control.Refused("busy", tideover.Textf("busy", "忙"), tideover.Text{})
	}
	return control.Journal{Verified: true, Entries: 5, Path: anchor}, nil
}

func (h *house) Reconcile(_ context.Context, q control.ReconcileQuery, each func(tideover.Compared) error) (tideover.Reconciliation, error) {
	if q.Date == "never" {
		return tideover.Reconciliation{}, control.Refused("invalid_date", tideover.Textf("no day", "不是日期"), tideover.Textf("write one", "请写日期"))
	}
	for n := 0; q.All && n < exported; n++ {
		if h.broken && n == exported/2 {
			return tideover.Reconciliation{}, errors.New("the journal is damaged")
		}
		if err := each(theCompared()); err != nil {
			return tideover.Reconciliation{}, err
		}
	}
	return theDay(), nil
}

func theCompared() tideover.Compared {
	sale := tideover.KindSale
	return tideover.Compared{
		ID: theID, Key: "key", Terminal: "till-1", Result: tideover.VerdictMismatch, Reason: "twice",
		Journal:  &tideover.Said{Kind: &sale, Amount: 1299, Currency: "CNY", State: tideover.StateApproved, At: 1_790_000_000_000},
		Platform: []tideover.Said{{Kind: &sale, Amount: 1299, Currency: "CNY", State: tideover.StateApproved, Reference: "P1"}},
		What:     tideover.Text{En: "twice", Zh: "重复"}, Next: tideover.Text{En: "give back", Zh: "退回"},
	}
}

func theDay() tideover.Reconciliation {
	return tideover.Reconciliation{
		ID: theID, Store: "shop", Date: "2026-05-01", Result: tideover.VerdictMismatch, Compared: exported, Hub: true, Statement: true,
		Reports: []tideover.Reported{{ID: theID, Terminal: "till-1", Result: tideover.VerdictMatch, Totals: []tideover.Balance{
			{Terminal: "till-1", Kind: tideover.KindSale, Currency: "CNY", Till: &tideover.Sum{Count: 1, Amount: 1299}, Journal: &tideover.Sum{}, Result: tideover.VerdictOneSided},
		}}},
		Rest: []tideover.Balance{}, Unreported: []tideover.Unreported{{Terminal: "till-2", Count: 3}}, Findings: []tideover.Compared{theCompared()},
	}
}

func (h *house) Terminals(context.Context) (control.TerminalList, error) {
	return control.TerminalList{Terminals: []control.Terminal{{Terminal: tideover.Terminal{UID: "u", Name: "前台"}, Open: 2}}}, nil
}

func (h *house) Pair(_ context.Context, r control.PairRequest, by control.Peer) (control.Pairing, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pair, h.by = r, by
	if r.Name == "taken" && !r.Replace {
		return control.Pairing{}, tideover.Refuse(tideover.CodeNameInUse, "taken", "已占用")
	}
	return control.Pairing{Code: "012345", Name: r.Name}, nil
}

func (h *house) Revoke(_ context.Context, name string, by control.Peer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revoked, h.by = name, by
	if name == "broken" {
		return errors.New("the disk is gone")
	}
	return nil
}

// open runs a server until the test ends, and returns its socket.
func open(t *testing.T, h *house) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "control.sock")
	return path, openAt(t, path, h)
}

func openAt(t *testing.T, path string, h control.Backend) (stop func()) {
	t.Helper()
	s := control.New(control.Config{Socket: path}, h, quiet())
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestServer_AnswersItsClient(t *testing.T) {
	h := &house{}
	path, _ := open(t, h)
	c, ctx := control.Dial(path), t.Context()

	status, err := c.Status(ctx)
	if err != nil || status.Store != "shop" || status.Verdict.Well || status.Verdict.Findings[0].Next.Zh == "" {
		t.Errorf("status %+v, %v", status, err)
	}
	f := control.Filter{State: tideover.StateInDoubt, Terminal: "前台 & co", NotHandedOver: true, After: "x y", Limit: 7}
	page, err := c.List(ctx, f)
	if err != nil || page.Next != "more" || page.Transactions == nil || h.asked != f {
		t.Errorf("page %+v, %v; asked for %+v", page, err, h.asked)
	}
	if _, err := c.List(ctx, control.Filter{}); err != nil || h.asked.Limit != control.ListDefault {
		t.Errorf("asked for %+v, %v", h.asked, err)
	}
	for _, name := range []string{theID.String(), theID.String()[:tideover.ShortMin]} {
		if d, err := c.Show(ctx, name); err != nil || !reflect.DeepEqual(d, theDetail()) {
			t.Errorf("detail %+v, %v", d, err)
		}
	}
	l, err := c.Terminals(ctx)
	if err != nil || len(l.Terminals) != 1 || l.Terminals[0].Name != "前台" || l.Terminals[0].Open != 2 {
		t.Errorf("terminals %+v, %v", l, err)
	}
	p, err := c.Pair(ctx, control.PairRequest{Name: "taken", Replace: true})
	if err != nil || p.Code != "012345" || h.pair.Name != "taken" || !h.pair.Replace {
		t.Errorf("pairing %+v, %v", p, err)
	}
	if err := c.Revoke(ctx, "a/b"); err != nil || h.revoked != "a/b" {
		t.Errorf("revoked %q, %v", h.revoked, err)
	}
	if h.by.UID != uint32(os.Geteuid()) || h.by.PID != int32(os.Getpid()) {
		t.Errorf("the peer is %+v", h.by)
	}
}

func TestServer_SaysWhyNot(t *testing.T) {
	path, _ := open(t, &house{})
	c, ctx := control.Dial(path), t.Context()
	_, unknown := c.Show(ctx, tideover.MakeID("other", "", "").String())
	_, none := c.Show(ctx, "000000")
	_, twin := c.Show(ctx, twins[0].String()[:10])
	_, tooShort := c.Show(ctx, theID.String()[:tideover.ShortMin-1])
	_, impossible := c.Act(ctx, theID.String(), control.Action{Verb: control.VerbDrop, Reason: "why"})
	_, asNothing := c.Act(ctx, theID.String(), control.Action{Verb: control.VerbSettle, Reason: "why"})
	_, taken := c.Pair(ctx, control.PairRequest{Name: "taken"})
	_, nameless := c.Pair(ctx, control.PairRequest{Replace: true})
	_, tooMany := c.List(ctx, control.Filter{Limit: control.ListMax + 1})
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"unknown":    {unknown, http.StatusNotFound, "unknown_transaction"},
		"none":       {none, http.StatusNotFound, "unknown_transaction"},
		"twin":       {twin, http.StatusConflict, "ambiguous_id"},
		"too short":  {tooShort, http.StatusBadRequest, "invalid_request"},
		"impossible": {impossible, http.StatusConflict, "not_possible"},
		"as nothing": {asNothing, http.StatusBadRequest, "invalid_request"},
		"taken":      {taken, http.StatusConflict, "name_in_use"},
		"nameless":   {nameless, http.StatusBadRequest, "invalid_request"},
		"too many":   {tooMany, http.StatusBadRequest, "invalid_request"},
		"internal":   {c.Revoke(ctx, "broken"), http.StatusInternalServerError, "internal_error"},
	} {
		e, ok := errors.AsType[*control.Error](tc.err)
		if !ok || e.Status != tc.status || e.Code != tc.code || e.What.Zh == "" {
			t.Errorf("%s: have %#v", name, tc.err)
		}
	}
	// What only another version or a script would ask.
	direct := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	for call, want := range map[string]int{
		"GET /v2/status":                                                               http.StatusNotFound,
		"DELETE /v1/terminals":                                                         http.StatusNotFound,
		"GET /v1/transactions/ILOU":                                                    http.StatusBadRequest,
		"GET /v1/transactions?state=happy":                                             http.StatusBadRequest,
		"POST /v1/transactions/000000/burn {}":                                         http.StatusBadRequest,
		`POST /v1/transactions/000000/hold {"as":"happy"}`:                             http.StatusBadRequest,
		`POST /v1/transactions/000000/hold {"as":"approved"}`:                          http.StatusBadRequest,
		"POST /v1/terminals/revoke nonsense":                                           http.StatusBadRequest,
		`POST /v1/terminals/revoke {"nam":"a"}`:                                        http.StatusBadRequest,
		`POST /v1/terminals/revoke {"name":"a"}1`:                                      http.StatusBadRequest,
		"POST /v1/terminals/revoke {\"name\":\"" + strings.Repeat("x", 70<<10) + "\"}": http.StatusBadRequest,
	} {
		parts := strings.SplitN(call, " ", 3)
		req, err := http.NewRequest(parts[0], "http://x"+parts[1], strings.NewReader(strings.Join(parts[2:], "")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := direct.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		var e control.Error
		if resp.StatusCode != want || json.Unmarshal(body, &e) != nil || e.What.En == "" {
			t.Errorf("%.60s: have %d %s", call, resp.StatusCode, body)
		}
	}
}

// A killed daemon leaves its socket behind: the next one takes the place, without a technician's help.
func TestServer_ReplacesTheSocketOfAKilledDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	for range 3 {
		owner := exec.Command(os.Args[0])
		owner.Env = append(os.Environ(), ownerSocket+"="+path)
		out, err := owner.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, 64)
		if n, _ := out.Read(said); string(said[:n]) != "listening\n" {
			t.Fatalf("the owner said %q", said[:n])
		}
		if _, err := control.Dial(path).Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		// While it lives, nobody takes its place, and it goes on answering.
		err = control.New(control.Config{Socket: path}, &house{}, quiet()).Listen()
		if e, ok := errors.AsType[*control.SocketError](err); !ok || !errors.Is(err, control.ErrInUse) || e.Hint.Zh == "" {
			t.Fatalf("beside a living daemon: %v", err)
		}
		if _, err := control.Dial(path).Status(t.Context()); err != nil {
			t.Fatal("a second daemon has hurt the first: ", err)
		}
		owner.Process.Signal(syscall.SIGKILL)
		owner.Wait()
		_, err = control.Dial(path).Status(t.Context())
		if e, ok := errors.AsType[*control.SocketError](err); !ok || !errors.Is(err, control.ErrUnreachable) || e.Hint.En == "" {
			t.Fatalf("after kill -9: %v", err)
		}
	}
	openAt(t, path, &house{})
	if _, err := control.Dial(path).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestServer_LeavesWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.sock")
	l, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{file, other, dir, filepath.Join(file, "below")} {
		if err := control.New(control.Config{Socket: path}, &house{}, quiet()).Listen(); err == nil {
			t.Errorf("%s was taken", path)
		} else if e, ok := errors.AsType[*control.SocketError](err); !ok || e.Path != path || e.Hint.En == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("a file was harmed")
	}
	if c, err := net.Dial("unix", other); err != nil {
		t.Error("another program's socket was taken: ", err)
	} else {
		c.Close()
	}
}

func TestServer_MakesAPrivateSocketAndRemovesIt(t *testing.T) {
	path, stop := open(t, &house{})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".[0-9]*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	openAt(t, path, &house{})
}

// What is being answered when the daemon stops is answered.
func TestServer_DrainsWhatItAnswers(t *testing.T) {
	h := &house{block: make(chan struct{}), entered: make(chan struct{})}
	path, stop := open(t, h)
	answered := make(chan error, 1)
	go func() {
		_, err := control.Dial(path).Status(context.Background())
		answered <- err
	}()
	<-h.entered
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	for {
		if _, err := os.Lstat(path); err != nil {
			break // it has begun to stop
		}
		time.Sleep(time.Millisecond)
	}
	close(h.block)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	<-stopped
}

func TestServer_TakesALongPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 60), strings.Repeat("e", 60), "control.sock")
	openAt(t, path, &house{})
	if _, err := control.Dial(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// Another user is not answered, even where the socket's mode would let him in.
func TestServer_RefusesAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	path, _ := open(t, &house{})
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := dialAsNobody(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "root") || strings.Contains(string(body), "shop") {
		t.Errorf("have %d %s", resp.StatusCode, body)
	}
}

// dialAsNobody connects from a thread of user 65534, which ends with it: a socket's credentials are those of the thread that connects.
func dialAsNobody(path string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is thrown away with its user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			err = errno
			return
		}
		c, err = net.Dial("unix", path)
	}()
	<-done
	return c, err
}
