package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
)

// Limits of the admin socket.
const (
	adminBodyMax = 16 << 10
	adminWait    = 10 * time.Second
)

// adminProblem is what the admin socket answers instead of a result.
type adminProblem struct {
	What tideover.Text `json:"what"`
	Hint tideover.Text `json:"hint"`
	Exit int           `json:"exit"`
}

// listenAdmin takes the admin socket. A file that a killed hub left there is removed; one that answers, or that is no socket, is not.
// The caller holds the state directory's lock.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, adminPathError(path, err)
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := clearStale(path); err != nil {
			return nil, err
		}
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, adminPathError(path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, adminPathError(path, err)
	}
	return ownListener{l}, nil
}

// ownListener takes connections of root and of the hub's own user alone, whatever the socket's mode has become.
type ownListener struct{ net.Listener }

// Accept implements net.Listener.
func (l ownListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if u, ok := c.(*net.UnixConn); ok && own(u) {
			return c, nil
		}
		c.Close()
	}
}

func own(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && failed == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
}

func adminPathError(path string, err error) error {
	hint := text("set admin to a path in a directory that the user who runs the hub may write to", "请将 admin 设为运行 hub 的用户可写目录中的路径")
	if len(path) > 107 { // sockaddr_un
		hint = text("the path of a Unix socket has at most 107 bytes: choose a shorter one for admin", "Unix 套接字路径最长 107 字节：请为 admin 选择较短的路径")
	}
	return &Error{What: text("admin socket %s", "管理套接字 %s", path), Err: err, Hint: hint}
}

// clearStale removes a socket that nobody listens on.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return adminPathError(path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &Error{
			What: text("admin socket %s: there is a file that is not a socket", "管理套接字 %s：该路径已有非套接字文件", path),
			Hint: text("remove that file, or set admin to another path", "请删除该文件，或将 admin 设为其他路径"),
		}
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return &Error{
			What: text("admin socket %s: another program is listening on it", "管理套接字 %s：已有其他程序在监听", path),
			Hint: text("a hub with another state_dir may be running: give each its own admin socket", "可能有使用其他 state_dir 的 hub 正在运行：请为每个 hub 设置各自的管理套接字"),
		}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return adminPathError(path, err)
	}
	return os.Remove(path)
}

// adminServer serves the operator's commands over HTTP on a Unix socket that its owner alone may open.
type adminServer struct {
	stores *stores
	status func(context.Context) (Status, error)
	log    *slog.Logger
}

func (a *adminServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", answer(func(r *http.Request) (Status, error) { return a.status(r.Context()) }))
	mux.HandleFunc("GET /v1/stores", answer(func(r *http.Request) (StoreList, error) { return a.stores.List(r.Context()) }))
	mux.HandleFunc("GET /v1/stores/{name}", answer(func(r *http.Request) (Store, error) {
		return a.stores.Show(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /v1/stores", answer(func(r *http.Request) (NewToken, error) {
		in, err := adminBody[tokenRequest](r)
		if err != nil {
			return NewToken{}, err
		}
		return a.stores.Add(r.Context(), in.Store, in.life())
	}))
	mux.HandleFunc("POST /v1/stores/{name}/rotate", answer(func(r *http.Request) (NewToken, error) {
		in, err := adminBody[tokenRequest](r)
		if err != nil {
			return NewToken{}, err
		}
		return a.stores.Rotate(r.Context(), r.PathValue("name"), in.life())
	}))
	mux.HandleFunc("POST /v1/stores/{name}/revoke", answer(func(r *http.Request) (Store, error) {
		return a.stores.Revoke(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /v1/transactions/{id}", answer(func(r *http.Request) (TransactionList, error) {
		id, err := tideover.ParseID(r.PathValue("id"))
		if err != nil {
			return TransactionList{}, badID(r.PathValue("id"))
		}
		return a.stores.Transaction(r.Context(), id)
	}))
	mux.HandleFunc("GET /v1/receipt-key", answer(func(r *http.Request) (ReceiptKey, error) { return a.stores.ReceiptKey(r.Context()) }))
	mux.HandleFunc("POST /v1/ledger/backup", slow(answer(func(r *http.Request) (LedgerCopy, error) {
		in, err := adminBody[copyRequest](r)
		if err != nil {
			return LedgerCopy{}, err
		}
		return a.stores.Backup(r.Context(), in.Path)
	})))
	mux.HandleFunc("POST /v1/ledger/check", slow(answer(func(r *http.Request) (LedgerReport, error) { return a.stores.Check(r.Context()) })))
	return mux
}

// tokenRequest asks for an enrolment token.
type tokenRequest struct {
	Store   string `json:"store,omitempty"`
	Seconds int64  `json:"seconds,omitempty"` // how long the token lives; 0 for the default
}

func (t tokenRequest) life() time.Duration { return time.Duration(t.Seconds) * time.Second }

func adminBody[T any](r *http.Request) (in T, err error) {
	d := json.NewDecoder(io.LimitReader(r.Body, adminBodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, &Error{
			What: text("the request is malformed", "请求格式错误"), Err: err,
			Hint: text("use the tideover-hub of the same version as the hub", "请使用与 hub 相同版本的 tideover-hub 命令"),
		}
	}
	return in, nil
}

// answer serves a call as JSON.
func answer[T any](call func(*http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body any
		status := http.StatusOK
		got, err := call(r)
		body = got
		if err != nil {
			status = http.StatusUnprocessableEntity
			p := adminProblem{Exit: exitOf(err)}
			p.What, p.Hint = explain(err)
			body = p
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

// serveHTTP serves on l until ctx ends; what is being answered then has adminWait to finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	return serveUntil(ctx, &http.Server{Handler: h, ReadTimeout: adminWait, WriteTimeout: 2 * adminWait, MaxHeaderBytes: 16 << 10}, l)
}

// serveUntil runs a server as serveHTTP says.
func serveUntil(ctx context.Context, s *http.Server, l net.Listener) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminWait)
		defer cancel()
		_ = s.Shutdown(end)
	})
	err := s.Serve(l)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}
