package main

import (
	"fmt"
	"strconv"
	"strings"

	"tideover"
	"tideover/control"
	"tideover/internal/command"
)

func (p *program) queueCommand() *command.Command {
	return p.group("queue", p.t("the transactions in this router's journal", "查看和处理本机日志中的交易"), "  tideover queue list --state in_doubt",
		p.listQueue(), p.showQueue(), p.holdCommand(), p.releaseCommand(), p.retryCommand(), p.cancelCommand(), p.settleCommand(),
		p.dropCommand(), p.exportQueue())
}

func (p *program) listQueue() *command.Command {
	var state string
	var f control.Filter
	c := p.jsonFlag(&command.Command{
		Use: "list", Short: p.t("list transactions, the newest first", "列出交易，最新的在前"), Args: p.noArgs,
		Long:    p.t("Lists transactions, the newest first.\n\nStates: ", "列出交易，最新的在前。\n\n状态：") + p.stateList(),
		Example: "  tideover queue list --state in_doubt\n  tideover queue list --terminal till-1 --limit 20 --json\n  tideover queue list --not-handed-over",
		RunE: func(cmd *command.Command, _ []string) error {
			if state != "" {
				if err := f.State.UnmarshalText([]byte(state)); err != nil {
					return p.misuse(cmd.CommandPath(), "there is no state %q", "没有状态 %q", state)
				}
			}
			if f.Limit < 1 || f.Limit > control.ListMax {
				return p.misuse(cmd.CommandPath(), "--limit is a number from 1 to %d", "--limit 应为 1 到 %d", control.ListMax)
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			page, err := client.List(cmd.Context(), f)
			if err != nil {
				return err
			}
			return p.print(page, func() { p.transactionTable(page) })
		},
	})
	c.Flags().StringVar(&state, "state", "", p.t("only those in this `STATE`", "只列出该`状态`的交易"))
	var states []string
	for _, s := range tideover.States() {
		states = append(states, s.String())
	}
	command.Offer(c.Flags(), "state", states...)
	c.Flags().StringVar(&f.Terminal, "terminal", "", p.t("only those of the till of this `NAME`", "只列出该`终端`的交易"))
	c.Flags().BoolVar(&f.NotHandedOver, "not-handed-over", false,
		p.t("only those paid, not handed over: approved, and no till has acknowledged it", "只列出已付款未交付的交易：已成功，但没有终端确认"))
	c.Flags().IntVar(&f.Limit, "limit", control.ListDefault, p.t("at most `N`", "最多 `N` 笔"))
	c.Flags().StringVar(&f.After, "after", "", p.t("what follows the `PLACE` where another list ended", "从上一页结束的`位置`之后继续"))
	return c
}

func (p *program) transactionTable(page control.Page) {
	if len(page.Transactions) == 0 {
		fmt.Fprintln(p.err, p.t("there is none", "没有符合条件的交易"))
		return
	}
	rows := [][]string{{
		p.t("TRANSACTION", "交易"), p.t("STATE", "状态"), p.t("KIND", "类型"), p.t("AMOUNT", "金额"), p.t("TERMINAL", "终端"), p.t("ORDER", "订单"),
		p.t("ACCEPTED", "受理时间"), "",
	}}
	for _, t := range page.Transactions {
		rows = append(rows, []string{
			t.ID.String(), p.state(t.State), p.kind(t.Kind), tideover.Money(t.Amount, t.Currency), t.Terminal, orDash(t.Order), when(t.CreatedAt),
			p.mark(t),
		})
	}
	p.sheet(rows)
	if page.Next != "" {
		fmt.Fprintf(p.err, p.t("more follow: --after %s\n", "还有更多：--after %s\n"), page.Next)
	}
}

// mark is what a technician must not overlook of a transaction.
func (p *program) mark(t control.Transaction) string {
	if t.NotHandedOver {
		return p.t("paid, not handed over", "已付款未交付")
	}
	return ""
}

func (p *program) showQueue() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "show ID", Short: p.t("show a transaction and its history", "查看一笔交易及其经过"), Args: p.oneArg("ID"),
		Example: "  tideover queue show 8m3k0q6tq2v9c4x1n5r7w8y0zc\n  tideover queue show 8m3k0q --json",
		RunE: func(cmd *command.Command, args []string) error {
			client, err := p.clientAbout(args[0])
			if err != nil {
				return err
			}
			d, err := client.Show(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return p.print(d, func() { p.transactionSheet(d) })
		},
	})
}

// transactionSheet shows one transaction: what it is, where it stands, and what became of it step by step.
func (p *program) transactionSheet(d control.Detail) {
	t := d.Transaction
	about := facts{program: p}
	row := about.add
	row("transaction", "交易", t.ID.String())
	row("state", "状态", p.state(t.State))
	row("kind", "类型", p.kind(t.Kind))
	row("amount", "金额", tideover.Money(t.Amount, t.Currency))
	row("terminal", "终端", t.Terminal)
	row("key", "幂等键", t.Key)
	row("method", "方式", t.Method)
	row("order", "订单", t.Order)
	row("operator", "操作员", t.Operator)
	if !t.Original.IsZero() {
		row("undoes", "原交易", t.Original.String())
	}
	waits := t.WaitingFor
	if waits == "customer" {
		waits = p.t("the customer", "顾客输入")
	}
	row("waits for", "等待", waits)
	if o := t.Outcome; o != nil {
		row("outcome", "结果", strings.TrimSpace(o.Code+" "+o.Message))
		row("reference", "平台单号", o.Reference)
		row("recorded", "记录时间", when(o.At))
	}
	if t.Corrected {
		row("corrected", "已更正", p.t("this end replaces another that was told", "此结果取代了先前告知的结果"))
	}
	row("attention", "注意", p.mark(t))
	row("accepted", "受理时间", when(t.CreatedAt))
	row("changed", "更新时间", when(t.UpdatedAt))
	row("rules", "规则", p.rulesLine(d.Rules))
	row("attempts", "发送次数", strings.TrimSpace(strconv.Itoa(t.Attempts)+" "+t.Uplink))
	row("delivered", "已送达终端", p.yes(t.Delivered))
	row("acknowledged", "终端已确认", p.yes(t.Acknowledged))
	p.sheet(about.rows)
	if len(d.History) == 0 {
		return
	}
	p.line("")
	steps := [][]string{{p.t("EVENT", "序号"), p.t("TIME", "时间"), p.t("WHAT", "事件"), p.t("STATE", "状态"), p.t("BY", "来自"), ""}}
	for _, e := range d.History {
		steps = append(steps, []string{strconv.FormatUint(e.Seq, 10), when(e.At), p.event(e.Event), p.state(e.State), orDash(e.By), e.Detail})
	}
	p.sheet(steps)
}
