package main

import (
	"errors"

	"tideover"
	"tideover/control"
	"tideover/internal/command"
)

// act makes the command of one action from what its help says. outcome says in words what became of the transaction; ok is false where
// that is not what was asked for.
func (p *program) act(verb control.Verb, c *command.Command, outcome func(control.Action, control.Transaction) (words tideover.Text, ok bool)) *command.Command {
	a := control.Action{Verb: verb}
	var as string
	c.Args = p.oneArg("ID")
	c.Flags().StringVar(&a.Reason, "reason", "", p.t("`TEXT` that goes on record with who did it", "与操作人一起记入日志的`原因`"))
	if verb == control.VerbSettle {
		c.Flags().StringVar(&as, "as", "", p.t("`END`: approved, declined or reversed", "`结果`：approved、declined 或 reversed"))
		command.Offer(c.Flags(), "as", "approved", "declined", "reversed")
	}
	c.RunE = func(cmd *command.Command, args []string) error {
		if err := p.readID(args[0]); err != nil {
			return err
		}
		if as != "" && a.As.UnmarshalText([]byte(as)) != nil {
			return p.misuse(cmd.CommandPath(), "--as %q: approved, declined and reversed are known", "--as %q：仅支持 approved、declined 和 reversed", as)
		}
		if e, bad := errors.AsType[*control.Error](a.Check()); bad {
			return p.misuse(cmd.CommandPath(), "%[1]s", "%[2]s", e.What.En, e.What.Zh)
		}
		client, err := p.client()
		if err != nil {
			return err
		}
		d, err := client.Act(cmd.Context(), args[0], a)
		if err != nil {
			return err
		}
		if err := p.print(d, func() { p.sheet([][]string{{d.Transaction.ID.String(), p.state(d.Transaction.State)}}) }); err != nil {
			return err
		}
		words, ok := outcome(a, d.Transaction)
		p.note(words)
		if !ok {
			return exitStatus(exitRefused)
		}
		return nil
	}
	return p.jsonFlag(c)
}

// note says something to the person who typed the command.
func (p *program) note(words tideover.Text) { _, _ = p.err.Write([]byte(words.In(p.in()) + "\n")) }

func (p *program) holdCommand() *command.Command {
	return p.act(control.VerbHold, &command.Command{
		Use: "hold ID", Short: p.t("keep a transaction back that is queued or in doubt", "暂停一笔待发或待查的交易"),
		Example: "  tideover queue hold 8m3k0q",
	}, func(_ control.Action, t control.Transaction) (tideover.Text, bool) {
		return tideover.Textf("it is kept back until: tideover queue release %s", "该交易已暂停；恢复请执行：tideover queue release %s", t.ID), true
	})
}

func (p *program) releaseCommand() *command.Command {
	return p.act(control.VerbRelease, &command.Command{
		Use: "release ID", Short: p.t("let go what is held, or what needs a person", "恢复已暂停或需人工处理的交易"),
		Long: p.t("Lets a transaction go that is held, or that a restored journal has left for a person to look at. The hub is asked first; what it does\n"+
			"not know is sent, unless it has expired.",
			"恢复一笔已暂停的交易，或日志恢复后需人工确认的交易。系统先向 hub 查询；hub 没有记录且未过期的交易会重新发送。"),
		Example: "  tideover queue release 8m3k0q --reason 'not sold on the old router'",
	}, func(control.Action, control.Transaction) (tideover.Text, bool) {
		return tideover.Textf("it is asked about, and sent where the hub does not know it", "正在向 hub 查询；hub 没有记录时会发送"), true
	})
}

func (p *program) retryCommand() *command.Command {
	return p.act(control.VerbRetry, &command.Command{
		Use: "retry ID", Short: p.t("ask again now what became of a transaction", "立即重新查询一笔交易的结果"), Example: "  tideover queue retry 8m3k0q",
	}, func(_ control.Action, t control.Transaction) (tideover.Text, bool) {
		if t.Final() {
			return tideover.Textf("it has its end", "该交易已有最终结果"), true
		}
		return tideover.Textf("it is asked for as soon as a link is up; see: tideover queue show %s", "链路可用时立即查询；请查看：tideover queue show %s", t.ID), true
	})
}

