package daemon

import (
	"context"

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
	found, err := queue.CheckFile(path, id.QueueKey, id.Store)
	if err != nil {
		return control.Check{}, err
	}
	return checkOf(path, found, heldHeads{}), nil
}

func checkOf(path string, found queue.Check, held heldHeads) control.Check {
	c := control.Check{
		Journal: journalOf(path, found.Audit, held), Sealed: found.Sealed, Bytes: found.Bytes,
		FileSystem: found.FileSystem.Name, FreeBytes: found.FileSystem.Free, Warnings: []tideover.Text{},
	}
	if w := found.FileSystem.Warning(); w.En != "" {
		c.Warnings = append(c.Warnings, w)
	}
	c.Well = c.Verified && found.FileSystem.Fit()
	return c
}
