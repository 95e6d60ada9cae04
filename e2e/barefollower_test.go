package e2e

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/envoy"
)

// bareFollower is an Envoy without an agent, as far as a distributor can see: it speaks delta ADS, takes whatever its slot is sent, and connects again for as long as
// the test runs, by a connection of its own each time and after the pause with which an Envoy begins.
type bareFollower struct {
	id string
	mu sync.Mutex
	// sent is all that its slot was ever sent, and version that of the last.
	sent    [][]byte
	version string
}

const (
	slotType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
	// envoyPause is the first of Envoy's pauses before it opens its stream again.
	envoyPause = 500 * time.Millisecond
)

func startBareFollower(t *testing.T, address, id, env string) *bareFollower {
	t.Helper()
	metadata, err := structpb.NewStruct(map[string]any{envoy.MetadataLabels: map[string]any{"env": env}})
	if err != nil {
		t.Fatal(err)
	}
	f := &bareFollower{id: id}
	who := &corev3.Node{
		Id: id, Metadata: metadata, UserAgentName: "envoy",
		UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40}}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			_ = f.follow(ctx, address, who) // it breaks when what serves it goes
			select {
			case <-ctx.Done():
			case <-time.After(envoyPause):
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return f
}

// follow takes what comes by one connection, until it breaks.
func (f *bareFollower) follow(ctx context.Context, address string, who *corev3.Node) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	ask := &discoveryv3.DeltaDiscoveryRequest{Node: who, TypeUrl: slotType, ResourceNamesSubscribe: []string{envoy.SlotName}}
	f.mu.Lock()
	if f.version != "" {
		ask.InitialResourceVersions = map[string]string{envoy.SlotName: f.version}
	}
	f.mu.Unlock()
	for {
		if err := stream.Send(ask); err != nil {
			return err
		}
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		f.mu.Lock()
		for _, r := range response.GetResources() {
			f.sent, f.version = append(f.sent, r.GetResource().GetValue()), r.GetVersion()
		}
		f.mu.Unlock()
		ask = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: slotType, ResponseNonce: response.GetNonce()}
	}
}

// has says whether the node was ever sent a module, by its digest.
func (f *bareFollower) has(digest string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, sent := range f.sent {
		if bytes.Contains(sent, []byte(strings.TrimPrefix(digest, "sha256:"))) {
			return true
		}
	}
	return false
}
