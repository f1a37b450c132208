package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"tideover"
	"tideover/control"
	"tideover/daemon"
	"tideover/internal/command"
)

func (p *program) checkCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "check [FILE]", Short: p.t("read the whole store and check it", "通读并检查存储"), Args: p.upToOneArg("FILE"),
		Long: p.t("Reads the whole journal: every page, the hash chain, every digest, and every sealed part with the key of this machine. Where no daemon runs,\n"+
			"or for a FILE such as a backup, the file is read here, and everything that a daemon does with it at its start is tried. Nothing is written.\n"+
			"It warns where the state directory is on a file system that keeps nothing (tmpfs), or that a journal cannot be on (JFFS2).\n"+
			"It exits with 0 if all is well, 1 if something is wrong with the file, 2 if it cannot be looked at (missing, foreign, another key's,\n"+
			"another store's, or a newer version's), 3 if a daemon has it and does not answer.",
			"通读整个日志：每一页、哈希链、每个摘要，并用本机密钥打开每一处加密内容。守护进程没有运行时，\n"+
				"或指定了文件（如备份）时，在此直接读取，并尝试守护进程启动时要做的一切。不写入任何内容。\n"+
				"状态目录所在文件系统不保留数据（tmpfs）或不能存放日志（JFFS2）时会给出警告。\n"+
				"一切正常时退出码为 0；文件有问题时为 1；无法检查时为 2（文件缺失、不是日志、属于其他密钥或门店、版本更新）；\n"+
				"守护进程占用文件却没有应答时为 3。"),
		Example: "  tideover check\n  tideover check --json /mnt/usb/queue-2026-05-01.db",
		RunE: func(cmd *command.Command, args []string) error {
			c, err := p.checkStore(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := p.print(c, func() { p.checkSheet(c) }); err != nil {
				return err
			}
			for _, w := range c.Warnings {
				p.warn(w)
			}
			if c.Well {
				return nil
			}
			if !c.Verified {
				p.keepIt()
			}
			return exitStatus(exitRefused)
		},
	})
}

// checkStore asks the daemon, or reads a file: the one that is named, or the journal where no daemon runs.
func (p *program) checkStore(ctx context.Context, args []string) (control.Check, error) {
	c, err := p.load()
	if err != nil {
		return control.Check{}, err
	}
	if len(args) == 1 {
		return daemon.CheckStore(c, args[0])
	}
	return hotOrCold(p, c,
		func(running *control.Client) (control.Check, error) { return running.Check(ctx) },
		func() (control.Check, error) { return daemon.CheckStore(c, "") })
}

func (p *program) backupCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "backup FILE", Short: p.t("copy the journal, also while the shop sells", "备份日志（收款时也可）"), Args: p.oneArg("FILE"),
		Long: p.t("Writes a copy of the journal to FILE, which must not exist, and opens it there before it says that it is done. The daemon does it while it\n"+
			"sells, as the user whom it runs as; where none runs the file is read here. The copy is known as one: a router that is started on it asks\n"+
			"the hub about everything that was open, and sends nothing of it by itself.\n"+
			"The copy is sealed, and no key is in it: keep a copy of queue.key apart. Without that key it is of no use, and with it anyone can read it.",
			"将日志复制到 FILE（不能已存在），并在打开校验后才报告完成。守护进程在收款的同时以其运行用户完成；没有运行时在此直接读取文件。\n"+
				"副本带有标记：在副本上启动的路由器会向 hub 查询所有未决交易，不会自行发送。\n"+
				"副本内容已加密，且不含密钥：请另行保存 queue.key。没有该密钥副本无法使用；有了它任何人都能读取。"),
		Example: "  tideover backup /mnt/usb/queue-2026-05-01.db\n  tideover check /mnt/usb/queue-2026-05-01.db",
		RunE: func(cmd *command.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			c, err := p.load()
			if err != nil {
				return err
			}
			b, err := hotOrCold(p, c,
				func(running *control.Client) (control.Backup, error) { return running.Backup(cmd.Context(), path) },
				func() (control.Backup, error) { return daemon.BackupStore(c, path) })
			if err != nil {
				return err
			}
			p.note(tideover.Textf("no key is in it: keep a copy of %s apart, as the secret that it is", "副本不含密钥：请另行妥善保存 %s",
				filepath.Join(c.StateDir, "queue.key")))
			return p.print(b, func() {
				p.line(fmt.Sprintf(p.t("%s: %s, %d entries of %d transactions, up to entry %d", "%s：%s，%d 条记录，%d 笔交易，截至第 %d 条"),
					b.Path, size(b.Bytes), b.Entries, b.Transactions, b.Seq))
			})
		},
	})
}

