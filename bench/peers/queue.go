package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"tideover"
	"tideover/edge"
	"tideover/queue"
)

// The queue's store and the size up to which its file may grow, which no round reaches.
const (
	shop         = "shop-0001"
	queueSizeMax = 4 << 30
)

// queuePayloadBytes makes an entry of the journal at least as large as the others' records: what it has beside the payload (id, hash, key,
// till, amounts, the chain) is some 250 bytes.
const queuePayloadBytes = 350

// queueStore is the product's own queue, as the edge opens it; its rules let everything through.
type queueStore struct {
	q    *queue.Queue
	stop context.CancelFunc
	ran  sync.WaitGroup
	err  error // of Run
}

func openQueue(_ context.Context, dir string, _ int) (store, error) {
	path, key := filepath.Join(dir, "queue.db"), queue.OneKey([32]byte{1})
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := queue.Create(path, key, queue.Ident{Store: shop}); err != nil {
			return nil, err
		}
	}
	q, err := queue.Open(queue.Options{Path: path, Key: key, Store: shop, SizeMax: queueSizeMax})
	if err != nil {
		return nil, err
	}
	// It runs until it is closed: what was submitted before is still committed.
	ctx, stop := context.WithCancel(context.Background())
	s := &queueStore{q: q, stop: stop}
	s.ran.Go(func() { s.err = q.Run(ctx) })
	return s, nil
}

func (s *queueStore) put(ctx context.Context, client int, number uint64) error {
	till, key := "till-"+strconv.Itoa(client), strconv.FormatUint(number, 10)
	_, err := s.q.Accept(ctx, edge.Draft{
		ID: tideover.MakeID(shop, till, key), TerminalUID: till, Terminal: till, Key: key, Hash: [32]byte{1},
		Request: tideover.Request{
			Kind: tideover.KindSale, Amount: 1299, Currency: "CNY", Method: "qr", Order: "A-" + key,
			ExpiresIn: 45 * time.Second, Payload: record(number)[:queuePayloadBytes],
		},
		CreatedAt: tideover.MillisOf(time.Now()),
	}, func(queue.View) error { return nil })
	return err
}

func (s *queueStore) whole(context.Context) (numbers []uint64, err error) {
	for after := ""; ; {
		page, next, err := s.q.List(queue.Filter{After: after})
		if err != nil {
			return nil, err
		}
		for _, t := range page {
			p, err := s.q.Parcel(t.ID)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.ID, err)
			}
			number, err := strconv.ParseUint(t.Key, 10, 64)
			if err == nil && string(p.Request.Payload) == string(record(number)[:queuePayloadBytes]) {
				numbers = append(numbers, number)
			}
		}
		if next == "" {
			return numbers, nil
		}
		after = next
	}
}

func (s *queueStore) close() error {
	s.stop()
	s.ran.Wait()
	return errors.Join(s.err, s.q.Close())
}
