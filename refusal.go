package tideover

import (
	"fmt"
	"time"
)

// Code names why a request was refused; it is the `code` of the terminal's API.
type Code string

// The codes of the terminal's API.
const (
	CodeInvalidRequest        Code = "invalid_request"
	CodeMissingKey            Code = "missing_idempotency_key"
	CodeUnauthorized          Code = "unauthorized"
	CodeForbidden             Code = "forbidden"
	CodeUnknownTransaction    Code = "unknown_transaction"
	CodeNotFound              Code = "not_found" // a path that the API does not have
	CodeMethodNotAllowed      Code = "method_not_allowed"
	CodeNotAcceptable         Code = "not_acceptable"
	CodeTooLarge              Code = "too_large"
	CodeUnsupportedMediaType  Code = "unsupported_media_type"
	CodeSuspectedDuplicate    Code = "suspected_duplicate"
	CodeAlreadyAcknowledged   Code = "already_acknowledged"
	CodeOutcomeChanged        Code = "outcome_changed"
	CodeNameInUse             Code = "name_in_use"
	CodeCannotCancel          Code = "cannot_cancel" // a reversal
	CodeNotPossible           Code = "not_possible"  // a technician's act that the transaction's state does not allow
	CodeKeyReused             Code = "key_reused"
	CodeAmountAboveLimit      Code = "amount_above_limit"
	CodeAmountBelowMinimum    Code = "amount_below_minimum"
	CodeOriginalUnknown       Code = "original_unknown"
	CodeOriginalNotApproved   Code = "original_not_approved"
	CodeRefundExceedsOriginal Code = "refund_exceeds_original"
	CodeRefundWindowClosed    Code = "refund_window_closed"
	CodeForbiddenCardData     Code = "forbidden_card_data"
	CodeTooManyRequests       Code = "too_many_requests"
	CodeOfflineLimit          Code = "offline_limit"
	CodeShuttingDown          Code = "shutting_down"
	CodeSuperseded            Code = "superseded" // another router has taken over the store
	CodeStorageFull           Code = "storage_full"
	CodeInternal              Code = "internal_error"
)

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Field  string `json:"field"`
	Detail Text   `json:"detail"`
}

// Refusal is a request that was not taken: nothing was stored, nothing was sent, and the key is free. It is an error that every
// room may return to the terminal's.
type Refusal struct {
	Code   Code
	Detail Text // what is wrong and what to do next
	Fields []FieldError
	// Limit and Remaining are minor units or counts, where they apply.
	Limit, Remaining *int64
	DuplicateOf      ID
	RetryAfter       time.Duration // 0: none is advised
}

// Refuse makes a refusal with its detail in both languages; args serve both.
//
//go:noinline
func Refuse(code Code, en, zh string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: Textf(en, zh, args...)}
}

// Error implements error, in English.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Code, r.Detail.En) }
