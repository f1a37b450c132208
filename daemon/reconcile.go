package daemon

import (
	"context"
	"errors"
	"time"

	"tideover"
	"tideover/control"
	"tideover/reconcile"
	"tideover/wire"
)

// Reconcile implements control.Backend: every side is read anew, and nothing is changed.
func (r *Router) Reconcile(
	ctx context.Context, q control.ReconcileQuery, each func(tideover.Compared) error,
) (tideover.Reconciliation, error) {
	date, from, to, err := dateOf(q.Date, time.Now())
	if err != nil {
		return tideover.Reconciliation{}, err
	}
	if pruned := r.queue.Pruned(); from <= pruned {
		return tideover.Reconciliation{}, notSoFar(pruned)
	}
	leave, err := r.books.enter(ctx)
	if err != nil {
		return tideover.Reconciliation{}, err
	}
	defer leave()
	day, err := r.books.day(ctx, r.id.Store, date, from, to)
	switch {
	case errors.Is(err, errTooMany):
		return tideover.Reconciliation{}, control.Refused("too_many_transactions",
			tideover.Textf("more than %d transactions are in that day and in the reports that touch it", "当天及相关结算时段内超过 %d 笔交易", booksEntriesMax),
			tideover.Textf("compare them elsewhere: tideover queue export", "请导出后另行核对：tideover queue export"))
	case err != nil:
		return tideover.Reconciliation{}, err
	}
	out, lines := reconcile.Day(day)
	if q.All {
		for _, l := range lines {
			if err := each(l); err != nil {
				return tideover.Reconciliation{}, err
			}
		}
	}
	r.log.Info("reconciled", "date", out.Date, "result", out.Result.String(), "compared", out.Compared, "differ", len(out.Findings),
		"unreported", len(out.Unreported), "hub", out.Hub, "statement", out.Statement)
	return out, nil
}

// notSoFar refuses a comparison of a time of which the journal does not have everything any more.
func notSoFar(pruned tideover.Millis) error {
	return control.Refused("journal_pruned",
		tideover.Textf("the journal does not reach back so far: of what was accepted until %s, transactions have left it", "日志已不含该日：%s 及以前受理的交易已按保留期清理",
			pruned.Time().In(time.Local).Format(time.DateTime)),
		tideover.Textf("compare a later day, or look a transaction up at the hub: tideover-hub transaction show ID; retention.final says how long the journal keeps what is over",
			"请核对更晚的日期，或在 hub 查询单笔：tideover-hub transaction show ID；保留期由 retention.final 决定"))
}

// dateOf reads a day of the router's time zone; "" is today. One that has not begun is refused.
func dateOf(date string, now time.Time) (name string, from, to tideover.Millis, err error) {
	if date == "" {
		date = now.In(time.Local).Format(time.DateOnly)
	}
	day, err := time.ParseInLocation(time.DateOnly, date, time.Local)
	if err != nil || day.After(now) || day.Year() < 2000 {
		return "", 0, 0, control.Refused("invalid_date", tideover.Textf("%q is no day that has begun", "%q 不是已开始的日期", date),
			tideover.Textf("write it as %s", "请写成 %s", now.Format(time.DateOnly)))
	}
	from, to = dayOf(tideover.MillisOf(day))
	return date, from, to, nil
}

// day reads what all sides have of a day. The journal is read first: what it has an end of by then, the ledger has an end of too. Its
// books reach as far as the reports that touch the day do, so that each of them is compared whole.
func (b *books) day(ctx context.Context, store, date string, from, to tideover.Millis) (*reconcile.DayBooks, error) {
	day := &reconcile.DayBooks{Store: store, Date: date, From: from, To: to, Lookup: b.lookup}
	for _, r := range b.queue.Reports(from, to) {
		day.Reports = append(day.Reports, reportOf(&r))
	}
	items := 0
	for i, void := range reconcile.Superseded(day.Reports) {
		r, err := b.queue.ReadReport(day.Reports[i].ID)
		if err == nil && r.Unreadable && !void && len(r.Totals) == 0 {
			err = itemsLost(r.ID) // else its totals are compared
		}
		if err != nil {
			return nil, err
		}
		if void {
			r.Totals, r.Items = nil, nil // it is named, and not compared
		} else {
			from, to = min(from, r.From), max(to, r.To)
		}
		if items += len(r.Items); items > booksItemsMax {
			return nil, errTooMany
		}
		day.Reports[i] = reportOf(&r)
	}
	// What begins now is not yet part of any side.
	if now := tideover.MillisOf(time.Now()); to > now {
		to = max(now, from+1)
	}
	var err error
	if day.Journal, err = b.journal(ctx, from, to, ""); err != nil {
		return nil, err
	}
	day.Hub, day.Platform, day.HubWhy, err = b.hubSides(ctx, wire.Reconcile{From: max(from, 1), To: to}, "", day.Journal, hubDayMax)
	return day, err
}
