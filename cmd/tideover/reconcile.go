package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"tideover"
	"tideover/control"
	"tideover/internal/command"
)

func (p *program) reconcileCommand() *command.Command {
	var q control.ReconcileQuery
	var file string
	c := p.jsonFlag(&command.Command{
		Use: "reconcile", Short: p.t("compare tills, journal, hub and platform", "对账：终端、日志、hub 与平台"), Args: p.noArgs,
		Long: p.t("Compares the tills' reports of a day with this router's journal, the hub's ledger and the platform's statement, and lists what differs.\n"+
			"It changes nothing and may be repeated. Exit status 1: something differs, or a side was not heard.\n"+
			"--csv writes every transaction with what each side has of it; amounts are in minor units, times in UTC.",
			"将当天各终端的结算与本路由器日志、hub 账本和平台对账单核对，并列出差异。\n不改变任何数据，可重复执行。退出码 1：存在差异，或有一方未能读取。\n"+
				"--csv 写出每笔交易及各方记录；金额以最小货币单位表示，时间为 UTC。"),
		Example: "  tideover reconcile\n  tideover reconcile --date 2026-05-01 --csv may-1.csv\n  tideover reconcile --json",
		RunE: func(cmd *command.Command, _ []string) error {
			if q.Date != "" {
				if _, err := time.Parse(time.DateOnly, q.Date); err != nil {
					return p.misuse(cmd.CommandPath(), "--date %q: write it as 2026-05-01", "--date %q：请写成 2026-05-01", q.Date)
				}
			}
			if p.json && file == "-" {
				return p.misuse(cmd.CommandPath(), "--json and --csv - both want standard output", "--json 与 --csv - 不能同时写到标准输出")
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			q.All = file != ""
			whole, err := p.reconcileCSV(file, func(write func(tideover.Compared) error) (tideover.Reconciliation, error) {
				return client.Reconcile(cmd.Context(), q, write)
			})
			if err != nil {
				return err
			}
			if file != "-" {
				if err := p.print(whole, func() { p.reconciliation(&whole) }); err != nil {
					return err
				}
			}
			if !whole.Well() {
				return exitStatus(exitRefused)
			}
			return nil
		},
	})
	c.Flags().StringVar(&q.Date, "date", "", p.t("the `DAY`, as 2026-05-01, in this machine's time zone (default today)", "`日期`，如 2026-05-01，按本机时区（默认今天）"))
	c.Flags().StringVar(&file, "csv", "", p.t("write every transaction to `FILE` as CSV; - is standard output", "将每笔交易以 CSV 写入`文件`；- 为标准输出"))
	return c
}

// reconcileCSV runs a comparison that writes every transaction to a file: "" is none, and "-" standard output. The file appears under its
// name once it is whole.
func (p *program) reconcileCSV(
	file string, run func(write func(tideover.Compared) error) (tideover.Reconciliation, error),
) (whole tideover.Reconciliation, err error) {
	if file == "" {
		return run(func(tideover.Compared) error { return nil })
	}
	into := io.Writer(p.out)
	if file != "-" {
		f, err := os.OpenFile(file+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return whole, err
		}
		defer os.Remove(file + ".part") // after the rename there is none
		defer f.Close()
		into = f
	}
	out := bufio.NewWriter(into)
	lines := csv.NewWriter(out)
	if err := lines.Write(comparedNames); err != nil {
		return whole, err
	}
	whole, err = run(func(c tideover.Compared) error { return lines.Write(comparedCells(c)) })
	if err != nil {
		return whole, err
	}
	lines.Flush()
	if err := lines.Error(); err != nil {
		return whole, err
	}
	if err := out.Flush(); err != nil || file == "-" {
		return whole, err
	}
	return whole, os.Rename(file+".part", file)
}

// comparedNames are the columns of a comparison: what it is, and what each side has.
var comparedNames = func() []string {
	names := []string{"id", "terminal", "key", "result", "reason"}
	for _, side := range []string{"till", "journal", "hub", "platform"} {
		for _, what := range []string{"kind", "amount", "currency", "state", "reference", "at"} {
			names = append(names, side+"_"+what)
		}
	}
	return append(names, "platform_executions", "what", "next")
}()

// comparedCells are what one transaction has in each column of [comparedNames]. Of several executions the platform's columns have the first,
// with the references of all.
func comparedCells(c tideover.Compared) []string {
	cells := []string{c.ID.String(), c.Terminal, c.Key, c.Result.String(), c.Reason}
	var first *tideover.Said
	var references []string
	for i := range c.Platform {
		if i == 0 {
			s := c.Platform[0]
			first = &s
		}
		references = append(references, c.Platform[i].Reference)
	}
	if first != nil {
		first.Reference = strings.Join(references, " | ")
	}
	for _, s := range []*tideover.Said{c.Till, c.Journal, c.Hub, first} {
		if s == nil {
			cells = append(cells, "", "", "", "", "", "")
			continue
		}
		kind := ""
		if s.Kind != nil {
			kind = s.Kind.String()
		}
		cells = append(cells, kind, strconv.FormatInt(s.Amount, 10), s.Currency, s.State.String(), s.Reference, instant(s.At))
	}
	cells = append(cells, strconv.Itoa(len(c.Platform)), c.What.En, c.Next.En)
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	return cells
}

// differs shows the verdict of a comparison in the caller's language.
func (p *program) differs(v tideover.Verdict) string {
	zh := map[tideover.Verdict]string{
		tideover.VerdictMatch: "相符", tideover.VerdictOpen: "未结", tideover.VerdictOneSided: "单边", tideover.VerdictMismatch: "不符",
	}[v]
	return p.t(v.String(), zh)
}

// reconciliation shows a day: its sums, which tills have not reported, and what differs with what to do about it.
func (p *program) reconciliation(r *tideover.Reconciliation) {
	p.line(fmt.Sprintf(p.t("%s, %s: %s, %d transactions compared (reconciliation %s)", "%s，%s：%s，共核对 %d 笔（对账编号 %s）"),
		r.Store, r.Date, p.differs(r.Result), r.Compared, r.ID))
	switch {
	case !r.Hub:
		p.line(p.t("the hub was not heard, so that neither its ledger nor the platform is compared: ", "未能读取 hub，因此未核对 hub 账本和平台：") + r.HubWhy)
	case !r.Statement:
		p.line(p.t("the platform gives no statement: ", "平台没有提供对账单：") + orDash(r.HubWhy))
	}
	p.balances(r)
	for _, u := range r.Unreported {
		if u.Reported {
			p.line(fmt.Sprintf(p.t("%s: in none of its reports; transactions since %[3]s: %[2]d", "%s：自 %[3]s 起有 %[2]d 笔交易不在其任何结算中"), u.Terminal, u.Count, when(u.Since)))
			continue
		}
		p.line(fmt.Sprintf(p.t("%s: no day-end report; transactions since %[3]s: %[2]d", "%s：没有日结；自 %[3]s 起有 %[2]d 笔交易"), u.Terminal, u.Count, when(u.Since)))
	}
	if len(r.Findings) == 0 {
		return
	}
	p.line("")
	rows := [][]string{{p.t("RESULT", "结果"), p.t("TRANSACTION", "交易"), p.t("TERMINAL", "终端"), p.t("AMOUNT", "金额"), ""}}
	for i := range r.Findings {
		f := &r.Findings[i]
		rows = append(rows, []string{p.differs(f.Result), f.ID.String(), orDash(f.Terminal), comparedMoney(f), f.What.In(p.in())})
		rows = append(rows, []string{"", "", "", "", p.t("next: ", "处理：") + f.Next.In(p.in())})
	}
	p.sheet(rows)
}

// comparedMoney is the amount by which a person knows a transaction.
func comparedMoney(c *tideover.Compared) string {
	for _, s := range []*tideover.Said{c.Journal, c.Hub, c.Till} {
		if s != nil {
			return tideover.Money(s.Amount, s.Currency)
		}
	}
	if len(c.Platform) > 0 {
		return tideover.Money(c.Platform[0].Amount, c.Platform[0].Currency)
	}
	return "-"
}

// balances shows the sums of every report, and of what is in none.
func (p *program) balances(r *tideover.Reconciliation) {
	rows := [][]string{{
		p.t("TERMINAL", "终端"), p.t("REPORT", "结算时段"), p.t("KIND", "类型"), p.t("TILL", "终端合计"), p.t("JOURNAL", "日志"), "HUB", p.t("PLATFORM", "平台"),
		p.t("RESULT", "结果"),
	}}
	add := func(period string, all []tideover.Balance) {
		for _, b := range all {
			rows = append(rows, []string{
				orDash(b.Terminal), period, p.kind(b.Kind), sum(b.Till, b.Currency), sum(b.Journal, b.Currency), sum(b.Hub, b.Currency), sum(b.Platform, b.Currency),
				p.differs(b.Result),
			})
		}
	}
	for _, rep := range r.Reports {
		period := clock(rep.From, r) + " - " + clock(rep.To, r)
		switch {
		case rep.Superseded:
			rows = append(rows, []string{rep.Terminal, period, "", "", "", "", "", p.t("superseded by a later report", "已被之后的结算取代")})
		case len(rep.Totals) == 0:
			rows = append(rows, []string{rep.Terminal, period, "", "0", "0", "", "", p.differs(rep.Result)})
		default:
			add(period, rep.Totals)
		}
	}
	add(p.t("in no report", "不在结算中"), r.Rest)
	if len(rows) > 1 {
		p.line("")
		p.sheet(rows)
		p.line("")
	}
}

// sum shows how many, and what they come to.
func sum(s *tideover.Sum, currency string) string {
	if s == nil {
		return "-"
	}
	return strconv.FormatInt(s.Count, 10) + ": " + tideover.Money(s.Amount, currency)
}

// clock shows an instant of the day by its time, and one of another day with its date.
func clock(m tideover.Millis, r *tideover.Reconciliation) string {
	if m >= r.From && m < r.To {
		return m.Time().Local().Format("15:04:05")
	}
	return when(m)
}
