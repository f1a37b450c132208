package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/queue"
)

// Check implements control.Backend.
func (r *Router) Check(ctx context.Context) (control.Check, error) {
	if !r.verifying.TryLock() {
		return control.Check{}, busy()
	}
	defer r.verifying.Unlock()
	var held heldHeads
	r.holdWelcomed(&held)
	found, err := r.queue.Check(ctx, held.anchors...)
	if err != nil {
		return control.Check{}, err
	}
	c := checkOf(QueuePath(r.config.StateDir), found, held)
	r.noteVerified(c.Journal)
	return c, nil
}

// CheckStore looks at the whole of a journal that no daemon has open, with the key of the state directory: at that directory's own, or at
// the copy at path. What is wrong with the file is in what it returns; an error says that there was nothing to look at.
func CheckStore(c Config, path string) (control.Check, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return control.Check{}, err
	}
	if path == "" {
		path = QueuePath(c.StateDir)
	}
	found, err := queue.CheckFile(path, queueKeys(id.QueueKeys), id.Store)
	if err != nil {
		return control.Check{}, err
	}
	return checkOf(path, found, heldHeads{}), nil
}

func checkOf(path string, found queue.Check, held heldHeads) control.Check {
	c := control.Check{
		Journal: journalOf(path, found.Audit, held), Sealed: found.Sealed, Bytes: found.Bytes, InUse: found.InUse,
		FileSystem: found.FileSystem.Name, FreeBytes: found.FileSystem.Free, Warnings: []tideover.Text{},
	}
	if w := found.FileSystem.Warning(); w.En != "" {
		c.Warnings = append(c.Warnings, w)
	}
	c.Well = c.Verified && found.FileSystem.Fit()
	return c
}

// Backup implements control.Backend.
func (r *Router) Backup(ctx context.Context, path string) (control.Backup, error) {
	if !r.verifying.TryLock() {
		return control.Backup{}, busy()
	}
	defer r.verifying.Unlock()
	return backupOf(path, func() (queue.Copied, error) { return r.queue.Backup(ctx, path) })
}

// BackupStore copies a journal that no daemon has open.
func BackupStore(c Config, path string) (control.Backup, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return control.Backup{}, err
	}
	return backupOf(path, func() (queue.Copied, error) {
		return queue.BackupFile(QueuePath(c.StateDir), path, queueKeys(id.QueueKeys), id.Store)
	})
}

// backupOf makes a copy, and says why where it could not be made.
func backupOf(path string, make func() (queue.Copied, error)) (control.Backup, error) {
	made, err := make()
	_, explained := errors.AsType[*queue.OpenError](err)
	switch {
	case err == nil:
		return control.Backup{
			Path: path, Bytes: made.Bytes, Entries: made.Entries, Transactions: made.Transactions, Seq: made.Through.Seq,
			Head: hex.EncodeToString(made.Through.Hash[:]),
		}, nil
	case errors.Is(err, queue.ErrExists):
		return control.Backup{}, control.Refused("exists", tideover.Textf("%s exists already", "%s 已存在", path),
			tideover.Textf("name another file: a backup never replaces one", "请换一个文件名：备份不会覆盖已有文件"))
	case errors.Is(err, queue.ErrNoRoom):
		return control.Backup{}, noRoom(err)
	case explained, errors.Is(err, queue.ErrStopped):
		return control.Backup{}, err
	}
	return control.Backup{}, &control.Error{
		Status: http.StatusInternalServerError, Code: "backup_failed",
		What: tideover.Textf("the journal could not be copied to %s: %v", "无法将日志复制到 %s：%v", path, err),
		Hint: tideover.Textf("the folder must exist, have room for the journal, and be one that the user who runs the daemon may write to",
			"目录必须存在、有足够空间，并允许运行守护进程的用户写入"),
	}
}

// noRoom says that a disk has no room for a copy; nothing was written.
func noRoom(err error) error {
	return control.Refused("no_room", tideover.Text{En: err.Error(), Zh: "磁盘空间不足，无法写入副本：" + err.Error()},
		tideover.Textf("make room there, or write a backup to another disk (tideover backup FILE); nothing was changed",
			"请清理该磁盘，或将备份写到其他磁盘（tideover backup 文件）；未作任何改动"))
}

// RestoreStore puts a copy of the journal in the place of the one in the state directory, which no daemon has open.
func RestoreStore(c Config, from string) (control.Restored, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return control.Restored{}, err
	}
	r, err := queue.RestoreFile(from, QueuePath(c.StateDir), queueKeys(id.QueueKeys), id.Store)
	if errors.Is(err, queue.ErrNoRoom) {
		err = noRoom(err)
	}
	if err != nil {
		return control.Restored{}, err
	}
	return control.Restored{Path: QueuePath(c.StateDir), Aside: r.Aside, Entries: r.Entries, Transactions: r.Transactions, LastAt: r.Last}, nil
}
