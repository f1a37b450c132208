package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"tideover"
	"tideover/control"
	"tideover/daemon"
	"tideover/internal/command"
)

// The exit statuses.
const (
	exitWell        = 0
	exitRefused     = 1 // degraded, or what was asked for was refused
	exitFailed      = 2 // failed, or used wrongly
	exitUnreachable = 3 // no daemon answers
)

// streams are what the program reads and writes.
type streams struct {
	in  io.Reader
	out io.Writer // results
	err io.Writer // words for people
}

// program is one run of the command line.
type program struct {
	streams
	config string
	lang   string
	json   bool
	wrote  error // the first failure to write a result
}

// run runs tideover with its arguments, without the program's name, and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	p := &program{streams: s, lang: string(langOf(os.Getenv))}
	p.peekLang(args)
	err := p.command().ExecuteContext(ctx, args)
	if err == nil {
		err = p.wrote
	}
	if err == nil {
		return exitWell
	}
	return p.complain(err)
}

// langOf reads the language from the environment, in the order that POSIX gives the variables.
func langOf(getenv func(string) string) tideover.Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "zh") {
				return tideover.Chinese
			}
			return tideover.English
		}
	}
	return tideover.English
}

// peekLang looks for --lang before the flags are read: help and complaints about flags need it.
func (p *program) peekLang(args []string) {
	for i, a := range args {
		if a == "--" {
			return
		}
		v, ok := strings.CutPrefix(a, "--lang=")
		if a == "--lang" && i+1 < len(args) {
			v, ok = args[i+1], true
		}
		if ok && (v == string(tideover.English) || v == string(tideover.Chinese)) {
			p.lang = v
		}
	}
}

// in is the language that this run speaks.
func (p *program) in() tideover.Lang { return tideover.Lang(p.lang) }

// t picks one of two sentences. Some three hundred copies of it, in line, made tens of kilobytes on mipsle.
//
//go:noinline
func (p *program) t(en, zh string) string { return tideover.Text{En: en, Zh: zh}.In(p.in()) }

// command builds the whole tree.
func (p *program) command() *command.Command {
	root := &command.Command{
		Use:     "tideover",
		Short:   p.t("Keeps a shop's tills paying while its network fails", "网络中断时，让门店照常收款"),
		Example: "  tideover run --config /etc/tideover/tideover.toml\n  tideover status",
		Args:    p.noArgs, RunE: p.usageOnly, FlagErrorFunc: p.badFlag, HelpFunc: p.help,
		PersistentPreRunE: func(*command.Command, []string) error {
			if p.lang != string(tideover.English) && p.lang != string(tideover.Chinese) {
				bad := p.lang
				p.lang = string(langOf(os.Getenv))
				return p.misuse("tideover", "--lang %q: en and zh are known", "--lang %q：仅支持 en 和 zh", bad)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&p.config, "config", "", p.t("configuration `FILE` (default "+daemon.ConfigPath+")", "配置`文件`（默认 "+daemon.ConfigPath+"）"))
	f.StringVar(&p.lang, "lang", p.lang, p.t("`LANGUAGE` of messages: en or zh (default from LC_ALL, LANG)", "消息`语言`：en 或 zh（默认取自 LC_ALL、LANG）"))
	f.Lookup("lang").DefValue = "" // it depends on the environment
	command.Offer(f, "lang", string(tideover.English), string(tideover.Chinese))
	f.BoolP("help", "h", false, p.t("help for this command", "显示帮助"))
	// In the order in which a technician meets them.
	root.AddCommand(p.runCommand(), p.enrollCommand(), p.statusCommand(), p.terminalCommand(), p.queueCommand(), p.receiptCommand(),
		p.reconcileCommand(), p.journalCommand(), p.rulesCommand(), p.checkCommand(), p.backupCommand(), p.restoreCommand(), p.salvageCommand(),
		p.compactCommand(), p.keyCommand(),
		p.configCommand(), p.completionCommand(), p.versionCommand(), p.helpCommand(), p.completeCommand())
	return root
}

func (p *program) helpCommand() *command.Command {
	return &command.Command{
		Use: "help [COMMAND]", Short: p.t("help for a command", "显示命令的帮助"), Hidden: true,
		RunE: func(cmd *command.Command, args []string) error {
			found, rest := cmd.Root().Find(args)
			if len(rest) > 0 {
				return p.misuse("tideover", "unknown command %q", "未知命令 %q", strings.Join(args, " "))
			}
			p.help(found)
			return nil
		},
	}
}

// group is a command that only holds others.
func (p *program) group(use, short, example string, subs ...*command.Command) *command.Command {
	c := &command.Command{Use: use, Short: short, Example: example, Args: p.noArgs, RunE: p.usageOnly}
	c.AddCommand(subs...)
	return c
}

// usageOnly answers a command that says nothing by itself.
func (p *program) usageOnly(cmd *command.Command, _ []string) error {
	if err := p.usage(p.err, cmd); err != nil {
		return err
	}
	return exitStatus(exitFailed)
}

// load reads the configuration for a command that asks or enrols: where nobody named a file, the defaults do.
func (p *program) load() (daemon.Config, error) {
	return daemon.LoadConfig(daemon.Source{Path: p.config, Optional: p.config == "", Environ: os.Environ()})
}

// client asks the daemon that runs with this configuration.
func (p *program) client() (*control.Client, error) {
	c, err := p.load()
	if err != nil {
		return nil, err
	}
	return control.Dial(c.Admin.Socket), nil
}

// jsonFlag gives a reading command its --json.
func (p *program) jsonFlag(c *command.Command) *command.Command {
	c.Flags().BoolVar(&p.json, "json", false, p.t("print JSON", "以 JSON 输出"))
	return c
}

// print writes a result: as JSON where that is asked for, else as plain does.
func (p *program) print(v any, plain func()) error {
	if !p.json {
		plain()
		return nil
	}
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// missingConfig turns the absence of the default file into what to do about it.
func (p *program) missingConfig(err error) error {
	if p.config != "" || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &failure{
		what: tideover.Textf("there is no configuration at %s", "没有配置文件 %s", daemon.ConfigPath),
		hint: tideover.Textf("write one (an empty file will do on a machine that is enrolled: mkdir -p %s && touch %s), or name another with --config FILE",
			"请创建它（本机已注册时空文件即可：mkdir -p %s && touch %s），或用 --config FILE 指定其他文件", configDir, daemon.ConfigPath),
		err: err,
	}
}

// configDir is where the default configuration stands.
const configDir = "/etc/tideover"
