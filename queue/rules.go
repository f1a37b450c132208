package queue

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"

	"tideover"
	"tideover/edge"
)

const (
	// RulesMax is the longest text of rules that goes on record, in bytes; [Queue.SetRules] refuses a longer one. Every configuration that is
	// well has room in it: 32 methods with all their words are about half of it.
	RulesMax = 256 << 10
	// rulesShownMax bounds the texts that [Queue.RulesHistory] holds in memory; older versions are left out.
	rulesShownMax = 4 << 20
)

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

// RulesHistory returns the newest versions of the rules on record, oldest first: most of them, or fewer where their texts are long; and how
// many older ones there are. It reads the whole journal, a few thousand entries in one look, and holds up no commit. Errors: ErrStopped,
// ctx's, or ErrDamaged.
func (q *Queue) RulesHistory(ctx context.Context, most int) (versions []RulesVersion, older int, err error) {
	judged := make(map[uint64]int)
	bytes := 0
	_, err = q.eachEntry(ctx, func(seq uint64, raw []byte, _ [hashSize]byte, _ []byte) error {
		e, err := decodeEvent(raw)
		switch {
		case err != nil:
			return err
		case e.Type == edge.EventRules:
			versions = append(versions, RulesVersion{Rules: Rules{Seq: seq, At: e.At, Text: e.Rules}})
			judged[seq] = 0
			for bytes += len(e.Rules); len(versions) > most || bytes > rulesShownMax; older++ {
				bytes -= len(versions[0].Text)
				delete(judged, versions[0].Seq)
				versions = versions[1:]
			}
		case e.Type == edge.EventAccepted && e.Accepted != nil && e.Accepted.Rules != 0:
			if n, kept := judged[e.Accepted.Rules]; kept {
				judged[e.Accepted.Rules] = n + 1
			}
		}
		return nil
	}, noRest)
	for i := range versions {
		versions[i].Judged = judged[versions[i].Seq]
	}
	return versions, older, err
}
