package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tideover"
	"tideover/hub"
)

// The first arguments by which this program runs itself again as one of the shop's programs. They are not for people.
const (
	asHub  = "hub"
	asEdge = "edge"
)

// Exit statuses, as every program of the house has them.
const (
	exitWell   = 0
	exitNotSo  = 1 // the story did not end as promised
	exitFailed = 2 // it could not be told, or was called wrongly
)

// Streams are what the program reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer // the story; with --json the verdict
	Err io.Writer // words for people
}

// Main runs tideover-sandbox with its arguments, without the program's name, and returns its exit status. A first argument of "hub"
// or "edge" runs that program instead: the shop's processes are this program again.
func Main(ctx context.Context, args []string, streams Streams) int {
	if len(args) > 0 {
		switch args[0] {
		case asHub:
			return hub.Main(ctx, args[1:], hub.Streams(streams))
		case asEdge:
			return runEdge(ctx, args[1:], streams)
		}
	}
	return run(ctx, args, streams, Options{})
}

// run tells the story in a shop of the given kind.
func run(ctx context.Context, args []string, streams Streams, o Options) int {
	p := &teller{streams: streams, lang: langOf(args, os.Getenv)}
	cmd := p.command(o)
	cmd.SetArgs(args)
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.Err)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitWell
	case errors.Is(err, errNotSo):
		return exitNotSo
	}
	fmt.Fprintf(streams.Err, "tideover-sandbox: %v\n", err)
	if p.words != nil {
		return exitFailed // the story has begun: the command line was well
	}
	fmt.Fprintln(streams.Err, p.t("  hint: see tideover-sandbox --help", "  提示：请参阅 tideover-sandbox --help"))
	return exitFailed
}

// errNotSo ends a story whose count was not as promised; everything about it has been said.
var errNotSo = errors.New("the story did not end as promised")

// langOf finds the language before any flag is parsed, since help is in it too.
func langOf(args []string, getenv func(string) string) tideover.Lang {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--lang="); ok {
			return tideover.Lang(v)
		}
		if a == "--lang" && i+1 < len(args) {
			return tideover.Lang(args[i+1])
		}
	}
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

// command is the command line for people.
func (p *teller) command(o Options) *cobra.Command {
	lang := string(p.lang)
	var stay, asJSON bool
	cmd := &cobra.Command{
		Use: "tideover-sandbox",
		Long: p.t("A whole shop on this machine: three tills, a router (the edge), a cable, a head end (the hub) and a simulated payment platform.\n"+
			"The cable is cut, sales are cancelled in the cut, the router is killed and replaced, and at the end the platform counts. It needs no\n"+
			"root, no network and no configuration.",
			"在本机上运行一整家门店：三台收银终端、一台路由器（边缘端）、一条网线、一个中心端（hub）和一个模拟支付平台。\n"+
				"网线会被切断，断网时会有取消，路由器会被强行终止和更换，最后由平台来清点。无需 root、网络或任何配置。"),
		Example:       "  tideover-sandbox\n  tideover-sandbox --stay\n  tideover-sandbox --json",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf(p.t("it takes no arguments, but got %q", "不接受参数，但收到 %q"), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if l := tideover.Lang(lang); l != tideover.English && l != tideover.Chinese {
				return fmt.Errorf("--lang %q: en and zh are known", lang)
			}
			if asJSON {
				p.json = json.NewEncoder(p.streams.Out)
				p.words = p.streams.Err
			} else {
				p.words = p.streams.Out
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			defer context.AfterFunc(ctx, stop)() // a second signal ends the program at once
			return p.tell(ctx, o, stay)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&stay, "stay", false, p.t("leave the shop running after the story, until Ctrl-C", "故事结束后保持门店运行，直到按 Ctrl-C"))
	f.BoolVar(&asJSON, "json", false, p.t("print the verdict as JSON; the story goes to stderr", "以 JSON 输出结论；故事输出到 stderr"))
	f.StringVar(&lang, "lang", lang, p.t("`LANGUAGE`: en or zh", "`LANGUAGE`：en 或 zh"))
	f.Uint64Var(&o.Seed, "seed", 1, p.t("of the platform's dice", "模拟平台的随机种子"))
	f.BoolP("help", "h", false, p.t("this help", "显示本帮助"))
	cmd.CompletionOptions.DisableDefaultCmd = true
	heading := strings.NewReplacer("Usage:", p.t("Usage:", "用法："), "Examples:", p.t("Examples:", "示例："), "Flags:", p.t("Flags:", "选项："))
	cmd.SetUsageTemplate(heading.Replace(cmd.UsageTemplate()))
	return cmd
}

// t picks one of two sentences.
func (p *teller) t(en, zh string) string { return tideover.Text{En: en, Zh: zh}.In(p.lang) }
