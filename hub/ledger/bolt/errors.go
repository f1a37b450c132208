package bolt

import (
	"errors"
	"fmt"

	"tideover"
)

// Why a ledger cannot be opened. [Open] and [Create] wrap them in an [Error].
var (
	ErrExists      = errors.New("the ledger exists")
	ErrMissing     = errors.New("the ledger is missing")
	ErrEmpty       = errors.New("the ledger file is empty")
	ErrTruncated   = errors.New("the ledger file is cut off")
	ErrDamaged     = errors.New("the ledger file is damaged")
	ErrForeign     = errors.New("the file is not a ledger")
	ErrWrongKey    = errors.New("the key is not the ledger's")
	ErrNewerSchema = errors.New("the ledger was written by a newer version")
	ErrInUse       = errors.New("another process has the ledger open")
)

// Error says what is wrong with a ledger file, and what to do next.
type Error struct {
	Path string
	Err  error  // one of the sentinels, or of the operating system
	More string // where in the file; English, may be empty
}

// Error implements error.
func (e *Error) Error() string {
	what, hint := e.Explain()
	return what.En + ": " + hint.En
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

var explanations = []struct {
	err        error
	what, hint tideover.Text
}{
	{
		ErrExists,
		tideover.Text{En: "there is a ledger already", Zh: "账本已存在"},
		tideover.Text{En: "start the hub with it; to begin anew, move it away first", Zh: "请直接用它启动 hub；若要重新开始，请先将其移走"},
	},
	{
		ErrMissing,
		tideover.Text{En: "the ledger is missing", Zh: "账本文件缺失"},
		tideover.Text{
			En: "restore it from a backup, or correct state_dir; a new ledger in its place would execute old transactions again",
			Zh: "请从备份恢复或更正 state_dir；若以新账本代替，旧交易可能被再次执行",
		},
	},
	{
		ErrEmpty,
		tideover.Text{En: "the ledger file has 0 bytes", Zh: "账本文件为 0 字节"},
		tideover.Text{En: "restore it from a backup; keep the file for inquiry", Zh: "请从备份恢复，并保留该文件以供调查"},
	},
	{
		ErrTruncated,
		tideover.Text{En: "the ledger file is cut off", Zh: "账本文件被截断"},
		tideover.Text{En: "check the disk, then restore the ledger from a backup; keep the file for inquiry", Zh: "请检查磁盘，再从备份恢复账本，并保留该文件以供调查"},
	},
	{
		ErrDamaged,
		tideover.Text{En: "the ledger file is damaged", Zh: "账本文件已损坏"},
		tideover.Text{En: "check the disk, then restore the ledger from a backup; keep the file for inquiry", Zh: "请检查磁盘，再从备份恢复账本，并保留该文件以供调查"},
	},
	{
		ErrForeign,
		tideover.Text{En: "the file is not a ledger of tideover-hub", Zh: "该文件不是 tideover-hub 的账本"},
		tideover.Text{En: "correct state_dir, or restore the ledger from a backup", Zh: "请更正 state_dir，或从备份恢复账本"},
	},
	{
		ErrWrongKey,
		tideover.Text{En: "the ledger was sealed with another key", Zh: "账本由另一把密钥封存"},
		tideover.Text{En: "restore the key file that belongs to this ledger from a backup", Zh: "请从备份恢复属于该账本的密钥文件"},
	},
	{
		ErrNewerSchema,
		tideover.Text{En: "the ledger was written by a newer version", Zh: "账本由更新的版本写入"},
		tideover.Text{En: "run that version or a later one", Zh: "请运行该版本或更高版本"},
	},
	{
		ErrInUse,
		tideover.Text{En: "another process has the ledger open", Zh: "另一个进程正在使用账本"},
		tideover.Text{En: "stop the other hub first", Zh: "请先停止另一个 hub"},
	},
}

// Explain says what is wrong and what to do next, in both languages.
func (e *Error) Explain() (what, hint tideover.Text) {
	what = tideover.Textf("the ledger cannot be opened (%v)", "无法打开账本（%v）", e.Err)
	hint = tideover.Textf("check the disk and the permissions of the state directory", "请检查磁盘以及状态目录的权限")
	for _, x := range explanations {
		if errors.Is(e.Err, x.err) {
			what, hint = x.what, x.hint
		}
	}
	more := ""
	if e.More != "" {
		more = " (" + e.More + ")"
	}
	return tideover.Text{
		En: fmt.Sprintf("%s: %s%s", e.Path, what.En, more), Zh: fmt.Sprintf("%s：%s%s", e.Path, what.Zh, more),
	}, hint
}
