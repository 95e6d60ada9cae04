package distributor_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// A distributor whose copies may take next to nothing keeps those that nodes run, has them again when they are lost, and serves the
// others all the same.
func TestRunKeepsWhatNodesRun(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true, CacheBytes: 1})
	c := s.client(t)
	create := func(name string, wasm []byte) {
		t.Helper()
		push(t, s.HTTP+"/filters/"+name+":1", wasm, schema)
		text := document(name, s.HTTP+"/filters/"+name+":1", "{issuer: a}")
		if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, text)}); err != nil {
			t.Fatal(err)
		}
	}
	copyOf := func(wasm []byte) string {
		return data + "/modules/blobs/sha256/" + strings.TrimPrefix(digestOf(wasm), "sha256:")
	}
	there := func(wasm []byte) bool { _, err := os.Stat(copyOf(wasm)); return err == nil }
	eventually := func(what string, so func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not so after %s: %s", patience, what)
			}
		}
	}
	served, other, third := module("served"), module("other"), module("third")
	create("served", served)
	agent(t, s, "node-1")
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "first"},
		Spec:     &waftv1.RolloutSpec{Release: "served", Waves: []*waftv1.Wave{{Percent: 100}}},
	}, Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	if ended := follow(t, c, "first"); ended.GetStatus().GetPhase() != "Done" {
		t.Fatalf("the rollout is %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
	}
	create("other", other)
	eventually("what no node needs is gone, and what one runs is there", func() bool { return !there(other) && there(served) })
	if err := os.Remove(copyOf(served)); err != nil {
		t.Fatal(err)
	}
	create("third", third)
	eventually("what was lost is there again", func() bool { return there(served) && !there(third) })
	for _, wasm := range [][]byte{served, other, third} {
		if status, body, _ := get(t, "http://"+s.HTTP+"/v2/waft/modules/blobs/"+digestOf(wasm)); status != http.StatusOK || body != string(wasm) {
			t.Errorf("%d %q", status, body)
		}
	}
}
