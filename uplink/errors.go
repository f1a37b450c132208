package uplink

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"

	"tideover/wire"
)

// Errors of the calls. Of a call that ends in ErrNoLink or ErrVetoed no byte has left; after ErrLost the hub may have it.
var (
	ErrNoLink = errors.New("no link to the hub")
	ErrVetoed = errors.New("not sent")
	ErrLost   = errors.New("lost on the way")
)

// ErrHubTooOld: the hub's version cannot do what it was asked for. Nothing was sent.
var ErrHubTooOld = errors.New("the hub is of a version that cannot do this")

// RefusedError is the hub's word that it did not take a frame. Nothing was executed because of it.
type RefusedError struct{ Refused wire.Refused }

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the hub refused (reason %d): %s", e.Refused.Reason, e.Refused.Detail)
}

// Why a connection ends, where it is this side that ends it.
var (
	errSilent  = errors.New("the hub has not been heard for too long")
	errLeft    = errors.New("the hub is stopping")
	errStopped = errors.New("this edge is stopping")

	// errProtocol: the hub breaks the protocol.
	errProtocol = errors.New("the hub breaks the protocol")
)

// rejectedError tells of a hub that answers, and that this edge does not or may not use: trying it faster will not help.
type rejectedError struct{ err error }

func (e *rejectedError) Error() string { return e.err.Error() }
func (e *rejectedError) Unwrap() error { return e.err }

// plain puts a failed check of the hub's certificate into words; every other error stays as it is.
func plain(err error) error {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &rejectedError{fmt.Errorf("the hub shows a certificate that this edge cannot trust: %w", e.Err)}
	}
	return err
}

// Refused says whether a hub answers that this edge does not or may not use. Waiting does not mend it; a person does.
func (s State) Refused() bool { return isFinal(s.Err) }

// isFinal says whether an attempt failed for a reason that a person must mend: another ledger, a wrong certificate, a revoked store.
func isFinal(err error) bool {
	if _, ok := errors.AsType[*rejectedError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		return e.ErrorCode.IsCryptoError()
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return e.ErrorCode == wire.CloseRevoked || e.ErrorCode == wire.CloseProtocol
	}
	return false
}
