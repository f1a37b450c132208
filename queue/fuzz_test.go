package queue

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"tideover/edge"
)

// FuzzOpen writes over a part of a good file. Whatever comes of it, opening it neither panics nor kills the process; what opens is
// sound to bbolt, too, and verifies; what does not open does not verify.
func FuzzOpen(f *testing.F) {
	var good [][]byte // of each schema
	all := 0
	for _, file := range golden {
		image, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		good = append(good, image)
		all += len(image)
	}
	f.Add(uint32(16), []byte{0xED, 0xDA, 0x0C, 0xED})
	f.Add(uint32(2*pageSize), []byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0})
	f.Add(uint32(3*pageSize+8), []byte{1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0})
	f.Add(uint32(all-1), []byte{0})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		which := 0
		for at %= uint32(all); int(at) >= len(good[which]); which++ {
			at -= uint32(len(good[which]))
		}
		image := bytes.Clone(good[which])
		copy(image[at:], patch)
		path := filepath.Join(t.TempDir(), "queue.db")
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		verified, said := VerifyFile(path)
		q, err := Open(Options{Path: path, Key: testKey, Store: testStore})
		if well := said == nil && len(verified.Flaws) == 0; well != (err == nil) {
			t.Fatalf("a verification says %v %+v, and an open %v", said, verified.Flaws, err)
		}
		if err != nil {
			return
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, path)
	})
}

// FuzzEvent reads anything as an entry's value; what is read says the same when it is written again.
func FuzzEvent(f *testing.F) {
	for _, e := range []edge.Event{
		{Type: edge.EventMark, At: 1},
		{Type: edge.EventRules, At: 1, Rules: "[limits]\nsale_max = 5\n"},
		{Type: edge.EventEnded, At: 1, ID: [16]byte{1}, Prev: 2, From: 3, Cause: 13, HubSeq: 4, Attempts: 1, Uplink: "eth1"},
	} {
		f.Add(append(encodeValue(encodeEvent(&e), [32]byte{1}), "sealed"...))
	}
	d := draft("till", "k")
	e := edge.Accept(&d)
	f.Add(encodeValue(encodeEvent(&e), [32]byte{2}))
	f.Fuzz(func(t *testing.T, v []byte) {
		raw, hash, rest, err := splitValue(v)
		if err != nil {
			return
		}
		e, err := decodeEvent(raw)
		if err != nil {
			return
		}
		again, err := decodeEvent(encodeEvent(&e))
		if err != nil || !bytes.Equal(encodeEvent(&again), encodeEvent(&e)) {
			t.Fatalf("%x: %v", raw, err)
		}
		if have, link, none, err := splitValue(encodeValue(raw, hash)); err != nil || !bytes.Equal(have, raw) || link != hash || len(none) > 0 || len(rest) > len(v) {
			t.Fatalf("%x: %v", v, err)
		}
	})
}
