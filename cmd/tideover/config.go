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

// checked answers `config check`.
type checked struct {
	File     string      `json:"file"`
	Well     bool        `json:"well"`
	Errors   []complaint `json:"errors"`
	Warnings []complaint `json:"warnings"`
}

// complaint is one line about a configuration.
type complaint struct {
	Key  string `json:"key,omitempty"`
	Line int    `json:"line,omitempty"`
	What string `json:"what"`
	Hint string `json:"hint,omitempty"`
}

func (p *program) checkConfig() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "check [FILE]", Short: p.t("check a configuration and name every error", "检查配置文件并列出所有错误"), Args: p.upToOneArg("FILE"),
		Example: "  tideover config check /etc/tideover/tideover.toml\n  tideover config check --json",
		RunE: func(_ *command.Command, args []string) error {
			if len(args) == 1 {
				p.config = args[0]
			}
			c, err := daemon.LoadConfig(daemon.Source{Path: p.config, Environ: os.Environ()})
			path, _ := c.Path()
			result := checked{File: path, Well: err == nil, Errors: []complaint{}, Warnings: []complaint{}}
			for _, e := range daemon.Complaints(err) {
				what, hint := e.Explain()
				result.Errors = append(result.Errors, p.complaint(e.Key, e.Line, what, hint))
			}
			warnings := c.Warnings()
			if err != nil {
				warnings = nil // they would say the errors again
			}
			for _, w := range warnings {
				what, hint := w.Explain()
				result.Warnings = append(result.Warnings, p.complaint(w.Key, w.Line, what, hint))
			}
			if p.json && (err == nil || len(result.Errors) > 0) {
				if failed := p.print(result, nil); failed != nil {
					return failed
				}
			}
			if err != nil || p.json {
				return p.missingConfig(err)
			}
			for _, w := range result.Warnings {
				p.say(p.t("warning: ", "警告：")+w.What, w.Hint)
			}
			p.line(fmt.Sprintf(p.t("%s: well", "%s：正确"), path))
			return nil
		},
	})
}

func (p *program) complaint(key string, line int, what, hint tideover.Text) complaint {
	return complaint{key, line, what.In(p.in()), hint.In(p.in())}
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
