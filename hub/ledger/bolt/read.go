package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// counts are kept in step with the file.
type counts struct{ open, outbox, manual, commits atomic.Int64 }

func (c *counts) load() [3]int64 { return [3]int64{c.open.Load(), c.outbox.Load(), c.manual.Load()} }

func (c *counts) store(v [3]int64) {
	c.open.Store(v[0])
	c.outbox.Store(v[1])
	c.manual.Store(v[2])
}

// Stats are what a status shows.
type Stats struct {
	Stores  int   `json:"stores"`
	Rows    int64 `json:"rows"`    // transactions that the ledger knows
	Open    int64 `json:"open"`    // of them without an end yet
	Manual  int64 `json:"manual"`  // of them in need of a person
	Outbox  int64 `json:"outbox"`  // ends that their edge does not have yet
	Commits int64 `json:"commits"` // since the start
	Bytes   int64 `json:"bytes"`   // size of the file
}

// Stats reads them.
func (l *Ledger) Stats() (s Stats, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		s = Stats{
			Rows: int64(tx.Bucket(bucketRows).Sequence()), Open: l.counts.open.Load(), Manual: l.counts.manual.Load(),
			Outbox: l.counts.outbox.Load(), Commits: l.counts.commits.Load(), Bytes: tx.Size(),
		}
		return tx.Bucket(bucketStores).ForEach(func(_, _ []byte) error { s.Stores++; return nil })
	})
	return s, err
}

