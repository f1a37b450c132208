package command

import (
	"strings"

	"github.com/spf13/pflag"
)

// offered is the annotation of a flag with the values that are offered for it.
const offered = "values"

// Offer names the values of a flag of set that [Command.Complete] offers. No others are refused for that.
func Offer(set *pflag.FlagSet, flag string, known ...string) {
	set.Lookup(flag).Annotations = map[string][]string{offered: known}
}

// Candidate is a word that may stand where somebody is typing.
type Candidate struct {
	Word  string
	About string // one line; may be empty
}

// Complete returns what the last of args, which may be empty, can become below the root c: commands, flags, or a flag's values. There is
// none where anything may stand: a file, an id, free text.
func (c *Command) Complete(args []string) (all []Candidate) {
	if len(args) == 0 {
		args = []string{""}
	}
	typed, begun := args[:len(args)-1], args[len(args)-1]
	called, rest := c.Find(typed)
	offer := func(word, about string) {
		if strings.HasPrefix(word, begun) {
			all = append(all, Candidate{word, about})
		}
	}
	flags := called.every()
	if value := awaits(typed, flags); value != nil {
		for _, v := range value.Annotations[offered] {
			offer(v, "")
		}
		return all
	}
	switch free := placed(rest, flags); {
	case free < 0: // after "--" nothing is a flag
	case strings.HasPrefix(begun, "-"):
		flags.VisitAll(func(f *pflag.Flag) {
			if _, about := pflag.UnquoteUsage(f); !f.Hidden {
				offer("--"+f.Name, about)
			}
		})
	case free == 0:
		for _, s := range called.subs {
			if s.IsAvailableCommand() {
				offer(s.Name(), s.Short)
			}
		}
	}
	return all
}

// awaits returns the flag whose value comes next; nil where none does.
func awaits(typed []string, flags *pflag.FlagSet) *pflag.Flag {
	if len(typed) == 0 || !wantsValue(typed[len(typed)-1], flags) {
		return nil
	}
	last := typed[len(typed)-1]
	if strings.HasPrefix(last, "--") {
		return flags.Lookup(last[2:])
	}
	return flags.ShorthandLookup(last[1:])
}

// placed counts the arguments that are neither flags nor values of flags; it is below 0 where "--" has ended the flags.
func placed(args []string, flags *pflag.FlagSet) (n int) {
	for i := 0; i < len(args); i++ {
		switch s := args[i]; {
		case s == "--":
			return -1
		case wantsValue(s, flags):
			i++
		case !strings.HasPrefix(s, "-"):
			n++
		}
	}
	return n
}
