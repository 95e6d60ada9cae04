package mcp

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

func TestRestAsked(t *testing.T) {
	for text, want := range map[string]time.Duration{"250": 250 * time.Millisecond, "-1": 0, "": 0, "soon": 0, "99999999": maxRest} {
		if got := restAsked(metadata.Pairs(pushbackKey, text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := restAsked(nil); got != 0 {
		t.Errorf("nothing: %v", got)
	}
}

// busy is a source that has no time.
type busy struct {
	mcpv1.UnimplementedResourceSourceServer
}

func (busy) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.RequestResources, mcpv1.Resources]) error {
	stream.SetTrailer(metadata.Pairs(pushbackKey, "700"))
	return status.Error(codes.Unavailable, "too many")
}

// A sink leaves a source alone for as long as it asks, although its own pause would be shorter.
func TestSinkRests(t *testing.T) {
	server := grpc.NewServer()
	mcpv1.RegisterResourceSourceServer(server, busy{})
	conn := connect(t, server, server.Stop)
	_, states := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{filtersName}}, func(Update) error { return nil })
	if s := receive(t, states); s.Connected || s.RetryIn != 700*time.Millisecond {
		t.Errorf("it is %+v", s)
	}
}
