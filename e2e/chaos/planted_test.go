package chaos

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
)

// plant is a bug that waft does not have: a text of its source, and what stands there instead in a build of these tests alone.
type plant struct {
	name, file, text, instead string
	// rule is the one that must find it.
	rule string
	// faults are what it takes for it to show; nil: none.
	faults []Fault
	// asks is which waves ask for an approval, and second: there is somebody to give it.
	asks   int
	second bool
	// limit is when the run is cut short; zero: when any other is.
	limit time.Duration
}

var plants = []plant{
	{
		name: "a wave too wide", rule: RuleWave, file: "distributor/rollout/waves.go",
		text:    "want := share(w, total) - reached\n",
		instead: "want := share(w, total) - reached + 1\n",
	},
	{
		name: "a soak by a clock that jumps", rule: RuleSoak, file: "distributor/rollout/clock.go",
		text:    "if m.watched > 0 && (gap-m.watched).Abs() >= leastJump {\n",
		instead: "if m.watched < 0 {\n",
		faults:  []Fault{{Kind: Jump, Part: Distributor, By: time.Hour, Wave: 2, Phase: "Soaking", After: 300 * time.Millisecond}},
	},
	{
		name: "a ledger that lies", rule: RuleLedger, file: "distributor/agent/ledger.go",
		text:    "r.state, r.step, r.reason = waftv1.ChainState_FETCHED, stepProbe, cmp.Or(s.blocked, probeTrouble)\n",
		instead: "r.state, r.step, r.reason, r.serving = waftv1.ChainState_SERVING, stepServe, cmp.Or(\"\", \"\"), d.Hash\n",
	},
	{
		name: "a stale delivery", rule: RuleMove, file: "distributor/service/nodes.go",
		text: "row, chain, prefetch = n.given, n.givenChain, n.duty.prefetch\n",
		// The third time a node is sent what it was sent first.
		instead: "row, chain, prefetch = n.given, n.givenChain, n.duty.prefetch\n" +
			"if first, ok := planted.LoadOrStore(nodeID, chain); ok && chain.Hash != \"\" && first.(model.Chain).Hash == \"\" {\nplanted.Store(nodeID, chain)\n" +
			"} else if ok && row.Generation == 3 {\nchain = first.(model.Chain)\n}\n",
	},
	{
		name: "a rollout that never ends", rule: RuleDeadline, file: "distributor/rollout/observe.go", limit: time.Minute,
		text:    "func (m *machine) completeWave(how string) {\n",
		instead: "func (m *machine) completeWave(how string) {\nif m.state.Name == \"r1\" && m.state.Wave == 1 {\nreturn\n}\n",
	},
	{
		name: "an approval that is lost", rule: RuleLost, file: "distributor/rollout/commands.go", asks: 1, second: true, limit: time.Minute,
		text:    "m.wave().Approval = &model.Approval{Actor: by.Actor, Reason: by.Reason, At: m.now}\n",
		instead: "",
	},
	{
		name: "a wave that moves without its approval", rule: RuleApproval, file: "distributor/rollout/observe.go", asks: 1,
		text:    "if g := m.unapproved(); g != nil {\n",
		instead: "if g := m.unapproved(); g != nil && m.state.Wave > 0 {\n",
	},
	{
		name: "a stale read", rule: RuleLinear, file: "distributor/service/rollouts.go",
		text: "	if e != nil && e.running() {\n		defer s.mu.Unlock()\n		return e.state, nil\n",
		// One of three answers is what the first one was.
		instead: "	if e != nil && e.running() {\n		defer s.mu.Unlock()\n" +
			"if first, ok := planted.LoadOrStore(name, e.state); ok && time.Now().UnixMilli()%3 == 0 {\nreturn first.(model.Rollout), nil\n}\nreturn e.state, nil\n",
	},
	{
		name: "a lost write", rule: RuleLost, file: "distributor/store/rollouts.go",
		text:    "next, err := s.commit(ctx, entries, func(int64) (change, error) {\n",
		instead: "if rollout.Phase == model.RolloutPaused {\nentries = nil\n}\nnext, err := s.commit(ctx, entries, func(int64) (change, error) {\n",
	},
}

// planted is the text of the file with the bug.
func (p plant) planted(root string) (string, error) {
	source, err := os.ReadFile(filepath.Join(root, p.file))
	if err != nil {
		return "", err
	}
	changed := strings.Replace(string(source), p.text, p.instead, 1)
	if strings.Contains(p.instead, "planted.") {
		changed = strings.Replace(changed, "import (\n", "import (\n\tplantedsync \"sync\"\n", 1) + "\nvar planted plantedsync.Map\n"
	}
	return changed, nil
}

// The texts that bugs are planted at are there, once each, so that TestPlantedInWaft plants them.
func TestPlantsFit(t *testing.T) {
	for _, p := range plants {
		source, err := os.ReadFile(filepath.Join("..", "..", p.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), p.text); n != 1 {
			t.Errorf("%s: %s has its text %d times, want once: plant it elsewhere", p.name, p.file, n)
		}
	}
}

// Each bug that is planted in waft itself is found by the rule that is there for it, on real processes. It takes some minutes a bug,
// so `make chaos-planted` runs it.
func TestPlantedInWaft(t *testing.T) {
	if os.Getenv("WAFT_PLANTED") == "" {
		t.Skip("make chaos-planted runs it")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			dir := t.TempDir()
			planted, err := p.planted(root)
			if err != nil {
				t.Fatal(err)
			}
			programs := Programs{Envoy: binary.Path, Root: root}
			if programs.Waft, err = Build(t.Context(), root, dir, map[string]string{p.file: planted}); err != nil {
				t.Fatal(err)
			}
			if err := Prepare(t.Context(), dir, &programs); err != nil {
				t.Fatal(err)
			}
			step := Step{Kind: Good, Shares: []int{1, scheduleNodes}, Soak: 3 * time.Second, Pause: true}
			step.Asks = p.asks
			schedule := Schedule{Nodes: scheduleNodes, Steps: []Step{step, step}, Faults: p.faults, Second: p.second}
			schedule.Steps[1].Module = 1
			fleetDir := t.TempDir()
			m, err := startMachines(t.Context(), fleetDir, programs, schedule)
			defer m.stop()
			if err != nil {
				t.Fatal(err)
			}
			h, err := runOn(t.Context(), cmp.Or(p.limit, runLimit), m, schedule, t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			found := Check(h)
			for _, v := range found {
				if v.Rule == p.rule {
					t.Logf("found: %s", v.Text)
					return
				}
			}
			t.Errorf("rule %s does not find it; what was found: %v", p.rule, found)
		})
	}
}
