package mcp

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

const (
	// MaxResourcesBytes bounds one message from a source to a sink; a sink refuses a larger one. A message carries configuration and digests, and the bytes of
	// those modules that releases were given inline, to a sink that does not fetch: a node may have such releases of four layers.
	MaxResourcesBytes = 32 << 20
	// MaxRequestBytes bounds one message from a sink to a source.
	MaxRequestBytes = 1 << 20
	// MaxCollections bounds how many collections a sink may ask for on one stream: waft's own, and twice those that a chain may have.
	MaxCollections = 4 + 2*model.MaxReleaseCollections
	// MaxHeld bounds how many resources of a collection a sink may say that it holds: as many as four layers may give a node of one.
	MaxHeld = 4 * model.MaxResources
	// MaxHeldBytes bounds what a sink may say that it holds, of all collections of a stream, with the memory that remembering takes.
	MaxHeldBytes = 4 << 20
	// heldOverhead is what an entry of a map of two strings takes beside their bytes.
	heldOverhead = 64
	// MaxNodeIDBytes bounds the id of a node.
	MaxNodeIDBytes = 253
	// MaxLabels bounds how many annotations of a sink are taken as labels.
	MaxLabels = 64
	// MaxLabelBytes bounds one label, name and value together.
	MaxLabelBytes = 1024
	// MaxReasonBytes bounds what is kept of the reason of a NACK.
	MaxReasonBytes = 4 << 10

	// RequestsPerSecond is how many requests of one node a source reads in a second, over all its streams, once it has read
	// RequestBurst. A sink sends three when it connects, and one for each message that it answers.
	RequestsPerSecond = 50
	RequestBurst      = 200

	// DefaultMinBackoff and DefaultMaxBackoff bound the pause between two attempts of the end that dials.
	DefaultMinBackoff = 200 * time.Millisecond
	DefaultMaxBackoff = 30 * time.Second
)
