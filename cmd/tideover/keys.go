package main

import (
	"fmt"
	"os/user"
	"strconv"

	"tideover"
	"tideover/control"
	"tideover/daemon"
	"tideover/internal/command"
)

func (p *program) keyCommand() *command.Command {
	return p.group("key", p.t("the keys that seal payloads on the disk", "查看和更换加密交易内容的密钥"),
		"  tideover key list\n  tideover key rotate", p.listKeys(), p.rotateKey(), p.destroyKeys())
}

func (p *program) listKeys() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "list", Short: p.t("every key, since when it seals, and what it still opens", "列出各个密钥、启用时间及仍需它读取的内容"), Args: p.noArgs,
		Long: p.t("Lists every key that this journal was sealed with, the newest first: since when, and how many payloads and tills' reports are kept that it\n"+
			"sealed. An older key is destroyed by itself once there are none. Payloads of transactions go after their delivery (retention.payload); tills'\n"+
			"reports stay as long as final transactions do (retention.final), and so does the key that they need.",
			"列出本日志用过的各个密钥，最新的在前：启用时间，以及由它加密且仍保留的交易内容和终端结算的数量。\n"+
				"旧密钥在没有内容需要它时自动销毁。交易内容在送达后删除（retention.payload）；\n"+
				"终端结算与已完成的交易保留同样久（retention.final），所需的密钥也随之保留。"),
		Example: "  tideover key list\n  tideover key list --json",
		RunE: func(cmd *command.Command, _ []string) error {
			return p.keys(tideover.Textf("no daemon runs: the file was read", "守护进程没有运行：已直接读取文件"),
				func(running *control.Client) (control.KeyList, error) { return running.Keys(cmd.Context()) },
				daemon.ListKeys)
		},
	})
}

func (p *program) rotateKey() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "rotate", Short: p.t("seal with a new key from now on", "更换密钥：今后的内容用新密钥加密"), Args: p.noArgs,
		Long: p.t("Makes a new key, puts it into queue.key beside those that are there, and seals with it whatever is accepted from then on, also while the shop\n"+
			"sells. What was sealed before stays readable until it has done its service: then the old key is destroyed, and copies of the journal from\n"+
			"before can be read by nobody who has not kept that key. Keep a copy of the new queue.key apart, and destroy the copies of the old one.",
			"生成新密钥，写入 queue.key（与现有密钥并存），此后受理的内容用它加密；收款时也可执行。\n"+
				"此前加密的内容在完成使命前仍可读取；之后旧密钥被销毁，未另行保存旧密钥的人无法读取更早的日志副本。\n"+
				"请另行保存新的 queue.key，并销毁旧的副本。"),
		Example: "  tideover key rotate",
		RunE: func(cmd *command.Command, _ []string) error {
			return p.keys(tideover.Textf("no daemon runs: it was done in the files", "守护进程没有运行：已直接修改文件"),
				func(running *control.Client) (control.KeyList, error) { return running.RotateKey(cmd.Context()) },
				func(c daemon.Config) (control.KeyList, error) { return daemon.RotateKey(c, who()) },
				func(l control.KeyList) {
					p.note(tideover.Textf("keep a copy of %s apart, as the secret that it is, and destroy the copies from before", "请另行妥善保存 %s，并销毁此前的副本", l.Path))
				})
		},
	})
}

