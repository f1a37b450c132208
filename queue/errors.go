package queue

import (
	"errors"
	"fmt"

	"tideover"
)

// Why [Open] refuses a file; each comes inside an [*OpenError], which says what to do next.
var (
	ErrMissing     = errors.New("there is no queue")
	ErrEmpty       = errors.New("the queue's file is empty")
	ErrTruncated   = errors.New("the queue's file is cut off")
	ErrDamaged     = errors.New("the queue's file is damaged")
	ErrForeign     = errors.New("the file is not a queue")
	ErrWrongKey    = errors.New("the queue was written with another key")
	ErrNewerSchema = errors.New("the queue was written by a newer Tideover")
	ErrInUse       = errors.New("the queue is in use by another process")
	ErrOtherStore  = errors.New("the queue is another store's")
	ErrFileSystem  = errors.New("the file system cannot hold a queue")
)

// ErrUnknown is returned for an id that the journal does not have.
var ErrUnknown = errors.New("the journal has no such transaction")

// ErrStopped is returned by every call after a failed commit or after [Queue.Close], and by calls that would write once [Queue.Run]
// has ended. Nothing may be answered then.
var ErrStopped = errors.New("the queue has stopped")

// CommitError ends [Queue.Run]: whether the last batch is on disk is not known, so nothing of it may be answered and the process
// must end.
type CommitError struct{ Err error }

// Error implements error.
func (e *CommitError) Error() string {
	return fmt.Sprintf("commit: %v: what was being written may or may not be on disk; the process must end and start again", e.Err)
}

// Unwrap returns the cause.
func (e *CommitError) Unwrap() error { return e.Err }

// OpenError says why a queue's file cannot be used, and what to do next.
type OpenError struct {
	Path string
	Err  error  // one of the errors of [Open], or the operating system's
	At   string // where and what exactly, in English; "" where Err says all
}

// Error implements error, in English: path: what (where): hint.
func (e *OpenError) Error() string {
	what, hint := e.Explain()
	return what.En + ": " + hint.En
}

// Unwrap returns the cause.
func (e *OpenError) Unwrap() error { return e.Err }

// Explain returns what is wrong and what to do next, in both languages.
func (e *OpenError) Explain() (what, hint tideover.Text) {
	what = tideover.Text{En: e.Err.Error(), Zh: e.Err.Error()}
	hint = tideover.Text{
		En: "check the folder's permissions and the disk, then start again",
		Zh: "请检查目录权限和磁盘，然后重新启动",
	}
	for _, w := range openWords {
		if errors.Is(e.Err, w.err) {
			what.Zh, hint = w.zh, w.hint
		}
	}
	if e.At != "" {
		what.En += " (" + e.At + ")"
		what.Zh += "（" + e.At + "）"
	}
	return tideover.Text{En: e.Path + ": " + what.En, Zh: e.Path + "：" + what.Zh}, hint
}

var keepIt = tideover.Text{
	En: "do not delete it: it may hold payments that are not at the hub yet. Copy it away; see what can still be read of it (tideover salvage) and " +
		"put that in its place, or restore a backup; and check the disk before you start again",
	Zh: "请勿删除：其中可能有尚未送达总部的交易。请先复制保存；再查看还能读出什么（tideover salvage）并放回原处，或恢复备份；并在重新启动前检查磁盘",
}

var openWords = []struct {
	err  error
	zh   string
	hint tideover.Text
}{
	{ErrMissing, "队列文件不存在", tideover.Text{
		En: "if this router is new, enroll it (tideover enroll TOKEN); if it has sold before, find the file or restore a backup first",
		Zh: "如果是新路由器，请先注册（tideover enroll TOKEN）；如果曾经收过款，请先找回该文件或恢复备份",
	}},
	{ErrEmpty, "队列文件为空", keepIt},
	{ErrTruncated, "队列文件被截断", keepIt},
	{ErrDamaged, "队列文件已损坏", keepIt},
	{ErrForeign, "该文件不是队列文件", tideover.Text{
		En: "check state_dir in the configuration; if another program's file is in the way, move it away and restore the queue",
		Zh: "请检查配置中的 state_dir；如果放错了其他程序的文件，请将其移走并恢复队列文件",
	}},
	{ErrWrongKey, "队列文件使用了另一个密钥", tideover.Text{
		En: "put back the queue.key that belongs to this file; payloads cannot be read without it",
		Zh: "请放回与该文件配套的 queue.key；没有它就无法读取其中的内容",
	}},
	{ErrNewerSchema, "队列文件由更新版本的 Tideover 写入", tideover.Text{
		En: "install that version of Tideover or a later one; this one leaves the file as it is",
		Zh: "请安装该版本或更新版本的 Tideover；当前版本不会改动该文件",
	}},
	{ErrInUse, "队列文件正被另一个进程使用", tideover.Text{
		En: "another tideover is running on this state directory: stop it first (tideover status names it)",
		Zh: "另一个 tideover 正在使用该状态目录：请先停止它（tideover status 可查看）",
	}},
	{ErrFileSystem, "该文件系统不能存放队列文件", tideover.Text{
		En: "put state_dir on ext4, f2fs or ubifs: copy the folder there as it is, set state_dir in the configuration, and start again",
		Zh: "请将 state_dir 放到 ext4、f2fs 或 ubifs 上：原样复制该目录，在配置中设置 state_dir，然后重新启动",
	}},
	{ErrOtherStore, "队列文件属于另一家门店", tideover.Text{
		En: "check store in the configuration, or use another state_dir for this store",
		Zh: "请检查配置中的 store，或为本店使用另一个 state_dir",
	}},
}