func (p *program) cancelCommand() *command.Command {
	return p.act(control.VerbCancel, &command.Command{
		Use: "cancel ID", Short: p.t("have a transaction never executed, or undone", "取消交易：保证不执行，或撤销"),
		Long: p.t("Cancels a transaction: what was never sent ends at once; anything else the hub decides, once: it is never executed, or executed and\n"+
			"reversed. The cancel is on disk before this command ends; where the hub does not answer within seconds it takes effect later.",
			"取消一笔交易：从未发送的立即结束；其余由 hub 判定一次：不再执行，或执行后撤销。\n命令返回前取消请求已写入磁盘；若 hub 数秒内没有应答，将在恢复联系后生效。"),
		Example: "  tideover queue cancel 8m3k0q --reason 'the customer has left'",
	}, func(_ control.Action, t control.Transaction) (tideover.Text, bool) {
		switch {
		case !t.Final():
			return onRecord(t), true
		case t.State == tideover.StateApproved:
			return tideover.Textf("it stands as approved, and is not undone", "该交易仍为成功状态，没有撤销"), false
		default:
			return tideover.Textf("the customer is not charged", "顾客不会被扣款"), true
		}
	})
}

func (p *program) settleCommand() *command.Command {
	return p.act(control.VerbSettle, &command.Command{
		Use: "settle ID --as END --reason TEXT", Short: p.t("say how a transaction ended that no machine can resolve", "人工确认无法由机器确定的交易结果"),
		Long: p.t("Settles a transaction that is manual: ask the platform how it ended, and say it here. The hub's ledger takes it over, and the till is\n"+
			"told. It goes on record with who said it and why.",
			"结清一笔需人工处理（manual）的交易：先向平台核实结果，再在此确认。hub 的账本会采用该结果并通知终端。\n操作人和原因会记入日志。"),
		Example: "  tideover queue settle 8m3k0q --as declined --reason 'acquirer, call of 3 March: not booked'",
	}, func(a control.Action, t control.Transaction) (tideover.Text, bool) {
		switch {
		case !t.Final():
			return onRecord(t), true
		case t.State != a.As:
			return tideover.Textf("it has ended otherwise: %[1]s", "该交易另有结果：%[2]s", t.State, stateNames[t.State]), false
		default:
			return tideover.Textf("it is settled", "已结清"), true
		}
	})
}

// onRecord says of an action which the hub has not answered that nothing more needs to be done.
func onRecord(t control.Transaction) tideover.Text {
	return tideover.Textf("it is on record, and takes effect when the hub is heard; see: tideover queue show %s",
		"已记入日志，将在 hub 应答后生效；请查看：tideover queue show %s", t.ID)
}

func (p *program) dropCommand() *command.Command {
	return p.act(control.VerbDrop, &command.Command{
		Use: "drop ID --reason TEXT", Short: p.t("give up what was never sent, or note that what is paid was handed over", "放弃从未发送的交易，或标记已付款交易已交付"),
		Long: p.t("Ends a transaction of which certainly nothing was sent, or clears an end that its till never acknowledged (paid, not handed over):\n"+
			"it then counts as acknowledged by you. Anything that may have been sent and has no end is refused.",
			"结束一笔确定从未发送的交易，或清除终端一直没有确认的结果（已付款未交付）：此后视为由您确认。\n可能已发送且没有结果的交易不能放弃。"),
		Example: "  tideover queue drop 8m3k0q --reason 'goods handed over at the counter'",
	}, func(_ control.Action, t control.Transaction) (tideover.Text, bool) {
		if t.Acknowledged {
			return tideover.Textf("its end counts as acknowledged", "其结果视为已确认"), true
		}
		return tideover.Textf("it was never sent, and never will be", "该交易从未发送，也不会再发送"), true
	})
}

// readID refuses what no transaction can be called, before anybody is asked.
func (p *program) readID(id string) error {
	if _, _, err := tideover.ParseShort(id); err == nil {
		return nil
	}
	return &failure{
		what: tideover.Textf("%q is not a transaction id", "%q 不是交易编号", id),
		hint: tideover.Textf("an id has 26 characters of 0-9 and a-z without i, l, o, u, and its first %d will do; tideover queue list shows them",
			"交易编号为 26 个字符：0-9 和 a-z（不含 i、l、o、u），输入前 %d 个即可；可用 tideover queue list 查看", tideover.ShortMin),
	}
}

// clientAbout is a client to ask about a transaction, once its id can be one.
func (p *program) clientAbout(id string) (*control.Client, error) {
	if err := p.readID(id); err != nil {
		return nil, err
	}
	return p.client()
}
