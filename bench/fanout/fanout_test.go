package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// build builds the server, which is in a module of its own.
func build(t *testing.T) string {
	t.Helper()
	server := filepath.Join(t.TempDir(), "fanoutserver")
	cmd := exec.Command("go", "build", "-o", server, ".")
	cmd.Dir = filepath.Join("..", "..", "tools", "fanoutserver")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return server
}

// A small slice of the measurement, of both servers in every dialect: the rows are there, whole, and each node has accepted each change. Times are another
// matter on a machine that does other things, too.
func TestSlice(t *testing.T) {
	const nodes, changes = 20, 4
	b := &bench{server: build(t), bytes: 2048, changes: changes, rounds: 2}
	if err := b.read("20", "mcp,ads,delta"); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out", "fanout.json")
	var table strings.Builder
	if err := b.run(t.Context(), &table, out); err != nil {
		t.Fatal(err)
	}
	t.Log(table.String())
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []map[string]any }
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{waft, "mcp"}, {peer, "ads"}, {waft, "ads"}, {peer, "delta"}, {waft, "delta"}}
	if len(got.Rows) != len(want) {
		t.Fatalf("%d rows, want %d: %s", len(got.Rows), len(want), raw)
	}
	for i, r := range got.Rows {
		if r["server"] != want[i][0] || r["dialect"] != want[i][1] || r["nodes"] != float64(nodes) || r["updates"] != float64(2*nodes*changes) || r["rounds"] != float64(2) {
			t.Errorf("row %d is %v, want %v", i, r, want[i])
		}
		for _, name := range []string{"p50_ms", "p99_ms", "server_rss_mb", "server_cpu_s"} {
			if value, ok := r[name].(float64); !ok || value <= 0 {
				t.Errorf("row %d: %s is %v", i, name, r[name])
			}
		}
	}
	for _, said := range []string{"20 nodes, mcp: p99", "20 nodes, ads: memory", "20 nodes, delta: CPU"} {
		if !strings.Contains(table.String(), said) {
			t.Errorf("nothing is said of %q", said)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "fanout-*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}

// The extremes, with a few nodes: a large resource is not in memory once a node, and a fleet that lost its connections is served again.
func TestExtremes(t *testing.T) {
	const nodes, size, copies = 100, 4 << 20, 24
	b := &bench{server: build(t), bytes: 2048, dir: t.TempDir()}
	var err error
	if b.tls, err = certify(b.dir); err != nil {
		t.Fatal(err)
	}
	one, err := b.large(t.Context(), nodes, size)
	if err != nil {
		t.Fatal(err)
	}
	// Some copies: the change is made, rendered and encoded, and what that leaves is collected later; and what each connection holds while it writes. One for each
	// node would be 400 MB.
	t.Logf("it grew by %.0f MB", one.Peak-one.Before)
	if grown := one.Peak - one.Before; grown <= 0 || grown > copies*size/(1<<20)+nodes*34/1024.0 {
		t.Errorf("the server grew from %.0f to %.0f MB with a resource of %d MB for %d nodes", one.Before, one.Peak, size>>20, nodes)
	}
	still, again, anew, err := b.stormy(t.Context(), nodes, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if still.Share < 0 || again.Took <= 0 || again.Peak <= 0 || anew.Took <= 0 || anew.Peak <= 0 {
		t.Errorf("idle %+v, again %+v, anew %+v", still, again, anew)
	}
	if again.Resumed != nodes || anew.Resumed != 0 {
		t.Errorf("of %d sessions %d were resumed by the fleet that may, and %d by the one that may not", nodes, again.Resumed, anew.Resumed)
	}
}

// What nodes say, put together by hand, is what the protocols' own types say.
func TestMessages(t *testing.T) {
	r := response{version: "v1", nonce: "7"}
	for name, test := range map[string]struct {
		have []byte
		want proto.Message
	}{
		"mcp ask": {dialects["mcp"].ask("n"), &mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "n"}, Collection: "waft/v1/filters", Incremental: true}},
		"mcp ACK": {dialects["mcp"].accept(r), &mcpv1.RequestResources{Collection: "waft/v1/filters", ResponseNonce: "7", Incremental: true}},
		"ads ask": {dialects["ads"].ask("n"), &discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "n"}, TypeUrl: typeURL, ResourceNames: []string{"waft"}}},
		"ads ACK": {dialects["ads"].accept(r), &discoveryv3.DiscoveryRequest{VersionInfo: "v1", TypeUrl: typeURL, ResourceNames: []string{"waft"}, ResponseNonce: "7"}},
		"delta ask": {
			dialects["delta"].ask("n"), &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "n"}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"waft"}},
		},
		"delta ACK": {dialects["delta"].accept(r), &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: "7"}},
	} {
		got := test.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(test.have, got); err != nil || !proto.Equal(got, test.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, test.want)
		}
	}
	body := &anypb.Any{Value: []byte(`{"change":"change-00000042."}`)}
	for name, m := range map[string]proto.Message{
		"mcp":   &mcpv1.Resources{SystemVersionInfo: "v", Nonce: "9", Resources: []*mcpv1.Resource{{Body: body}}},
		"ads":   &discoveryv3.DiscoveryResponse{VersionInfo: "v", Nonce: "9", Resources: []*anypb.Any{body}},
		"delta": &discoveryv3.DeltaDiscoveryResponse{SystemVersionInfo: "v", Nonce: "9", Resources: []*discoveryv3.Resource{{Resource: body}}},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dialects[name].read(raw); err != nil || got != (response{"v", "9", 42}) {
			t.Errorf("%s: read %+v, %v", name, got, err)
		}
	}
	if _, err := dialects["ads"].read([]byte{0x0a}); err == nil {
		t.Error("half a message is read")
	}
}

// Of each figure the median is told, not the row whose one figure is in the middle; what goes with updates is of all of them.
func TestMedianOfRounds(t *testing.T) {
	got := medianOf([]row{
		{Server: waft, Dialect: "ads", Nodes: 10, P50: 1, P99: 9, RSS: 50, CPU: 1, Updates: 100},
		{Server: waft, Dialect: "ads", Nodes: 10, P50: 3, P99: 2, RSS: 40, CPU: 4, Updates: 100},
		{Server: waft, Dialect: "ads", Nodes: 10, P50: 2, P99: 5, RSS: 90, CPU: 1, Updates: 100},
	})
	if got.P50 != 2 || got.P99 != 5 || got.RSS != 50 || got.CPU != 6 || got.Updates != 300 || got.cpu() != 20_000 || got.Rounds != 3 || !slices.Equal(got.P99Rounds, []float64{9, 2, 5}) {
		t.Errorf("%+v", got)
	}
	if even := median([]float64{4, 1, 2, 9}); even != 3 {
		t.Errorf("the median of four is %g", even)
	}
}
