package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"tideover"
	"tideover/queue"
	"tideover/terminal"
	"tideover/wire"
)

// tills is who is let in: the list is in the queue's journal, and goes to the hub so that a replaced router knows it.
type tills struct {
	queue  *queue.Queue
	book   terminal.Book
	roster terminal.Roster
	log    *slog.Logger
	// changed is told after each change, so that the hub gets the list.
	changed func()

	mu sync.Mutex // makes look-up and change of the list one step
}

// load reads the list anew for the endpoint.
func (t *tills) load() { t.roster.Set(t.queue.Terminals()) }

// named returns the till that bears a name now.
func (t *tills) named(name string) (tideover.Terminal, bool) {
	for _, known := range t.queue.Terminals() {
		if known.Name == name && !known.Revoked {
			return known, true
		}
	}
	return tideover.Terminal{}, false
}

// pair lets a till in that knows a code. It is on disk before the token is said.
func (t *tills) pair(ctx context.Context, r terminal.PairRequest) (paired tideover.Terminal, token string, err error) {
	err = t.book.Redeem(r.Code, func(g terminal.Grant) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		name := g.Name
		if name == "" {
			name = r.Name
		}
		if name == "" {
			name = t.freeName()
		}
		paired = tideover.Terminal{UID: terminal.NewUID(), Name: name}
		known, inUse := t.named(name)
		switch {
		case inUse && !g.Replace:
			return tideover.Refuse(tideover.CodeNameInUse,
				"the name %q belongs to another till; choose another, or hand it over with `tideover terminal pair --replace %[1]s`",
				"名称 %q 已被另一台终端使用；请换一个，或用 `tideover terminal pair --replace %[1]s` 移交", name)
		case inUse:
			paired.UID = known.UID
		case len(t.queue.Terminals()) >= wire.TerminalsMax:
			return tideover.Refuse(tideover.CodeForbidden,
				"this shop has %d terminals, revoked ones included, and no more can be kept; hand a name over with `tideover terminal pair --replace NAME`",
				"本店已登记 %d 台终端（含已作废的），无法再增加；请用 `tideover terminal pair --replace 名称` 移交一个名称", wire.TerminalsMax)
		}
		paired.PairedAt = tideover.MillisOf(time.Now())
		token, paired.TokenHash = terminal.NewToken()
		return t.put(ctx, paired)
	})
	return paired, token, err
}

// byName returns a till by name, also one that was revoked; where several bore it, the one that is let in.
func (t *tills) byName(name string) (tideover.Terminal, bool) {
	found, ok := t.named(name)
	for _, known := range t.queue.Terminals() {
		if !ok && known.Name == name {
			found, ok = known, true
		}
	}
	return found, ok
}

// freeName is what a till is called that has no name of its own.
func (t *tills) freeName() string {
	for n := len(t.queue.Terminals()) + 1; ; n++ {
		name := fmt.Sprintf("till-%d", n)
		if _, inUse := t.named(name); !inUse {
			return name
		}
	}
}

// revoke ends a till's access; what it sold stays.
func (t *tills) revoke(ctx context.Context, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.named(name)
	if !ok {
		return fmt.Errorf("no terminal is called %q; `tideover terminal list` names them", name)
	}
	known.Revoked = true
	if err := t.put(ctx, known); err != nil {
		return err
	}
	t.log.Info("revoked", "terminal", name)
	return nil
}

func (t *tills) put(ctx context.Context, terminal tideover.Terminal) error {
	if err := t.queue.PutTerminal(ctx, terminal); err != nil {
		return err
	}
	t.load()
	t.changed()
	return nil
}
