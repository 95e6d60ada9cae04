package distributor

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
)

// FuzzRelayed reads what may come as another replica's word of who calls. What cannot be read is nobody's, and what can says the same when it is passed on.
func FuzzRelayed(f *testing.F) {
	f.Add(`{"replica":"second","identity":{"Name":"ann"}}`)
	f.Add(`{"replica":1}`)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		said := fromReplica(metadata.NewIncomingContext(context.Background(), metadata.Pairs(relayedMetadata, text)))
		again, err := json.Marshal(said)
		if err != nil {
			t.Fatalf("%q is read as %+v, which cannot be said: %v", text, said, err)
		}
		if !json.Valid([]byte(text)) && (said.Replica != "" || said.Identity.Name != "") {
			t.Errorf("%q is nothing, and read as %+v", text, said)
		}
		if second := fromReplica(metadata.NewIncomingContext(context.Background(), metadata.Pairs(relayedMetadata, string(again)))); second.Identity.Name != said.Identity.Name || second.Replica != said.Replica {
			t.Errorf("%q is read as %+v, and passed on as %+v", text, said, second)
		}
	})
}

// FuzzFreeze reads whatever a file of windows may hold. What is taken freezes something.
func FuzzFreeze(f *testing.F) {
	f.Add([]byte("freeze: []"))
	f.Add([]byte("freeze:\n- {from: 2026-12-24T00:00:00Z, until: 2026-12-27T00:00:00Z, reason: holidays}\n"))
	f.Add([]byte("freeze: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		windows, err := parseFreeze("freeze.yaml", text)
		if err != nil {
			return
		}
		for _, w := range windows {
			if from, once := time.Parse(time.RFC3339, w.From); once == nil && model.Frozen(windows, from) == "" {
				t.Errorf("%q is taken, and freezes nothing when %+v begins", text, w)
			}
		}
	})
}

// FuzzStored reads whatever was pushed beside inline modules. What it is said to name are digests: paths are made of them.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"sha256:aa"},"layers":[{"digest":"sha256:bb"}]}`))
	f.Add([]byte(`{"subject":{"digest":"../../x"},"manifests":[{"digest":"../../x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseStored(text)
		if err != nil {
			return
		}
		for _, d := range m.names {
			if _, err := registry.ParseDigest(string(d)); err != nil {
				t.Errorf("%q is taken to name %q", text, d)
			}
		}
	})
}

// FuzzNeeded reads whatever may come as the list of the modules that nodes need. What is taken is all of a list, names files, and says the same when it is passed on.
func FuzzNeeded(f *testing.F) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	whole, err := json.Marshal([]model.Module{
		{Reference: "localhost:7071/filters/authz:1.2.0", Artifact: digest, Digest: digest, Size: 4096, Envoys: []string{"envoy-1.40"}, Lists: []model.ListKey{{Path: "rules", Key: "path"}}},
		{Artifact: digest, Digest: digest, Inline: true},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(whole, whole...))
	f.Add([]byte("null"))
	f.Add([]byte(`[{"artifact":"../../x","digest":"sha256:00","size":-1}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		modules, err := parseNeeded(text)
		if err != nil {
			if modules != nil {
				t.Errorf("%q is %v, and %v", text, err, modules)
			}
			return
		}
		if !json.Valid(text) {
			t.Errorf("%q is taken for %v", text, modules)
		}
		for _, m := range modules {
			if !registry.Digest(m.Digest).Valid() || m.Artifact != "" && !registry.Digest(m.Artifact).Valid() || m.Size < 0 {
				t.Errorf("%q is taken, and names %+v", text, m)
			}
		}
		again, err := json.Marshal(modules)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := parseNeeded(again); err != nil || len(same) != len(modules) || len(modules) > 0 && !reflect.DeepEqual(withoutEmpty(same), withoutEmpty(modules)) {
			t.Errorf("%q is read as %+v, and passed on as %+v (%v)", text, modules, same, err)
		}
	})
}

