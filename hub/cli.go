package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tideover"
	"tideover/internal/conf"
)

// Streams are what a program reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer // results
	Err io.Writer // words for people
}

// program is one run of the command line.
type program struct {
	streams Streams
	config  string
	lang    string
	json    bool
}

// Main runs tideover-hub with its arguments, without the program's name, and returns its exit status.
func Main(ctx context.Context, args []string, streams Streams) int {
	p := &program{streams: streams, lang: langOf(os.Getenv)}
	// Help and complaints about flags need the language before cobra has parsed any.
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--lang="); ok {
			p.lang = v
		} else if a == "--lang" && i+1 < len(args) {
			p.lang = args[i+1]
		} else if a == "--" {
			break
		}
	}
	root := p.command()
	root.SetArgs(args)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetIn(streams.In)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitWell
	}
	return p.complain(err)
}

// langOf reads the language from the environment as POSIX orders it.
func langOf(getenv func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "zh") {
				return string(tideover.Chinese)
			}
			return string(tideover.English)
		}
	}
	return string(tideover.English)
}

func (p *program) in() tideover.Lang { return tideover.Lang(p.lang) }

// t picks one of two sentences.
func (p *program) t(en, zh string) string { return tideover.Text{En: en, Zh: zh}.In(p.in()) }

// exitStatus is an exit that has been explained already.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// complain writes what is wrong and what to do next, and returns the exit status.
func (p *program) complain(err error) int {
	if e, ok := errors.AsType[exitStatus](err); ok {
		return int(e)
	}
	if all, ok := errors.AsType[conf.Errors](err); ok {
		for _, e := range all {
			what, hint := e.Explain()
			p.say(what.In(p.in()), hint.In(p.in()))
		}
		return ExitFailed
	}
	what, hint := explain(err)
	p.say(what.In(p.in()), hint.In(p.in()))
	return exitOf(err)
}

// say writes a complaint and what to do next. What was typed may hold a card's number, and a terminal's scroll-back is kept.
func (p *program) say(what, hint string) {
	fmt.Fprintf(p.streams.Err, "tideover-hub: %s\n", tideover.Mask(what))
	if hint != "" {
		fmt.Fprintf(p.streams.Err, "%s%s\n", p.t("  hint: ", "  提示："), tideover.Mask(hint))
	}
}

// command builds the whole tree.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use: "tideover-hub", Short: p.t("The head end that Tideover's edges talk to", "Tideover 门店边缘设备所连接的中心端"),
		Example: "  tideover-hub run --config /etc/tideover/hub.toml\n  tideover-hub store add shop-0001",
		Args:    p.noArgs, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return exitStatus(ExitFailed)
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if p.lang != string(tideover.English) && p.lang != string(tideover.Chinese) {
				bad := p.lang
				p.lang = string(tideover.English)
				return usage("--lang %q: en and zh are known", "--lang %q：仅支持 en 和 zh", bad)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&p.config, "config", "", p.t("configuration `FILE` (default "+ConfigPath+")", "配置文件 `FILE`（默认 "+ConfigPath+"）"))
	f.StringVar(&p.lang, "lang", p.lang, p.t("language of messages, `en|zh` (default from LC_ALL or LANG)", "消息语言 `en|zh`（默认取自 LC_ALL 或 LANG）"))
	f.Lookup("lang").DefValue = "" // it depends on the caller, and help should not
	f.BoolP("help", "h", false, p.t("help for this command", "显示帮助"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return p.wrongUsage(cmd, err.Error()) })
	root.SetUsageTemplate(p.usageTemplate())
	root.SetHelpTemplate("{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}\n\n{{end}}{{.UsageString}}")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{
		Use: "help [COMMAND]", Short: p.t("help for a command", "显示命令的帮助"), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			return found.Help()
		},
	})
	root.AddCommand(p.runCommand(), p.storeCommand(), p.transactionCommand(), p.ledgerCommand(), p.receiptCommand(), p.statusCommand(), p.configCommand(), p.versionCommand())
	return root
}

