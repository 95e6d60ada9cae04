package envoy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/waft-project/waft/envoy"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite testdata/out from testdata/in")

// rendering is a file of testdata/in; exactly one field is set.
type rendering struct {
	Bootstrap *bootstrapInput
	Listeners *bootstrapInput
	Slots     *chainInput
	Probe     *chainInput
}

// bootstrapInput reads Default from the key chain; an empty list in YAML stays an empty list.
type bootstrapInput struct {
	envoy.BootstrapConfig `yaml:",inline"`
	Chain                 []filterInput
}

type chainInput struct {
	Number  envoy.Number
	Version string
	Filters []filterInput
}

// filterInput has its configuration as text.
type filterInput struct {
	envoy.WasmFilter `yaml:",inline"`
	Text             *string
}

func filters(inputs []filterInput) []envoy.WasmFilter {
	if inputs == nil {
		return nil
	}
	filters := []envoy.WasmFilter{}
	for _, input := range inputs {
		filter := input.WasmFilter
		if input.Text != nil {
			filter.Config = []byte(*input.Text)
		}
		filters = append(filters, filter)
	}
	return filters
}

func (r rendering) render(t *testing.T) []byte {
	t.Helper()
	var content []byte
	var err error
	switch {
	case r.Bootstrap != nil:
		r.Bootstrap.Default = filters(r.Bootstrap.Chain)
		content, err = r.Bootstrap.Render()
	case r.Listeners != nil:
		content, err = r.Listeners.Listeners("1")
	case r.Probe != nil:
		content, err = envoy.ProbeBootstrap(r.Probe.Number, filters(r.Probe.Filters))
	case r.Slots != nil:
		var files []envoy.SlotFile
		files, err = envoy.Slots(r.Slots.Number, filters(r.Slots.Filters), r.Slots.Version)
		for _, file := range files {
			content = append(content, "// "+envoy.SlotFileName(file.Slot)+"\n"...)
			content = append(content, file.Content...)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestRenderings(t *testing.T) {
	paths, err := filepath.Glob("testdata/in/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			input, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var r rendering
			decoder := yaml.NewDecoder(bytes.NewReader(input))
			if err := decoder.Decode(&r); err != nil {
				t.Fatal(err)
			}
			got := r.render(t)
			golden := filepath.Join("testdata", "out", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("rendering differs from %s (-want +got); if it is meant to, run with -update:\n%s", golden, diff)
			}
		})
	}
}
