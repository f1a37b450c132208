package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tideover"
	"tideover/control"
	"tideover/edge"
	"tideover/install"
	"tideover/queue"
	"tideover/rules"
)

// keysLook is how often it is looked whether an older key still opens anything. Between two looks a key that nothing needs is still there.
const keysLook = time.Minute

// keeper keeps the keys of the journal: the file of keys, and what the journal has on record of them. A new key is in the file before the
// journal knows it; that an old one is destroyed is on record before it is taken out of the file. What a process leaves undone that dies in
// between, the next one does.
type keeper struct {
	dir   string // the state directory
	queue *queue.Queue
	log   *slog.Logger
	mu    sync.Mutex // one change at a time
}

// queueKeys are the keys of a state directory as the journal wants them.
func queueKeys(k install.QueueKeys) queue.Keys { return queue.Keys{All: k.All, Destroyed: k.Destroyed} }

// begin does what an earlier process has left undone: what is on record as destroyed goes out of the file. What cannot be done now is done
// with the next look.
func (k *keeper) begin(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.takeOut()
	if err == nil {
		err = k.clear(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("the keys of the journal could not be tidied up; it is tried again", "err", err)
	}
}

// Run destroys older keys once nothing is left that they open, until ctx ends.
func (k *keeper) Run(ctx context.Context) error {
	k.begin(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(keysLook):
		}
		if k.queue.HeldKeys() > 1 {
			k.begin(ctx)
		}
	}
}

// rotate lets a new key seal, or one that is in the file already and does not seal yet.
func (k *keeper) rotate(ctx context.Context, by edge.By) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, err := install.ReadQueueKeys(k.dir)
	if err != nil {
		return err
	}
	newest, err := queue.KeyName(keys.All[0])
	if err != nil {
		return err
	}
	if newest == k.queue.SealingKey() {
		if keys, err = install.AddQueueKey(k.dir); err != nil {
			return err
		}
		if newest, err = queue.KeyName(keys.All[0]); err != nil {
			return err
		}
	}
	if err := k.queue.Rotate(ctx, keys.All[0], by); err != nil {
		return err
	}
	k.log.Info("another key seals what is accepted", "key", shortKey(newest), "by", by.Who)
	if err := k.clear(ctx); err != nil {
		k.log.Warn("older keys could not be destroyed yet; it is tried again", "err", err)
	}
	return nil
}

// destroy destroys every key but the one that seals, whatever they open. Without force it refuses where something open would be lost.
func (k *keeper) destroy(ctx context.Context, force bool, by edge.By) error {
	if err := rules.CardText(rules.Text{Field: "reason", Value: by.Reason}); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	uses, err := k.queue.Keys(ctx)
	if err != nil {
		return err
	}
	var older [][32]byte
	open := 0
	for _, u := range uses {
		if u.Held && !u.Seals {
			older = append(older, u.Name)
			if u.Destroyed == 0 {
				open += u.Open
			}
		}
	}
	switch {
	case len(older) == 0:
		return control.Refused("one_key", tideover.Textf("there is no older key: only the one that seals", "没有旧密钥：只有当前使用的密钥"),
			tideover.Textf("to get another one first: tideover key rotate", "如需先更换密钥：tideover key rotate"))
	case open > 0 && !force:
		return control.Refused("key_needed",
			tideover.Textf("an older key opens the payload of %d transaction(s) that have no end yet: without it they cannot be sent", "有 %d 笔未决交易的内容需要旧密钥；没有它将无法发送", open),
			tideover.Textf("wait until they have their ends (tideover queue list): the key is destroyed by itself then; or give them up: tideover key destroy --force --reason TEXT",
				"请等待它们有结果（tideover queue list），届时旧密钥会自动销毁；或放弃这些交易：tideover key destroy --force --reason 原因"))
	}
	return k.end(ctx, older, by)
}

// clear destroys the older keys that open nothing any more. One that this journal never sealed with is left: it may be that of a journal that
// was put aside.
func (k *keeper) clear(ctx context.Context) error {
	_, idle, err := k.queue.SpentKeys()
	if err != nil {
		return err
	}
	if len(idle) == 0 {
		return nil
	}
	return k.end(ctx, idle, edge.By{Reason: "nothing is left that it sealed"})
}

// end puts the end of keys on record, and takes them out of the file.
func (k *keeper) end(ctx context.Context, names [][32]byte, by edge.By) error {
	if err := k.queue.EndKeys(ctx, names, by); err != nil {
		return err
	}
	return k.takeOut(names...)
}

