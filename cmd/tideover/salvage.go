package main

import (
	"fmt"
	"strings"

	"tideover"
	"tideover/control"
	"tideover/daemon"
	"tideover/internal/command"
)

// salvageShown is how many transactions are listed; --json lists all.
const salvageShown = 100

func (p *program) salvageCommand() *command.Command {
	var out string
	c := p.jsonFlag(&command.Command{
		Use: "salvage [FILE]", Short: p.t("read what is left of a damaged journal", "抢救损坏日志中的记录"), Args: p.upToOneArg("FILE"),
		Long: p.t("Finds every entry that can still be read in a damaged journal, whatever is left of it: FILE, or the one in the state directory. The daemon must be\n"+
			"stopped. FILE is never written to; work on a copy on another disk if the disk is failing. It says how many entries the hash chain proves, where some\n"+
			"are missing, and which transactions are open, paid and not handed over, or known by a part of them only. No payload is shown.\n"+
			"With --out it makes a new journal of what something vouches for, for `tideover restore`: what is open in it is asked about at the hub, and never\n"+
			"sent by itself. The chain is the old one up to the first loss, and computed anew from there on; the new journal says so.\n"+
			"It exits with 0 if nothing is missing, 1 if something is, 2 if nothing of a journal is in the file.",
			"在损坏的日志中找出所有仍可读取的记录：FILE，或状态目录中的日志。必须先停止守护进程。不会写入 FILE；磁盘故障时请在其他磁盘的副本上进行。\n"+
				"将说明哈希链证明了多少条记录、何处有缺失，以及哪些交易未决、已付款未交付或只剩部分记录。不显示支付内容。\n"+
				"使用 --out 可将有据可查的部分写成新日志，供 `tideover restore` 使用：其中的未决交易只向 hub 查询，不会自行发送。\n"+
				"首个缺失之前沿用原哈希链，其后重新计算；新日志中会注明。\n"+
				"没有缺失时退出码为 0，有缺失时为 1，文件中没有任何日志内容时为 2。"),
		Example: "  tideover salvage\n  tideover salvage /mnt/usb/queue-damaged.db --out /mnt/usb/queue-new.db\n  tideover restore /mnt/usb/queue-new.db",
		RunE: func(_ *command.Command, args []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			s, err := daemon.SalvageStore(c, strings.Join(args, ""), out)
			if err != nil {
				return err
			}
			if err := p.print(s, func() { p.salvageSheet(s) }); err != nil {
				return err
			}
			return p.salvageNext(s)
		},
	})
	c.Flags().StringVar(&out, "out", "", p.t("make a new journal, `FILE`, of what was found", "将抢救出的内容写成新日志`文件`"))
	return c
}

// salvageNext says what to do next.
func (p *program) salvageNext(s control.Salvaged) error {
	switch {
	case s.Sound:
		p.note(tideover.Textf("nothing is missing of it: a salvage is not needed (tideover check FILE)", "没有任何缺失：无需抢救（tideover check FILE）"))
		return nil
	case s.Made != nil:
		p.note(tideover.Textf("keep the damaged file. Put the new one in its place, and start: tideover restore %[1]s; then compare the list above with the hub",
			"请保留损坏的文件。将新文件放回并启动：tideover restore %[1]s；然后将上述交易与 hub 核对", s.Made.Path))
	case !s.KeyWasAtHand:
		p.note(tideover.Textf("queue.key was not at hand: to make a new journal, run this where the state directory is, with --out FILE",
			"没有 queue.key：要生成新日志，请在状态目录所在的机器上加 --out FILE 执行"))
	default:
		p.note(tideover.Textf("nothing was written; to make a new journal of this: tideover salvage --out FILE", "没有写入任何内容；要生成新日志：tideover salvage --out FILE"))
	}
	return exitStatus(exitRefused)
}

