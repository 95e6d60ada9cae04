package istio

import "time"

const (
	// MaxTypes bounds how many kinds of resources one stream asks for. Istio knows about thirty.
	MaxTypes = 256
	// MaxTypeBytes bounds the name of one.
	MaxTypeBytes = 253
	// MaxResponseBytes bounds one answer.
	MaxResponseBytes = 16 << 20
	// MaxReasonBytes bounds what is kept of the reason of a NACK.
	MaxReasonBytes = 4 << 10
	// RequestsPerSecond is how many requests of one node are read in a second, over all its streams, once RequestBurst were. Istio sends one for each kind that it knows, and
	// one for each answer.
	RequestsPerSecond = 50
	RequestBurst      = 200
	// DefaultSettle is how long a node that has no chain waits for one before it is told that it has no filters: a node that
	// is new is given what others like it have within moments.
	DefaultSettle = 5 * time.Second
)
