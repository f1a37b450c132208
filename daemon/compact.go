package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/queue"
)

// compactEvery is how often it is looked whether the journal's file should be compacted without anybody asking for it.
const compactEvery = time.Minute

// Compact implements control.Backend.
func (r *Router) Compact(ctx context.Context) (control.Compacted, error) {
	if !r.verifying.TryLock() {
		return control.Compacted{}, busy()
	}
	defer r.verifying.Unlock()
	return compactOf(r.config, func() (queue.Compacted, error) { return r.queue.Compact(ctx) })
}

// CompactStore compacts a journal that no daemon has open.
func CompactStore(c Config) (control.Compacted, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return control.Compacted{}, err
	}
	return compactOf(c, func() (queue.Compacted, error) {
		return queue.CompactFile(QueuePath(c.StateDir), queueKeys(id.QueueKeys), id.Store)
	})
}

// compactOf compacts a journal, and says why where it could not be done.
func compactOf(c Config, compact func() (queue.Compacted, error)) (control.Compacted, error) {
	path := QueuePath(c.StateDir)
	made, err := compact()
	_, explained := errors.AsType[*queue.OpenError](err)
	switch {
	case err == nil:
		return control.Compacted{
			Path: path, BeforeBytes: made.Before, AfterBytes: made.After,
			TookMillis: millis(made.Took), StalledMillis: millis(made.Stalled),
		}, nil
	case errors.Is(err, queue.ErrNoRoom):
		return control.Compacted{}, noRoom(err)
	case errors.Is(err, queue.ErrCompacting):
		return control.Compacted{}, busy()
	case explained, errors.Is(err, queue.ErrStopped):
		return control.Compacted{}, err
	}
	return control.Compacted{}, &control.Error{
		Status: http.StatusInternalServerError, Code: "compact_failed",
		What: tideover.Textf("%s could not be compacted: %v", "无法压缩 %s：%v", path, err),
		Hint: tideover.Textf("the file is as it was, and goes on; check the disk (tideover check), and try again", "文件保持原样，照常使用；请检查磁盘（tideover check）后重试"),
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// compactWhenItPays compacts the journal's file by itself: at a start, and in a quiet hour.
func (r *Router) compactWhenItPays(ctx context.Context) error {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	for {
		if r.queue.CompactionPays(time.Now()) && r.verifying.TryLock() {
			_, err := r.queue.Compact(ctx)
			r.verifying.Unlock()
			if err != nil && ctx.Err() == nil && !errors.Is(err, queue.ErrStopped) {
				r.log.Warn("the journal's file was not compacted, and goes on as it was", "err", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
