package main

import (
	"fmt"
	"strconv"
	"strings"

	"tideover"
	"tideover/control"
	"tideover/internal/command"
)

func (p *program) statusCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "status", Short: p.t("show how the running daemon is", "查看守护进程的状态"), Args: p.noArgs,
		Long: p.t("Shows how the running daemon is on one screen: what is wrong and what to do first, then the facts.\n"+
			"It exits with 0 if all is well, with 1 if something needs attention, and with 3 if no daemon answers.",
			"在一屏内显示守护进程的状态：先说问题和处理办法，再列明细。\n一切正常时退出码为 0，需要处理时为 1，守护进程没有应答时为 3。"),
		Example: "  tideover status\n  tideover status --json",
		RunE: func(cmd *command.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := p.print(s, func() { p.statusScreen(s) }); err != nil {
				return err
			}
			if !s.Verdict.Well {
				return exitStatus(exitRefused)
			}
			return nil
		},
	})
}

// statusScreen is the one screen: the verdict, what to do, then the facts.
func (p *program) statusScreen(s control.Status) {
	p.line(p.verdict(s))
	for _, f := range s.Verdict.Findings {
		sign := "  ! "
		if f.Note {
			sign = "  - "
		}
		p.line(sign + f.What.In(p.in()))
		if next := f.Next.In(p.in()); next != "" {
			p.line("    " + next)
		}
	}
	p.line("")
	rows := [][]string{
		{p.t("store", "门店"), fmt.Sprintf(p.t("%s (tideover %s, process %d, up %s)", "%s（tideover %s，进程 %d，已运行 %s）"), s.Store, s.Version, s.PID, ago(s.StartedAt, s.Now))},
		{p.t("hub", "hub"), p.hubLine(s)},
		{p.t("queue", "队列"), p.queueLine(s)},
	}
	for _, u := range s.Uplinks {
		rows = append(rows, []string{p.t("uplink ", "链路 ") + u.Name, p.uplinkLine(u, s.Now)})
	}
	selling := p.t("takes sales", "可收款")
	if !s.Endpoint.Accepting {
		selling = p.t("takes no sales", "暂停收款")
	}
	rows = append(rows,
		[]string{p.t("endpoint", "终端接口"), strings.Join([]string{s.Endpoint.Listen, s.Endpoint.Access, "tls " + s.Endpoint.TLS, selling}, p.t(", ", "，"))},
		[]string{p.t("terminals", "终端"), fmt.Sprintf(p.t("%d paired, %d revoked", "已配对 %d，已作废 %d"), s.Terminals.Paired, s.Terminals.Revoked)},
		[]string{p.t("rules", "规则"), p.rulesLine(&s.Rules)},
		[]string{p.t("storage", "存储"), fmt.Sprintf(p.t("%s, %s, %s of it free inside; disk %s free; event %d, %d commits since the start",
			"%s，%s，其中内部空闲 %s；磁盘剩余 %s；第 %d 条记录，启动以来提交 %d 次"),
			s.Storage.Path, size(s.Storage.FileBytes), size(s.Storage.InsideBytes), size(s.Storage.FreeBytes), s.Storage.Seq, s.Storage.Commits)},
		[]string{p.t("key", "密钥"), p.keysLine(s.Keys)},
		[]string{p.t("certificate", "证书"), fmt.Sprintf(p.t("until %s", "有效至 %s"), when(s.Certificate.NotAfter))},
	)
	p.sheet(rows)
}

// verdict is the first line.
func (p *program) verdict(s control.Status) string {
	if s.Verdict.Well {
		return p.t("all is well", "一切正常")
	}
	wrong := 0
	for _, f := range s.Verdict.Findings {
		if !f.Note {
			wrong++
		}
	}
	return fmt.Sprintf(p.t("degraded: %d thing(s) need attention", "需要处理：%d 项"), wrong)
}

func (p *program) hubLine(s control.Status) string {
	if !s.Hub.Connected {
		if s.Hub.Since == 0 {
			return p.t("not reached", "未连接")
		}
		return fmt.Sprintf(p.t("not reached for %s", "已断开 %s"), ago(s.Hub.Since, s.Now))
	}
	return fmt.Sprintf(p.t("connected over %s to %s for %s", "经 %s 连接到 %s，已 %s"), s.Hub.Uplink, s.Hub.Address, ago(s.Hub.Since, s.Now))
}

// queueLine sums the queue up: what waits, in which states, how much money, and what tills have not shown yet.
func (p *program) queueLine(s control.Status) string {
	q := s.Queue
	line := p.t("nothing waits", "没有未决交易")
	if q.Pending > 0 {
		var states []string
		for _, name := range sortedKeys(q.ByState) {
			var state tideover.State
			if state.UnmarshalText([]byte(name)) == nil && !state.Final() && q.ByState[name] > 0 {
				states = append(states, strconv.Itoa(q.ByState[name])+" "+p.state(state))
			}
		}
		var amounts []string
		for _, currency := range sortedKeys(q.OpenAmounts) {
			amounts = append(amounts, tideover.Money(q.OpenAmounts[currency], currency))
		}
		line = fmt.Sprintf(p.t("%d wait (%s), %s, the oldest for %s", "%d 笔未决（%s），%s，最早 %s 前"), q.Pending,
			strings.Join(states, p.t(", ", "，")), orDash(strings.Join(amounts, " + ")), ago(q.OldestAt, s.Now))
	}
	if q.Unacknowledged > 0 {
		line += fmt.Sprintf(p.t("; %d ended and not acknowledged by their tills", "；%d 笔已有结果，终端尚未确认"), q.Unacknowledged)
	}
	if q.NotHandedOver > 0 {
		line += fmt.Sprintf(p.t(", %d of them paid, not handed over", "，其中 %d 笔已付款未交付"), q.NotHandedOver)
	}
	return line
}

func (p *program) uplinkLine(u control.Uplink, now tideover.Millis) string {
	facts := []string{p.t("down", "不通")}
	if u.Connected {
		facts[0] = p.t("up", "通")
	}
	if u.Since != 0 {
		facts[0] += " " + ago(u.Since, now)
	}
	if u.Interface != "" && u.Interface != u.Name {
		facts = append(facts, u.Interface)
	}
	if u.Connected && u.RTTMillis > 0 {
		facts = append(facts, strconv.FormatFloat(u.RTTMillis, 'f', 1, 64)+" ms")
	}
	if u.Address != "" {
		facts = append(facts, u.Address)
	}
	if u.Error != "" && !u.Connected {
		facts = append(facts, u.Error)
	}
	return strings.Join(facts, p.t(", ", "，"))
}

// rulesLine names a version of the shop's rules.
func (p *program) rulesLine(r *control.Rules) string {
	switch {
	case r == nil:
		return ""
	case r.Version == 0:
		return p.t("not on record: the disk is full", "未记录：磁盘已满")
	default:
		return fmt.Sprintf(p.t("version %d, in force since %s", "版本 %d，自 %s 生效"), r.Version, when(r.Since))
	}
}
