package agent

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// chains are those that a record holds.
func (r record) chains() []*chain { return []*chain{r.Desired, r.Good, r.Before, r.Trial} }

// FuzzRecord reads whatever may stand inside the seal of the agent's state: an agent of another version has written it. What is taken can be written, so that the agent
// is not stuck with it, and is read again as the same chains.
func FuzzRecord(f *testing.F) {
	value, err := anypb.New(goodFilter())
	if err != nil {
		f.Fatal(err)
	}
	packed, err := pack([]*mcpv1.Resource{{Metadata: &mcpv1.Metadata{Name: "authz", Version: "1"}, Body: value}})
	if err != nil {
		f.Fatal(err)
	}
	both, _ := assemble(offer{chain: twoChains(), filters: splitFilters()})
	secret := goodChain()
	secret.Secrets = []heldSecret{{Ref: "env/TOKEN", Version: "ab", Value: "hunter2"}}
	less := goodChain()
	less.LeftOut = []string{"waf"}
	less.Resources = []heldResource{{Collection: "acme/flags", Name: "a", Version: "1", Digest: someDigest, Size: 7, Type: "type.googleapis.com/acme.v1.Flag", Content: otherDigest}}
	for _, r := range []record{
		{Held: map[string][][]byte{model.CollectionFilters: packed}, Generation: 7, Desired: both, Good: goodChain(), Before: less, Slots: []string{}},
		{Resources: map[string][]heldResource{"acme/flags": less.Resources}, Trial: secret, Proved: time.Unix(1764444000, 5), Lapsed: &lapsed{Chain: someDigest, Times: 2, Reason: "Envoy ended"},
			Baseline: &baseline{Chain: someDigest, VMs: 3}, TakenBack: true, Retry: 1},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"held":{"waft/v1/filters":["CgIIAQ==",null,"/w=="]},"slots":[],"desired":null,"provedIn":"2026-11-29T00:00:00.5+01:00"}`))
	f.Add([]byte(`{"good":{"hash":"h","leftOut":["a"],"split":{"hash":"s"},"lacks":{"hash":"l"},"secrets":{"hash":"x","secrets":[{"ref":"r"}]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var read, again record
		if json.Unmarshal(text, &read) != nil {
			return
		}
		first, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("%q is taken, and cannot be written: %v", text, err)
		}
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%q is written as %q, and cannot be read: %v", text, first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(second, first) {
			t.Errorf("%q is written as %q, and then as %q (%v)", text, first, second, err)
		}
		for i, c := range read.chains() {
			other := again.chains()[i]
			if (c == nil) != (other == nil) || c != nil && (!c.is(other) || c.secretVersions() != other.secretVersions() || !slices.Equal(c.names(), other.names())) {
				t.Errorf("%q has the chain %+v, and then %+v", text, c, other)
			}
		}
		for collection, packed := range read.Held {
			resources, err := unpack(packed)
			if err != nil {
				continue // the collection is asked for anew
			}
			once, err := pack(resources)
			if err != nil {
				t.Fatalf("what is held of %q cannot be kept: %v", collection, err)
			}
			same, err := unpack(once)
			if err != nil || !slices.EqualFunc(resources, same, func(a, b *mcpv1.Resource) bool { return proto.Equal(a, b) }) {
				t.Errorf("what is held of %q is kept as %v, and was %v (%v)", collection, same, resources, err)
			}
			_ = new(offer).decode("edge-1", collection, resources) // an error has it asked for anew
		}
	})
}

// FuzzSecretFile reads whatever a file may hold that a chain names. Its value is the content, but for one end of a line, and no error has any of it.
func FuzzSecretFile(f *testing.F) {
	f.Add([]byte("hunter2-hunter2\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\r\nMC4CAQAwBQYDK2VwBCIEIA==\r\n-----END PRIVATE KEY-----\r\n"))
	f.Add([]byte("ends with \r"))
	f.Add([]byte{0xff, 0xfe, 'x', 0, '\n'})
	f.Add(bytes.Repeat([]byte("x"), model.MaxSecret+1))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "token"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		value, err := secretSources{dirs: []string{dir}}.read(model.SecretRef{File: filepath.Join(dir, "token")})
		if err != nil {
			const telling = 12 // bytes that no word of ours has by chance
			if value != "" || len(content) >= telling && strings.Contains(err.Error(), string(content)) {
				t.Errorf("%q gives %q, and the error %q", content, value, err)
			}
			return
		}
		if problem := model.SecretProblem([]byte(value)); problem != "" {
			t.Errorf("%q gives %q, which %s", content, value, problem)
		}
		if end := strings.TrimPrefix(string(content), value); !strings.HasPrefix(string(content), value) || end != "" && end != "\n" && end != "\r\n" {
			t.Errorf("%q gives %q", content, value)
		}
	})
}

// FuzzLatency: whatever bounds an operator has written, no request is lost, none counts twice, and none moves to faster ones.
func FuzzLatency(f *testing.F) {
	f.Add(0.5, int64(3), 60000.0, int64(4), 1e18)
	f.Add(-1.0, int64(0), 5.0, int64(0), math.MaxFloat64)
	f.Fuzz(func(t *testing.T, first float64, fast int64, second float64, all int64, last float64) {
		if !(first <= second && second <= last) || fast < 0 || all < fast {
			return // the answer is refused
		}
		h := envoy.Histogram{Count: all, Buckets: []envoy.Bucket{{UpperBound: first, Cumulative: fast}, {UpperBound: second, Cumulative: all}, {UpperBound: last, Cumulative: all}}}
		l := latencyOf(h)
		if reaches := last >= float64(latencyReach.Milliseconds()); reaches && l.Count() != all || !reaches && l != (model.Latency{}) {
			t.Fatalf("%v counts %v", h, l)
		}
		if l.Count() == 0 {
			return
		}
		var within int64
		for i, count := range l {
			if within += count; count < 0 {
				t.Errorf("%v counts %v", h, l)
			}
			// Those up to the second bound are as slow as that, as far as is known.
			if bound, bounded := model.LatencyBound(i); bounded && float64(bound)/float64(time.Millisecond) < first && within > 0 {
				t.Errorf("%v counts %v: faster than any was", h, l)
			}
		}
	})
}
