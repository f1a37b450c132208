package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tideover"
	"tideover/internal/conf"
)

func (p *program) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: p.t("run the hub in the foreground", "在前台运行 hub"), Args: p.noArgs,
		Example: "  tideover-hub run --config /etc/tideover/hub.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, file, err := p.load(p.config)
			if err != nil {
				return err
			}
			log := newLog(p.streams.Err)
			for _, name := range file.StrangeVariables() {
				log.Warn("an environment variable belongs to no key of the configuration", "variable", name)
			}
			return runSignalled(cmd.Context(), c, log)
		},
	}
}

func (p *program) storeCommand() *cobra.Command {
	var life time.Duration
	add := p.lifeFlag(&cobra.Command{
		Use: "add NAME", Short: p.t("add a store and print its one-time enrolment token", "新增门店并输出一次性注册令牌"), Args: oneArg("NAME"),
		Example: "  tideover-hub store add shop-0001\n  tideover-hub store add shop-0001 --valid 12h --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.token(cmd.Context(), func(ctx context.Context, o operator) (NewToken, error) { return o.Add(ctx, args[0], life) })
		},
	}, &life)
	rotate := p.lifeFlag(&cobra.Command{
		Use: "rotate NAME", Short: p.t("print a fresh token for a store; enrolling with it ends the old certificate", "为门店输出新令牌；用它注册后旧证书失效"),
		Args: oneArg("NAME"), Example: "  tideover-hub store rotate shop-0001",
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.token(cmd.Context(), func(ctx context.Context, o operator) (NewToken, error) { return o.Rotate(ctx, args[0], life) })
		},
	}, &life)
	revoke := &cobra.Command{
		Use: "revoke NAME", Short: p.t("end a store's certificate and token at once", "立即作废门店的证书和令牌"), Args: oneArg("NAME"),
		Example: "  tideover-hub store revoke shop-0001",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				st, err := o.Revoke(ctx, args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(p.streams.Err, p.t("store %s is revoked; `tideover-hub store rotate %[1]s` lets it in again\n",
					"门店 %s 已作废；用 `tideover-hub store rotate %[1]s` 可重新启用\n"), st.Store)
				return p.print(st, func() {})
			})
		},
	}
	list := &cobra.Command{
		Use: "list", Short: p.t("list the stores", "列出门店"), Args: p.noArgs, Example: "  tideover-hub store list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				l, err := o.List(ctx)
				if err != nil {
					return err
				}
				return p.print(l, func() { p.storeTable(l) })
			})
		},
	}
	show := &cobra.Command{
		Use: "show NAME", Short: p.t("show a store", "查看门店"), Args: oneArg("NAME"), Example: "  tideover-hub store show shop-0001",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				st, err := o.Show(ctx, args[0])
				if err != nil {
					return err
				}
				return p.print(st, func() { p.storeSheet(st) })
			})
		},
	}
	for _, c := range []*cobra.Command{add, rotate, revoke, list, show} {
		p.jsonFlag(c)
	}
	return p.group("store", p.t("the stores that may connect", "管理允许接入的门店"), add, list, show, revoke, rotate)
}

// token makes a token and prints it: the token alone on stdout, so that it can be piped.
func (p *program) token(ctx context.Context, make func(context.Context, operator) (NewToken, error)) error {
	return withOperator(ctx, p, func(ctx context.Context, o operator) error {
		t, err := make(ctx, o)
		if err != nil {
			return err
		}
		return p.print(t, func() {
			fmt.Fprintln(p.streams.Out, t.Token)
			fmt.Fprintf(p.streams.Err, p.t("store %s: run `tideover enroll TOKEN` on its router before %s; the token works once\n",
				"门店 %s：请在 %s 之前在其路由器上运行 `tideover enroll 令牌`；令牌只能使用一次\n"), t.Store, p.when(t.ExpiresAt))
			fmt.Fprintf(p.streams.Err, p.t("it tells the edge to dial %s\n", "令牌中的 hub 地址：%s\n"), strings.Join(t.Addresses, ", "))
		})
	})
}

