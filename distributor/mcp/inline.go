package mcp

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/model"
)

// MetadataModules is the metadata, of the call that opens a stream, by which a sink says how it gets modules: ModulesByDigest, or nothing. MCP has no word for
// it; a source that does not know of it passes over it.
const MetadataModules = "waft-modules"

// ModulesByDigest says that a sink fetches modules by their digests, so that it is not sent the bytes of those that releases were given inline.
const ModulesByDigest = "by-digest"

// inlineTimeout bounds the reading of an inline module, which is on the disk unless that has lost it.
const inlineTimeout = 10 * time.Second

// byDigest says whether the sink of a stream fetches modules. One that was dialled cannot say so, and is sent the bytes.
func byDigest(ctx context.Context) bool {
	return slices.Contains(metadata.ValueFromIncomingContext(ctx, MetadataModules), ModulesByDigest)
}

// field is a resource as it stands in a message to the sink: with the bytes of its module where the release was given them so, and the sink does not fetch.
func (n *streamOfNode) field(collection string, r model.Resource) ([]byte, error) {
	e := &n.source.encoder
	if n.byDigest || r.Filter == nil || r.Filter.Module == nil || !r.Filter.Module.Inline {
		b, err := e.field(collection, r)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "%v", err)
		}
		return b, nil
	}
	// Apart from the others: who waits for a disk keeps nobody waiting who needs none.
	b, err := e.inlined.Get(shared(collection, r), func() ([]byte, error) {
		// Whoever is first reads for all who wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(n.stream.Context()), inlineTimeout)
		defer cancel()
		content, err := n.source.backend.module(ctx, *r.Filter.Module)
		if err != nil {
			return nil, err
		}
		return encodeField(collection, r, content)
	})
	if err != nil {
		// The sink comes again, and gets it whole then; without the bytes it would never be sent them.
		return nil, status.Errorf(codes.Unavailable, "%v", fmt.Errorf("filter %s: its inline module %s cannot be read: %w", r.Filter.Name, r.Filter.Module.Digest, err))
	}
	return b, nil
}
