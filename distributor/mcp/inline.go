package mcp

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/model"
)

// MetadataModules is the metadata, of the call that opens a stream, by which a sink says how it gets modules: ModulesByDigest, or nothing. MCP has no word for
// it; a source that does not know of it passes over it.
const MetadataModules = "waft-modules"

// ModulesByDigest says that a sink fetches modules by their digests, so that it is not sent the bytes of those that releases were given inline. Agents that are older
// than this do not say so, and fetch; the backend knows of them.
const ModulesByDigest = "by-digest"

const (
	// inlineTimeout bounds the reading of an inline module, which is on the disk unless that has lost it.
	inlineTimeout = 10 * time.Second
	// inlineAgain is for how long one that could not be read is not read again: all sinks that need it come back meanwhile, and each would wait as long.
	inlineAgain = 5 * time.Second
)

// byDigest says whether the sink of a stream fetches modules. One that was dialled cannot say so, and is sent the bytes.
func byDigest(ctx context.Context) bool {
	return slices.Contains(metadata.ValueFromIncomingContext(ctx, MetadataModules), ModulesByDigest)
}

// field is a resource as it stands in a message to the sink, ctx bounds the reading of a secret: with the bytes of its module where the release was given them so, and the sink does not fetch.
func (n *streamOfNode) field(ctx context.Context, collection string, r model.Resource) ([]byte, error) {
	e := &n.source.encoder
	if r.Secret != nil {
		return n.secretField(ctx, collection, r)
	}
	if r.Filter == nil || r.Filter.Module == nil || !r.Filter.Module.Inline || n.byDigest || n.source.backend.fetches(n.node) {
		b, err := e.field(collection, r)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "%v", err)
		}
		return b, nil
	}
	b, err := n.source.inlineField(n.stream.Context(), collection, r)
	switch {
	case err == nil:
		return b, nil
	case n.source.stop.Err() != nil:
		return nil, errStopping()
	case n.stream.Context().Err() != nil:
		return nil, err
	}
	// The sink comes again, and gets it whole then; without the bytes it would never be sent them.
	return nil, status.Errorf(codes.Unavailable, "%v", fmt.Errorf("filter %s: its inline module %s cannot be read: %w", r.Filter.Name, r.Filter.Module.Digest, err))
}

// inlineField is a filter with the bytes of its module as it stands in a message. They are read for all who wait for them, however long each waits; the context bounds
// the waiting alone.
func (s *Source) inlineField(ctx context.Context, collection string, r model.Resource) ([]byte, error) {
	return s.encoder.inlined.get(ctx, s.stop, string(appendShared(nil, collection, r)), func(ctx context.Context) ([]byte, error) {
		content, err := s.backend.module(ctx, *r.Filter.Module)
		if err != nil {
			return nil, err
		}
		return encodeField(collection, r, content)
	})
}

// inlined keeps filters with the bytes of their modules, apart from all others: who waits for a disk keeps nobody waiting who needs none, nor another module. The zero
// value is ready. It may be used concurrently.
type inlined struct {
	kept    encoded.Cache
	reading singleflight.Group

	mu     sync.Mutex
	failed map[string]failure
}

// failure is what became of reading a module, which it stays until then.
type failure struct {
	err   error
	until time.Time
}

// get gives what is kept by a key. Where there is nothing, read makes it, once for all who wait; its error is theirs, too, and that of those who come soon after. It ends
// with stop at the latest; its error is that of ctx where that ends first.
func (f *inlined) get(ctx, stop context.Context, key string, read func(context.Context) ([]byte, error)) ([]byte, error) {
	if b := f.kept.Find(key); b != nil {
		return b, nil
	}
	done := f.reading.DoChan(key, func() (any, error) {
		if b := f.kept.Find(key); b != nil {
			return b, nil // somebody else was first
		}
		if err := f.lately(key); err != nil {
			return nil, err
		}
		reading, cancel := context.WithTimeout(stop, inlineTimeout)
		defer cancel()
		b, err := read(reading)
		f.note(key, err)
		if err != nil {
			return nil, err
		}
		f.kept.Keep(key, b)
		return b, nil
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-stop.Done():
		return nil, stop.Err()
	}
}

// lately is the error of a key that could not be read a short while ago.
func (f *inlined) lately(key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one, is := f.failed[key]; is && time.Now().Before(one.until) {
		return one.err
	}
	return nil
}

// note remembers what became of a key, and forgets what was too long ago.
func (f *inlined) note(key string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(f.failed, func(of string, one failure) bool { return of == key || !now.Before(one.until) })
	if err == nil {
		return
	}
	if f.failed == nil {
		f.failed = map[string]failure{}
	}
	f.failed[key] = failure{err: err, until: now.Add(inlineAgain)}
}
