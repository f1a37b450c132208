package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tideover"
	"tideover/control"
	"tideover/daemon"
	"tideover/install"
	"tideover/internal/command"
)

// Limits of an enrolment.
const (
	tokenMax   = 16 << 10         // bytes read from stdin
	enrollMax  = 60 * time.Second // for the conversation with the hub, over whichever of its addresses answers
	runningMax = 3 * time.Second  // for a daemon that runs already to say so
)

func (p *program) enrollCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "enroll TOKEN", Short: p.t("make this machine a store's edge, with a one-time token", "用一次性令牌将本机注册为门店设备"), Args: p.oneArg("TOKEN"),
		Long: p.t("Makes a key on this machine, gets the store's certificate, its terminals and its secret from the hub, and writes them into the\n"+
			"state directory. The token comes from `tideover-hub store add NAME` and works once; \"-\" reads it from standard input.\n"+
			"A journal that is there already is kept.",
			"在本机生成密钥，从 hub 获取门店的证书、终端和密钥，并写入状态目录。令牌由 `tideover-hub store add 名称` 生成，\n只能使用一次；写 \"-\" 则从标准输入读取。已有的日志会保留。"),
		Example: "  tideover enroll tov1.o2FhgXJodWI...\n  ssh hub tideover-hub store add shop-0001 | tideover enroll -",
		RunE: func(cmd *command.Command, args []string) error {
			token := args[0]
			if token == "-" {
				b, err := io.ReadAll(io.LimitReader(p.streams.in, tokenMax))
				if err != nil {
					return fmt.Errorf("read the token: %w", err)
				}
				token = string(b)
			}
			return p.enroll(cmd.Context(), strings.TrimSpace(token))
		},
	})
}

// enrolled answers `enroll`.
type enrolled struct {
	Store     string   `json:"store"`
	Addresses []string `json:"addresses"`
	Terminals int      `json:"terminals"` // that the hub remembered
	StateDir  string   `json:"state_dir"`
}

func (p *program) enroll(ctx context.Context, token string) error {
	c, err := p.load()
	if err != nil {
		return err
	}
	if err := notRunning(ctx, c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, enrollMax)
	defer cancel()
	id, err := install.Enroll(ctx, install.Options{Token: token, StateDir: c.StateDir, Store: c.Store})
	if err != nil {
		return err
	}
	if err := c.Complete(id.Store, id.Addresses); err != nil {
		return err
	}
	if err := daemon.CreateQueue(c); err != nil {
		return err
	}
	e := enrolled{Store: id.Store, Addresses: c.Hub.Addresses, Terminals: len(id.Terminals), StateDir: c.StateDir}
	return p.print(e, func() {
		p.line(fmt.Sprintf(p.t("enrolled as %s", "已注册为 %s"), e.Store))
		fmt.Fprintf(p.err, p.t("keys and journal are in %s; the hub is %s\n", "密钥和日志位于 %s；hub 地址：%s\n"), e.StateDir, strings.Join(e.Addresses, ", "))
		if path, present := c.Path(); !present {
			fmt.Fprintf(p.err, p.t("there is no %s yet; an empty file will do\n", "尚无 %s；空文件即可\n"), path)
		}
		fmt.Fprintln(p.err, p.t("start it: systemctl start tideover, or tideover run", "启动：systemctl start tideover，或 tideover run"))
	})
}

// notRunning refuses to change keys under a running daemon: it would go on with the old ones, and the hub would end them.
func notRunning(ctx context.Context, c daemon.Config) error {
	ctx, cancel := context.WithTimeout(ctx, runningMax)
	defer cancel()
	s, err := control.Dial(c.Admin.Socket).Status(ctx)
	if err != nil {
		return nil
	}
	return &failure{
		what: tideover.Textf("a daemon of store %s runs here (process %d)", "本机正在运行门店 %s 的守护进程（进程 %d）", s.Store, s.PID),
		hint: tideover.Textf("stop it first: systemctl stop tideover, or kill %d", "请先停止它：systemctl stop tideover，或 kill %d", s.PID),
		exit: exitRefused,
	}
}