func (p *program) destroyKeys() *command.Command {
	var d control.KeyDestruction
	c := p.jsonFlag(&command.Command{
		Use: "destroy", Short: p.t("destroy the older keys now, with what they open", "立即销毁旧密钥，它们加密的内容随之失效"), Args: p.noArgs,
		Long: p.t("Destroys every key but the newest, though payloads and reports are kept that they sealed: nobody can read those any more. Amounts, ends and the\n"+
			"hash chain are not sealed and stay. It is refused while a transaction without an end needs an older key; with --force that is lost to sending,\n"+
			"too: what may have left is asked about, and what never did becomes manual, or expires, with the reason in its history.",
			"销毁最新密钥之外的所有密钥，即使仍有由它们加密的内容：此后任何人都无法读取。金额、结果和哈希链未加密，不受影响。\n"+
				"若有未决交易仍需旧密钥则拒绝执行；使用 --force 时这些交易也无法再发送：可能已发出的继续查询，\n"+
				"从未发出的转为待人工处理或到期，原因记入其历史。"),
		Example: "  tideover key destroy\n  tideover key destroy --force --reason \"the key was read by a stranger\"",
		RunE: func(cmd *command.Command, _ []string) error {
			if err := d.Check(); err != nil {
				return err
			}
			return p.keys(tideover.Textf("no daemon runs: it was done in the files", "守护进程没有运行：已直接修改文件"),
				func(running *control.Client) (control.KeyList, error) { return running.DestroyKeys(cmd.Context(), d) },
				func(c daemon.Config) (control.KeyList, error) { return daemon.DestroyKeys(c, d, who()) })
		},
	})
	c.Flags().BoolVar(&d.Force, "force", false, p.t("also where something open is lost by it", "即使未决交易因此无法发送"))
	c.Flags().StringVar(&d.Reason, "reason", "", p.t("`TEXT` that goes on record", "记入日志的`原因`"))
	return c
}

// who is the user as the journal names those who act at the daemon's socket.
func who() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return u.Username
	}
	return control.Peer{UID: uint32(uid), PID: 0}.String()
}

// keys has the daemon do something with its keys, or does it here where none runs, and shows them; words are said before.
func (p *program) keys(
	cold tideover.Text, hot func(*control.Client) (control.KeyList, error), here func(daemon.Config) (control.KeyList, error), words ...func(control.KeyList),
) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	l, err := hotOrColdSaying(p, c, cold, hot, func() (control.KeyList, error) { return here(c) })
	if err != nil {
		return err
	}
	for _, say := range words {
		say(l)
	}
	return p.print(l, func() { p.keyTable(l) })
}

func (p *program) keyTable(l control.KeyList) {
	rows := [][]string{{p.t("KEY", "密钥"), p.t("SINCE", "启用时间"), p.t("SEALED", "加密内容"), p.t("OPEN", "未决"), p.t("REPORTS", "结算"), ""}}
	for _, k := range l.Keys {
		rows = append(rows, []string{k.Name, when(k.Since), strconv.Itoa(k.Sealed), strconv.Itoa(k.Open), strconv.Itoa(k.Reports), p.keyState(k)})
	}
	p.sheet(rows)
}

// keyState says what a key is for.
func (p *program) keyState(k control.Key) string {
	switch {
	case k.Seals:
		return p.t("seals", "使用中")
	case k.DestroyedAt != 0:
		said := fmt.Sprintf(p.t("destroyed %s", "已于 %s 销毁"), when(k.DestroyedAt))
		if k.By != "" {
			said += fmt.Sprintf(p.t(" by %s", "，操作人 %s"), k.By)
		}
		if k.Reason != "" {
			said += p.t(": ", "：") + k.Reason
		}
		return said
	case k.Lost:
		return p.t("destroyed", "已销毁")
	case k.Since == 0:
		return p.t("not of this journal", "不属于本日志")
	case k.Reports > 0 && k.Reports == k.Sealed:
		return p.t("kept for tills' reports (retention.final)", "为终端结算保留（retention.final）")
	default:
		return p.t("destroyed once it opens nothing", "无内容需要时自动销毁")
	}
}

// keysLine is what status says of them.
func (p *program) keysLine(k control.Keys) string {
	if k.Older == 0 {
		return k.Seals
	}
	return fmt.Sprintf(p.t("%s, and %d older (tideover key list)", "%s，另有 %d 个旧密钥（tideover key list）"), k.Seals, k.Older)
}
