package wasmhost

import "time"

// Limits of the host. Those marked Envoy are the values of Envoy's own host, so that a filter meets them here as it would there.
const (
	// DefaultDeadline is the time that one call into a guest may take, nested calls included, when Config names none.
	DefaultDeadline = 10 * time.Second

	// DefaultReloadBackoff is the least time between two starts of a VM that crashes (Envoy).
	DefaultReloadBackoff = time.Second

	// DefaultMemoryLimit is the memory, in bytes, that one VM may grow to when Config names none (Envoy: V8's cap of 1 GiB).
	DefaultMemoryLimit = 1 << 30

	// MaxModuleSize is the size, in bytes, of the largest module that Load and Check read.
	MaxModuleSize = 256 << 20

	// MaxPairsBytes is the size of the largest serialised map taken from a guest (Envoy); a larger one reads as empty.
	MaxPairsBytes = 1 << 20

	// MaxPairsCount is the largest number of pairs in a serialised map taken from a guest (Envoy); more read as empty.
	MaxPairsCount = 1024

	// MaxRandomBytes is the largest buffer that random_get fills (Envoy).
	MaxRandomBytes = 64 << 10

	// MaxBodyBytes is the size of the largest body that a paused direction of a stream buffers (Envoy: per_connection_buffer_limit_bytes).
	// A request over it is answered with 413, a response with 500.
	MaxBodyBytes = 1 << 20

	// StreamIdleTimeout is how long Exchange lets a stream that waits see nothing but ticks, on a VirtualClock (Envoy: stream_idle_timeout,
	// which then ends the stream).
	StreamIdleTimeout = 5 * time.Minute

	// MaxLogLines and MaxLogBytes bound the log that a VM keeps until TakeLogs. What comes later is counted, not kept.
	MaxLogLines = 100_000
	MaxLogBytes = 64 << 20

	// MaxSharedBytes bounds keys and values of the shared data of one Proxy, and the items in its queues.
	MaxSharedBytes = 256 << 20

	// MaxQueueItems bounds the items waiting in one shared queue.
	MaxQueueItems = 1 << 20

	// MaxMetrics bounds the metrics that one Proxy defines.
	MaxMetrics = 100_000

	// maxUncompressed bounds what the foreign function "uncompress" makes, in bytes.
	maxUncompressed = 64 << 20

	// maxStderr bounds the guest's last words in a TrapError, in bytes.
	maxStderr = 8 << 10

	// maxCallbackRounds bounds the rounds in which Exchange answers callouts and events for one stream,
	// so that a filter that calls out for ever ends.
	maxCallbackRounds = 10_000

	// wasmPageSize is the size of a page of WebAssembly memory.
	wasmPageSize = 64 << 10
)
