package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// A release names a secret that the distributor keeps; the filter on two nodes sees the value. Another one goes out by another release, in two waves and under load, and back by an undo; one that
// the filter refuses never gets past the first wave. Nothing but the nodes has a value: no answer, no log, no store, no backup.
func TestKeptSecrets(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	const common = "battery-staple" // in every value
	f.AgentFlags = []string{"--envoy-output", "--log-level", "debug"}
	if err := f.StartUpstream(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.StartServe(ctx); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n1", "n2"} {
		if _, err := f.StartAgent(id, "env=test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	file := filepath.Join(t.TempDir(), "value")
	set := func(value string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		mustRun(t, f, append([]string{"secret", "set", "token", "--from-file", file, "--reason", "a try"}, f.Server()...)...)
	}
	const named = `{value: {$secret: {name: token}}}`
	const waves = `[{nodes: 1, soak: 1s}, {percent: 100}]`
	all := func(value string) {
		t.Helper()
		for _, node := range f.Nodes() {
			awaitStamp(t, node, value)
		}
	}
	set("first-" + common)
	first := createRelease(t, f, "first", "stamp", named)
	rollOut(t, f, "one", first, waves)
	all("first-" + common)

	load := fleet.StartLoad(ctx, f.Listeners(), []fleet.Visitor{stamped("first-"+common, "second-"+common)})
	defer load.Stop()
	set("second-" + common)
	all("first-" + common) // nothing moves by that
	second := createRelease(t, f, "second", "stamp", named)
	rollOut(t, f, "two", second, waves)
	all("second-" + common)
	// The stamp refuses a value that begins with gossip, and says it.
	set("gossip-" + common)
	bad := createRelease(t, f, "bad", "stamp", named)
	startRollout(t, f, "three", bad, waves)
	ended := awaitRollout(t, f, "three", "to end", func(s rolloutStatus) bool {
		return s.Phase == "RolledBack" || s.Phase == "Aborted" || s.Phase == "Done"
	})
	if ended.Phase != "RolledBack" {
		t.Errorf("a value that the filter refuses: %+v", ended)
	}
	all("second-" + common)
	mustRun(t, f, append([]string{"rollout", "undo", "two", "--reason", "a try"}, f.Server()...)...)
	awaitRollout(t, f, "two-undo", "to end", phaseIs("Done"))
	all("first-" + common)
	load.Stop()
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed while the secret was changed: %v", failures)
	}

	// Everything that is said and kept.
	has := func(text []byte) bool {
		for _, value := range []string{"first-" + common, "second-" + common, "gossip-" + common} {
			if bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte(value)))) {
				return true
			}
		}
		return bytes.Contains(text, []byte(common))
	}
	for _, args := range [][]string{
		{"nodes", "show", "n1"}, {"nodes", "list"}, {"release", "show", first}, {"release", "list"}, {"secret", "list"}, {"secret", "show", "token"},
		{"rollout", "status", "one"}, {"rollout", "status", "two"}, {"rollout", "status", "three"}, {"rollout", "history", "three"}, {"audit"},
	} {
		var answer json.RawMessage
		if err := f.JSON(ctx, &answer, args...); err != nil {
			t.Fatal(err)
		}
		if has(answer) || len(answer) < 3 {
			t.Errorf("waft %s says %s", strings.Join(args, " "), answer)
		}
	}
	if diff := mustRun(t, f, append([]string{"release", "diff", first, second}, f.Server()...)...); has([]byte(diff)) || !strings.Contains(diff, "version") {
		t.Errorf("waft release diff says %s", diff)
	}
	mustRun(t, f, append([]string{"backup", filepath.Join(f.Dir, "backup.tar")}, f.Server()...)...)
	onlyOnNodes(t, f.Dir, has, "n1", "n2")
}