func (p *program) compactCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "compact", Short: p.t("make the journal's file as small as what it holds", "压缩日志文件"), Args: p.noArgs,
		Long: p.t("Copies the journal into a new file, reads that, and puts it in the place of the old one: the same journal, without the space that is free in\n"+
			"it. The daemon does it while it sells; tills wait for an instant in the end. Where none runs it is done here. The disk must have room for\n"+
			"the copy; where it has not, or anything else fails, the file stays as it is. The daemon does this by itself when it pays: where the file\n"+
			"has 8 MB or more, three quarters of it are free, and no till has pressed for a minute, at most once an hour.",
			"将日志复制到新文件，校验后替换原文件：内容不变，不再占用文件内的空闲空间。守护进程在收款的同时完成，终端仅在最后短暂等待；\n"+
				"没有运行时在此直接完成。磁盘须有足够空间容纳副本；空间不足或出现其他错误时，原文件保持不变。守护进程会在合适时自动压缩：\n"+
				"文件不小于 8 MB、四分之三为空闲，且一分钟内没有终端请求，每小时至多一次。"),
		Example: "  tideover compact",
		RunE: func(cmd *command.Command, _ []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			made, err := hotOrColdSaying(p, c, tideover.Textf("no daemon runs: it was done here", "守护进程没有运行：已在此直接完成"),
				func(running *control.Client) (control.Compacted, error) { return running.Compact(cmd.Context()) },
				func() (control.Compacted, error) { return daemon.CompactStore(c) })
			if err != nil {
				return err
			}
			return p.print(made, func() {
				p.line(fmt.Sprintf(p.t("%s: %s, and was %s", "%s：%s，原为 %s"), made.Path, size(made.AfterBytes), size(made.BeforeBytes)))
			})
		},
	})
}

func (p *program) restoreCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "restore FILE", Short: p.t("put the journal back to a copy", "从备份恢复日志"), Args: p.oneArg("FILE"),
		Long: p.t("Checks FILE, a copy of the journal, and puts what is in it in the journal's place. The daemon must be stopped. The present file keeps a dated\n"+
			"name beside it, and is never deleted; FILE stays as it is. The journal is marked: what was open in the copy is asked about and not sent, and\n"+
			"what the hub does not know of that is shown as manual. On new hardware put the queue.key that belongs to FILE into the state directory first.",
			"检查备份 FILE，并用其内容替换日志。必须先停止守护进程。现有文件以带日期的名称保留在旁边，绝不删除；FILE 不会改动。\n"+
				"日志会带上标记：备份中的未决交易只查询、不发送；hub 不知道的将显示为待人工处理。\n"+
				"在新硬件上，请先将与 FILE 配套的 queue.key 放入状态目录。"),
		Example: "  tideover restore /mnt/usb/queue-2026-05-01.db",
		RunE: func(cmd *command.Command, args []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if err := notRunning(cmd.Context(), c); err != nil {
				return err
			}
			r, err := daemon.RestoreStore(c, args[0])
			if err != nil {
				return err
			}
			if r.Aside != "" {
				p.note(tideover.Textf("the file that was there is now %s: keep it until the shop's day adds up", "原文件已改名为 %s：请保留至对账无误", r.Aside))
			}
			p.note(tideover.Textf("start the daemon, then look at what needs a person: tideover queue list --state manual",
				"请启动守护进程，然后查看需人工处理的交易：tideover queue list --state manual"))
			return p.print(r, func() {
				p.line(fmt.Sprintf(p.t("restored %s: %d entries of %d transactions", "已恢复 %s：%d 条记录，%d 笔交易"), r.Path, r.Entries, r.Transactions))
			})
		},
	})
}

