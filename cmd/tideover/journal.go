package main

import (
	"fmt"
	"strconv"

	"tideover/control"
	"tideover/daemon"
	"tideover/internal/command"
)

func (p *program) journalCommand() *command.Command {
	return p.group("journal", p.t("the record of everything that happened", "校验本机日志"), "  tideover journal verify", p.verifyJournal())
}

func (p *program) verifyJournal() *command.Command {
	var anchor string
	c := p.jsonFlag(&command.Command{
		Use: "verify [FILE]", Short: p.t("check that nothing in the journal was changed, removed or moved", "检查日志没有被改动、删除或移位"), Args: p.upToOneArg("FILE"),
		Long: p.t("Looks at every entry of the journal: the hash chain, the order, each transaction's own events, and the sealed parts; and whether every\n"+
			"head of the chain that the hub keeps is on it. The daemon does it while it sells; where none runs, or for a FILE, the file is read here.\n"+
			"What was changed, removed, put in or moved breaks the chain. A chain that was computed anew, or cut at its end, shows at the hub's head:\n"+
			"without the daemon, copy that from the hub (tideover-hub store show NAME). What is newer than that head could be cut off unseen.\n"+
			"It exits with 0 if the journal verifies, with 1 if it does not.",
			"检查日志的每条记录：哈希链、顺序、每笔交易的各个事件、加密内容，以及 hub 保存的每个链头是否在链上。\n"+
				"守护进程边收款边校验；没有运行时，或指定了文件时，在此直接读取文件。\n"+
				"改动、删除、插入和移位会使哈希链断裂；重新计算的链或被截断的末尾要靠 hub 保存的链头发现：\n"+
				"守护进程没有运行时，请从 hub 复制链头（tideover-hub store show 门店）。比该链头更新的记录若被截断则无法发现。\n"+
				"校验通过时退出码为 0，不通过时为 1。"),
		Example: "  tideover journal verify\n  tideover journal verify --json\n  tideover journal verify --anchor 1048592:9f86d081... /mnt/copy/queue.db",
		RunE: func(cmd *command.Command, args []string) error {
			j, err := p.lookAtJournal(cmd, args, anchor)
			if err != nil {
				return err
			}
			if err := p.print(j, func() { p.journalSheet(j) }); err != nil {
				return err
			}
			if !j.Verified {
				p.keepIt()
				return exitStatus(exitRefused)
			}
			return nil
		},
	})
	c.Flags().StringVar(&anchor, "anchor", "", p.t("`SEQ:HASH`, a head of this journal that the hub keeps", "hub 保存的本日志链头 `SEQ:HASH`"))
	return c
}

// lookAtJournal asks the daemon, or reads a file: the one that is named, or the journal where no daemon runs.
func (p *program) lookAtJournal(cmd *command.Command, args []string, anchor string) (control.Journal, error) {
	if len(args) == 1 {
		return daemon.VerifyJournal(args[0], anchor)
	}
	c, err := p.load()
	if err != nil {
		return control.Journal{}, err
	}
	return hotOrCold(p, c,
		func(daemon *control.Client) (control.Journal, error) {
			return daemon.VerifyJournal(cmd.Context(), anchor)
		},
		func() (control.Journal, error) { return daemon.VerifyJournal(daemon.QueuePath(c.StateDir), anchor) })
}

// journalSheet says whether a journal verifies, and what was looked at.
func (p *program) journalSheet(j control.Journal) {
	if j.Verified {
		p.line(p.t("the journal verifies", "日志校验通过"))
	} else {
		p.line(p.t("the journal does not verify", "日志校验不通过"))
	}
	for _, f := range j.Flaws {
		p.line("  ! " + f.What.In(p.in()))
	}
	p.line("")
	p.sheet([][]string{
		{p.t("journal", "日志"), j.Path},
		{p.t("entries", "记录"), fmt.Sprintf(p.t("%d, of %d transactions", "%d 条，%d 笔交易"), j.Entries, j.Transactions) + p.pruned(j) + p.unreadable(j)},
		{p.t("written", "写入时间"), when(j.FirstAt) + p.t(" to ", " 至 ") + when(j.LastAt)},
		{p.t("head", "链头"), fmt.Sprintf("%d:%s", j.Seq, j.Head)},
		{p.t("anchored", "锚定"), p.anchored(j)},
	})
}

