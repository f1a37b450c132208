package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"tideover"
	"tideover/hub/ledger/bolt"
)

// copyWait is how long the copy or the check of a ledger may take: they read all of it.
const copyWait = 30 * time.Minute

// LedgerCopy answers `ledger backup`.
type LedgerCopy struct {
	Path   string          `json:"path"`
	Bytes  int64           `json:"bytes"`
	Ledger string          `json:"ledger"` // its id, hex
	At     tideover.Millis `json:"at"`     // ledger time
}

// LedgerReport answers `ledger check`, of a ledger that is well.
type LedgerReport struct {
	bolt.Stats
	Ledger     string          `json:"ledger"`      // its id, hex
	RestoredAt tideover.Millis `json:"restored_at"` // when it was last found to be an older copy in the ledger's place; null: never
	Forgetful  []string        `json:"forgetful"`   // stores whose edges have not told yet what it has lost
}

// Backup copies the ledger, also while the hub works. path is absolute.
func (s *stores) Backup(_ context.Context, path string) (LedgerCopy, error) {
	if !filepath.IsAbs(path) {
		return LedgerCopy{}, &Error{
			What: text("%q is not an absolute path", "%q 不是绝对路径", path),
			Hint: text("name the file with its directory", "请写明文件所在目录"),
		}
	}
	l := s.state.ledger
	at, id := l.Now(), l.ID()
	if err := l.Backup(path); err != nil {
		if errors.Is(err, bolt.ErrExists) {
			return LedgerCopy{}, &Error{
				What: text("%s exists already", "%s 已存在", path), Exit: ExitRefused,
				Hint: text("name another file; a backup never replaces one", "请换一个文件名；备份不会覆盖已有文件"),
			}
		}
		return LedgerCopy{}, &Error{
			What: text("the ledger could not be copied to %s", "无法将账本复制到 %s", path), Err: err,
			Hint: text("the directory must exist, belong to the user who runs the hub, and have room for the ledger", "目录必须存在、属于运行 hub 的用户，并有足够空间容纳账本"),
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return LedgerCopy{}, err
	}
	return LedgerCopy{Path: path, Bytes: info.Size(), Ledger: fmt.Sprintf("%x", id), At: at}, nil
}

// Check reads every value of the ledger, also while the hub works.
func (s *stores) Check(context.Context) (r LedgerReport, err error) {
	l := s.state.ledger
	id := l.ID()
	r.Ledger = fmt.Sprintf("%x", id)
	if err := l.Check(); err != nil {
		return r, &Error{
			What: text("the ledger is damaged", "账本已损坏"), Err: err,
			Hint: text("check the disk, then restore the ledger from a backup; keep the file for inquiry", "请检查磁盘，再从备份恢复账本，并保留该文件以供调查"),
		}
	}
	if r.Stats, err = l.Stats(); err != nil {
		return r, err
	}
	r.RestoredAt = l.RestoredAt()
	r.Forgetful, err = s.forgetful()
	return r, err
}

// forgetful names the stores, in order, whose edges have not told yet what the ledger has lost of them. One that may not connect will
// never tell.
func (s *stores) forgetful() ([]string, error) {
	names := []string{}
	rows, err := s.state.ledger.Stores()
	for _, row := range rows {
		if row.Forgetful(s.state.ledger.History()) && row.Certificate.Fingerprint != [32]byte{} {
			names = append(names, row.Name)
		}
	}
	return names, err
}

// copyRequest asks for a copy.
type copyRequest struct {
	Path string `json:"path"`
}

func (c *client) Backup(ctx context.Context, path string) (LedgerCopy, error) {
	return call[LedgerCopy](ctx, c.patient(), http.MethodPost, "/v1/ledger/backup", copyRequest{Path: path})
}

func (c *client) Check(ctx context.Context) (LedgerReport, error) {
	return call[LedgerReport](ctx, c.patient(), http.MethodPost, "/v1/ledger/check", nil)
}

// patient is the same client for what takes long.
func (c *client) patient() *client {
	long := *c.http
	long.Timeout = copyWait
	return &client{socket: c.socket, http: &long}
}

// slow serves a call that may take copyWait.
func slow(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(copyWait))
		h(w, r)
	}
}

func (p *program) ledgerCommand() *cobra.Command {
	backup := p.jsonFlag(&cobra.Command{
		Use: "backup FILE", Short: p.t("copy the ledger, also while the hub runs", "复制账本（hub 运行时也可）"), Args: oneArg("FILE"),
		Example: "  tideover-hub ledger backup /var/backups/ledger-2026-05-01.db",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				c, err := o.Backup(ctx, path)
				if err != nil {
					return err
				}
				fmt.Fprintln(p.streams.Err, p.t("to restore: stop the hub, put the copy in the place of ledger.db, and start it; each store then tells what the copy lacks",
					"恢复方法：停止 hub，用该副本替换 ledger.db，再启动；各门店随后会补报副本缺少的结果"))
				fmt.Fprintln(p.streams.Err, p.t("the copy is of no use without the keys in the state directory: keep a copy of them apart", "没有状态目录中的密钥，副本无法使用：请另行备份密钥"))
				return p.print(c, func() { fmt.Fprintf(p.streams.Out, p.t("%s: %d bytes\n", "%s：%d 字节\n"), c.Path, c.Bytes) })
			})
		},
	})
	check := p.jsonFlag(&cobra.Command{
		Use: "check", Short: p.t("read the whole ledger and check it", "读取并校验整个账本"), Args: p.noArgs, Example: "  tideover-hub ledger check --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				r, err := o.Check(ctx)
				if err != nil {
					return err
				}
				return p.print(r, func() { p.ledgerSheet(r) })
			})
		},
	})
	return p.group("ledger", p.t("the ledger's file", "账本文件"), backup, check)
}

func (p *program) ledgerSheet(r LedgerReport) {
	fmt.Fprintln(p.streams.Out, p.t("well", "正常"))
	fmt.Fprintln(p.streams.Out)
	rows := [][]string{
		{p.t("ledger", "账本"), r.Ledger},
		{p.t("bytes", "字节"), strconv.FormatInt(r.Bytes, 10)},
		{p.t("stores", "门店"), strconv.Itoa(r.Stores)},
		{p.t("transactions", "交易总数"), strconv.FormatInt(r.Rows, 10)},
		{p.t("open", "未决"), strconv.FormatInt(r.Open, 10)},
		{p.t("manual", "待人工处理"), strconv.FormatInt(r.Manual, 10)},
		{p.t("outbox", "待确认"), strconv.FormatInt(r.Outbox, 10)},
	}
	p.table(append(rows, p.restoredRows(r.RestoredAt, r.Forgetful)...))
}

// restoredRows tell of a ledger that was put back to an older copy; none where it never was.
func (p *program) restoredRows(at tideover.Millis, forgetful []string) (rows [][]string) {
	if at != 0 {
		rows = append(rows, []string{p.t("restored from a copy", "从副本恢复"), p.when(at)})
	}
	if len(forgetful) > 0 {
		rows = append(rows, []string{p.t("stores still to tell", "待补报门店"), some(forgetful)})
	}
	return rows
}
