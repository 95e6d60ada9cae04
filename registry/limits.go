package registry

import "time"

// Limits on what is read from outside. A registry that offers more gets ErrTooLarge.
const (
	// DefaultMaxModuleBytes is the size of a module, and of the layer that holds it: as Istio, 256 MiB.
	DefaultMaxModuleBytes = 256 << 20
	// MaxManifestBytes is the size of an image manifest, an index or a list of referrers. The distribution
	// specification asks registries for at least 4 MiB.
	MaxManifestBytes = 4 << 20
	// MaxConfigBytes is the size of the configuration blob or layer of an artifact.
	MaxConfigBytes = 1 << 20
	// MaxAttachmentBytes is the size of what is attached to an artifact, such as the waft manifest.
	MaxAttachmentBytes = 4 << 20
	// MaxLayers is the number of layers of an image that may hold a module.
	MaxLayers = 128
	// MaxReferrers is how many referrers of an artifact are looked at.
	MaxReferrers = 1024
	// MaxReferenceBytes is the length of a reference.
	MaxReferenceBytes = 1024
)

// Times after which a registry counts as away.
const (
	// DialTimeout bounds the making of a connection, and the TLS handshake on it.
	DialTimeout = 10 * time.Second
	// HeaderTimeout bounds the wait for the head of an answer.
	HeaderTimeout = 30 * time.Second
	// DefaultStallTimeout bounds the wait for the next byte of a body.
	DefaultStallTimeout = 30 * time.Second
	// MinBytesPerSecond is what a body must bring, over as long as it may stall: one that drips has stalled, too.
	MinBytesPerSecond = 1 << 10
)
