package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Result is what a run measured. `waft demo -o json` prints it as its last line.
type Result struct {
	OK     bool `json:"ok"`
	Envoys int  `json:"envoys"`
	// Requests were sent under load, and each answer was checked.
	Requests int64 `json:"requests"`
	// FailedRequests got something else than they must, other than on the node of the next field.
	FailedRequests int64 `json:"failed_requests"`
	// FailedOnBadNode failed while release 3 was out, on the nodes that served it.
	FailedOnBadNode int64 `json:"failed_on_bad_node"`
	// BadReleaseNodesReached is on how many Envoys release 3's filter ran, by Envoy's statistics.
	BadReleaseNodesReached int `json:"bad_release_nodes_reached"`
	// RolledBack: release 3 was taken back by the gate, and every node serves release 2 again, by the answers it gives.
	RolledBack bool `json:"rolled_back"`
	// UnloadableNodesReached is how many Envoys were offered release 4, by Envoy's statistics.
	UnloadableNodesReached int `json:"unloadable_nodes_reached"`
	// Scenarios is how many scenarios of the shipped filters passed as compiled Wasm before anything was published.
	Scenarios int `json:"scenarios"`
	// Release2NewModule: release 2's changed module has another sha256, and every Envoy made new VMs for it.
	Release2NewModule bool `json:"release_2_new_module"`
	// Seconds the whole run took.
	Seconds float64 `json:"seconds"`
	// Failures says what did not hold; empty when OK.
	Failures []string `json:"failures,omitempty"`
}

// envoys is the size of the demo's fleet.
const envoys = 4

// minRequests is how many requests a run must have sent for its answers to mean something.
const minRequests = 2000

// expect notes a failure unless the condition holds.
func (r *Result) expect(holds bool, format string, args ...any) {
	if !holds {
		r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
	}
}

// judge decides whether the run was a success.
func (r *Result) judge() {
	r.expect(r.Envoys == envoys, "%d Envoys instead of %d", r.Envoys, envoys)
	r.expect(r.Requests >= minRequests, "only %d requests were sent; %d are needed", r.Requests, minRequests)
	r.expect(r.FailedRequests == 0, "%d requests failed outside the node that served the bad release", r.FailedRequests)
	r.expect(r.FailedOnBadNode > 0, "release 3 failed no request, so the gate had nothing to see")
	r.expect(r.BadReleaseNodesReached == 1, "release 3 reached %d nodes instead of 1", r.BadReleaseNodesReached)
	r.expect(r.RolledBack, "release 3 was not rolled back")
	r.expect(r.UnloadableNodesReached == 0, "release 4 reached %d Envoys instead of none", r.UnloadableNodesReached)
	r.expect(r.Release2NewModule, "release 2's module is not a new one to every Envoy")
	r.OK = len(r.Failures) == 0
}

// summary prints the result for a person.
func (r *Result) summary(w io.Writer) {
	verdict := "The main job holds."
	if !r.OK {
		verdict = "The main job does NOT hold:\n  - " + strings.Join(r.Failures, "\n  - ")
	}
	fmt.Fprintf(w, `
%s
  envoys                            %d
  scenarios passed as Wasm          %d
  requests under load               %d
  failed                            %d
  failed on the bad release's node  %d
  nodes that release 3 reached      %d  (rolled back: %v)
  Envoys that release 4 reached     %d
  seconds                           %.0f
`, verdict, r.Envoys, r.Scenarios, r.Requests, r.FailedRequests, r.FailedOnBadNode,
		r.BadReleaseNodesReached, r.RolledBack, r.UnloadableNodesReached, r.Seconds)
}

// write keeps the result in bench/out/demo.json of the checkout, as everything that measures does.
func (r *Result) write(root string) error {
	dir := filepath.Join(root, "bench", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep the result: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the result: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "demo.json"), append(text, '\n'), 0o644)
}

// round keeps one decimal.
func round(seconds float64) float64 { return math.Round(seconds*10) / 10 }
