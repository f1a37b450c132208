package rounds

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func TestPress_CountsAndStops(t *testing.T) {
	took, err := Press(t.Context(), 3, Each(5), func(context.Context, int) error { return nil })
	if err != nil || took.PerSec <= 0 || took.P50 > took.P99 {
		t.Errorf("%+v, %v", took, err)
	}
}

func TestSpreadOf_IsTheMedianAndItsRange(t *testing.T) {
	if got := SpreadOf([]float64{3, 1, 2}); got != (Spread{Median: 2, Low: 1, High: 3}) {
		t.Errorf("%+v", got)
	}
	if got, want := Ratio(3*time.Second, 2*time.Second), 1.5; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestCommitter_AnswersAWriterAfterHisRecordIsWritten(t *testing.T) {
	written := map[string]bool{}
	var batches int
	c := NewCommitter(func(records [][]byte) error {
		batches++
		for _, r := range records {
			written[string(r)] = true
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	ran.Go(func() { c.Run(ctx) })
	const tills, times = 8, 50
	var records [tills * times]string
	_, err := Press(t.Context(), tills, Each(times), func(_ context.Context, till int) error {
		record := fmt.Sprint(till, rand.Int64())
		for i := till * times; ; i++ {
			if records[i] == "" {
				records[i] = record
				return c.Commit([]byte(record))
			}
		}
	})
	stop()
	ran.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if !written[r] {
			t.Errorf("%q was answered and is not written", r)
		}
	}
	if batches > tills*times {
		t.Errorf("%d batches of %d records", batches, tills*times)
	}
}

func TestFloor_FailsOnceItsFileIsGone(t *testing.T) {
	f, err := NewFloor(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go f.Run(ctx)
	if err := f.Commit(make([]byte, RecordBytes)); err != nil {
		t.Errorf("a record: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(make([]byte, RecordBytes)); err == nil {
		t.Error("a record was taken by a file that is closed")
	}
}
