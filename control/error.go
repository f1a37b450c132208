package control

import (
	"errors"
	"net/http"

	"tideover"
)

// Error is what the API answers where it does not do what was asked.
type Error struct {
	Status int           `json:"-"`    // HTTP
	Code   string        `json:"code"` // stable, for scripts
	What   tideover.Text `json:"what"`
	Hint   tideover.Text `json:"hint"` // what to do next
}

// Error implements error, in English.
func (e *Error) Error() string { return e.What.En }

// Explain returns what is wrong and what to do next, each in both languages.
func (e *Error) Explain() (what, hint tideover.Text) { return e.What, e.Hint }

// NotFound says that there is no such thing.
func NotFound(code string, what, hint tideover.Text) *Error {
	return &Error{Status: http.StatusNotFound, Code: code, What: what, Hint: hint}
}

// Refused says that what was asked for may not be done now.
//
//go:noinline
func Refused(code string, what, hint tideover.Text) *Error {
	return &Error{Status: http.StatusConflict, Code: code, What: what, Hint: hint}
}

// ErrInUse is found in the error of [Server.Listen] where a living daemon holds the socket.
var ErrInUse = errors.New("another daemon holds the control socket")

// ErrUnreachable is found in a client's error where no daemon answers; the error itself says why and what to do.
var ErrUnreachable = errors.New("the daemon cannot be reached")

// SocketError is why a socket can be neither listened on nor reached.
type SocketError struct {
	Path string
	What tideover.Text
	Hint tideover.Text
	Err  error
}

// Error implements error, in English.
func (e *SocketError) Error() string { return e.Path + ": " + e.What.En }

// Unwrap returns the cause.
func (e *SocketError) Unwrap() error { return e.Err }

// Explain returns what is wrong, with the socket's path, and what to do next, each in both languages.
func (e *SocketError) Explain() (what, hint tideover.Text) {
	return tideover.Text{En: e.Path + ": " + e.What.En, Zh: e.Path + "：" + e.What.Zh}, e.Hint
}

// asError turns what a backend returned into an answer.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if r, ok := errors.AsType[*tideover.Refusal](err); ok {
		return &Error{Status: http.StatusConflict, Code: string(r.Code), What: r.Detail}
	}
	return &Error{
		Status: http.StatusInternalServerError, Code: string(tideover.CodeInternal), What: tideover.Textf("%v", "%v", err),
		Hint: tideover.Textf("the daemon's log has the rest", "详情见守护进程的日志"),
	}
}
