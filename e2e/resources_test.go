package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// flagType is the descriptor set of acme.flags.v1.Flag, as a user has it: enabled, and rules of a name and a percent.
func flagType(t *testing.T) (set []byte, flag protoreflect.MessageDescriptor) {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	}
	rules := field("rules", 2, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
	rules.Label, rules.TypeName = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), proto.String(".acme.flags.v1.Rule")
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("acme/flags/v1/flags.proto"), Package: proto.String("acme.flags.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Flag"), Field: []*descriptorpb.FieldDescriptorProto{field("enabled", 1, descriptorpb.FieldDescriptorProto_TYPE_BOOL), rules}},
			{Name: proto.String("Rule"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING), field("percent", 2, descriptorpb.FieldDescriptorProto_TYPE_INT32),
			}},
		},
	}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set, parsed.Messages().ByName("Flag")
}

// readFlag is a flag in short: on, or off, with its rules.
func readFlag(of protoreflect.MessageDescriptor, content []byte) (string, error) {
	message := dynamicpb.NewMessage(of)
	if err := proto.Unmarshal(content, message); err != nil {
		return "", err
	}
	said := "off"
	if message.Get(of.Fields().ByName("enabled")).Bool() {
		said = "on"
	}
	rules := message.Get(of.Fields().ByName("rules")).List()
	for i := range rules.Len() {
		rule := rules.Get(i).Message()
		fields := rule.Descriptor().Fields()
		said += fmt.Sprintf(" %s=%d", rule.Get(fields.ByName("name")).String(), rule.Get(fields.ByName("percent")).Int())
	}
	return said, nil
}

// registerFlags registers the type of flags, and applies the first of them.
func registerFlags(t *testing.T, f *fleet.Fleet) protoreflect.MessageDescriptor {
	t.Helper()
	set, flag := flagType(t)
	run := func(args ...string) { mustRun(t, f, append(args, f.Server()...)...) }
	run("types", "register", "acme", "-f", write(t, f, "set.binpb", string(set)), "--reason", "test")
	run("apply", "-f", write(t, f, "declared.yaml", `apiVersion: waft.dev/v1
kind: Collection
metadata: {name: flags}
spec: {type: acme.flags.v1.Flag, lists: [{path: rules, key: name}]}
`), "--reason", "test")
	return flag
}

// applyFlag stores the flag checkout of a layer.
func applyFlag(t *testing.T, f *fleet.Fleet, layer, fields string) {
	t.Helper()
	path := write(t, f, "flag.yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Resource
metadata: {collection: flags, name: checkout, layer: %s}
spec: {"@type": type.googleapis.com/acme.flags.v1.Flag, %s}
`, layer, fields))
	mustRun(t, f, append([]string{"apply", "-f", path, "--reason", "test"}, f.Server()...)...)
}

// takeFlags creates a release of a layer with the flags that it has stored, and more of a spec.
func takeFlags(t *testing.T, f *fleet.Fleet, name, layer, more string) string {
	t.Helper()
	path := write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s, layer: %s}
spec:
  collections: [flags]
%s`, name, layer, more))
	var created struct{ Status struct{ Hash string } }
	if err := f.JSON(t.Context(), &created, "release", "create", "-f", path, "--reason", "test"); err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.Status.Hash
}

