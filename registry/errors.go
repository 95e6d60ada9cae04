package registry

import "errors"

// The ways to fail. Every error of this package that a caller may want to branch on has exactly one of them in its chain.
var (
	// ErrInvalidReference: the text is not a reference, or not one that the operation can take.
	ErrInvalidReference = errors.New("invalid reference")
	// ErrNotFound: the registry answers, and has no such repository, tag, manifest or blob.
	ErrNotFound = errors.New("not found")
	// ErrUnauthorized: the registry wants credentials, or does not let these do that.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrUnavailable: the registry did not answer, answered with a server error or asked to slow down, or the transfer
	// was cut off. Trying again later may help; nothing else here does.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrUntrusted: the registry's certificate is not trusted, or it speaks plain HTTP where that is not allowed.
	ErrUntrusted = errors.New("registry not trusted")
	// ErrRefused: the registry took the request and turned it down for a reason of its own.
	ErrRefused = errors.New("refused by the registry")
	// ErrDigestMismatch: the bytes are not those that the digest names.
	ErrDigestMismatch = errors.New("digest mismatch")
	// ErrSizeMismatch: there are more or fewer bytes than the descriptor says.
	ErrSizeMismatch = errors.New("size mismatch")
	// ErrTooLarge: over one of this package's limits.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupportedLayout: the artifact is none that can hold a module, as far as this package knows.
	ErrUnsupportedLayout = errors.New("unsupported layout")
	// ErrInvalidManifest: the image manifest or the index is broken.
	ErrInvalidManifest = errors.New("invalid image manifest")
	// ErrInvalidArchive: the layer is a broken archive, or one that could write outside its place.
	ErrInvalidArchive = errors.New("invalid archive")
	// ErrInvalidModule: the bytes are not Wasm.
	ErrInvalidModule = errors.New("invalid module")
	// ErrNotCached: the cache does not hold the digest.
	ErrNotCached = errors.New("not in the cache")
	// ErrStorage: the disk under the cache failed, or is full.
	ErrStorage = errors.New("cache storage failed")
)

// Error is an error for a person: what was done, to what, why it failed and what to do next.
type Error struct {
	// Op is what was being done: push, pull, resolve, fetch, reference, cache.
	Op string
	// Subject is what it was done to: a reference, a digest, a file.
	Subject string
	// Kind is one of the errors above.
	Kind error
	// Detail says more than Kind does, or is empty.
	Detail string
	// Next says what to do.
	Next string
	// Err is the cause, or nil. Its text is not part of Error's; Detail says what of it is worth reading.
	Err error
}

// Error puts the parts into one line.
func (e *Error) Error() string {
	s := e.Op + " " + e.Subject + ": " + e.Kind.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

// Unwrap gives errors.Is and errors.As both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
