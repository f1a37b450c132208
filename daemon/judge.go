package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/internal/boottime"
	"tideover/internal/conf"
	"tideover/queue"
	"tideover/rules"
)

// Rules returns the rules of a configuration: what judges requests. Each version of them is in the journal, with the transactions that it
// judged, and a reload puts another in force without a restart.
func (c Config) Rules() rules.Rules {
	return rules.Rules{Limits: c.Limits, Duplicates: c.Duplicates, Methods: c.Methods}
}

// withRules returns the configuration with other rules.
func (c Config) withRules(r rules.Rules) Config {
	c.Limits, c.Duplicates, c.Methods = r.Limits, r.Duplicates, r.Methods
	return c
}

// rulebook is one version of the rules. It never changes: an accept is judged by the one that it found, whatever is put in force
// meanwhile, and is recorded under that one.
type rulebook struct {
	rules.Rules
	on queue.Rules // its place on record; Seq 0 where there was no room for it
}

// judge holds the rules that are in force.
type judge struct {
	queue *queue.Queue
	boot  [16]byte
	log   *slog.Logger
	one   sync.Mutex // one change at a time
	now   atomic.Pointer[rulebook]
}

// age is how long ago a record was accepted, as of now.
func (j *judge) age(r edge.Record) time.Duration {
	return ageOf(r, j.boot, boottime.Now(), tideover.MillisOf(time.Now()))
}

// enact puts rules on record, and then in force: nothing is judged by what is not on disk. Where that fails the old ones stay. It says what
// has changed against those that were in force; at a start that is nothing.
func (j *judge) enact(ctx context.Context, r rules.Rules) ([]conf.Change, error) {
	j.one.Lock()
	defer j.one.Unlock()
	return j.enactLocked(ctx, r)
}

// enactLocked is enact for who holds one.
func (j *judge) enactLocked(ctx context.Context, r rules.Rules) ([]conf.Change, error) {
	on, err := j.queue.SetRules(ctx, conf.Text(r))
	if err != nil {
		return nil, err
	}
	if err := j.queue.Remember(r.Duplicates.Memory(), j.age); err != nil {
		return nil, err
	}
	var changes []conf.Change
	old := j.now.Swap(&rulebook{r, on})
	if old != nil {
		changes = conf.Diff(old.Rules, r)
	}
	return changes, nil
}

// begin puts the rules of a start in force. A disk that is full keeps nobody from coming to their ends: the rules are in force then all the
// same, and [judge.book] refuses new requests until they are on record.
func (j *judge) begin(ctx context.Context, r rules.Rules) error {
	_, err := j.enact(ctx, r)
	if _, full := errors.AsType[*tideover.Refusal](err); full {
		j.log.Error("the disk is full: nothing is accepted until the shop's rules are on record", "err", err)
		j.now.Store(&rulebook{Rules: r})
		return nil
	}
	return err
}

// book returns the rules in force. Its error refuses whatever would be judged by them: they are not on record, and still cannot be put there.
func (j *judge) book(ctx context.Context) (*rulebook, error) {
	if b := j.now.Load(); b.on.Seq != 0 {
		return b, nil
	}
	j.one.Lock()
	defer j.one.Unlock()
	b := j.now.Load() // a reload may have put others in force since
	if b.on.Seq != 0 {
		return b, nil
	}
	_, err := j.enactLocked(ctx, b.Rules)
	return j.now.Load(), err
}

// readAgain acts on each request to read the configuration again, until ctx ends.
func (r *Router) readAgain(ctx context.Context) error {
	for {
		select {
		case <-r.reload:
			r.reread(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// reread reads the configuration again. What is wrong with it is said, and then everything stays as it is. Changed rules take effect at
// once; what needs a restart is named.
func (r *Router) reread(ctx context.Context) {
	next, err := LoadConfig(r.config.source)
	if err == nil {
		err = next.Complete(r.id.Store, r.id.Addresses)
	}
	if err != nil {
		all := Complaints(err)
		for _, e := range all {
			r.log.Error("the configuration is wrong; the running one stays", "err", e.Error())
		}
		if len(all) == 0 {
			r.log.Error("the configuration cannot be read; the running one stays", "err", err)
		}
		return
	}
	for _, w := range next.Warnings() {
		r.log.Warn("configuration", "what", w.Error())
	}
	rest := r.config.withRules(next.Rules()).Changes(next)
	changed, err := r.judge.enact(ctx, next.Rules())
	if err != nil {
		r.log.Error("the rules could not be put on record; the running ones stay", "err", err)
		return
	}
	for _, c := range changed {
		r.log.Info("a rule has changed", "key", c.Key, "old", c.Old, "new", c.New)
	}
	if on := r.judge.now.Load().on; len(changed) > 0 {
		r.log.Info("rules in force", "version", on.Seq)
	}
	for _, c := range rest {
		r.log.Warn("a changed key takes effect at the next restart", "key", c.Key, "running", c.Old, "file", c.New)
	}
	if len(changed)+len(rest) == 0 {
		r.log.Info("configuration read again; nothing has changed")
	}
}

// Complaints are what is wrong with a configuration, one by one; none where err is nil, or tells of no key.
func Complaints(err error) conf.Errors {
	if all, ok := errors.AsType[conf.Errors](err); ok {
		return all
	}
	if one, ok := errors.AsType[*conf.Error](err); ok {
		return conf.Errors{one}
	}
	return nil
}