// shownFlag is the flag that the agent of a node shows to applications.
func shownFlag(f *fleet.Fleet, id string, of protoreflect.MessageDescriptor) (string, error) {
	text, err := os.ReadFile(filepath.Join(f.Dir, id, "resources", "current", "flags.json"))
	if err != nil {
		return "", err
	}
	var file struct {
		Resources []struct {
			Name string
			Body struct {
				Type  string `json:"@type"`
				Value []byte
			}
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return "", err
	}
	if len(file.Resources) != 1 || file.Resources[0].Name != "checkout" || file.Resources[0].Body.Type != "type.googleapis.com/acme.flags.v1.Flag" {
		return "", fmt.Errorf("it shows %s", text)
	}
	return readFlag(of, file.Resources[0].Body.Value)
}

func awaitShown(t *testing.T, f *fleet.Fleet, id string, of protoreflect.MessageDescriptor, want string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), id+" to show the flag "+want, rolloutLimit, func(context.Context) error {
		if got, err := shownFlag(f, id, of); err != nil || got != want {
			return fleet.NotYetf("it shows %q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Filters and flags of one release go to real Envoys together, wave by wave, and back together. What is applied changes nothing by itself, layers are merged with
// lists by key, and the node says where each field comes from.
func TestResourcesWithFilters(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	flag := registerFlags(t, f)
	stamp := func(value string) string {
		return fmt.Sprintf("  filters:\n  - {name: stamp, module: %q, config: {value: %s}}\n", moduleRef(f, "stamp"), value)
	}
	both := func(stamp, flagOn string, nodes ...string) {
		t.Helper()
		for _, id := range nodes {
			awaitShown(t, f, id, flag, flagOn)
			awaitStamp(t, nodeNamed(t, f, id), stamp)
		}
	}
	applyFlag(t, f, "global", `enabled: false, rules: [{name: staff, percent: 100}, {name: all, percent: 0}]`)
	rollOut(t, f, "first", takeFlags(t, f, "one", "global", stamp("old")), `[{percent: 100}]`)
	both("old", "off staff=100 all=0", "n1", "n2")

	applyFlag(t, f, "global", `enabled: true, rules: [{name: staff, percent: 100}, {name: all, percent: 5}]`)
	startRollout(t, f, "second", takeFlags(t, f, "two", "global", stamp("new")), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	soaking := awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	moved := soaking.Waves[0].Nodes[0]
	still := map[string]string{"n1": "n2", "n2": "n1"}[moved]
	both("new", "on staff=100 all=5", moved)
	both("old", "off staff=100 all=0", still)
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to end", phaseIs("Done"))
	both("new", "on staff=100 all=5", "n1", "n2")

	// A team lays its own over it.
	applyFlag(t, f, "team/pay", `rules: [{name: all, percent: 50}, {name: beta, percent: 100}]`)
	rollOut(t, f, "third", takeFlags(t, f, "pay", "team/pay", ""), `[{percent: 100}]`)
	both("new", "on staff=100 all=50 beta=100", "n1", "n2")
	shown := mustRun(t, f, append([]string{"nodes", "show", "n1"}, f.Server()...)...)
	for _, words := range [][]string{{"resource", "flags:checkout"}, {"spec.enabled", "true", "global"}, {`spec.rules[name="all"].percent`, "50", "team/pay"}, {`spec.rules[name="staff"].percent`, "100", "global"}, {`spec.rules[name="beta"].percent`, "100", "team/pay"}} {
		if !slices.ContainsFunc(strings.Split(shown, "\n"), func(line string) bool { return slices.Equal(strings.Fields(line), words) }) {
			t.Errorf("the node does not say %q:\n%s", words, shown)
		}
	}
	mustRun(t, f, append([]string{"rollout", "undo", "third", "--reason", "test"}, f.Server()...)...)
	both("new", "on staff=100 all=5", "n1", "n2")

	// Without a distributor an agent shows what it had.
	f.Serve().Kill()
	n := nodeNamed(t, f, "n1")
	n.Agent.Stop()
	if err := os.RemoveAll(filepath.Join(f.Dir, "n1", "resources")); err != nil {
		t.Fatal(err)
	}
	if err := f.RestartAgent(n); err != nil {
		t.Fatal(err)
	}
	both("new", "on staff=100 all=5", "n1")
}

// application is a program that takes flags from the distributor itself.
type application struct {
	id string
	mu sync.Mutex
	// flags are those that it has, in short.
	flags []string
}

func startApplication(t *testing.T, f *fleet.Fleet, id string, of protoreflect.MessageDescriptor) *application {
	t.Helper()
	conn, err := grpc.NewClient(f.GRPC(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	a := &application{id: id}
	sink, err := mcp.NewSink(mcp.SinkConfig{Conn: conn, Node: id, Labels: map[string]string{"kind": "app"}, Collections: []string{"flags"}, Apply: func(_ context.Context, u mcp.Update) error {
		return a.take(u.Resources, of)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = sink.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); _ = conn.Close() })
	return a
}

func (a *application) take(resources []*mcpv1.Resource, of protoreflect.MessageDescriptor) error {
	var flags []string
	for _, r := range resources {
		said, err := readFlag(of, r.GetBody().GetValue())
		if err != nil {
			return err
		}
		if strings.Contains(said, "all=666") {
			return fmt.Errorf("flag %s is beyond what this application takes", r.GetMetadata().GetName())
		}
		flags = append(flags, r.GetMetadata().GetName()+" "+said)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flags = flags
	return nil
}

func (a *application) has() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.flags, ", ")
}

// Feature flags go to applications, which are nodes of their own, wave by wave. One that refuses them goes on with those that it had, and the ledger says so.
func TestFlagsToApplicationsInWaves(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 0)
	flag := registerFlags(t, f)
	var apps []*application
	for i := range 3 {
		apps = append(apps, startApplication(t, f, fmt.Sprintf("app-%d", i+1), flag))
	}
	if err := fleet.WaitFor(t.Context(), "the applications to connect", rolloutLimit, func(ctx context.Context) error {
		var list struct{ Nodes []struct{ Presence string } }
		if err := f.JSON(ctx, &list, "nodes", "list"); err != nil {
			return err
		}
		if len(list.Nodes) != len(apps) {
			return fleet.NotYetf("there are %d", len(list.Nodes))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	document := func(name, release, waves string) string {
		return write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: %s}
spec:
  release: %s
  target: {selector: kind=app, includeUnreported: true}
  waves: %s
`, name, release, waves))
	}
	start := func(name, release, waves string) {
		t.Helper()
		mustRun(t, f, slices.Concat([]string{"rollout", "start", "-f", document(name, release, waves), "--reason", "test"}, f.Server())...)
	}
	// have waits until a rollout is there and as many applications have a flag. Nodes that cannot report are not counted, so it pauses for a person before each wave.
	have := func(name string, there func(rolloutStatus) bool, want map[string]int) {
		t.Helper()
		awaitRollout(t, f, name, fmt.Sprintf("to bring %v", want), func(s rolloutStatus) bool {
			got := map[string]int{}
			for _, a := range apps {
				got[a.has()]++
			}
			if there(s) && fmt.Sprint(got) == fmt.Sprint(want) {
				return true
			}
			if s.Phase == "Paused" {
				mustRun(t, f, append([]string{"rollout", "promote", name, "--reason", "test"}, f.Server()...)...)
			}
			return false
		})
	}
	const off, on = "checkout off all=0", "checkout on all=5"
	applyFlag(t, f, "global", `enabled: false, rules: [{name: all, percent: 0}]`)
	start("first", takeFlags(t, f, "one", "global", ""), `[{percent: 100}]`)
	have("first", phaseIs("Done"), map[string]int{off: 3})

	applyFlag(t, f, "global", `enabled: true, rules: [{name: all, percent: 5}]`)
	start("second", takeFlags(t, f, "two", "global", ""), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	have("second", waveIs(1, "Soaking"), map[string]int{off: 2, on: 1})
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	have("second", phaseIs("Done"), map[string]int{on: 3})
	for _, a := range apps {
		var n struct {
			Ledger struct{ State string }
		}
		if err := f.JSON(t.Context(), &n, "nodes", "show", a.id); err != nil || n.Ledger.State != "OFFERED" {
			t.Errorf("%s is %q in the ledger, %v", a.id, n.Ledger.State, err)
		}
	}
	applyFlag(t, f, "global", `enabled: true, rules: [{name: all, percent: 666}]`)
	start("third", takeFlags(t, f, "three", "global", ""), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	refused := func(s rolloutStatus) bool {
		for _, a := range apps {
			n := bareNode{}
			if err := f.JSON(t.Context(), &n, "nodes", "show", a.id); err == nil && n.Ledger.State == "REJECTED" && strings.Contains(n.Ledger.Reason, "beyond what this application takes") {
				return true
			}
		}
		return false
	}
	have("third", refused, map[string]int{on: 3})
}
