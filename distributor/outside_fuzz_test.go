package distributor

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/waft-project/waft/distributor/model"
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
