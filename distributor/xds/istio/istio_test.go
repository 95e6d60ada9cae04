package istio

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	extensions "istio.io/api/extensions/v1alpha1"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/internal/streams"
)

// rendered is the body of the only filter, as JSON that a person can compare.
func rendered(t *testing.T, kind string, f *model.RenderedFilter, into proto.Message) (*mcpv1.Metadata, any) {
	t.Helper()
	resources, err := snapshotOf(chainOf("sha256:one", f)).render(kind, "istio-system")
	if err != nil || len(resources) != 1 {
		t.Fatalf("%v, %v", resources, err)
	}
	r := &mcpv1.Resource{}
	if err := resources[0].UnmarshalTo(r); err != nil {
		t.Fatal(err)
	}
	if err := r.GetBody().UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
	return r.GetMetadata(), asJSON(t, into)
}

func asJSON(t *testing.T, m proto.Message) any {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBothKindsAreTheSameFilter(t *testing.T) {
	f := filter("authz", "1")
	f.Priority = new(int32)
	*f.Priority = 7
	var want any
	sum := strings.Repeat("a", 64)
	if err := json.Unmarshal([]byte(`{
		"url":"oci://registry.example/filters/authz@sha256:`+sum+`","sha256":"`+sum+`","imagePullPolicy":"IfNotPresent","pluginConfig":{"v":"1"},"pluginName":"authz",
		"phase":"AUTHN","priority":7,"vmConfig":{"env":[{"name":"WAFT_FILTER","value":"authz"},{"name":"WAFT_FAILURE_POLICY","value":"FAIL_CLOSED"}]},"type":"HTTP"
	}`), &want); err != nil {
		t.Fatal(err)
	}
	metadata, got := rendered(t, kindWasmPlugin, f, &extensions.WasmPlugin{})
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if metadata.GetName() != "istio-system/authz" || metadata.GetVersion() == "" {
		t.Errorf("metadata %v", metadata)
	}
	plugin := want.(map[string]any)
	wasm := map[string]any{}
	for key, value := range plugin {
		if key != "phase" && key != "priority" {
			wasm[key] = value
		}
	}
	extension := map[string]any{"phase": plugin["phase"], "priority": plugin["priority"], "wasm": wasm}
	if _, got := rendered(t, kindTrafficExtension, f, &extensions.TrafficExtension{}); !cmp.Equal(any(extension), got) {
		t.Error(cmp.Diff(any(extension), got))
	}
}

func TestPhasesAndPolicies(t *testing.T) {
	for phase, want := range map[model.Phase]extensions.PluginPhase{
		model.PhaseNone: 0, model.PhaseAuthn: extensions.PluginPhase_AUTHN, model.PhaseAuthz: extensions.PluginPhase_AUTHZ, model.PhaseStats: extensions.PluginPhase_STATS,
	} {
		for policy, strategy := range map[model.FailurePolicy]extensions.FailStrategy{
			"": extensions.FailStrategy_FAIL_RELOAD, model.FailReload: extensions.FailStrategy_FAIL_RELOAD,
			model.FailClosed: extensions.FailStrategy_FAIL_CLOSE, model.FailOpen: extensions.FailStrategy_FAIL_OPEN,
		} {
			f := filter("a", "1")
			f.Phase, f.FailurePolicy = phase, policy
			p, err := wasmPlugin(f)
			if err != nil || p.GetPhase() != want || p.GetFailStrategy() != strategy {
				t.Errorf("%q %q: %v, %v", phase, policy, p, err)
			}
			if e := trafficExtension(p); e.GetPhase().String() != want.String() && want != 0 {
				t.Errorf("%q: %s", phase, e.GetPhase())
			}
		}
	}
}

func TestWhatIstioCannotHave(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*model.RenderedFilter)
		says   string
	}{
		"a list for a configuration": {func(f *model.RenderedFilter) { f.Config = []byte(`[]`) }, "no JSON object"},
		"no module":                  {func(f *model.RenderedFilter) { f.Module = nil }, "no module"},
		"no registry":                {func(f *model.RenderedFilter) { f.Module.Reference = "authz:1" }, "names no registry"},
		"another digest":             {func(f *model.RenderedFilter) { f.Module.Artifact = "sha512:aa" }, "sha256 alone"},
		"another phase":              {func(f *model.RenderedFilter) { f.Phase = "LATER" }, "phase LATER"},
		"another policy":             {func(f *model.RenderedFilter) { f.FailurePolicy = "FAIL_LATER" }, "policy FAIL_LATER"},
	} {
		f := filter("authz", "1")
		tc.change(f)
		// All or nothing: the good one does not go alone.
		resources, err := snapshotOf(chainOf("sha256:one", filter("good", "1"), f)).render(kindWasmPlugin, "ns")
		if err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "filter authz") || len(resources) != 0 {
			t.Errorf("%s: %v, %v", name, resources, err)
		}
	}
}