// usage is a complaint about how the program was called.
func usage(en, zh string, args ...any) error {
	return &Error{What: text(en, zh, args...), Hint: text("see tideover-hub --help", "请参阅 tideover-hub --help"), Exit: ExitFailed}
}

func (p *program) wrongUsage(cmd *cobra.Command, what string) error {
	return &Error{
		What: text("%s", "%s", what), Exit: ExitFailed,
		Hint: text("see %s --help", "请参阅 %s --help", cmd.CommandPath()),
	}
}

// noArgs refuses arguments; on the root and on groups that is an unknown command.
func (p *program) noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return &Error{
			What: text("unknown command %q", "未知命令 %q", cmd.CommandPath()+" "+args[0]), Exit: ExitFailed,
			Hint: text("see %s --help", "请参阅 %s --help", cmd.CommandPath()),
		}
	}
	return &Error{
		What: text("%s takes no argument, but got %q", "%s 不接受参数，但收到 %q", cmd.CommandPath(), args[0]), Exit: ExitFailed,
		Hint: text("see %s --help", "请参阅 %s --help", cmd.CommandPath()),
	}
}

// oneArg wants one argument; what names it.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return &Error{
			What: text("%s wants one argument, %s, and got %d", "%s 需要一个参数 %s，但收到 %d 个", cmd.CommandPath(), what, len(args)), Exit: ExitFailed,
			Hint: text("see %s --help", "请参阅 %s --help", cmd.CommandPath()),
		}
	}
}

// group is a command that only holds others.
func (p *program) group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: p.noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		_ = cmd.Usage()
		return exitStatus(ExitFailed)
	}}
	c.AddCommand(subs...)
	return c
}

// usageTemplate is cobra's, shorter, and in the caller's language.
func (p *program) usageTemplate() string {
	return p.t("Usage:", "用法：") + `{{if .Runnable}}{{if not .HasAvailableSubCommands}}
  {{.UseLine}}{{end}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} ` + p.t("COMMAND", "命令") + `

` + p.t("Commands:", "命令：") + `{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{if .HasExample}}

` + p.t("Example:", "示例：") + `
{{.Example}}{{end}}{{if .HasAvailableLocalFlags}}

` + p.t("Flags:", "选项：") + `
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

` + p.t("Flags of all commands:", "通用选项：") + `
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
}

// load reads the configuration: flags over environment over file over default. The default file may be absent.
func (p *program) load(path string) (Config, *conf.File, error) {
	src := conf.Source{Path: path, Prefix: EnvPrefix, Environ: os.Environ()}
	if path == "" {
		src.Path, src.Optional = ConfigPath, true
	}
	return LoadConfig(src)
}

// LoadConfig reads and checks a configuration. Errors are [conf.Errors], which name file, line and key.
func LoadConfig(src conf.Source) (Config, *conf.File, error) {
	c := Default()
	f, _ := conf.Load(src, &c) // its complaints are f's; what could not be read is still the default
	for _, fault := range c.Validate() {
		f.Reject(fault.Key, fault.What, fault.Hint)
	}
	return c, f, f.Err()
}

// jsonFlag gives a reading command its --json.
func (p *program) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&p.json, "json", false, p.t("print JSON", "以 JSON 输出"))
	return c
}

// lifeFlag gives a command that makes a token its --valid.
func (p *program) lifeFlag(c *cobra.Command, life *time.Duration) *cobra.Command {
	*life = TokenLife
	c.Flags().Var((*lifeValue)(life), "valid", p.t("how long the token may be used, e.g. 12h or 3d", "令牌有效期，例如 12h 或 3d"))
	return c
}

// lifeValue is a duration that knows days.
type lifeValue time.Duration

func (v *lifeValue) Set(s string) error {
	d, err := conf.ParseDuration(s)
	if err == nil && (d < tokenLifeMin || d > tokenLifeMax) {
		err = fmt.Errorf("%s is not between %s and %s", s, conf.FormatDuration(tokenLifeMin), conf.FormatDuration(tokenLifeMax))
	}
	*v = lifeValue(d)
	return err
}
func (v *lifeValue) String() string { return conf.FormatDuration(time.Duration(*v)) }
func (v *lifeValue) Type() string   { return "DURATION" }
