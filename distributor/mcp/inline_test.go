package mcp

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// A sink that does not fetch modules is sent the bytes of those that are inline, read once for all sinks; one that says that it fetches is not.
func TestInlineModules(t *testing.T) {
	b := newTable()
	c := filters("a", "1", "b", "1")
	c.Resources[1].Filter.Module.Inline = true
	b.set(c)
	conn, _, _ := serve(t, b)
	content := func(m *mcpv1.Resources) (bytes []string) {
		for _, r := range m.GetResources() {
			f := &waftv1.Filter{}
			if err := Body(r, f); err != nil {
				t.Fatal(err)
			}
			bytes = append(bytes, string(f.GetInline()))
		}
		return bytes
	}
	for range 2 {
		w := open(t, conn)
		w.first(filtersName)
		if got := content(w.want(filtersName, "1", false, []string{"a", "1", "b", "1"})); got[0] != "" || got[1] != "bytes of sha256:1" {
			t.Errorf("the sink that does not fetch gets %q", got)
		}
	}
	if b.read != 1 {
		t.Errorf("the module was read %d times", b.read)
	}

	stream, err := mcpv1.NewResourceSourceClient(conn).EstablishResourceStream(metadata.AppendToOutgoingContext(t.Context(), MetadataModules, ModulesByDigest))
	if err != nil {
		t.Fatal(err)
	}
	w := wire{t, stream}
	w.first(filtersName)
	if got := content(w.want(filtersName, "1", false, []string{"a", "1", "b", "1"})); got[0] != "" || got[1] != "" {
		t.Errorf("the sink that fetches gets %q", got)
	}
	if b.read != 1 {
		t.Errorf("the module was read for a sink that fetches it")
	}
}

// An agent fetches also where it is one from before inline modules, which does not say so: it may take no message that has them.
func TestAgentThatDoesNotSayThatItFetches(t *testing.T) {
	b := newTable()
	c := filters("a", "1")
	c.Resources[0].Filter.Module.Inline = true
	b.set(c)
	b.agents = map[string]bool{"node-1": true}
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	f := &waftv1.Filter{}
	if err := Body(w.want(filtersName, "1", false, []string{"a", "1"}).GetResources()[0], f); err != nil {
		t.Fatal(err)
	}
	if len(f.GetInline()) > 0 || b.read > 0 {
		t.Errorf("it is sent %q, read %d times", f.GetInline(), b.read)
	}
}

// A Sink says that it fetches where it is told to.
func TestSinkFetchesModules(t *testing.T) {
	for name, fetches := range map[string]bool{"it fetches": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			c := filters("a", "1")
			c.Resources[0].Filter.Module.Inline = true
			b.set(c)
			conn, _, _ := serve(t, b)
			updates, _ := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{filtersName}, FetchesModules: fetches}, func(Update) error { return nil })
			f := &waftv1.Filter{}
			if err := Body(receive(t, updates).Resources[0], f); err != nil {
				t.Fatal(err)
			}
			if got := len(f.GetInline()) > 0; got == fetches {
				t.Errorf("it is sent the bytes: %v", got)
			}
		})
	}
}

// A module that cannot be read ends the stream: without the bytes the sink would hold the filter's version, and never be sent them.
func TestInlineModuleThatCannotBeRead(t *testing.T) {
	b := &unreadable{newTable()}
	c := filters("a", "1")
	c.Resources[0].Filter.Module.Inline = true
	b.set(c)
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	if said := w.ends(codes.Unavailable); !strings.Contains(said, "sha256:1") || !strings.Contains(said, "the disk") {
		t.Errorf("it says %q", said)
	}
}

// unreadable is a backend that has lost its modules.
type unreadable struct{ *table }

func (unreadable) module(context.Context, model.Module) ([]byte, error) {
	return nil, errors.New("the disk is gone")
}