// salvageSheet shows what was found.
func (p *program) salvageSheet(s control.Salvaged) {
	if s.Sound {
		p.line(p.t("the journal is whole", "日志完整"))
	} else {
		p.line(p.t("the journal is damaged; this is what can be read of it", "日志已损坏；以下为可读取的内容"))
	}
	p.line("")
	e := s.Entries
	rows := [][]string{
		{p.t("file", "文件"), fmt.Sprintf("%s, %s", s.Path, size(s.Bytes))},
		{p.t("written", "写入时间"), when(s.FirstAt) + p.t(" to ", " 至 ") + when(s.LastAt)},
		{p.t("entries", "记录"), fmt.Sprintf(p.t("%d by the chain from the beginning, %d by the entry before them, %d alone (%d of them unproven)",
			"%d 条由哈希链证明，%d 条由前一条证明，%d 条孤立（其中 %d 条无据）"), e.Chain, e.Neighbour, e.Alone, e.Unproven)},
		{p.t("transactions", "交易"), fmt.Sprintf(p.t("%d, of which %d need somebody's eye", "%d 笔，其中 %d 笔需要查看"), s.Transactions, len(s.Standing))},
	}
	if s.Unreadable > 0 {
		rows = append(rows, []string{p.t("disk", "磁盘"), fmt.Sprintf(p.t("%d pages cannot be read", "%d 页无法读取"), s.Unreadable)})
	}
	for _, g := range s.Gaps {
		rows = append(rows, []string{p.t("missing", "缺失"), p.gap(g)})
	}
	if m := s.Made; m != nil {
		rows = append(rows, []string{p.t("new file", "新文件"), fmt.Sprintf(p.t("%s: %d entries (%d by the old chain) of %d transactions, %d of them open",
			"%s：%d 条记录（%d 条沿用原哈希链），%d 笔交易，其中 %d 笔未决"), m.Path, m.Entries, m.AsWritten, m.Transactions, m.Open)})
	}
	p.sheet(rows)
	p.salvageTable(s.Standing)
}

func (p *program) salvageTable(all []control.Salvage) {
	if len(all) == 0 {
		return
	}
	p.line("")
	rows := [][]string{{
		p.t("TRANSACTION", "交易"), p.t("KIND", "类型"), p.t("AMOUNT", "金额"), p.t("TERMINAL", "终端"), p.t("ORDER", "订单"), p.t("ACCEPTED", "受理时间"), "",
	}}
	for _, s := range all[:min(len(all), salvageShown)] {
		t, amount, kind := s.Transaction, "-", "-"
		if t.Currency != "" {
			amount, kind = tideover.Money(t.Amount, t.Currency), p.kind(t.Kind)
		}
		what := s.What.In(p.in())
		if len(s.Later) > 0 {
			what += " (" + strings.Join(s.Later, ", ") + ")"
		}
		rows = append(rows, []string{t.ID.String(), kind, amount, orDash(t.Terminal), orDash(t.Order), when(t.CreatedAt), what})
		rows = append(rows, []string{"", "", "", "", "", "", "  " + s.Next.In(p.in())})
	}
	p.sheet(rows)
	if more := len(all) - salvageShown; more > 0 {
		p.line(fmt.Sprintf(p.t("%d more: --json has all", "另有 %d 笔：--json 列出全部"), more))
	}
}

// gap says where entries are missing.
func (p *program) gap(g control.SalvagedGap) string {
	switch {
	case g.After == 0 && g.Before == 0:
		return p.t("all of it", "全部")
	case g.After == 0:
		return fmt.Sprintf(p.t("what stood before entry %d (%s)", "第 %d 条（%s）之前的记录"), g.Before, when(g.To))
	case g.Before == 0:
		return fmt.Sprintf(p.t("what stood after entry %d (%s)", "第 %d 条（%s）之后的记录"), g.After, when(g.From))
	}
	return fmt.Sprintf(p.t("between entry %d (%s) and entry %d (%s)", "第 %d 条（%s）与第 %d 条（%s）之间的记录"), g.After, when(g.From), g.Before, when(g.To))
}
