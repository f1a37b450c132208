package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

// node describes a tree, of which ours and cobra's are made alike.
type node struct {
	use    string
	flags  func(*pflag.FlagSet)
	hidden bool
	noArgs bool
	subs   []node
}

// persistent are the flags of the whole tree, beside --help.
func persistent(f *pflag.FlagSet) {
	f.StringP("config", "c", "", "")
	f.Bool("quiet", false, "")
	f.BoolP("help", "h", false, "")
}

// tree has what is easily confused: flags that want a value and flags that do not, under names of commands; a flag of a group alone, one
// that hides the tree's, arguments that are called like commands, and a command within one of its name.
func tree() node {
	limit := func(f *pflag.FlagSet) {
		f.IntP("limit", "n", 5, "")
		f.BoolP("json", "j", false, "")
		f.String("quiet", "", "")
	}
	return node{use: "tool", noArgs: true, subs: []node{
		{use: "queue", noArgs: true, flags: func(f *pflag.FlagSet) { f.String("list", "", "") }, subs: []node{
			{use: "list", noArgs: true, flags: limit},
			{use: "show ID", flags: func(f *pflag.FlagSet) { f.StringP("state", "s", "", "") }},
			{use: "queue [NAME]"},
		}},
		{use: "run", hidden: true},
	}}
}

// result is what came of a call, in words that both tell alike.
type result struct{ said string }

func (r *result) ran(path string, args []string, flags string) {
	r.said += fmt.Sprintf("ran %s %q %s;", path, args, flags)
}

// values lists what flags hold.
func values(flags ...*pflag.FlagSet) string {
	var all []string
	for _, s := range flags {
		s.VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				all = append(all, f.Name+"="+f.Value.String())
			}
		})
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

func (r *result) ours(n node) *Command {
	c := &Command{Use: n.use, Hidden: n.hidden}
	if n.flags != nil {
		n.flags(c.Flags())
	}
	if n.noArgs {
		c.Args = func(c *Command, args []string) error { return refuse(c.CommandPath(), args) }
	}
	c.RunE = func(c *Command, args []string) error {
		r.ran(c.UseLine(), args, values(c.LocalFlags())+"|"+values(c.InheritedFlags()))
		return nil
	}
	for _, s := range n.subs {
		c.AddCommand(r.ours(s))
	}
	return c
}

func (r *result) cobras(n node) *cobra.Command {
	c := &cobra.Command{Use: n.use, Hidden: n.hidden, SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true}
	if n.flags != nil {
		n.flags(c.Flags())
	}
	if n.noArgs {
		c.Args = func(c *cobra.Command, args []string) error { return refuse(c.CommandPath(), args) }
	} else {
		c.Args = cobra.ArbitraryArgs
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		r.ran(c.UseLine(), args, values(c.LocalFlags())+"|"+values(c.InheritedFlags()))
		return nil
	}
	for _, s := range n.subs {
		c.AddCommand(r.cobras(s))
	}
	return c
}

func refuse(path string, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s refuses %q", path, args)
	}
	return nil
}

// callOurs and callCobras make one call of a tree of their own.
func callOurs(args []string) string {
	var r result
	c := r.ours(tree())
	persistent(c.PersistentFlags())
	c.PersistentPreRunE = func(c *Command, args []string) error { r.said += "before " + c.CommandPath() + ";"; return nil }
	c.FlagErrorFunc = func(c *Command, err error) error { return fmt.Errorf("%s: %w", c.CommandPath(), err) }
	c.HelpFunc = func(c *Command) { r.said += "help " + c.CommandPath() + ";" }
	return r.end(c.ExecuteContext(context.Background(), args))
}

func callCobras(args []string) string {
	var r result
	c := r.cobras(tree())
	persistent(c.PersistentFlags())
	c.PersistentPreRunE = func(c *cobra.Command, args []string) error { r.said += "before " + c.CommandPath() + ";"; return nil }
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return fmt.Errorf("%s: %w", c.CommandPath(), err) })
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { r.said += "help " + c.CommandPath() + ";" })
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	c.SetArgs(args)
	return r.end(c.ExecuteContext(context.Background()))
}

// end is what a call has done and how it ended.
func (r *result) end(err error) string { return fmt.Sprintf("%s err=%v", r.said, err) }

// words are what the trees are called with: commands, flags in every form, values, and what is none of them.
var words = []string{
	"queue", "list", "show", "run", "tool", "other", "", "-", "--", "---", "--=x",
	"--config", "--config=x", "-c", "-cx", "-c=x", "--quiet", "--quiet=false", "--quiet=maybe", "--list", "--list=show",
	"--limit", "--limit=7", "-n", "-n7", "-n=7", "7", "--json", "-j", "-jn", "-jn7", "-hj", "--state", "-s", "-slist", "--unknown", "-u", "--unknown=queue",
	"--help", "-h", "--help=false", "前台", "-前",
}

// It finds, reads and refuses as cobra does, whatever it is called with.
func TestCommand_IsCalledAsCobraIs(t *testing.T) {
	for _, args := range [][]string{
		nil,
		{"queue"},
		{"queue", "list", "-n7", "--config", "list"},
		{"--config", "queue", "queue", "--limit", "list", "list"},
		{"queue", "show", "list", "--", "-s"},
		{"--", "queue"},
		{"queue", "queue", "queue", "queue"},
		{"--list", "queue", "queue", "list"},
	} {
		if have, want := callOurs(args), callCobras(args); have != want {
			t.Errorf("%q:\nhave %s\nwant %s", args, have, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		args := rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(t, "args")
		if have, want := callOurs(args), callCobras(args); have != want {
			t.Fatalf("%q:\nhave %s\nwant %s", args, have, want)
		}
	})
}