// hotOrCold has the daemon read its journal, or reads it here where none runs.
func hotOrCold[T any](p *program, c daemon.Config, hot func(*control.Client) (T, error), cold func() (T, error)) (T, error) {
	return hotOrColdSaying(p, c, tideover.Textf("no daemon runs: the file was read", "守护进程没有运行：已直接读取文件"), hot, cold)
}

// hotOrColdSaying is hotOrCold with words of its own for what was done here.
func hotOrColdSaying[T any](p *program, c daemon.Config, said tideover.Text, hot func(*control.Client) (T, error), cold func() (T, error)) (T, error) {
	v, silent := hot(control.Dial(c.Admin.Socket))
	if !errors.Is(silent, control.ErrUnreachable) {
		return v, silent
	}
	v, err := cold()
	switch {
	case errors.Is(err, daemon.ErrJournalInUse):
		return v, silent // a daemon has it open, and does not answer here
	case err == nil:
		p.note(said)
	}
	return v, err
}

// keepIt says what to do with a journal that is not as it should be.
func (p *program) keepIt() {
	p.note(tideover.Textf("copy the file away as it is, and do not delete it; then see what can still be read of it (tideover salvage FILE), put that or the newest "+
		"backup in its place (tideover restore), and compare with the hub (tideover-hub transaction show ID): what it knows is safe there",
		"请先原样复制保存该文件，切勿删除；然后查看还能读出什么（tideover salvage FILE），将其或最近的备份放回（tideover restore），并与 hub 核对（tideover-hub transaction show 编号）：hub 已知的交易是安全的"))
}

// warn tells what is not wrong yet.
func (p *program) warn(w tideover.Text) {
	p.note(tideover.Text{En: "warning: " + w.En, Zh: "警告：" + w.Zh})
}

// unreadable says how much nobody can read any more; nothing where that is nothing.
func (p *program) unreadable(j control.Journal) string {
	if j.Unreadable == 0 {
		return ""
	}
	return fmt.Sprintf(p.t("; %d payloads are unreadable: their key was destroyed", "；另有 %d 处无法读取：其密钥已销毁"), j.Unreadable)
}

// checkSheet says whether a store is well, and what was looked at.
func (p *program) checkSheet(c control.Check) {
	switch {
	case !c.Verified:
		p.line(p.t("the store is damaged", "存储已损坏"))
	case !c.Well:
		p.line(p.t("the store is whole, and cannot be used where it lies", "存储完整，但不能在所在的文件系统上使用"))
	default:
		p.line(p.t("the store is well", "存储正常"))
	}
	for _, f := range c.Flaws {
		p.line("  ! " + f.What.In(p.in()))
	}
	p.line("")
	p.sheet([][]string{
		{p.t("file", "文件"), fmt.Sprintf(p.t("%s, %s, %s of it in use", "%s，%s，其中已用 %s"), c.Path, size(c.Bytes), size(c.InUse))},
		{p.t("entries", "记录"), fmt.Sprintf(p.t("%d, of %d transactions", "%d 条，%d 笔交易"), c.Entries, c.Transactions)},
		{p.t("sealed", "加密内容"), fmt.Sprintf(p.t("%d parts, opened with this machine's keys", "%d 处，均可用本机密钥打开"), c.Sealed) + p.unreadable(c.Journal)},
		{p.t("written", "写入时间"), when(c.FirstAt) + p.t(" to ", " 至 ") + when(c.LastAt)},
		{p.t("head", "链头"), fmt.Sprintf("%d:%s", c.Seq, c.Head)},
		{p.t("anchored", "锚定"), p.anchored(c.Journal)},
		{p.t("disk", "磁盘"), fmt.Sprintf(p.t("%s, %s free", "%s，剩余 %s"), orDash(c.FileSystem), size(c.FreeBytes))},
	})
}
