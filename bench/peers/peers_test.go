package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover/bench/rounds"
)

// TestPeers_HoldWhatTheyAnswered keeps the comparison honest: whoever answers has the record, whole, after a reopen.
func TestPeers_HoldWhatTheyAnswered(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			if why := p.absent(); why != "" {
				t.Skip(why)
			}
			dir := passable(t)
			const clients, times = 8, 25
			s, err := p.open(t.Context(), dir, clients)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var answered []uint64
			_, err = rounds.Press(t.Context(), clients, rounds.Each(times), func(ctx context.Context, client int) error {
				mu.Lock()
				number := uint64(len(answered) + 1)
				answered = append(answered, number)
				mu.Unlock()
				return s.put(ctx, client, number)
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
			if s, err = p.open(t.Context(), dir, clients); err != nil {
				t.Fatal(err)
			}
			found, err := s.whole(t.Context())
			if err != nil {
				t.Error(err)
			}
			if slices.Sort(found); !slices.Equal(found, answered) {
				t.Errorf("%d records were answered and %d are there, whole", len(answered), len(found))
			}
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// passable is a folder whose parents others may go through.
func passable(t *testing.T) string {
	dir, err := os.MkdirTemp("", "peers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestMeasure_HasARowForEachPeerAndCount(t *testing.T) {
	section, err := measure(t.Context(), options{rounds: 1, each: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		want := len(clientCounts)
		if why := p.absent(); why != "" {
			want = 0
			if !strings.Contains(section, p.name+": "+why) {
				t.Errorf("it is not said why %s is not measured", p.name)
			}
		}
		if rows := strings.Count(section, " | "+p.name+" | "); rows != want {
			t.Errorf("%s has %d rows, want %d:\n%s", p.name, rows, want, section)
		}
	}
}

func TestRecord_IsKnownByItsNumberAlone(t *testing.T) {
	b := record(7)
	if n, ok := numberOf(b); !ok || n != 7 || len(b) != rounds.RecordBytes {
		t.Errorf("record 7 reads as %d, %v, and has %d bytes", n, ok, len(b))
	}
	b[300] ^= 1
	if _, ok := numberOf(b); ok {
		t.Error("a record with a changed byte passes as whole")
	}
}
