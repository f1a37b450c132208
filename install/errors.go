package install

import (
	"errors"

	"tideover"
)

// What [Enroll] and [Load] fail with, each inside an [Error].
var (
	ErrNotEnrolled = errors.New("this machine is not enrolled")
	ErrDamaged     = errors.New("the enrolment is damaged")
	ErrExposed     = errors.New("a key can be read by others")
	ErrInUse       = errors.New("another enrolment is under way")
	ErrOtherStore  = errors.New("another store's")
	ErrNoQueueKey  = errors.New("there is a queue without its key")
	ErrToken       = errors.New("the token is not taken")
	ErrStranger    = errors.New("not the hub that the token is from")
	ErrUnreachable = errors.New("no hub answers")
)

// Error is a failure that a person can act on.
type Error struct {
	What tideover.Text // what is wrong, naming the thing
	Hint tideover.Text // what to do next
	Err  error
}

// Error implements error, in English.
func (e *Error) Error() string { return e.What.En + ": " + e.Hint.En }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Explain returns what is wrong and what to do next, in both languages.
func (e *Error) Explain() (what, hint tideover.Text) { return e.What, e.Hint }

var text = tideover.Textf

var (
	enrollAgain = text("enroll this machine again, with a token from `tideover-hub store rotate NAME`; its journal is kept",
		"请用 `tideover-hub store rotate 名称` 输出的令牌重新注册本机；日志会保留")
	freshToken = text("print a fresh token with `tideover-hub store rotate NAME`", "请用 `tideover-hub store rotate 名称` 输出新令牌")
)
