package main

import (
	"fmt"
	"net/netip"
	"strconv"

	"tideover"
	"tideover/control"
	"tideover/internal/command"
)

func (p *program) terminalCommand() *command.Command {
	return p.group("terminal", p.t("the tills that are allowed in", "管理允许接入的终端"), "  tideover terminal pair --name till-1\n  tideover terminal list",
		p.pairCommand(), p.listTerminals(), p.revokeCommand())
}

func (p *program) pairCommand() *command.Command {
	var name, replace string
	c := p.jsonFlag(&command.Command{
		Use: "pair", Short: p.t("make a code that lets one till in", "生成配对码，允许一台终端接入"), Args: p.noArgs,
		Long: p.t("Makes a code of six digits that lets one till in. It lives five minutes and dies after five wrong tries.\n"+
			"With --replace, a new box takes over the name and the past of a till that is broken; the old box is out.",
			"生成六位配对码，允许一台终端接入。有效期五分钟，输错五次即失效。\n使用 --replace 时，新设备接替故障终端的名称和历史记录，旧设备随即失效。"),
		Example: "  tideover terminal pair --name till-1\n  tideover terminal pair --replace till-1",
		RunE: func(cmd *command.Command, _ []string) error {
			if name != "" && replace != "" {
				return p.misuse(cmd.CommandPath(), "--name and --replace exclude each other", "--name 和 --replace 不能同时使用")
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			r := control.PairRequest{Name: name}
			if replace != "" {
				r = control.PairRequest{Name: replace, Replace: true}
			}
			pairing, err := client.Pair(cmd.Context(), r)
			if err != nil {
				return err
			}
			return p.print(pairing, func() {
				p.line(pairing.Code)
				fmt.Fprintf(p.err, p.t("enter this code at the till before %s\n", "请在 %s 之前在终端上输入此码\n"), when(pairing.ExpiresAt))
				if pairing.Endpoint != "" {
					fmt.Fprintf(p.err, p.t("the till is pointed at %s (POST /v1/pair)\n", "终端应连接 %s（POST /v1/pair）\n"), p.reachable(pairing.Endpoint))
				}
			})
		},
	})
	c.Flags().StringVar(&name, "name", "", p.t("`NAME` of the till; without it the till names itself", "终端`名称`；不填则由终端自报"))
	c.Flags().StringVar(&replace, "replace", "", p.t("`NAME` in use that the new box takes over", "由新设备接替的现有终端`名称`"))
	return c
}

// reachable names a listening address as a till would use it: every address of the machine is none in particular.
func (p *program) reachable(listen string) string {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil || !addr.Addr().IsUnspecified() {
		return listen
	}
	return fmt.Sprintf(p.t("port %d of this router", "本机的 %d 端口"), addr.Port())
}

func (p *program) listTerminals() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "list", Short: p.t("list the tills", "列出终端"), Args: p.noArgs, Example: "  tideover terminal list --json",
		RunE: func(cmd *command.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			l, err := client.Terminals(cmd.Context())
			if err != nil {
				return err
			}
			return p.print(l, func() { p.terminalTable(l) })
		},
	})
}

func (p *program) terminalTable(l control.TerminalList) {
	if len(l.Terminals) == 0 {
		fmt.Fprintln(p.err, p.t("no till is paired; `tideover terminal pair` makes a code for one", "尚无终端；请用 `tideover terminal pair` 生成配对码"))
		return
	}
	rows := [][]string{{p.t("TERMINAL", "终端"), p.t("STATE", "状态"), p.t("OPEN", "未决"), p.t("PAIRED", "配对时间")}}
	for _, t := range l.Terminals {
		state := p.t("paired", "已配对")
		if t.Revoked {
			state = p.t("revoked", "已作废")
		}
		rows = append(rows, []string{t.Name, state, strconv.Itoa(t.Open), when(t.PairedAt)})
	}
	p.sheet(rows)
}

func (p *program) revokeCommand() *command.Command {
	return &command.Command{
		Use: "revoke NAME", Short: p.t("shut a till out at once; what it sold stays", "立即禁止一台终端接入；其交易保留"), Args: p.oneArg("NAME"),
		Example: "  tideover terminal revoke till-1",
		RunE: func(cmd *command.Command, args []string) error {
			if args[0] == "" {
				return &failure{
					what: tideover.Textf("a till's name is not empty", "终端名称不能为空"),
					hint: tideover.Textf("see: tideover terminal list", "请参阅：tideover terminal list"),
				}
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			if err := client.Revoke(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintf(p.err, p.t("%s is shut out; `tideover terminal pair --name %[1]s` lets a box in under this name again\n",
				"%s 已作废；用 `tideover terminal pair --name %[1]s` 可重新启用此名称\n"), args[0])
			return nil
		},
	}
}
