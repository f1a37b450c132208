package daemon

import (
	"context"
	"encoding/hex"
	"net/http"
	"slices"

	"tideover"
	"tideover/control"
	"tideover/internal/conf"
	"tideover/queue"
)

// Rules implements control.Backend.
func (r *Router) Rules(ctx context.Context) (control.RulesHistory, error) {
	inForce := r.judge.now.Load().on.Seq
	all, older, err := r.queue.RulesHistory(ctx, control.RulesMax+1)
	if err != nil {
		return control.RulesHistory{}, err
	}
	h := control.RulesHistory{Versions: []control.RulesVersion{}, Older: older}
	for i, version := range all {
		if i == 0 && older > 0 {
			h.Older++ // what had changed in it is not known: it is what the next one is told against
			continue
		}
		v := control.RulesVersion{Rules: rulesOf(version.Rules), InForce: version.Seq == inForce, Judged: version.Judged, Changes: []control.RuleChange{}}
		if v.Values, err = conf.Values(version.Text); err != nil {
			return control.RulesHistory{}, err
		}
		if i > 0 {
			changes, err := conf.DiffText(all[i-1].Text, version.Text)
			if err != nil {
				return control.RulesHistory{}, err
			}
			for _, c := range changes {
				v.Changes = append(v.Changes, control.RuleChange(c))
			}
		}
		h.Versions = append(h.Versions, v)
	}
	slices.Reverse(h.Versions)
	return h, nil
}

func rulesOf(r queue.Rules) control.Rules { return control.Rules{Version: r.Seq, Since: r.At} }

// VerifyJournal implements control.Backend.
func (r *Router) VerifyJournal(ctx context.Context, anchor string) (control.Journal, error) {
	if !r.verifying.TryLock() {
		return control.Journal{}, busy()
	}
	defer r.verifying.Unlock()
	var held heldHeads
	if err := held.give(anchor); err != nil {
		return control.Journal{}, err
	}
	r.holdWelcomed(&held)
	audit, err := r.queue.Verify(ctx, held.anchors...)
	if err != nil {
		return control.Journal{}, err
	}
	j := journalOf(QueuePath(r.config.StateDir), audit, held)
	if anchor == "" { // a head that a person has mistyped is no alarm
		r.noteVerified(j)
	}
	return j, nil
}

// busy answers where one goes through the whole journal already.
func busy() error {
	return control.Refused("busy", tideover.Textf("the journal is being read through already", "日志正在被通读（校验或备份）"),
		tideover.Textf("wait for that, and try again", "请等待其完成后再试"))
}

// holdWelcomed adds the head that the hub has told in its last welcome.
func (r *Router) holdWelcomed(held *heldHeads) {
	if w, at := r.session.lastWelcome(); w.AnchorSeq != 0 {
		held.add(queue.Anchor{Seq: w.AnchorSeq, Hash: w.AnchorHead}, at)
	}
}

// noteVerified raises the alarm of a journal that does not verify, or takes it back.
func (r *Router) noteVerified(j control.Journal) {
	if j.Verified {
		r.flawed.Store(nil)
		return
	}
	r.flawed.Store(&j)
	for _, f := range j.Flaws {
		r.log.Error("the journal does not verify", "entry", f.Entry, "err", f.What.En)
	}
}

// ErrJournalInUse says that a daemon has the journal open.
var ErrJournalInUse = queue.ErrInUse

// VerifyJournal looks at every entry of a journal that no daemon has open. anchor is SEQ:HASH, a head that the hub keeps, or "". What is
// wrong with the file is in what it returns; an error says that there was nothing to look at.
func VerifyJournal(path, anchor string) (control.Journal, error) {
	var held heldHeads
	if err := held.give(anchor); err != nil {
		return control.Journal{}, err
	}
	audit, err := queue.VerifyFile(path, held.anchors...)
	return journalOf(path, audit, held), err
}

// heldHeads are heads of the chain that the hub keeps.
type heldHeads struct {
	anchors []queue.Anchor
	said    []control.JournalAnchor
}

func (h *heldHeads) add(a queue.Anchor, at tideover.Millis) {
	h.anchors = append(h.anchors, a)
	h.said = append(h.said, control.JournalAnchor{Seq: a.Seq, Head: hex.EncodeToString(a.Hash[:]), SaidAt: at})
}

// give takes a head that a person has copied from the hub.
func (h *heldHeads) give(anchor string) error {
	if anchor == "" {
		return nil
	}
	a, err := queue.ParseAnchor(anchor)
	if err != nil {
		return &control.Error{
			Status: http.StatusBadRequest, Code: string(tideover.CodeInvalidRequest),
			What: tideover.Textf("%q is no head of a journal: %v", "%q 不是日志链头：%v", anchor, err),
			Hint: tideover.Textf("copy it from the hub: tideover-hub store show NAME, \"journal seen\"", "请从 hub 复制：tideover-hub store show 门店，“日志位置”"),
		}
	}
	h.add(a, 0)
	return nil
}

func journalOf(path string, a queue.Audit, held heldHeads) control.Journal {
	j := control.Journal{
		Verified: len(a.Flaws) == 0, Path: path, Entries: a.Entries, Transactions: a.Transactions, Pruned: a.Pruned, FirstAt: a.First, LastAt: a.Last,
		Seq: a.Head.Seq, Head: hex.EncodeToString(a.Head.Hash[:]), Newer: a.Newer, Unreadable: a.Unreadable,
		Anchors: append([]control.JournalAnchor{}, held.said...), Flaws: []control.Flaw{},
	}
	for _, f := range a.Flaws {
		j.Flaws = append(j.Flaws, control.Flaw(f))
	}
	return j
}
