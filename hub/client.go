package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"tideover"
)

// errNoHub tells that no hub listens on the admin socket.
var errNoHub = errors.New("no hub is running")

// client calls a running hub through its admin socket.
type client struct {
	socket string
	http   *http.Client
}

func newClient(socket string) *client {
	return &client{socket: socket, http: &http.Client{Timeout: 3 * adminWait, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// call does one request. No hub at all is errNoHub; a socket that may not be opened is an [Error].
func call[T any](ctx context.Context, c *client, method, path string, in any) (out T, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://hub"+path, body)
	if err != nil {
		return out, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return out, errNoHub
	case errors.Is(err, fs.ErrPermission):
		return out, &Error{
			What: text("the admin socket %s may not be opened by this user", "当前用户无权打开管理套接字 %s", c.socket), Exit: ExitUnreachable,
			Hint: text("run the command as the user who runs the hub, or with sudo", "请以运行 hub 的用户身份（或用 sudo）执行该命令"),
		}
	case err != nil:
		return out, &Error{
			What: text("the hub at %s does not answer", "位于 %s 的 hub 没有响应", c.socket), Err: err, Exit: ExitUnreachable,
			Hint: text("look at the hub's log", "请查看 hub 的日志"),
		}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p adminProblem
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.What == (tideover.Text{}) {
			p.What = text("the hub at %s answered %s", "位于 %s 的 hub 返回 %s", c.socket, resp.Status)
		}
		return out, &Error{What: p.What, Hint: p.Hint, Exit: p.Exit}
	}
	return out, json.NewDecoder(resp.Body).Decode(&out)
}

// The client offers what [stores] offers.

func (c *client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

func (c *client) List(ctx context.Context) (StoreList, error) {
	return call[StoreList](ctx, c, http.MethodGet, "/v1/stores", nil)
}

func (c *client) Show(ctx context.Context, name string) (Store, error) {
	return call[Store](ctx, c, http.MethodGet, "/v1/stores/"+url.PathEscape(name), nil)
}

func (c *client) Add(ctx context.Context, name string, life time.Duration) (NewToken, error) {
	return call[NewToken](ctx, c, http.MethodPost, "/v1/stores", tokenRequest{Store: name, Seconds: int64(life / time.Second)})
}

func (c *client) Rotate(ctx context.Context, name string, life time.Duration) (NewToken, error) {
	return call[NewToken](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(name)+"/rotate", tokenRequest{Seconds: int64(life / time.Second)})
}

func (c *client) Revoke(ctx context.Context, name string) (Store, error) {
	return call[Store](ctx, c, http.MethodPost, "/v1/stores/"+url.PathEscape(name)+"/revoke", nil)
}

func (c *client) Transaction(ctx context.Context, id tideover.ID) (TransactionList, error) {
	return call[TransactionList](ctx, c, http.MethodGet, "/v1/transactions/"+id.String(), nil)
}
