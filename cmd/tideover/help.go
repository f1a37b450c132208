package main

import (
	"io"
	"strings"

	"github.com/spf13/pflag"

	"tideover/internal/columns"
	"tideover/internal/command"
)

// help prints what a command is for, then how it is used.
func (p *program) help(cmd *command.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	_, err := io.WriteString(p.out, about+"\n\n")
	if err == nil {
		err = p.usage(p.out, cmd)
	}
	if p.wrote == nil {
		p.wrote = err
	}
}

// usage prints how a command is used.
func (p *program) usage(w io.Writer, cmd *command.Command) error {
	var b strings.Builder
	section := func(en, zh string, rows [][]string) {
		if len(rows) > 0 {
			b.WriteString("\n" + p.t(en, zh) + "\n")
			_ = columns.Write(&b, rows) // a Builder takes everything
		}
	}
	line := cmd.UseLine() + p.t(" [flags]", " [选项]")
	if cmd.HasSubCommands() {
		line = cmd.CommandPath() + p.t(" COMMAND", " 命令")
	}
	b.WriteString(p.t("Usage:", "用法：") + "\n  " + line + "\n")
	var commands [][]string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			commands = append(commands, []string{"  " + sub.Name(), sub.Short})
		}
	}
	section("Commands:", "命令：", commands)
	if cmd.Example != "" {
		b.WriteString("\n" + p.t("Example:", "示例：") + "\n" + cmd.Example + "\n")
	}
	section("Flags:", "选项：", p.flagRows(cmd.LocalFlags()))
	section("Flags of all commands:", "通用选项：", p.flagRows(cmd.InheritedFlags()))
	_, err := io.WriteString(w, b.String())
	return err
}

// flagRows describes flags: how each is typed, what it does, and its default where that says something.
func (p *program) flagRows(flags *pflag.FlagSet) (rows [][]string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, about := pflag.UnquoteUsage(f)
		typed := "      --" + f.Name
		if f.Shorthand != "" {
			typed = "  -" + f.Shorthand + ", --" + f.Name
		}
		if value != "" {
			typed += " " + value
		}
		if f.DefValue != "" && f.Value.Type() != "bool" {
			about += p.t(" (default ", "（默认 ") + f.DefValue + p.t(")", "）")
		}
		rows = append(rows, []string{typed, about})
	})
	return rows
}