func TestImages(t *testing.T) {
	for reference, want := range map[string]string{
		"registry.example/filters/authz:1.2.0": "oci://registry.example/filters/authz@sha256:aa",
		"localhost:7071/filters/authz":         "oci://localhost:7071/filters/authz@sha256:aa",
		"localhost:7071/a:1@sha256:bb":         "oci://localhost:7071/a@sha256:aa",
	} {
		if got, sum, err := image(&model.Module{Reference: reference, Artifact: "sha256:aa"}); err != nil || got != want || sum != "aa" {
			t.Errorf("%s: %s, %v", reference, got, err)
		}
	}
}

func TestVersionsOfASnapshot(t *testing.T) {
	version := func(change func(*model.RenderedFilter, []model.Collection)) string {
		f := filter("a", "1")
		c := chainOf("sha256:one", f)
		change(f, c)
		return snapshotOf(c).version
	}
	base := version(func(*model.RenderedFilter, []model.Collection) {})
	for name, change := range map[string]func(*model.RenderedFilter, []model.Collection){
		"another version":    func(f *model.RenderedFilter, _ []model.Collection) { f.Version = "2" },
		"another reference":  func(f *model.RenderedFilter, _ []model.Collection) { f.Module.Reference = "elsewhere/a" },
		"another generation": func(_ *model.RenderedFilter, c []model.Collection) { c[1].Resources[0].Chain.Generation = 2 },
	} {
		if version(change) == base {
			t.Errorf("%s is not seen", name)
		}
	}
	// What only a cohort meets is not for Istio.
	s := snapshotOf(chainOf("sha256:one", filter("a", "1"), &model.RenderedFilter{FilterSpec: model.FilterSpec{Name: "b"}, Side: model.SideCohort}))
	if len(s.filters) != 1 || s.version != base {
		t.Errorf("%+v", s)
	}
}

// FuzzDiscoveryRequest has a server read what any client may send.
func FuzzDiscoveryRequest(f *testing.F) {
	raw, err := proto.Marshal(&discoveryv3.DiscoveryRequest{Node: node(pod, "api"), TypeUrl: kindWasmPlugin, ResponseNonce: "1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		req := &discoveryv3.DiscoveryRequest{}
		if proto.Unmarshal(raw, req) != nil {
			return
		}
		if who, err := identify(req.GetNode()); err == nil && (who.namespace == "" || strings.Contains(who.namespace, ".") || !strings.Contains(who.id, who.namespace)) {
			t.Fatalf("%+v", who)
		}
		if err := checkKind(req.GetTypeUrl()); err == nil && (len(req.GetTypeUrl()) > MaxTypeBytes || strings.Count(req.GetTypeUrl(), "/") != 2) {
			t.Fatalf("took %q", req.GetTypeUrl())
		}
		if said := streams.Clip(req.GetErrorDetail().GetMessage(), MaxReasonBytes); !utf8.ValidString(said) {
			t.Fatalf("%q", said)
		}
		s := &subscription{}
		if s.take(req) != answerNone {
			t.Fatal("an answer to nothing was taken")
		}
		s.sent("1", "v", "c")
		if took := s.take(req); (took != answerNone) != (req.GetResponseNonce() == "1") || s.due("v") {
			t.Fatalf("%d", took)
		}
	})
}

// FuzzRender renders what may stand in a release: whatever is not refused can be read again.
func FuzzRender(f *testing.F) {
	f.Add("authz", `{"a":[1,null]}`, "registry.example/a:1", "sha256:aa")
	f.Fuzz(func(t *testing.T, name, config, reference, artifact string) {
		one := filter("a", "1")
		one.Name, one.Config, one.Module.Reference, one.Module.Artifact = name, []byte(config), reference, artifact
		for _, kind := range []string{kindWasmPlugin, kindTrafficExtension} {
			resources, err := snapshotOf(chainOf("sha256:one", one)).render(kind, "ns")
			if err != nil {
				continue
			}
			r := &mcpv1.Resource{}
			if len(resources) != 1 || resources[0].UnmarshalTo(r) != nil {
				t.Fatalf("rendered %v", resources)
			}
			if _, err := anypb.UnmarshalNew(r.GetBody(), proto.UnmarshalOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