// takeOut takes keys out of the file whose end is on record, and others that are named: this journal never sealed with those. It removes what a
// process has left half done, too.
func (k *keeper) takeOut(more ...[32]byte) error {
	ended, _, err := k.queue.SpentKeys()
	if err != nil {
		return err
	}
	keys, err := install.ReadQueueKeys(k.dir)
	if err != nil {
		return err
	}
	ended = append(ended, more...)
	out := make(map[[32]byte][32]byte)
	var names [][32]byte
	for _, key := range keys.All[1:] {
		name, err := queue.KeyName(key)
		if err != nil {
			return err
		}
		if slices.Contains(ended, name) {
			out[key] = name
			names = append(names, name)
		}
	}
	if err := install.DestroyQueueKeys(k.dir, out); err != nil {
		return err
	}
	k.queue.ForgetKeys(names)
	for _, name := range names {
		k.log.Info("a key was destroyed: nothing that it sealed can be read any more", "key", shortKey(name))
	}
	return nil
}

// list says what each key is for.
func (k *keeper) list(ctx context.Context) (control.KeyList, error) {
	uses, err := k.queue.Keys(ctx)
	return listOf(k.dir, uses), err
}

func listOf(dir string, uses []queue.KeyUse) control.KeyList {
	list := control.KeyList{Path: install.QueueKeyPath(dir), Keys: []control.Key{}}
	for _, u := range uses {
		list.Keys = append(list.Keys, control.Key{
			Name: shortKey(u.Name), Since: u.Since, Seals: u.Seals, Held: u.Held, Sealed: u.Sealed, Open: u.Open, Reports: u.Reports,
			Lost: u.Lost(), DestroyedAt: u.Destroyed, By: u.By.Who, Reason: u.By.Reason,
		})
	}
	return list
}

// shortKeyBytes is how much of a key's name is shown: enough to tell the few keys of a shop apart.
const shortKeyBytes = 4

func shortKey(name [32]byte) string { return hex.EncodeToString(name[:shortKeyBytes]) }

// Keys implements control.Backend.
func (r *Router) Keys(ctx context.Context) (control.KeyList, error) { return r.keys.list(ctx) }

// RotateKey implements control.Backend.
func (r *Router) RotateKey(ctx context.Context, by control.Peer) (control.KeyList, error) {
	if err := r.keys.rotate(context.WithoutCancel(ctx), edge.By{Who: by.String()}); err != nil {
		return control.KeyList{}, explained(err)
	}
	return r.keys.list(ctx)
}

// DestroyKeys implements control.Backend.
func (r *Router) DestroyKeys(ctx context.Context, d control.KeyDestruction, by control.Peer) (control.KeyList, error) {
	if err := r.keys.destroy(context.WithoutCancel(ctx), d.Force, edge.By{Who: by.String(), Reason: d.Reason}); err != nil {
		return control.KeyList{}, explained(err)
	}
	return r.keys.list(ctx)
}

// explained keeps what the state directory says in both languages.
func explained(err error) error {
	if e, ok := errors.AsType[*install.Error](err); ok {
		return control.Refused("key_file", e.What, e.Hint)
	}
	return err
}

// ListKeys says what each key of a journal is for that no daemon has open. Nothing is written.
func ListKeys(c Config) (control.KeyList, error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return control.KeyList{}, err
	}
	uses, err := queue.KeysOfFile(QueuePath(c.StateDir), queueKeys(id.QueueKeys), id.Store)
	if err != nil {
		return control.KeyList{}, err
	}
	return listOf(c.StateDir, uses), nil
}

// RotateKey lets a new key seal in a journal that no daemon has open. who is the user.
func RotateKey(c Config, who string) (control.KeyList, error) {
	return withKeeper(c, func(ctx context.Context, k *keeper) error { return k.rotate(ctx, edge.By{Who: who}) })
}

// DestroyKeys destroys the older keys of a journal that no daemon has open. who is the user.
func DestroyKeys(c Config, d control.KeyDestruction, who string) (control.KeyList, error) {
	return withKeeper(c, func(ctx context.Context, k *keeper) error {
		return k.destroy(ctx, d.Force, edge.By{Who: who, Reason: d.Reason})
	})
}

// withKeeper does something with the keys of a machine that runs no daemon, and lists them.
func withKeeper(c Config, do func(context.Context, *keeper) error) (list control.KeyList, err error) {
	id, err := install.Load(c.StateDir)
	if err != nil {
		return list, err
	}
	q, err := queue.Open(queue.Options{Path: QueuePath(c.StateDir), Key: queueKeys(id.QueueKeys), Store: id.Store})
	if err != nil {
		return list, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	k := &keeper{dir: c.StateDir, queue: q, log: slog.New(slog.DiscardHandler)}
	k.begin(ctx)
	if err = do(ctx, k); err == nil {
		list, err = k.list(ctx)
	}
	stop()
	if closed := errors.Join(<-ran, q.Close()); err == nil && closed != nil {
		err = fmt.Errorf("close the journal: %w", closed)
	}
	return list, err
}
