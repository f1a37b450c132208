package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/pflag"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/internal/command"
)

// failure is an error of the command line itself.
type failure struct {
	what, hint tideover.Text
	exit       int // 0 stands for exitFailed
	err        error
}

// Error implements error, in English.
func (f *failure) Error() string { return f.what.En }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// Explain returns what is wrong and what to do next.
func (f *failure) Explain() (what, hint tideover.Text) { return f.what, f.hint }

// explained is an error of any room that tells a person what is wrong and what to do next.
type explained interface {
	error
	Explain() (what, hint tideover.Text)
}

// exitStatus is an exit that needs no words.
type exitStatus int

// Error implements error.
func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// explanations finds every explained error in a tree of wrapped ones.
func explanations(err error) (all []explained) {
	if e, ok := err.(explained); ok {
		return []explained{e}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return explanations(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			all = append(all, explanations(one)...)
		}
	}
	return all
}

// complain writes what is wrong and what to do next, and returns the exit status.
func (p *program) complain(err error) int {
	if e, ok := err.(exitStatus); ok {
		return int(e)
	}
	all := explanations(err)
	for _, e := range all {
		what, hint := e.Explain()
		p.say(what.In(p.in()), hint.In(p.in()))
	}
	refusal, refused := errors.AsType[*tideover.Refusal](err)
	switch {
	case len(all) > 0:
	case refused:
		p.say(refusal.Detail.In(p.in()), "")
	default:
		p.say(err.Error(), "")
	}
	return statusOf(err)
}

// say writes one complaint: lower case, then a hint. What was typed may hold a card's number, and a terminal's scroll-back is kept.
func (p *program) say(what, hint string) {
	fmt.Fprintf(p.err, "tideover: %s\n", tideover.Mask(what))
	if hint != "" {
		fmt.Fprintf(p.err, "%s%s\n", p.t("  hint: ", "  提示："), tideover.Mask(hint))
	}
}

// statusOf is the exit status of an error.
func statusOf(err error) int {
	if f, ok := errors.AsType[*failure](err); ok && f.exit != 0 {
		return f.exit
	}
	if errors.Is(err, control.ErrUnreachable) {
		return exitUnreachable
	}
	if e, ok := errors.AsType[*control.Error](err); ok && e.Status < http.StatusInternalServerError && e.Status != http.StatusBadRequest {
		return exitRefused
	}
	if _, ok := errors.AsType[*tideover.Refusal](err); ok {
		return exitRefused
	}
	for _, refused := range []error{install.ErrToken, install.ErrOtherStore, install.ErrInUse} {
		if errors.Is(err, refused) {
			return exitRefused
		}
	}
	return exitFailed
}

// misuse is a complaint about how a command was called.
func (p *program) misuse(command, en, zh string, args ...any) error {
	return &failure{
		what: tideover.Textf(en, zh, args...), hint: tideover.Textf("see: %s --help", "请参阅：%s --help", command),
	}
}

// badFlag says what is wrong with a flag; pflag knows English alone.
func (p *program) badFlag(cmd *command.Command, err error) error {
	at := cmd.CommandPath()
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return p.misuse(at, "there is no flag %s", "没有选项 %s", flagName(e.GetSpecifiedName()))
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return p.misuse(at, "%s wants a value", "%s 需要一个值", flagName(e.GetSpecifiedName()))
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return p.misuse(at, "--%s cannot be %q", "--%s 不能是 %q", e.GetFlag().Name, e.GetValue())
	}
	return p.misuse(at, "%v", "参数错误：%v", err)
}

// flagName writes a flag as it is typed.
func flagName(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// noArgs refuses arguments; on the root and on groups that is an unknown command.
func (p *program) noArgs(cmd *command.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return p.misuse(cmd.CommandPath(), "unknown command %q", "未知命令 %q", cmd.CommandPath()+" "+args[0])
	default:
		return p.misuse(cmd.CommandPath(), "%s takes no argument, and has %q", "%s 不接受参数，但收到 %q", cmd.CommandPath(), args[0])
	}
}

// oneArg wants exactly one argument; name says which.
func (p *program) oneArg(name string) command.PositionalArgs {
	return func(cmd *command.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return p.misuse(cmd.CommandPath(), "%s wants one argument, %s, and has %d", "%s 需要一个参数 %s，但收到 %d 个", cmd.CommandPath(), name, len(args))
	}
}

// upToOneArg takes one argument or none.
func (p *program) upToOneArg(name string) command.PositionalArgs {
	return func(cmd *command.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return p.oneArg(name)(cmd, args)
	}
}