func (p *program) transactionCommand() *cobra.Command {
	show := p.jsonFlag(&cobra.Command{
		Use: "show ID", Short: p.t("show what the ledger has of a transaction", "查看账本中的交易记录"), Args: oneArg("ID"),
		Example: "  tideover-hub transaction show 8m3k0q6tq2v9c4x1n5r7w8y0za",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := tideover.ParseID(args[0])
			if err != nil {
				return badID(args[0])
			}
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				l, err := o.Transaction(ctx, id)
				if err != nil {
					return err
				}
				return p.print(l, func() { p.transactionSheet(l) })
			})
		},
	})
	return p.group("transaction", p.t("the transactions in the ledger", "账本中的交易"), show)
}

func badID(s string) error {
	return &Error{
		What: text("%q is not a transaction id", "%q 不是交易编号", s),
		Hint: text("an id has 26 characters of 0-9 and a-z without i, l, o, u", "交易编号为 26 个字符：0-9 和 a-z（不含 i、l、o、u）"),
	}
}

func (p *program) statusCommand() *cobra.Command {
	return p.jsonFlag(&cobra.Command{
		Use: "status", Short: p.t("show how the running hub is", "查看运行中 hub 的状态"), Args: p.noArgs, Example: "  tideover-hub status --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := p.load(p.config)
			if err != nil {
				return err
			}
			st, err := newClient(c.Admin).Status(cmd.Context())
			if errors.Is(err, errNoHub) {
				return &Error{
					What: text("no hub is running: nothing listens on %s", "hub 未运行：%s 无人监听", c.Admin), Exit: ExitUnreachable,
					Hint: text("start it with `tideover-hub run`, or name its configuration with --config", "请用 `tideover-hub run` 启动，或用 --config 指定其配置"),
				}
			}
			if err != nil {
				return err
			}
			if err := p.print(st, func() { p.statusSheet(st) }); err != nil {
				return err
			}
			if !st.Well {
				return exitStatus(ExitRefused)
			}
			return nil
		},
	})
}

func (p *program) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: p.t("check a configuration", "检查配置文件"), Example: "  tideover-hub config check /etc/tideover/hub.toml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return oneArg("FILE")(cmd, args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path := p.config
			if len(args) == 1 {
				path = args[0]
			}
			_, file, err := p.load(path)
			if err != nil {
				return err
			}
			for _, name := range file.StrangeVariables() {
				fmt.Fprintf(p.streams.Err, p.t("warning: the variable %s belongs to no key\n", "警告：环境变量 %s 不对应任何配置项\n"), name)
			}
			if !file.Present() {
				fmt.Fprintf(p.streams.Out, p.t("%s: there is no such file; the defaults are well\n", "%s：文件不存在；将使用默认值\n"), file.Path())
				return nil
			}
			fmt.Fprintf(p.streams.Out, p.t("%s: well\n", "%s：正确\n"), file.Path())
			return nil
		},
	}
	show := p.jsonFlag(&cobra.Command{
		Use: "show", Short: p.t("print the configuration in effect, and where each value comes from", "输出生效的配置及每个值的来源"),
		Args: p.noArgs, Example: "  tideover-hub config show",
		RunE: func(*cobra.Command, []string) error {
			c, file, err := p.load(p.config)
			if err != nil {
				return err
			}
			if p.json {
				return p.printJSON(conf.Tree(c))
			}
			return conf.Write(p.streams.Out, file, c, p.in())
		},
	})
	return p.group("config", p.t("the configuration", "配置"), check, show)
}

// versionInfo answers `version`.
type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (p *program) versionCommand() *cobra.Command {
	return p.jsonFlag(&cobra.Command{
		Use: "version", Short: p.t("print the version", "输出版本"), Args: p.noArgs, Example: "  tideover-hub version",
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{tideover.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return p.print(v, func() { fmt.Fprintf(p.streams.Out, "tideover-hub %s (%s %s/%s)\n", v.Version, v.Go, v.OS, v.Arch) })
		},
	})
}

// print writes a result: as JSON where that is asked for, else as plain does.
func (p *program) print(v any, plain func()) error {
	if p.json {
		return p.printJSON(v)
	}
	plain()
	return nil
}

func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.streams.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
