package delivery

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

var refresh = flag.Bool("refresh", false, "write testdata/out anew from what Render and Collections give")

// input is a case as a person writes it: testdata/in/NAME.yaml. A module is a word, from which its digests are made.
type input struct {
	Description string `json:"description"`
	Node        struct {
		ID         string `json:"id"`
		Generation int64  `json:"generation"`
	} `json:"node"`
	Layers   map[model.Layer]inputRelease `json:"layers"`
	Prefetch []string                     `json:"prefetch"`
}

type inputRelease struct {
	Name      string        `json:"name"`
	Filters   []inputFilter `json:"filters"`
	Overrides []inputFilter `json:"overrides"`

	Resources         []model.ResourceSpec   `json:"resources"`
	ResourceOverrides []model.ResourceSpec   `json:"resourceOverrides"`
	Declared          []model.CollectionSpec `json:"declared"`
}

type inputFilter struct {
	Name          string              `json:"name"`
	Module        string              `json:"module"`
	Phase         model.Phase         `json:"phase"`
	Priority      *int32              `json:"priority"`
	FailurePolicy model.FailurePolicy `json:"failurePolicy"`
	Config        json.RawMessage     `json:"config"`
}

// output is what a case gives: testdata/out/NAME.json.
type output struct {
	Error       string             `json:"error,omitempty"`
	Chain       model.Chain        `json:"chain"`
	Origins     merge.Origins      `json:"origins,omitempty"`
	Collections []model.Collection `json:"collections,omitempty"`
}

func module(word string) model.Module {
	return model.Module{
		Reference: "registry.example/filters/" + word, Artifact: model.Digest([]byte("artifact " + word)),
		Digest: model.Digest([]byte(word)), Size: int64(1000 * len(word)), Envoys: []string{"envoy-1.40"},
	}
}

func (f inputFilter) spec() model.FilterSpec {
	spec := model.FilterSpec{Name: f.Name, Phase: f.Phase, Priority: f.Priority, FailurePolicy: f.FailurePolicy, Config: f.Config}
	if f.Module != "" {
		m := module(f.Module)
		spec.Module = &m
	}
	return spec
}

func (r inputRelease) release(t *testing.T, layer model.Layer) model.Release {
	t.Helper()
	out := model.Release{ID: model.ReleaseID{Name: r.Name}, Layer: layer, Resources: r.Resources, ResourceOverrides: r.ResourceOverrides, Declared: r.Declared}
	for _, f := range r.Filters {
		out.Filters = append(out.Filters, f.spec())
	}
	for _, f := range r.Overrides {
		out.Overrides = append(out.Overrides, f.spec())
	}
	sealed, err := model.Seal(out)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func readInput(t *testing.T, path string) (model.Node, map[model.Layer]model.Release, []model.Module) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var in input
	if err := yaml.UnmarshalStrict(data, &in); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	layers := map[model.Layer]model.Release{}
	for layer, r := range in.Layers {
		layers[layer] = r.release(t, layer)
	}
	var prefetch []model.Module
	for _, word := range in.Prefetch {
		prefetch = append(prefetch, module(word))
	}
	return model.Node{ID: in.Node.ID, Generation: in.Node.Generation}, layers, prefetch
}

func result(node model.Node, layers map[model.Layer]model.Release, prefetch []model.Module) output {
	chain, origins, err := merge.Explain(layers)
	if err != nil {
		return output{Error: err.Error()}
	}
	for i, r := range chain.Resources {
		chain.Resources[i].Bytes = r.Opaque // what the service does for those that are not opaque, too
	}
	return output{Chain: chain, Origins: origins, Collections: Collections(node, chain, prefetch)}
}

// TestGolden renders each testdata/in/NAME.yaml and compares with testdata/out/NAME.json. After a change that is meant:
//
//	go test ./distributor/delivery -run TestGolden -refresh
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/in/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	outputs, err := filepath.Glob("testdata/out/*.json")
	if err != nil || (len(outputs) != len(paths) && !*refresh) {
		t.Errorf("%d cases have %d golden files: %v", len(paths), len(outputs), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			node, layers, prefetch := readInput(t, path)
			got, err := json.MarshalIndent(result(node, layers, prefetch), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := filepath.Join("testdata/out", name+".json")
			if *refresh {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant what %s holds", got, golden)
			}
		})
	}
}