// withoutEmpty are modules whose lists are absent where they are empty.
func withoutEmpty(modules []model.Module) []model.Module {
	for i, m := range modules {
		if len(m.Envoys) == 0 {
			modules[i].Envoys = nil
		}
		if len(m.Lists) == 0 {
			modules[i].Lists = nil
		}
	}
	return modules
}

// FuzzCollected reads whatever may come as what another replica says of what goes from its registry. What is taken is all of it, says whose it is, is about what a registry can have,
// and says the same when it is passed on.
func FuzzCollected(f *testing.F) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	whole, err := json.Marshal(collectedElsewhere{Replica: "second", Artifacts: []service.CollectedArtifact{
		{Repository: "filters/authz", Digest: digest, Tags: []string{"1.2.0"}, Bytes: 4096, Unneeded: 24 * time.Hour},
		{Repository: "filters/authz", Blobs: 2, Bytes: 10},
		{Blobs: 1},
	}})
	if err != nil {
		f.Fatal(err)
	}
	if told, err := parseCollected(whole); err != nil || len(told.Artifacts) != 3 {
		f.Fatalf("%s is read as %+v, %v", whole, told, err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(whole, whole...))
	f.Add([]byte("null"))
	f.Add([]byte(`{"artifacts":[{"repository":"filters/authz"}]}`))
	f.Add([]byte(`{"replica":"second","artifacts":[{"repository":"../../x","digest":"sha256:00"}]}`))
	f.Add([]byte(`{"replica":"second","artifacts":[{"repository":"filters/authz:1@` + digest + `"}]}`))
	f.Add([]byte(`{"replica":"second","artifacts":[{"digest":"` + digest + `","bytes":-1}]}`))
	f.Add([]byte(`{"replica":"second","artifacts":[{"bytes":1,"blobs":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		told, err := parseCollected(text)
		if err != nil {
			if told.Replica != "" || told.Artifacts != nil {
				t.Errorf("%q is %v, and %+v", text, err, told)
			}
			return
		}
		if !json.Valid(text) || told.Replica == "" {
			t.Errorf("%q is taken for %+v", text, told)
		}
		for _, a := range told.Artifacts {
			name, err := registry.ParseReference("registry.example/" + a.Repository)
			if a.Repository != "" && (err != nil || name.Repository != a.Repository) || a.Repository == "" && a.Digest != "" || a.Digest != "" && !registry.Digest(a.Digest).Valid() ||
				a.Bytes < 0 || a.Blobs < 0 || a.Unneeded < 0 {
				t.Errorf("%q is taken, and says of %+v that it goes", text, a)
			}
		}
		again, err := json.Marshal(told)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := parseCollected(again); err != nil || same.Replica != told.Replica || len(same.Artifacts) != len(told.Artifacts) || len(told.Artifacts) > 0 && !reflect.DeepEqual(withoutTags(same), withoutTags(told)) {
			t.Errorf("%q is read as %+v, and passed on as %+v (%v)", text, told, same, err)
		}
	})
}

// withoutTags are artifacts whose tags are absent where there are none.
func withoutTags(told collectedElsewhere) []service.CollectedArtifact {
	for i, a := range told.Artifacts {
		if len(a.Tags) == 0 {
			told.Artifacts[i].Tags = nil
		}
	}
	return told.Artifacts
}

// FuzzAuthorization takes whatever may stand in a request's header. What is taken for a token stands there, and is not empty.
func FuzzAuthorization(f *testing.F) {
	f.Add("Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
	f.Add("Basic dXNlcjpwYXNzd29yZA==")
	f.Add("basic OjpwYXNz")
	f.Add("Bearer")
	f.Add("BAsiC 0zp00") // found: a part of what is no base64 was given, as none
	f.Fuzz(func(t *testing.T, header string) {
		token, ok := tokenIn(header)
		if ok != (token != "") {
			t.Errorf("%q has the token %q: %v", header, token, ok)
		}
		if scheme, _, _ := strings.Cut(header, " "); ok && !strings.EqualFold(scheme, "basic") && !strings.Contains(header, token) {
			t.Errorf("%q has the token %q", header, token)
		}
	})
}
