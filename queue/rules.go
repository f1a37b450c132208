package queue

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"tideover"
	"tideover/edge"
)

// RulesMax is the longest text of rules that goes on record, in bytes; [Queue.SetRules] refuses a longer one.
const RulesMax = 32 << 10

// Rules are one version of the shop's rules, as it is on record.
type Rules struct {
	Seq  uint64          // of its entry in the journal; 0 where none is on record
	At   tideover.Millis // when it was put there, the edge's wall clock
	Text string          // every rule with its value; the queue only compares it
}

// SetRules puts the rules that judge from here on on record, and returns that version once it is synced. Where the newest on record are the
// same, that is the version, and nothing is written. Errors: storage_full, ErrStopped, ctx's, after which it may be on record; and a
// text that is longer than [RulesMax].
func (q *Queue) SetRules(ctx context.Context, text string) (Rules, error) {
	if len(text) > RulesMax {
		return Rules{}, fmt.Errorf("the rules are %d bytes long, and at most %d go on record: leave some out", len(text), RulesMax)
	}
	var set Rules // the committer's, also after ctx has ended
	add := entry{event: &edge.Event{Type: edge.EventRules, Rules: text}}
	call := &request{ctx: ctx, class: classOwn, size: add.bytes()}
	call.prepare = func(b *batch) error {
		switch {
		case b.rules:
			return errLater
		case q.rules.Seq != 0 && q.rules.Text == text:
			call.class, set = classFlush, q.rules
			return nil
		}
		add.event.At, add.seq = now(), q.seq+1
		if !b.add(add, reserve) {
			return storageFull()
		}
		q.draw()
		b.rules, set = true, Rules{Seq: add.seq, At: add.event.At, Text: text}
		return nil
	}
	if err := q.submit(call); err != nil {
		return Rules{}, err
	}
	return set, nil
}

// Rules returns the newest version of the rules on record; its Seq is 0 where there is none.
func (q *Queue) Rules() Rules {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.rules
}

// RulesAt returns the version of the rules whose entry has that sequence. Errors: ErrUnknown, ErrStopped, or ErrDamaged.
func (q *Queue) RulesAt(seq uint64) (Rules, error) {
	has := false
	err := q.db.View(func(tx *bbolt.Tx) error {
		has = tx.Bucket(bucketJournal).Get(seqKey(seq)) != nil
		return nil
	})
	switch {
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return Rules{}, ErrStopped
	case err != nil:
		return Rules{}, err
	case !has:
		return Rules{}, ErrUnknown
	}
	e, _, err := q.read(seq)
	if err == nil && e.Type != edge.EventRules {
		err = ErrUnknown
	}
	return Rules{Seq: seq, At: e.At, Text: e.Rules}, err
}

// RulesVersion is a version of the rules, and how much it judged.
type RulesVersion struct {
	Rules
	Judged int // transactions that were accepted under it
}

// RulesHistory returns every version of the rules on record, oldest first. It reads the whole journal, a few thousand entries in one look, and
// holds up no commit. Errors: ErrStopped, ctx's, or ErrDamaged.
func (q *Queue) RulesHistory(ctx context.Context) (versions []RulesVersion, err error) {
	at := make(map[uint64]int)
	_, err = q.eachEntry(ctx, func(seq uint64, raw []byte, _ [hashSize]byte, _ []byte) error {
		e, err := decodeEvent(raw)
		switch {
		case err != nil:
			return err
		case e.Type == edge.EventRules:
			at[seq] = len(versions)
			versions = append(versions, RulesVersion{Rules: Rules{Seq: seq, At: e.At, Text: e.Rules}})
		case e.Type == edge.EventAccepted && e.Accepted != nil && e.Accepted.Rules != 0:
			if i, ok := at[e.Accepted.Rules]; ok {
				versions[i].Judged++
			}
		}
		return nil
	})
	return versions, err
}
