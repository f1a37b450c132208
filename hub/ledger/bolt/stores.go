package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"tideover"
	"tideover/hub/ledger"
)

// AddStore enters a store. Its secret is sealed. Errors: [ledger.ErrStoreExists].
func (l *Ledger) AddStore(ctx context.Context, s ledger.Store) error {
	if s.Name == "" || len(s.Name) > 255 {
		panic(fmt.Sprintf("ledger: %q cannot be a store's name", s.Name))
	}
	return l.do(ctx, &op{mark: "hub.store", apply: func(tx *bbolt.Tx, now tideover.Millis) (bool, error) {
		key := storeKey(s.Name)
		if tx.Bucket(bucketStores).Get(key) != nil {
			return false, fmt.Errorf("%q: %w", s.Name, ledger.ErrStoreExists)
		}
		if err := tx.Bucket(bucketSecrets).Put(key, l.vault.seal(s.Secret[:], key)); err != nil {
			return false, &writeError{err}
		}
		s := s
		s.CreatedAt, s.Secret = now, [32]byte{}
		s.Restored = l.history.Restored // it has lost nothing
		return true, putStore(tx, key, ledger.Store{}, s)
	}})
}

// ChangeStore changes a store's own row, its name and secret excepted. With an error of change nothing is changed. Errors: change's, or
// [ledger.ErrStoreUnknown]. change may be run again and must be pure.
func (l *Ledger) ChangeStore(ctx context.Context, name string, change func(s *ledger.Store, now tideover.Millis) error) error {
	return l.do(ctx, &op{mark: "hub.store", apply: func(tx *bbolt.Tx, now tideover.Millis) (bool, error) {
		key := storeKey(name)
		raw := tx.Bucket(bucketStores).Get(key)
		if raw == nil {
			return false, fmt.Errorf("%q: %w", name, ledger.ErrStoreUnknown)
		}
		var was ledger.Store
		if err := decode(key, raw, &was); err != nil {
			return false, &writeError{err}
		}
		is := was
		if err := change(&is, now); err != nil {
			return false, err
		}
		is.Name, is.Secret = name, [32]byte{}
		if bytes.Equal(encode(key, is), raw) {
			return false, nil
		}
		return true, putStore(tx, key, was, is)
	}})
}

// putStore writes a store's row and keeps the index of tokens in step with it.
func putStore(tx *bbolt.Tx, key []byte, was, is ledger.Store) error {
	tokens := tx.Bucket(bucketTokens)
	if was.Token.Hash != is.Token.Hash {
		if was.Token.Hash != [32]byte{} {
			if err := tokens.Delete(was.Token.Hash[:]); err != nil {
				return &writeError{err}
			}
		}
		if is.Token.Hash != [32]byte{} {
			if err := tokens.Put(is.Token.Hash[:], []byte(is.Name)); err != nil {
				return &writeError{err}
			}
		}
	}
	if err := tx.Bucket(bucketStores).Put(key, encode(key, is)); err != nil {
		return &writeError{err}
	}
	return nil
}

// Store reads a store, with its secret. Errors: [ledger.ErrStoreUnknown].
func (l *Ledger) Store(name string) (s ledger.Store, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		key := storeKey(name)
		raw := tx.Bucket(bucketStores).Get(key)
		if name == "" || raw == nil {
			return fmt.Errorf("%q: %w", name, ledger.ErrStoreUnknown)
		}
		if err := decode(key, raw, &s); err != nil {
			return err
		}
		secret, err := l.vault.open(tx.Bucket(bucketSecrets).Get(key), key)
		if err != nil || len(secret) != len(s.Secret) {
			return fmt.Errorf("%w: the secret of store %q", ErrDamaged, name)
		}
		copy(s.Secret[:], secret)
		return nil
	})
	return s, err
}

// Stores reads every store, ordered by name, without secrets.
func (l *Ledger) Stores() (all []ledger.Store, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketStores).ForEach(func(k, raw []byte) error {
			var s ledger.Store
			all = append(all, s)
			return decode(k, raw, &all[len(all)-1])
		})
	})
	sortStores(all)
	return all, err
}

// StoreOfToken returns the name of the store that a token is for. Errors: [ledger.ErrTokenUnknown].
func (l *Ledger) StoreOfToken(hash [32]byte) (name string, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		raw := tx.Bucket(bucketTokens).Get(hash[:])
		if raw == nil {
			return ledger.ErrTokenUnknown
		}
		name = string(raw)
		return nil
	})
	return name, err
}

// Terminals reads the list of a store's terminals as its edge sent it last.
func (l *Ledger) Terminals(store string) (list []tideover.Terminal, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		key := storeKey(store)
		if raw := tx.Bucket(bucketTerminals).Get(key); raw != nil {
			return decode(key, raw, &list)
		}
		return nil
	})
	return list, err
}

// KeepTerminals replaces the list of a store's terminals; digest knows it again. It is refused for an incarnation that was
// superseded: [ledger.ErrSuperseded].
func (l *Ledger) KeepTerminals(ctx context.Context, store string, incarnation [16]byte, list []tideover.Terminal, digest [32]byte) error {
	return l.do(ctx, &op{mark: "hub.store", apply: func(tx *bbolt.Tx, _ tideover.Millis) (bool, error) {
		key := storeKey(store)
		raw := tx.Bucket(bucketStores).Get(key)
		if raw == nil {
			return false, fmt.Errorf("%q: %w", store, ledger.ErrStoreUnknown)
		}
		var s ledger.Store
		if err := decode(key, raw, &s); err != nil {
			return false, &writeError{err}
		}
		if s.Incarnation != incarnation {
			return false, ledger.ErrSuperseded
		}
		was := s
		s.Terminals = digest
		if err := tx.Bucket(bucketTerminals).Put(key, encode(key, list)); err != nil {
			return false, &writeError{err}
		}
		return true, putStore(tx, key, was, s)
	}})
}

// sortStores orders by name; the file orders by length first.
func sortStores(all []ledger.Store) {
	slices.SortFunc(all, func(a, b ledger.Store) int { return strings.Compare(a.Name, b.Name) })
}
