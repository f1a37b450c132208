package main

import (
	"fmt"
	"os"
	"runtime"

	"tideover"
	"tideover/daemon"
	"tideover/internal/command"
)

func (p *program) configCommand() *command.Command {
	return p.group("config", p.t("the configuration", "检查和查看配置"), "  tideover config check",
		p.checkConfig(), p.showConfig())
}

func (p *program) checkConfig() *command.Command {
	return &command.Command{
		Use: "check [FILE]", Short: p.t("check a configuration and name every error", "检查配置文件并列出所有错误"), Args: p.upToOneArg("FILE"),
		Example: "  tideover config check /etc/tideover/tideover.toml",
		RunE: func(_ *command.Command, args []string) error {
			if len(args) == 1 {
				p.config = args[0]
			}
			c, err := daemon.LoadConfig(daemon.Source{Path: p.config, Environ: os.Environ()})
			if err != nil {
				return p.missingConfig(err)
			}
			for _, w := range c.Warnings() {
				what, hint := w.Explain()
				p.say(p.t("warning: ", "警告：")+what.In(p.in()), hint.In(p.in()))
			}
			path, _ := c.Path()
			p.line(fmt.Sprintf(p.t("%s: well", "%s：正确"), path))
			return nil
		},
	}
}

func (p *program) showConfig() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "show", Short: p.t("print the configuration in effect, and where each value comes from", "输出生效的配置，以及每个值的来源"), Args: p.noArgs,
		Example: "  tideover config show\n  TIDEOVER_ENDPOINT_LISTEN=127.0.0.1:8400 tideover config show --json",
		RunE: func(*command.Command, []string) error {
			c, err := p.load()
			if err != nil {
				return err
			}
			if path, present := c.Path(); !present {
				fmt.Fprintf(p.err, p.t("%s is not there: these are the defaults\n", "%s 不存在：以下为默认值\n"), path)
			}
			if p.json {
				return p.print(c.Tree(), nil)
			}
			return c.Show(p.out, p.in())
		},
	})
}

// version answers `version`.
type version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (p *program) versionCommand() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "version", Short: p.t("print the version", "显示版本"), Args: p.noArgs, Example: "  tideover version --json",
		RunE: func(*command.Command, []string) error {
			v := version{tideover.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return p.print(v, func() { p.line(fmt.Sprintf("tideover %s (%s %s/%s)", v.Version, v.Go, v.OS, v.Arch)) })
		},
	})
}