// check reads every store and, up to verifyMax, every row, and counts.
func (l *Ledger) check(tx *bbolt.Tx) error {
	open, outbox, manual, books := tx.Bucket(bucketOpen), tx.Bucket(bucketOutbox), tx.Bucket(bucketManual), tx.Bucket(bucketBooks)
	if version, err := schemaOf(tx); err != nil {
		return err
	} else if version < 2 {
		books = nil // see keepBooks
	}
	var opens, manuals, told, rows int64
	if tx.Size() <= verifyMax {
		err := tx.Bucket(bucketRows).ForEach(func(k, raw []byte) error {
			var r ledger.Row
			if err := decode(k, raw, &r); err != nil {
				return err
			}
			for _, x := range []struct {
				in   *bbolt.Bucket
				is   bool
				sums *int64
			}{{open, r.State.Open(), &opens}, {manual, r.State == tideover.RowManual, &manuals}} {
				if (x.in.Get(k) != nil) != x.is {
					return fmt.Errorf("%w: row %s is %q, and an index says otherwise", ErrDamaged, r.ID, r.State)
				}
				if x.is {
					*x.sums++
				}
			}
			rows++
			if books != nil && books.Get(bookKey(r.Store, r.Place())) == nil {
				return fmt.Errorf("%w: row %s is not in the books", ErrDamaged, r.ID)
			}
			if r.Owed() {
				told++
				if !bytes.Equal(outbox.Get(outboxKey(r.Store, r.HubSeq)), r.ID[:]) {
					return fmt.Errorf("%w: the end of %s is not in the outbox", ErrDamaged, r.ID)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var booked atomic.Int64
	for _, x := range []struct {
		in   *bbolt.Bucket
		sums int64
		to   *atomic.Int64
	}{
		{open, opens, &l.counts.open}, {manual, manuals, &l.counts.manual}, {outbox, told, &l.counts.outbox}, {books, rows, &booked},
	} {
		if x.in == nil || x.in == books && tx.Size() > verifyMax {
			continue
		}
		var n int64
		if err := x.in.ForEach(func(_, _ []byte) error { n++; return nil }); err != nil {
			return err
		}
		if tx.Size() <= verifyMax && n != x.sums {
			return fmt.Errorf("%w: an index has %d entries for %d rows", ErrDamaged, n, x.sums)
		}
		x.to.Store(n)
	}
	if tx.Size() <= verifyMax {
		err := tx.Bucket(bucketSealed).ForEach(func(k, sealed []byte) error {
			if _, err := l.vault.open(sealed, k); err != nil {
				return fmt.Errorf("%w: what is sealed of %x: %w", ErrDamaged, k, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return l.checkStores(tx)
}

// checkStores reads every store, with what belongs to it.
func (l *Ledger) checkStores(tx *bbolt.Tx) error {
	tokens := 0
	err := tx.Bucket(bucketStores).ForEach(func(k, raw []byte) error {
		var s ledger.Store
		if err := decode(k, raw, &s); err != nil {
			return err
		}
		if !bytes.Equal(storeKey(s.Name), k) {
			return fmt.Errorf("%w: store %q", ErrDamaged, s.Name)
		}
		if _, err := l.vault.open(tx.Bucket(bucketSecrets).Get(k), k); err != nil {
			return fmt.Errorf("%w: the secret of store %q: %w", ErrDamaged, s.Name, err)
		}
		if s.Token.Hash != [32]byte{} {
			tokens++
			if string(tx.Bucket(bucketTokens).Get(s.Token.Hash[:])) != s.Name {
				return fmt.Errorf("%w: the token of store %q", ErrDamaged, s.Name)
			}
		}
		if raw := tx.Bucket(bucketTerminals).Get(k); raw != nil {
			var list []tideover.Terminal
			return decode(k, raw, &list)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket(bucketTokens).ForEach(func(_, _ []byte) error {
		if tokens--; tokens < 0 {
			return fmt.Errorf("%w: a token of no store", ErrDamaged)
		}
		return nil
	})
}

// lapse puts the claims of earlier processes in doubt, before anybody can hear of them.
func (l *Ledger) lapse(tx *bbolt.Tx) error {
	open, err := openRows(tx)
	if err != nil {
		return err
	}
	for _, k := range open {
		_, err := l.step(tx, ledger.Update{Store: k.Store, IDs: []tideover.ID{k.ID}, Step: func(v *ledger.View) error {
			v.Lapse(l.owner)
			return nil
		}}, l.Now())
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenRows returns the keys of every row that has no end yet.
func (l *Ledger) OpenRows() (open []ledger.Key, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		open, err = openRows(tx)
		return err
	})
	return open, err
}

func openRows(tx *bbolt.Tx) (open []ledger.Key, err error) {
	err = tx.Bucket(bucketOpen).ForEach(func(k, _ []byte) error {
		store, id, ok := splitKey(k)
		if !ok {
			return fmt.Errorf("%w: open row %x", ErrDamaged, k)
		}
		open = append(open, ledger.Key{Store: store, ID: id})
		return nil
	})
	return open, err
}

// Open reads what a store has without an end: at most limit rows, of one moment. complete says that these are all of them. Rows of which nothing was
// ever heard but through another one are left out; no edge lacks those. The requests have no payload.
func (l *Ledger) Open(store string, limit int) (open []wire.Open, complete bool, err error) {
	complete = true
	err = l.view(func(tx *bbolt.Tx) error {
		prefix := storeKey(store)
		for _, index := range [][]byte{bucketOpen, bucketManual} {
			c := tx.Bucket(index).Cursor()
			for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
				if len(open) == limit {
					complete = false
					return nil
				}
				var r ledger.Row
				if err := decode(k, tx.Bucket(bucketRows).Get(k), &r); err != nil {
					return err
				}
				if r.Request.Key == "" {
					continue
				}
				if err := l.show(tx, k, &r.Request); err != nil {
					return err
				}
				open = append(open, r.Open())
			}
		}
		return nil
	})
	return open, complete, err
}

// Acknowledged returns the rows of a store whose end after an outbox position its edge has acknowledged. It reads every row of the store.
func (l *Ledger) Acknowledged(store string, after uint64) (ids []tideover.ID, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		c, prefix := tx.Bucket(bucketRows).Cursor(), storeKey(store)
		for k, raw := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, raw = c.Next() {
			var r ledger.Row
			if err := decode(k, raw, &r); err != nil {
				return err
			}
			if r.Acked && r.HubSeq > after {
				ids = append(ids, r.ID)
			}
		}
		return nil
	})
	return ids, err
}

// Row reads a row; one that the ledger does not have has the state none.
func (l *Ledger) Row(store string, id tideover.ID) (r ledger.Row, err error) {
	r.ID = id
	err = l.view(func(tx *bbolt.Tx) error {
		k := rowKey(store, id)
		if raw := tx.Bucket(bucketRows).Get(k); raw != nil {
			return decode(k, raw, &r)
		}
		return nil
	})
	return r, err
}

// Find reads the rows of an id in every store; there is one at most, unless somebody forged an id.
func (l *Ledger) Find(id tideover.ID) (found []ledger.Row, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		rows := tx.Bucket(bucketRows)
		return tx.Bucket(bucketStores).ForEach(func(k, _ []byte) error {
			k = append(bytes.Clone(k), id[:]...)
			raw := rows.Get(k)
			if raw == nil {
				return nil
			}
			var r ledger.Row
			found = append(found, r)
			return decode(k, raw, &found[len(found)-1])
		})
	})
	return found, err
}

// Request reads a row's request with payload and instrument, as far as they are kept.
func (l *Ledger) Request(store string, id tideover.ID) (s wire.Submit, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		k := rowKey(store, id)
		var r ledger.Row
		if raw := tx.Bucket(bucketRows).Get(k); raw == nil {
			return fmt.Errorf("%s: no such row", id)
		} else if err := decode(k, raw, &r); err != nil {
			return err
		}
		s = r.Request
		return l.show(tx, k, &s)
	})
	return s, err
}

// show puts what is sealed back into a request.
func (l *Ledger) show(tx *bbolt.Tx, key []byte, s *wire.Submit) error {
	sealed := tx.Bucket(bucketSealed).Get(key)
	if sealed == nil {
		return nil
	}
	plain, err := l.vault.open(sealed, key)
	if err != nil {
		return fmt.Errorf("%w: what is sealed of %s: %w", ErrDamaged, s.ID, err)
	}
	var h hidden
	if err := decoder.Unmarshal(plain, &h); err != nil {
		return fmt.Errorf("%w: what is sealed of %s: %w", ErrDamaged, s.ID, err)
	}
	s.Request.Instrument, s.Request.Payload = h.Instrument, h.Payload
	return nil
}

// Outbox reads at most limit of the ends that a store's edge does not have yet, from the position after the given one on, in order.
// Adopt is set where the request is known, or at least the key that was barred; it lacks the payload, which nobody needs any more.
func (l *Ledger) Outbox(store string, after uint64, limit int) (page []wire.Confirmation, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOutbox).Cursor()
		prefix := storeKey(store)
		for k, id := c.Seek(outboxKey(store, after+1)); bytes.HasPrefix(k, prefix) && len(page) < limit; k, id = c.Next() {
			if len(id) != len(tideover.ID{}) || len(k) != len(prefix)+8 {
				return fmt.Errorf("%w: outbox %x", ErrDamaged, k)
			}
			rk := rowKey(store, tideover.ID(id))
			var r ledger.Row
			if err := decode(rk, tx.Bucket(bucketRows).Get(rk), &r); err != nil {
				return err
			}
			if !r.Owed() || r.HubSeq != binary.BigEndian.Uint64(k[len(prefix):]) {
				return fmt.Errorf("%w: outbox position of %s", ErrDamaged, r.ID)
			}
			told := r.Confirmation()
			if adopt := r.Request; adopt.Key != "" {
				if err := l.show(tx, rk, &adopt); err != nil {
					return err
				}
				adopt.Request.Payload = nil
				told.Adopt = &adopt
			}
			page = append(page, told)
		}
		return nil
	})
	return page, err
}

// OutboxLen counts what a store's edge does not have yet.
func (l *Ledger) OutboxLen(store string) (n int, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketOutbox).Cursor()
		prefix := storeKey(store)
		for k, _ := c.Seek(outboxKey(store, 0)); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			n++
		}
		return nil
	})
	return n, err
}

// Acknowledge notes which ends a process of a store's edge has on its disk, at most [wire.AckMax] at once.
func (l *Ledger) Acknowledge(ctx context.Context, store string, incarnation [16]byte, have []wire.Position) error {
	ids := make([]tideover.ID, 0, len(have))
	seen := make(map[tideover.ID]bool, len(have))
	for _, p := range have {
		if !seen[p.ID] {
			seen[p.ID] = true
			ids = append(ids, p.ID)
		}
	}
	return l.Update(ctx, ledger.Update{Store: store, IDs: ids, Mark: "hub.ack", Step: func(v *ledger.View) error {
		v.Acknowledge(incarnation, have)
		return nil
	}})
}
