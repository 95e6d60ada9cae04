package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// A release names a secret of the node: it is missing, refused and said aloud by the filter, and good; then it is changed under load, to a good one and to one that is refused.
// Whatever the distributor has, says, logs and backs up, and what the agent logs, never has a value.
func TestSecretsStayOnTheNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	const common = "battery-staple" // in every value
	allowed := t.TempDir()
	key := filepath.Join(allowed, "key")
	put := func(value string) {
		t.Helper()
		if err := os.WriteFile(key+".new", []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(key+".new", key); err != nil {
			t.Fatal(err)
		}
	}
	f.AgentFlags = []string{"--secret-dir", allowed, "--envoy-output", "--log-level", "debug"}
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.StartAgent("n1", "env=test"); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	node := f.Nodes()[0]
	plain := createRelease(t, f, "plain", "stamp", `{value: plain}`)
	rollOut(t, f, "plain", plain, `[{percent: 100}]`)
	keyed := createRelease(t, f, "keyed", "stamp", fmt.Sprintf(`{value: {$secret: {file: %s}}}`, key))

	rolledBack := func(name, word string) {
		t.Helper()
		startRollout(t, f, name, keyed, `[{percent: 100}]`)
		ended := awaitRollout(t, f, name, "to end", func(s rolloutStatus) bool {
			return s.Phase == "RolledBack" || s.Phase == "Aborted" || s.Phase == "Done"
		})
		if text := fmt.Sprintf("%+v", ended); ended.Phase != "RolledBack" || !strings.Contains(text, word) {
			t.Errorf("%s: want it rolled back because of %q, and it is %s", name, word, text)
		}
		awaitStamp(t, node, "plain")
	}
	rolledBack("missing", "there is no file "+key)
	put("gossip-" + common)
	rolledBack("refused", "told to refuse the value")

	put("good-" + common)
	rollOut(t, f, "good", keyed, `[{percent: 100}]`)
	awaitStamp(t, node, "good-"+common)
	load := fleet.StartLoad(ctx, f.Listeners(), []fleet.Visitor{stamped("good-"+common, "better-"+common)})
	defer load.Stop()
	put("better-" + common)
	awaitStamp(t, node, "better-"+common)
	put("gossip-again-" + common)
	type entry struct {
		Ledger struct {
			State, Reason string
			Secrets       map[string]string
		}
	}
	var said entry
	if err := fleet.WaitFor(ctx, "the ledger to say that the value was refused", rolloutLimit, func(ctx context.Context) error {
		if err := f.JSON(ctx, &said, "nodes", "show", "n1"); err != nil {
			return err
		}
		if l := said.Ledger; l.State != "DEGRADED" || !strings.Contains(l.Reason, "told to refuse the value") {
			return fleet.NotYetf("it is %+v", said)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if said.Ledger.Secrets["file:"+key] == "" || !strings.Contains(said.Ledger.Reason, "[secret file:"+key+"]") {
		t.Errorf("the ledger says %+v", said)
	}
	awaitStamp(t, node, "better-"+common)
	load.Stop()
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed while the secret was changed: %v", failures)
	}

	// Everything that is said and kept.
	has := func(text []byte) bool {
		for _, value := range []string{"gossip-" + common, "good-" + common, "better-" + common, "gossip-again-" + common} {
			if bytes.Contains(text, []byte(base64.StdEncoding.EncodeToString([]byte(value)))) {
				return true
			}
		}
		return bytes.Contains(text, []byte(common))
	}
	for _, args := range [][]string{
		{"nodes", "show", "n1"}, {"nodes", "list"}, {"release", "show", keyed}, {"release", "list"},
		{"rollout", "status", "missing"}, {"rollout", "status", "refused"}, {"rollout", "status", "good"}, {"rollout", "history", "refused"}, {"audit"},
	} {
		var answer json.RawMessage
		if err := f.JSON(ctx, &answer, args...); err != nil {
			t.Fatal(err)
		}
		if has(answer) || len(answer) < 3 {
			t.Errorf("waft %s says %s", strings.Join(args, " "), answer)
		}
	}
	if diff := mustRun(t, f, append([]string{"release", "diff", plain, keyed}, f.Server()...)...); has([]byte(diff)) || !strings.Contains(diff, key) {
		t.Errorf("waft release diff says %s", diff)
	}
	mustRun(t, f, append([]string{"backup", filepath.Join(f.Dir, "backup.tar")}, f.Server()...)...)
	onlyOnNodes(t, f.Dir, has, "n1")
}

// onlyOnNodes fails where a file below dir has what is looked for, but in the folders of these nodes, where it has to be: the same look finds it there.
func onlyOnNodes(t *testing.T, dir string, has func([]byte) bool, nodes ...string) {
	t.Helper()
	files, onNodes := 0, 0
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		if !has(text) {
			return nil
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if node, _, _ := strings.Cut(below, string(filepath.Separator)); slices.Contains(nodes, node) {
			onNodes++
		} else {
			t.Errorf("%s has the value of a secret", path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if onNodes == 0 {
		t.Error("not even what Envoy reads has the value; is it looked for?")
	}
	t.Logf("%d files looked at; %d of the nodes have a value", files, onNodes)
}
