package sdk

import "github.com/waft-project/waft/sdk/internal/abi"

// The statuses that host calls fail with, named as in proxy-wasm ABI 0.2.1. A [*HostError] wraps one of them.
const (
	ErrNotFound             = abi.NotFound
	ErrBadArgument          = abi.BadArgument
	ErrSerializationFailure = abi.SerializationFailure
	ErrParseFailure         = abi.ParseFailure
	ErrInvalidMemoryAccess  = abi.InvalidMemoryAccess
	ErrEmpty                = abi.Empty
	ErrCASMismatch          = abi.CASMismatch
	ErrInternalFailure      = abi.InternalFailure
	ErrUnimplemented        = abi.Unimplemented
)

// HostError is a host call that failed. errors.Is finds its status.
type HostError struct {
	// Call says what was asked, for example "get property".
	Call string
	// Subject is what it was asked of: the property, the header, the metric. It may be empty.
	Subject string
	// Status is the host's answer.
	Status error
}

// Error names the call, its subject and the status.
func (e *HostError) Error() string {
	if e.Subject == "" {
		return e.Call + ": host answered " + e.Status.Error()
	}
	return e.Call + " " + e.Subject + ": host answered " + e.Status.Error()
}

// Unwrap is the status.
func (e *HostError) Unwrap() error { return e.Status }

// hostError is nil for OK.
func hostError(status abi.Status, call, subject string) error {
	if status == abi.OK {
		return nil
	}
	return &HostError{Call: call, Subject: subject, Status: status}
}
