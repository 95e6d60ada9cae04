package model

import (
	"errors"
	"fmt"
)

// Kinds of error. Adapters map them to codes (gRPC, HTTP, exit status); code that must branch uses errors.Is.
var (
	// ErrInvalid: the request can never succeed as it stands.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: the thing named does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: a thing with that name exists already and differs.
	ErrExists = errors.New("exists already")
	// ErrConflict: another change, or a running rollout, is in the way.
	ErrConflict = errors.New("conflict")
	// ErrPrecondition: the thing is not in a state that allows this.
	ErrPrecondition = errors.New("not possible now")
	// ErrUnauthenticated: who asks has not proved who it is.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrDenied: who asks may not do this.
	ErrDenied = errors.New("denied")
	// ErrExhausted: who asks has asked more than one may; the same later succeeds.
	ErrExhausted = errors.New("too much")
	// ErrUnavailable: something that waft depends on did not answer; trying again may help.
	ErrUnavailable = errors.New("unavailable")
)

// Error is an error for a person: what happened, to what, why, and what to do next.
type Error struct {
	// Kind is one of the sentinel errors above.
	Kind error
	// Object is what it happened to: release/NAME, rollout/NAME, node/ID, or a file.
	Object string
	// Field is the path of the offending field where there is one: spec.filters[0].config.issuer.
	Field string
	// Message says what is wrong and why.
	Message string
	// Next says what to do.
	Next string
	// Cause is the underlying error, or nil. Its text is not repeated in Error.
	Cause error
}

// Error puts the parts into one line.
func (e *Error) Error() string {
	s := ""
	if e.Object != "" {
		s = e.Object + ": "
	}
	if e.Field != "" {
		s += e.Field + ": "
	}
	s += e.Message
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Invalidf is an ErrInvalid about a field.
func Invalidf(object, field, next, format string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, Object: object, Field: field, Next: next, Message: fmt.Sprintf(format, args...)}
}
