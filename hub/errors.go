package hub

import (
	"errors"
	"net"
	"syscall"

	"tideover"
)

// The exit statuses of the program.
const (
	ExitWell        = 0
	ExitRefused     = 1 // degraded, or what was asked for was refused
	ExitFailed      = 2 // failed, or used wrongly
	ExitUnreachable = 3 // no hub answers
)

// Error is a failure that a person can act on.
type Error struct {
	What tideover.Text // what is wrong, naming the thing
	Hint tideover.Text // what to do next
	Err  error         // may be nil
	Exit int           // the program's exit status; 0 stands for [ExitFailed]
}

// Error implements error, in English, without the hint.
func (e *Error) Error() string { return e.In(tideover.English) }

// In returns what is wrong in a language.
func (e *Error) In(lang tideover.Lang) string {
	if e.Err != nil {
		return e.What.In(lang) + ": " + e.Err.Error()
	}
	return e.What.In(lang)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// text makes the two sentences of an [Error].
func text(en, zh string, args ...any) tideover.Text { return tideover.Textf(en, zh, args...) }

// ErrLocked tells that another process uses the state directory.
var ErrLocked = errors.New("in use by another process")

// listenError says in plain words why an address cannot be listened on; key is the configuration's.
func listenError(proto, addr, key string, err error) error {
	e := &Error{What: text("listen on %s %s (%s)", "无法监听 %s %s（%s）", proto, addr, key), Err: err}
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.What = text("%s port %s is in use by another program (%s = %q)", "%s 端口 %s 已被其他程序占用（%s = %q）", proto, port, key, addr)
		e.Hint = text("stop that program (ss -lnp 'sport = :%s' names it), or change %s in the configuration",
			"请停止占用该端口的程序（用 ss -lnp 'sport = :%s' 查看），或修改配置中的 %s", port, key)
	case errors.Is(err, syscall.EACCES):
		e.Hint = text("ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one for %s",
			"1024 以下的端口需要 CAP_NET_BIND_SERVICE 权限：请为 %s 选择更高的端口", key)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = text("this machine has no such address: change %s in the configuration", "本机没有该地址：请修改配置中的 %s", key)
	default:
		e.Hint = text("check %s in the configuration", "请检查配置中的 %s", key)
	}
	return e
}

// diskError wraps an operating system's error on a file.
func diskError(en, zh string, err error, args ...any) error {
	e := &Error{
		What: text(en, zh, args...), Err: err,
		Hint: text("check that the user who runs the hub owns state_dir and that its disk has room", "请检查运行 hub 的用户是否拥有 state_dir，以及磁盘是否有空间"),
	}
	if errors.Is(err, syscall.ENOSPC) {
		e.Hint = text("the disk is full: make room and start again", "磁盘已满：请腾出空间后重试")
	}
	return e
}

// explainer is an error that can say in both languages what is wrong and what to do next; every room's errors for people are.
type explainer interface {
	error
	Explain() (what, hint tideover.Text)
}

// Explain returns what is wrong and what to do next.
func (e *Error) Explain() (what, hint tideover.Text) {
	return tideover.Text{En: e.In(tideover.English), Zh: e.In(tideover.Chinese)}, e.Hint
}

// explain returns an error as people read it.
func explain(err error) (what, hint tideover.Text) {
	if e, ok := errors.AsType[explainer](err); ok {
		return e.Explain()
	}
	return text("%v", "%v", err), tideover.Text{}
}

// exitOf is the exit status that an error stands for.
func exitOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok && e.Exit != 0 {
		return e.Exit
	}
	return ExitFailed
}