// pruned says how much has left a journal.
func (p *program) pruned(j control.Journal) string {
	if j.Pruned == 0 {
		return ""
	}
	return fmt.Sprintf(p.t("; %d older ones were pruned (retention.final)", "；另有 %d 条较早记录已按保留期清理（retention.final）"), j.Pruned)
}

// anchored says how far the hub vouches for a journal.
func (p *program) anchored(j control.Journal) string {
	if len(j.Anchors) == 0 {
		return p.t("not compared with the hub: a chain computed anew, or cut at its end, would not show (--anchor, from: tideover-hub store show NAME)",
			"未与 hub 比较：重新计算的链或被截断的末尾无法发现（--anchor，取自 tideover-hub store show 门店）")
	}
	newest := j.Anchors[0]
	for _, a := range j.Anchors {
		if a.Seq > newest.Seq {
			newest = a
		}
	}
	said := p.t("as was given", "由命令给出")
	if newest.SaidAt != 0 {
		said = fmt.Sprintf(p.t("as it said %s", "hub 于 %s 告知"), when(newest.SaidAt))
	}
	switch {
	case !j.Verified:
		return fmt.Sprintf(p.t("the hub holds the head of entry %d (%s)", "hub 保存了第 %d 条记录的链头（%s）"), newest.Seq, said)
	case j.Newer == 0:
		return fmt.Sprintf(p.t("up to entry %d at the hub (%s): all of it", "hub 已锚定至第 %d 条（%s）：全部"), newest.Seq, said)
	case newest.SaidAt != 0: // when it greeted this daemon, perhaps days ago: it has been told newer ones since
		return fmt.Sprintf(p.t("up to entry %d at the hub (%s); %d newer entries are not compared: tideover-hub store show NAME has the head of today, for --anchor",
			"hub 已锚定至第 %d 条（%s）；其后 %d 条未比较：可用 tideover-hub store show 门店 查看最新链头，并以 --anchor 指定"), newest.Seq, said, j.Newer)
	default:
		return fmt.Sprintf(p.t("up to entry %d at the hub (%s); %d newer entries are not anchored yet: if some were cut off at the end, that would not show",
			"hub 已锚定至第 %d 条（%s）；其后 %d 条尚未锚定：若末尾被截断则无法发现"), newest.Seq, said, j.Newer)
	}
}

func (p *program) rulesCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "rules", Short: p.t("the shop's rules over time, and how much each version judged", "查看规则的各个版本及其判定的交易数"), Args: p.noArgs,
		Long: p.t("Lists every version of the shop's rules ([limits], [duplicates], [[method]]) that is on record in the journal, the newest first: since when, what had\n"+
			"changed against the one before, and how many transactions were accepted under it. `tideover queue show ID` names the version of one\n"+
			"transaction; --json has every rule of each version.",
			"列出日志中记录的规则（[limits]、[duplicates]、[[method]]）的各个版本，最新的在前：生效时间、与前一版本的差别、在其下受理的交易数。\n"+
				"`tideover queue show 编号` 显示某笔交易所用的版本；--json 含每个版本的全部规则。"),
		Example: "  tideover rules\n  tideover rules --json",
		RunE: func(cmd *command.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			h, err := client.Rules(cmd.Context())
			if err != nil {
				return err
			}
			return p.print(h, func() { p.rulesTable(h) })
		},
	})
}

func (p *program) rulesTable(h control.RulesHistory) {
	rows := [][]string{{p.t("VERSION", "版本"), p.t("SINCE", "生效时间"), p.t("ACCEPTED", "受理交易"), "", p.t("CHANGED", "改动")}}
	for _, v := range h.Versions {
		state := ""
		if v.InForce {
			state = p.t("in force", "现行")
		}
		row := []string{strconv.FormatUint(v.Version, 10), when(v.Since), strconv.Itoa(v.Judged), state}
		for _, c := range v.Changes {
			rows = append(rows, append(row, fmt.Sprintf("%s: %s -> %s", c.Key, orDash(c.Old), orDash(c.New))))
			row = []string{"", "", "", ""}
		}
		if len(v.Changes) == 0 {
			rows = append(rows, append(row, p.t("the first on record", "首个版本")))
		}
	}
	p.sheet(rows)
	if h.Older > 0 {
		fmt.Fprintf(p.err, p.t("%d older versions are on record\n", "另有 %d 个更早的版本\n"), h.Older)
	}
}
