package mcp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// stuck is a backend that gives each node a filter of its own, whose module has the node's name. The one of the node "lost" cannot be read: that takes until the reader
// gives up.
type stuck struct {
	*table
	// reading receives once for each time that it is tried.
	reading chan struct{}

	mu sync.Mutex
	// gaveUp is how often it was tried in vain.
	gaveUp int
}

func newStuck() *stuck { return &stuck{table: newTable(), reading: make(chan struct{}, 100)} }

func (b *stuck) collections(_ context.Context, node string) ([]model.Collection, error) {
	c := filters("f", node)
	c.Resources[0].Filter.Module.Inline = true
	return []model.Collection{c}, nil
}

func (b *stuck) module(ctx context.Context, m model.Module) ([]byte, error) {
	if m.Digest != "sha256:lost" {
		return []byte("bytes of " + m.Digest), nil
	}
	b.reading <- struct{}{}
	<-ctx.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaveUp++
	return nil, errors.New("the disk does not answer")
}

// asksAs asks for the filters of a node.
func (w wire) asksAs(node string) {
	w.t.Helper()
	w.send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: node}, Collection: filtersName})
}

// Whoever waits for a module that cannot be read keeps nobody waiting who needs another one.
func TestOnlyWhoNeedsAModuleWaitsForIt(t *testing.T) {
	b := newStuck()
	conn, _, _ := serve(t, b)
	open(t, conn).asksAs("lost")
	<-b.reading
	other := open(t, conn)
	other.asksAs("other")
	other.want(filtersName, "1", false, []string{"f", "other"})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gaveUp > 0 {
		t.Error("who needs another module has waited until the reader gave up")
	}
}

// Whoever waits for a module waits no longer than its stream lasts, nor than the source serves.
func TestWhoWaitsForAModuleGoes(t *testing.T) {
	stop, end := context.WithCancel(t.Context())
	source := newSource(stop, newStuck(), nil, nil)
	c, err := source.backend.collections(t.Context(), "lost")
	if err != nil {
		t.Fatal(err)
	}
	waits := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := source.inlineField(ctx, filtersName, c[0].Resources[0])
			done <- err
		}()
		return done
	}
	first := waits(t.Context())
	<-source.backend.(*stuck).reading
	gone, leave := context.WithCancel(t.Context())
	second := waits(gone)
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("one whose stream has ended: %v", err)
	}
	select {
	case err := <-first:
		t.Errorf("the other does not wait any more: %v", err)
	default:
	}
	end()
	if err := <-first; err == nil {
		t.Error("it has it")
	}
}

// What could not be read is not read again for each sink that comes, but after a while it is.
func TestModuleThatCannotBeReadIsTriedLater(t *testing.T) {
	b := &lossy{table: newTable()}
	c := filters("a", "1")
	c.Resources[0].Filter.Module.Inline = true
	b.set(c)
	conn, source, _ := serve(t, b)
	ask := func() wire {
		t.Helper()
		w := open(t, conn)
		w.first(filtersName)
		return w
	}
	b.lost.Store(true)
	for range 3 {
		ask().ends(codes.Unavailable)
	}
	if n := b.tried.Load(); n != 1 {
		t.Errorf("it was read %d times", n)
	}
	b.lost.Store(false)
	f := &source.encoder.inlined
	f.mu.Lock()
	for key, one := range f.failed {
		one.until = one.until.Add(-inlineAgain)
		f.failed[key] = one
	}
	f.mu.Unlock()
	ask().want(filtersName, "1", false, []string{"a", "1"})
	if len(f.failed) != 0 {
		t.Errorf("%d failures are remembered of what was read", len(f.failed))
	}
}

// lossy is a table whose modules can be lost, and had again.
type lossy struct {
	*table
	lost  atomic.Bool
	tried atomic.Int64
}

func (b *lossy) module(ctx context.Context, m model.Module) ([]byte, error) {
	b.tried.Add(1)
	if b.lost.Load() {
		return nil, errors.New("the disk is gone")
	}
	return b.table.module(ctx, m)
}
