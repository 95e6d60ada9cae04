package client

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

const words = Collection[*wrapperspb.StringValue]("acme/words")

// wordsSnapshot is a snapshot of two words, and its chain as it came.
func wordsSnapshot(t testing.TB) (*Snapshot, *mcpv1.Resource) {
	t.Helper()
	chain := &waftv1.Chain{
		Hash: model.Digest([]byte("a chain")), Generation: 7, Releases: []*waftv1.ReleaseRef{{Layer: "global", Release: "words@" + model.Digest(nil)}},
		Resources: []*waftv1.ResourceVersion{{Collection: "acme/others", Name: "of another application", Version: "1"}},
	}
	var came []*mcpv1.Resource
	for _, name := range []string{"a", "b"} {
		body, err := anypb.New(wrapperspb.String("the word " + name))
		if err != nil {
			t.Fatal(err)
		}
		came = append(came, &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: name, Version: "1"}, Body: body})
		chain.Resources = append(chain.Resources, &waftv1.ResourceVersion{Collection: words.Name(), Name: name, Version: "1"})
	}
	raw, err := anypb.New(chain)
	if err != nil {
		t.Fatal(err)
	}
	held, broken := decodeSet(words, came, nil)
	o := offer{chain: chain, sets: map[string]set{words.Name(): held}, broken: map[string]map[versioned]string{words.Name(): broken}}
	a := assemble(o, []string{words.Name()})
	if a.complete == nil {
		t.Fatal(a)
	}
	return a.complete, &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: "app-1"}, Body: raw}
}

// folderIn is a state folder, without its lock.
func folderIn(t testing.TB, dir string) *stateFolder {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, snapshotsFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	return &stateFolder{dir: dir}
}

// FuzzSnapshot reads whatever may stand in the file of a snapshot: a client of another version has written it. What is taken is a chain that would be taken from the
// distributor, too, and is kept as the same; what is not taken names the chain.
func FuzzSnapshot(f *testing.F) {
	snapshot, raw := wordsSnapshot(f)
	whole, err := encodeSnapshot(raw, snapshot)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(snapshot.hash, whole)
	f.Add(snapshot.hash, whole[:len(whole)-1])
	f.Add(snapshot.hash, append(slices.Clone(whole), whole...))
	f.Add("", []byte{})
	f.Add(snapshot.hash, []byte{0xff, 0xff, 0xff, 0x7f}) // a size of which nothing comes
	f.Fuzz(func(t *testing.T, hash string, content []byte) {
		subs := []Subscription{words}
		got, raw, err := decodeSnapshot(hash, content, subs)
		if err != nil {
			if got != nil || raw != nil || !strings.Contains(err.Error(), hash) {
				t.Errorf("%q: %v, %v, %v", content, got, raw, err)
			}
			return
		}
		chain := new(waftv1.Chain)
		if err := raw.GetBody().UnmarshalTo(chain); err != nil || checkChain(chain) != nil || got.Chain() != hash {
			t.Fatalf("%q is taken for chain %q: %v, %v", content, got.Chain(), err, checkChain(chain))
		}
		kept, err := encodeSnapshot(raw, got)
		if err != nil {
			t.Fatalf("%q is taken, and cannot be kept: %v", content, err)
		}
		again, rawAgain, err := decodeSnapshot(hash, kept, subs)
		if err != nil {
			t.Fatalf("%q is kept, and cannot be read: %v", content, err)
		}
		if again.generation != got.generation || !slices.Equal(again.releases, got.releases) || !proto.Equal(rawAgain, raw) || words.Len(again) != words.Len(got) {
			t.Errorf("%q is kept as %+v, and was %+v", content, again, got)
		}
		for name, word := range words.All(got) {
			if same, there := words.Get(again, name); !there || !proto.Equal(same, word) || words.Version(again, name) != words.Version(got, name) {
				t.Errorf("%q has %q, kept as %q (%v)", content, word, same, there)
			}
		}
	})
}

// FuzzRecord reads whatever may stand inside the seal of the client's state. What is taken is written as the same, and no snapshot that it names is a file elsewhere.
func FuzzRecord(f *testing.F) {
	one := &kept{Hash: model.Digest(nil), Generation: 7, Digest: model.Digest([]byte("file")), Version: "1.2.0", Takes: "acme/words"}
	for _, r := range []record{
		{Open: true, Version: "1.2.0", Generation: 8, Good: one, Trial: &kept{Hash: one.Hash, Digest: "../../../etc/passwd"}, Retry: 1},
		{Good: one, Before: one, Refused: &refusal{Hash: one.Hash, Generation: 8, Step: stepAccept, Reason: "it has no word"}},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"good":null,"trial":{},"refused":{}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r, again record
		if json.Unmarshal(text, &r) != nil {
			return
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("%q is taken, and cannot be written: %v", text, err)
		}
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%q is written as %q, and cannot be read: %v", text, first, err)
		}
		if second, err := json.Marshal(again); err != nil || !bytes.Equal(second, first) {
			t.Errorf("%q is written as %q, and then as %q (%v)", text, first, second, err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "elsewhere"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := folderIn(t, dir)
		s.record = r
		for _, k := range []*kept{r.Good, r.Before, r.Trial} {
			if k == nil {
				continue
			}
			if content, err := s.content(k); err == nil {
				t.Errorf("%q names %q, which holds %q", text, k.Digest, content)
			}
		}
		if err := s.sweep(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err != nil {
			t.Errorf("%q: a file that is no snapshot was swept: %v", text, err)
		}
	})
}
