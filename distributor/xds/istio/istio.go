package istio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	extensions "istio.io/api/extensions/v1alpha1"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// The kinds of resources that filters can be. Istio up to 1.29 knows the first alone; later ones know both, and make the
// second of the first themselves.
const (
	kindWasmPlugin       = "extensions.istio.io/v1alpha1/WasmPlugin"
	kindTrafficExtension = "extensions.istio.io/v1alpha1/TrafficExtension"
)

// What the VM of a filter is told, as an agent's Envoy does: package sdk reads it.
const (
	filterVariable        = "WAFT_FILTER"
	failurePolicyVariable = "WAFT_FAILURE_POLICY"
)

// snapshot is what a node is to have.
type snapshot struct {
	// chain is the hash of its chain; empty when it was never given one.
	chain string
	// version of the filters.
	version string
	filters []*model.RenderedFilter
}

// snapshotOf reads the collections of a node. Istio runs one chain for every request: of one that is split, that of the rest.
func snapshotOf(collections []model.Collection) snapshot {
	var s snapshot
	var words []string
	for _, c := range collections {
		for _, r := range c.Resources {
			switch {
			case r.Chain != nil:
				s.chain = r.Chain.Hash
				// A chain that is given anew is to be acknowledged anew, also where its filters are the same.
				words = append(words, s.chain, strconv.FormatInt(r.Chain.Generation, 10))
			case r.Filter != nil && r.Filter.Side != model.SideCohort:
				s.filters = append(s.filters, r.Filter)
				words = append(words, r.Filter.Name, filterVersion(r.Filter))
			}
		}
	}
	s.version = model.Digest([]byte(strings.Join(words, "\n")))
	return s
}

// filterVersion covers all that is rendered of a filter: its own version leaves the module's reference out.
func filterVersion(f *model.RenderedFilter) string {
	if f.Module == nil {
		return f.Version
	}
	return model.Digest([]byte(f.Version + "\n" + f.Module.Reference))
}

// render makes the resources of one kind, all of them or none.
func (s snapshot) render(kind, namespace string) ([]*anypb.Any, error) {
	out := make([]*anypb.Any, 0, len(s.filters))
	for _, f := range s.filters {
		plugin, err := wasmPlugin(f)
		if err != nil {
			return nil, fmt.Errorf("filter %s cannot be Istio's: %w", f.Name, err)
		}
		var body proto.Message = plugin
		if kind == kindTrafficExtension {
			body = trafficExtension(plugin)
		}
		packed := &anypb.Any{}
		if err := anypb.MarshalFrom(packed, body, proto.MarshalOptions{Deterministic: true}); err != nil {
			return nil, fmt.Errorf("filter %s: %w", f.Name, err)
		}
		resource := &anypb.Any{}
		if err := anypb.MarshalFrom(resource, &mcpv1.Resource{
			Metadata: &mcpv1.Metadata{Name: namespace + "/" + f.Name, Version: filterVersion(f)}, Body: packed,
		}, proto.MarshalOptions{Deterministic: true}); err != nil {
			return nil, fmt.Errorf("filter %s: %w", f.Name, err)
		}
		out = append(out, resource)
	}
	return out, nil
}

var istioPhases = map[model.Phase]extensions.PluginPhase{
	model.PhaseNone:  extensions.PluginPhase_UNSPECIFIED_PHASE,
	model.PhaseAuthn: extensions.PluginPhase_AUTHN,
	model.PhaseAuthz: extensions.PluginPhase_AUTHZ,
	model.PhaseStats: extensions.PluginPhase_STATS,
}

var istioStrategies = map[model.FailurePolicy]extensions.FailStrategy{
	model.FailReload: extensions.FailStrategy_FAIL_RELOAD,
	model.FailClosed: extensions.FailStrategy_FAIL_CLOSE,
	model.FailOpen:   extensions.FailStrategy_FAIL_OPEN,
}

// wasmPlugin is a filter as Istio up to 1.29 takes it.
func wasmPlugin(f *model.RenderedFilter) (*extensions.WasmPlugin, error) {
	policy := f.FailurePolicy
	if policy == "" {
		policy = model.FailReload
	}
	strategy, known := istioStrategies[policy]
	if !known {
		return nil, fmt.Errorf("failure policy %s is not known to it", policy)
	}
	phase, known := istioPhases[f.Phase]
	if !known {
		return nil, fmt.Errorf("phase %s is not known to it", f.Phase)
	}
	url, sum, err := image(f.Module)
	if err != nil {
		return nil, err
	}
	config, err := pluginConfig(f.Config)
	if err != nil {
		return nil, err
	}
	// Said always: what is not said, other plugins of the mesh may be sorted before or behind.
	priority := wrapperspb.Int32(0)
	if f.Priority != nil {
		priority = wrapperspb.Int32(*f.Priority)
	}
	return &extensions.WasmPlugin{
		Url: url, Sha256: sum, ImagePullPolicy: extensions.PullPolicy_IfNotPresent, PluginConfig: config, PluginName: f.Name,
		Phase: phase, Priority: priority, FailStrategy: strategy, Type: extensions.PluginType_HTTP,
		VmConfig: &extensions.VmConfig{Env: []*extensions.EnvVar{
			{Name: filterVariable, Value: f.Name}, {Name: failurePolicyVariable, Value: string(policy)},
		}},
	}, nil
}

// trafficExtension is the same as Istio from 1.30 takes it.
func trafficExtension(p *extensions.WasmPlugin) *extensions.TrafficExtension {
	return &extensions.TrafficExtension{
		Phase: extensions.TrafficExtension_ExecutionPhase(p.Phase), Priority: p.Priority,
		FilterConfig: &extensions.TrafficExtension_Wasm{Wasm: &extensions.WasmConfig{
			Url: p.Url, Sha256: p.Sha256, ImagePullPolicy: p.ImagePullPolicy, PluginConfig: p.PluginConfig, PluginName: p.PluginName,
			FailStrategy: p.FailStrategy, VmConfig: p.VmConfig, Type: p.Type,
		}},
	}
}

// image names a module's artifact by its digest, in the repository that the release named, and gives the sum that Istio
// compares: that of the image's manifest.
func image(m *model.Module) (url, sum string, err error) {
	if m == nil {
		return "", "", errors.New("it has no module")
	}
	repository, _, _ := strings.Cut(m.Reference, "@")
	slash := strings.LastIndexByte(repository, '/')
	if slash <= 0 {
		return "", "", fmt.Errorf("its module is called %q, which names no registry and repository to pull from", m.Reference)
	}
	if colon := strings.LastIndexByte(repository, ':'); colon > slash {
		repository = repository[:colon]
	}
	sum, ok := strings.CutPrefix(m.Artifact, "sha256:")
	if !ok {
		return "", "", fmt.Errorf("its artifact's digest is %q, and Istio knows sha256 alone", m.Artifact)
	}
	return "oci://" + repository + "@" + m.Artifact, sum, nil
}

// pluginConfig is a configuration as a protobuf Struct, which can hold an object alone. Nil for none.
func pluginConfig(config json.RawMessage) (*structpb.Struct, error) {
	if len(config) == 0 {
		return nil, nil
	}
	if trimmed := bytes.TrimSpace(config); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, errors.New("its configuration is no JSON object, and Istio takes no other")
	}
	s := &structpb.Struct{}
	if err := s.UnmarshalJSON(config); err != nil {
		return nil, fmt.Errorf("its configuration: %w", err)
	}
	return s, nil
}
