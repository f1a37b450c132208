package hub

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"tideover"
)

// operator is what commands ask for: of a running hub through its admin socket, or of its state directory where none runs.
type operator interface {
	Add(ctx context.Context, name string, life time.Duration) (NewToken, error)
	Rotate(ctx context.Context, name string, life time.Duration) (NewToken, error)
	Revoke(ctx context.Context, name string) (Store, error)
	List(ctx context.Context) (StoreList, error)
	Show(ctx context.Context, name string) (Store, error)
	Transaction(ctx context.Context, id tideover.ID) (TransactionList, error)
	Backup(ctx context.Context, path string) (LedgerCopy, error)
	Check(ctx context.Context) (LedgerReport, error)
	ReceiptKey(ctx context.Context) (ReceiptKey, error)
}

var (
	_ operator = (*client)(nil)
	_ operator = (*stores)(nil)
)

// withOperator does something at the running hub, or, where there is none, at its state directory.
func withOperator(ctx context.Context, p *program, do func(context.Context, operator) error) error {
	c, _, err := p.load(p.config)
	if err != nil {
		return err
	}
	if running, err := answers(c.Admin); running || err != nil {
		if err != nil {
			return err
		}
		return do(ctx, newClient(c.Admin))
	}
	if _, err := os.Stat(c.StateDir); errors.Is(err, fs.ErrNotExist) && p.config == "" {
		// Without a configuration that was named, a typing error is likelier than a hub that was never set up.
		return &Error{
			What: text("no hub is running, and its state directory %s does not exist", "hub 未运行，且状态目录 %s 不存在", c.StateDir), Exit: ExitUnreachable,
			Hint: text("name the hub's configuration with --config FILE, or start the hub", "请用 --config 指定 hub 的配置文件，或启动 hub"),
		}
	}
	st, err := openState(c.StateDir, slog.New(slog.DiscardHandler))
	if errors.Is(err, ErrLocked) {
		// It may have started just now.
		if running, _ := answers(c.Admin); running {
			return do(ctx, newClient(c.Admin))
		}
		return &Error{
			What: text("a hub is using %s, but nothing listens on its admin socket %s", "有 hub 正在使用 %s，但其管理套接字 %s 无人监听", c.StateDir, c.Admin), Err: err,
			Exit: ExitUnreachable,
			Hint: text("name the configuration that the hub was started with (--config)", "请用 --config 指定启动该 hub 时所用的配置"),
		}
	}
	if err != nil {
		return err
	}
	defer st.close()
	defer st.serve(ctx)()
	return do(ctx, &stores{state: st, config: c})
}

// answers says whether a hub listens on the admin socket.
func answers(socket string) (bool, error) {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return false, &Error{
			What: text("the admin socket %s may not be opened by this user", "当前用户无权打开管理套接字 %s", socket), Exit: ExitUnreachable,
			Hint: text("run the command as the user who runs the hub, or with sudo", "请以运行 hub 的用户身份（或用 sudo）执行该命令"),
		}
	}
	return false, &Error{
		What: text("admin socket %s", "管理套接字 %s", socket), Err: err, Exit: ExitUnreachable,
		Hint: text("check admin in the configuration", "请检查配置中的 admin"),
	}
}
