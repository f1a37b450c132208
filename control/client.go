package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"tideover"
)

// callWait bounds a call whose context has no end: a daemon that hangs must not hang the technician.
const callWait = 15 * time.Second

// answerMax bounds an answer, in bytes: a page of [ListMax] transactions has about one megabyte.
const answerMax = 16 << 20

// Client asks a running daemon. Errors are [*SocketError], which is [ErrUnreachable], where no daemon answers, and [*Error] where one
// does and says no.
type Client struct {
	path string
	wait time.Duration
}

// Dial makes a client of the socket at path. It does not connect yet.
func Dial(path string) *Client { return &Client{path: path, wait: callWait} }

// Status is what `tideover status` shows.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// List returns transactions, the newest first.
func (c *Client) List(ctx context.Context, f Filter) (p Page, err error) {
	q := url.Values{}
	if f.State != tideover.StateNone {
		q.Set("state", f.State.String())
	}
	if f.Terminal != "" {
		q.Set("terminal", f.Terminal)
	}
	if f.NotHandedOver {
		q.Set("not_handed_over", "")
	}
	if f.After != "" {
		q.Set("after", f.After)
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	err = c.call(ctx, http.MethodGet, "/v1/transactions?"+q.Encode(), nil, &p)
	return p, err
}

// Show returns one transaction with its history. id may be the first characters of one, [tideover.ShortMin] at least.
func (c *Client) Show(ctx context.Context, id string) (d Detail, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/transactions/"+segment(id), nil, &d)
	return d, err
}

// Act does to a transaction what a person wants, and returns what became of it. id is as in [Client.Show].
func (c *Client) Act(ctx context.Context, id string, a Action) (d Detail, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/transactions/"+segment(id)+"/"+string(a.Verb), a, &d)
	return d, err
}

// Export calls each for every transaction in the journal, the newest first, as they arrive. It returns each's first error; an [*Error]
// where the daemon broke off.
func (c *Client) Export(ctx context.Context, each func(Detail) error) error {
	a, err := c.send(ctx, http.MethodGet, "/v1/export", nil)
	if err != nil {
		return err
	}
	defer a.Close()
	for lines := json.NewDecoder(a.Body); ; {
		var d Detail
		a.extend(c.wait) // the whole may take long, and its next line may not; each may write to somebody who reads slowly
		if err := lines.Decode(&d); errors.Is(err, io.EOF) {
			return nil
		} else if ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return &Error{
				Status: http.StatusInternalServerError, Code: string(tideover.CodeInternal),
				What: tideover.Textf("the daemon broke off: what was written is not the whole", "守护进程中断了导出：已写出的内容不完整"),
				Hint: tideover.Textf("look at its log, and export again", "请查看其日志后重新导出"),
			}
		}
		if err := each(d); err != nil {
			return err
		}
	}
}

// Terminals lists every till, revoked ones included.
func (c *Client) Terminals(ctx context.Context) (l TerminalList, err error) {
	err = c.call(ctx, http.MethodGet, "/v1/terminals", nil, &l)
	return l, err
}

// Pair makes a code that lets one till in.
func (c *Client) Pair(ctx context.Context, r PairRequest) (p Pairing, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/terminals/pair", r, &p)
	return p, err
}

// Revoke ends a till's access; it is on disk when this returns nil.
func (c *Client) Revoke(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/v1/terminals/revoke", revocation{Name: name}, nil)
}

// call makes one call and reads its answer.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	a, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := a.whole()
	if err != nil {
		return c.because(ctx, err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// send makes one call; what it returns is an answer of status 200, which is to be closed.
func (c *Client) send(ctx context.Context, method, path string, body any) (*answer, error) {
	var sent []byte
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = b
	}
	a, err := c.exchange(ctx, method, path, sent)
	if err != nil {
		return nil, c.because(ctx, err)
	}
	if a.StatusCode == http.StatusOK {
		return a, nil
	}
	defer a.Close()
	b, err := a.whole()
	if err != nil {
		return nil, c.because(ctx, err)
	}
	e := &Error{Status: a.StatusCode}
	if json.Unmarshal(b, e) != nil || e.What.En == "" {
		e.What = tideover.Textf("the daemon answered %s", "守护进程答复 %s", a.Status)
		e.Hint = tideover.Textf("is that socket another program's? check admin.socket", "该套接字可能属于其他程序，请检查 admin.socket")
	}
	return nil, e
}

// because tells a call that its caller gave up from one that the daemon failed.
func (c *Client) because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.unreachable(err)
}

// unreachable says why no daemon answered, and what to do.
func (c *Client) unreachable(err error) error {
	e := &SocketError{Path: c.path, Err: errors.Join(ErrUnreachable, err)}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		e.What = tideover.Textf("the daemon is not running", "守护进程没有运行")
		e.Hint = tideover.Textf("start it: systemctl start tideover, or tideover run; another admin.socket is named by --config FILE",
			"请启动它：systemctl start tideover，或 tideover run；若 admin.socket 不同，请用 --config FILE 指定配置")
	case errors.Is(err, fs.ErrPermission):
		e.What = tideover.Textf("this user may not use the control socket", "当前用户无权使用控制套接字")
		e.Hint = tideover.Textf("run the command as root (sudo)", "请以 root 身份运行（sudo）")
	case isTimeout(err):
		e.What = tideover.Textf("the daemon does not answer", "守护进程没有应答")
		e.Hint = tideover.Textf("look at its log; if it hangs, restart it: nothing that was answered is lost", "请查看其日志；若已卡住，请重启：已应答的交易不会丢失")
	default:
		e.What = tideover.Textf("the daemon cannot be reached: %s", "连不到守护进程：%s", plainError(err))
		e.Hint = tideover.Textf("look at its log, and ask again", "请查看其日志后重试")
	}
	return e
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
