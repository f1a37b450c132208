package command

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Command is a node of the tree. Its fields are set before it is executed, and not changed after.
type Command struct {
	Use     string // its name, then its arguments in words
	Short   string
	Long    string // in place of Short where its own help is shown
	Example string
	Hidden  bool // not listed

	Args PositionalArgs                 // refuses arguments; nil takes all
	RunE func(*Command, []string) error // gets the arguments without flags

	// The root's alone. They may not be nil there.
	PersistentPreRunE func(*Command, []string) error // ahead of each command's RunE
	FlagErrorFunc     func(*Command, error) error    // puts into words what pflag says of the flags
	HelpFunc          func(*Command)                 // --help

	parent            *Command
	subs              []*Command
	flags, persistent *pflag.FlagSet
	ctx               context.Context
}

// PositionalArgs says what is wrong with a command's arguments, or nothing.
type PositionalArgs func(*Command, []string) error

// AddCommand adds commands below c, in the order in which they are listed. They may not be below another.
func (c *Command) AddCommand(subs ...*Command) {
	for _, s := range subs {
		s.parent = c
	}
	c.subs = append(c.subs, subs...)
}

// Flags are those of c alone.
func (c *Command) Flags() *pflag.FlagSet { return made(&c.flags, c) }

// PersistentFlags are those of c and of everything below it.
func (c *Command) PersistentFlags() *pflag.FlagSet { return made(&c.persistent, c) }

// made returns a set of flags, which is empty at first.
func made(s **pflag.FlagSet, c *Command) *pflag.FlagSet {
	if *s == nil {
		*s = pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	}
	return *s
}

// LocalFlags are those that c defines.
func (c *Command) LocalFlags() *pflag.FlagSet {
	all := pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	all.AddFlagSet(c.flags)
	all.AddFlagSet(c.persistent)
	return all
}

// InheritedFlags are those that the commands above c define for it; a flag of c's own hides one of its name.
func (c *Command) InheritedFlags() *pflag.FlagSet {
	local, all := c.LocalFlags(), pflag.NewFlagSet(c.Name(), pflag.ContinueOnError)
	for above := c.parent; above != nil; above = above.parent {
		above.PersistentFlags().VisitAll(func(f *pflag.Flag) {
			if local.Lookup(f.Name) == nil && all.Lookup(f.Name) == nil {
				all.AddFlag(f)
			}
		})
	}
	return all
}

// Name is the word that calls c.
func (c *Command) Name() string {
	name, _, _ := strings.Cut(c.Use, " ")
	return name
}

// Root is the program.
func (c *Command) Root() *Command {
	for c.parent != nil {
		c = c.parent
	}
	return c
}

// CommandPath is the words that call c, from the program's name on.
func (c *Command) CommandPath() string { return c.above() + c.Name() }

// UseLine is the words that call c, with its arguments.
func (c *Command) UseLine() string { return c.above() + c.Use }

// above is the words that stand before c's own.
func (c *Command) above() string {
	if c.parent == nil {
		return ""
	}
	return c.parent.CommandPath() + " "
}

// Commands are those right below c, hidden ones included.
func (c *Command) Commands() []*Command { return c.subs }

// HasSubCommands says whether there are any.
func (c *Command) HasSubCommands() bool { return len(c.subs) > 0 }

// IsAvailableCommand says whether c is listed.
func (c *Command) IsAvailableCommand() bool { return !c.Hidden }

// Context is what [Command.ExecuteContext] was given.
func (c *Command) Context() context.Context { return c.Root().ctx }

// Find follows args down from c as far as their words name commands, and returns where that ends, with the arguments that are left.
func (c *Command) Find(args []string) (*Command, []string) {
	for {
		at, sub := c.next(args)
		if sub == nil {
			return c, args
		}
		c, args = sub, slices.Delete(slices.Clone(args), at, at+1)
	}
}

// next looks for the first word that is neither a flag nor a flag's value; sub is nil where it names no command.
func (c *Command) next(args []string) (at int, sub *Command) {
	flags := c.every()
	for i := 0; i < len(args); i++ {
		switch s := args[i]; {
		case s == "--":
			return 0, nil
		case wantsValue(s, flags):
			i++
		case s != "" && !strings.HasPrefix(s, "-"):
			for _, sub := range c.subs {
				if sub.Name() == s {
					return i, sub
				}
			}
			return 0, nil
		}
	}
	return 0, nil
}

// wantsValue says whether s is a flag whose value is the next argument. One that c does not know is its descendants': it counts as one
// that wants a value, so that no value is taken for a command.
func wantsValue(s string, flags *pflag.FlagSet) bool {
	var f *pflag.Flag
	switch {
	case strings.Contains(s, "="):
		return false
	case strings.HasPrefix(s, "--"):
		f = flags.Lookup(s[2:])
	case strings.HasPrefix(s, "-") && len(s) == 2:
		f = flags.ShorthandLookup(s[1:])
	default:
		return false
	}
	return f == nil || f.NoOptDefVal == ""
}

// every returns all flags that c knows.
func (c *Command) every() *pflag.FlagSet {
	all := c.LocalFlags()
	all.AddFlagSet(c.InheritedFlags())
	return all
}

// ExecuteContext runs the command of the tree below the root c that args name, without the program's name.
func (c *Command) ExecuteContext(ctx context.Context, args []string) error {
	c.ctx = ctx
	called, rest := c.Find(args)
	flags := called.every()
	if err := flags.Parse(rest); err != nil {
		return c.FlagErrorFunc(called, err)
	}
	if help := flags.Lookup("help"); help != nil && help.Value.String() == "true" {
		c.HelpFunc(called)
		return nil
	}
	args = flags.Args()
	if called.Args != nil {
		if err := called.Args(called, args); err != nil {
			return err
		}
	}
	if err := c.PersistentPreRunE(called, args); err != nil {
		return err
	}
	return called.RunE(called, args)
}
