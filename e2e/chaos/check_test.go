package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// begun is when the histories of these tests begin.
var begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return begun.Add(time.Duration(seconds * float64(time.Second))) }

func id(name string) string    { return "chaos@sha256:" + name }
func chain(name string) string { return "chain-of-" + name }

// calm is the history of a fleet in which everything holds: three nodes on "base"; r1, good, from the 10th second, a node and then
// all; r2, failing, from the 50th, taken back from its one node; a kill of the Envoy of n3 in between.
func calm() *History {
	nodes := []string{"n1", "n2", "n3"}
	h := &History{
		Seed: 7, Begun: begun, Healed: at(42), Ended: at(100),
		Releases: []Release{{id("base"), "base", Good}, {id("r1"), "r1", Good}, {id("r2"), "r2", Failing}},
		Faults:   []Injected{{Fault: Fault{Kind: Kill, Part: Envoy, Node: 2}, At: at(40), Until: at(42)}},
		Downs:    []Down{{Node: "n3", From: at(40), Until: at(42), Why: "kill"}},
	}
	moved := map[string]float64{"n1": 11, "n2": 21, "n3": 21}
	for i := range 2000 {
		t := float64(i) * 0.05
		for _, n := range nodes {
			r := Request{Node: n, Sent: at(t), Ended: at(t + 0.01), Status: 200, Stamp: "base"}
			if t >= moved[n] {
				r.Stamp = "r1"
			}
			if n == "n2" && t >= 51 && t < 55 {
				r.Stamp = "r2"
				if i%3 == 0 {
					r.Status = 503
				}
			}
			if n == "n3" && t >= 40 && t < 42 {
				r.Status, r.Stamp, r.Error = 0, "", "connection refused"
			}
			h.Requests = append(h.Requests, r)
		}
	}
	base := Rollout{Name: "base", Release: id("base"), Phase: "Done", Shares: []int{3}, StartedAt: at(-20), EndedAt: at(-5),
		Waves: []Wave{{Nodes: nodes, StartedAt: at(-20), EndedAt: at(-5)}}, Nodes: map[string]Member{"n1": {State: "Serving", Wave: 1}, "n2": {State: "Serving", Wave: 1}, "n3": {State: "Serving", Wave: 1}},
		Lines: []Line{{at(-20), "Fetching", 0, "waft", "begins"}, {at(-15), "Soaking", 1, "waft", "soaks"}, {at(-5), "Done", 0, "waft", "all serve"}}}
	r1 := Rollout{Name: "r1", Release: id("r1"), Phase: "Done", Shares: []int{1, 3}, StartedAt: at(10), EndedAt: at(30),
		Waves: []Wave{{Nodes: []string{"n1"}, StartedAt: at(10), EndedAt: at(20)}, {Nodes: []string{"n2", "n3"}, StartedAt: at(20), EndedAt: at(30)}},
		Nodes: map[string]Member{"n1": {"Serving", 1, id("base")}, "n2": {"Serving", 2, id("base")}, "n3": {"Serving", 2, id("base")}},
		Lines: []Line{{at(10), "Fetching", 0, "waft", "begins"}, {at(15), "Paused", 0, "a3", "paused"}, {at(16), "Soaking", 1, "a5", "resumed"}, {at(24), "Soaking", 2, "waft", "soaks"}, {at(30), "Done", 1, "waft", "all serve"}}}
	r2 := Rollout{Name: "r2", Release: id("r2"), Phase: "RolledBack", Shares: []int{1, 3}, StartedAt: at(50), EndedAt: at(56),
		Waves: []Wave{{Nodes: []string{"n2"}, StartedAt: at(50)}}, Nodes: map[string]Member{"n2": {"RolledBack", 1, id("r1")}},
		Lines: []Line{{at(50), "Fetching", 0, "waft", "begins"}, {at(54), "RollingBack", 0, "waft", "errors"}, {at(56), "RolledBack", 0, "waft", "errors"}}}
	// The rollout as it was when its history had so many lines.
	seen := func(r Rollout, lines int) *Rollout {
		r.Lines = r.Lines[:lines]
		r.Phase = r.Lines[lines-1].Phase
		r.Nodes = nil
		return &r
	}
	call := func(client int, actor string, op Op, object string, t float64, r *Rollout) Call {
		return Call{Client: client, Actor: actor, Op: op, Object: object, Begun: at(t), Ended: at(t + 0.02), Outcome: OK, Rollout: r, Changed: op != OpGet}
	}
	start := func(actor, name string, t float64, r *Rollout) Call {
		c := call(0, actor, OpStart, name, t, r)
		c.Release = r.Release
		return c
	}
	for _, r := range []*Rollout{&base, &r1, &r2} {
		for range r.Shares {
			r.Soaks = append(r.Soaks, 4*time.Second)
		}
	}
	h.Calls = []Call{
		{Client: 0, Actor: "a1", Op: OpCreate, Object: "r1", Begun: at(9), Ended: at(9.5), Outcome: OK, ID: id("r1")},
		start("a0", "base", -20, seen(base, 1)),
		{Client: 1, Actor: "a4", Op: OpGet, Object: "r1", Begun: at(9.9), Ended: at(9.95), Outcome: Refused, NotFound: true},
		start("a2", "r1", 10, seen(r1, 1)),
		call(0, "a3", OpPause, "r1", 15, seen(r1, 2)),
		call(1, "a6", OpGet, "r1", 15.5, seen(r1, 2)),
		call(0, "a5", OpResume, "r1", 16, seen(r1, 3)),
		{Client: 2, Actor: "a9", Op: OpPause, Object: "r1", Begun: at(17), Ended: at(19), Outcome: Unknown, Error: "the distributor does not answer"},
		call(1, "a7", OpGet, "r1", 31, seen(r1, 5)),
		start("a8", "r2", 50, seen(r2, 1)),
		call(1, "a10", OpGet, "r2", 60, seen(r2, 3)),
	}
	for i := range 200 {
		t := float64(i)*0.5 + 0.25
		for _, n := range nodes {
			s := Sample{Begun: at(t), Ended: at(t + 0.01), Node: n, Connected: true, State: "serving", Assigned: id("base"), Chain: chain("base"), Serving: chain("base")}
			if t >= moved[n]+1 {
				s.Assigned, s.Chain, s.Serving = id("r1"), chain("r1"), chain("r1")
			}
			if n == "n2" && t > 51 && t < 54 {
				s.Assigned, s.Chain, s.Serving = id("r2"), chain("r2"), chain("r2")
			}
			h.Samples = append(h.Samples, s)
		}
	}
	h.Final = Final{
		Rollouts: []Rollout{base, r1, r2},
		Actors:   []string{"rollout.start a0", "rollout.start a2", "rollout.pause a3", "rollout.resume a5", "rollout.start a8"},
		Releases: []string{id("base"), id("r1"), id("r2")},
	}
	for _, n := range nodes {
		h.Final.Nodes = append(h.Final.Nodes, Sample{Begun: at(99), Ended: at(99), Node: n, Connected: true, State: "serving", Assigned: id("r1"), Chain: chain("r1"), Serving: chain("r1")})
	}
	return h
}

// edit changes the answers of a node in some time.
func edit(h *History, node string, from, to float64, change func(*Request)) {
	for i := range h.Requests {
		if r := &h.Requests[i]; r.Node == node && !r.Sent.Before(at(from)) && r.Sent.Before(at(to)) {
			change(r)
		}
	}
}

// tested is calm, but that the first waves of r1 and r2 give their releases to a cohort: on n1 from the 11th second to the 20th, on n2 from the 51st.
func tested(cohort Cohort) *History {
	h := calm()
	h.Final.Rollouts[1].Cohort, h.Final.Rollouts[2].Cohort = cohort, cohort
	h.Final.Rollouts[1].Waves[1].Nodes = []string{"n1", "n2", "n3"}
	for i := range h.Requests {
		r, number := &h.Requests[i], i/3
		r.Cohort = number%3 == 0
		in := r.Cohort
		if cohort == ByPercent {
			in = number%5 < 2
		}
		switch {
		case in:
		case r.Node == "n1" && !r.Sent.Before(at(11)) && r.Sent.Before(at(20)):
			r.Stamp = "base"
		case r.Node == "n2" && r.Stamp == "r2":
			r.Stamp, r.Status = "r1", 200
		}
		if r.Node == "n2" && r.Stamp == "r2" { // a third of the cohort's
			r.Status = 200
			if number%9 == 0 {
				r.Status = 503
			}
		}
	}
	for i := range h.Samples {
		if s := &h.Samples[i]; s.Node == "n1" && s.Begun.After(at(12)) && s.Begun.Before(at(20)) {
			s.Assigned, s.Chain, s.Serving = id("base"), chain("base and r1"), chain("base and r1")
		}
		if s := &h.Samples[i]; s.Node == "n2" && s.Assigned == id("r2") {
			s.Assigned, s.Chain, s.Serving = id("r1"), chain("r1 and r2"), chain("r1 and r2")
		}
	}
	for i := range h.Calls {
		if r := h.Calls[i].Rollout; r != nil && r.Name != "base" {
			r.Cohort = cohort
		}
	}
	// The first wave is seen when it soaks.
	soaks := *h.Calls[5].Rollout
	soaks.Waves, soaks.Nodes = []Wave{{Nodes: []string{"n1"}, StartedAt: at(10)}}, map[string]Member{"n1": {"Serving", 1, id("base")}}
	h.Calls[5].Rollout = &soaks
	return h
}

// marked is calm, but that every answer has the mark of a filter, which is disabled from the 60th second to the 80th.
func marked() *History {
	h := calm()
	h.Marked = true
	h.Emergencies = []Emergency{{Actor: "a30", Told: at(60), Known: at(60.1), Gone: at(64), Back: at(80), Whole: at(85)}}
	h.Calls = append(h.Calls, Call{Client: 0, Actor: "a30", Op: OpOut, Object: markFilter, Begun: at(60), Ended: at(60.1), Outcome: OK, Changed: true})
	h.Final.Actors = append(h.Final.Actors, "filter.disable a30")
	for i := range h.Requests {
		r := &h.Requests[i]
		r.Marked = r.Stamp != "" && (r.Sent.Before(at(62)) || !r.Sent.Before(at(82)))
	}
	return h
}

// An Envoy that is taken while a filter is disabled falls back to a chain that may have it, and that is no bug.
func TestFallBackMayHaveTheFilter(t *testing.T) {
	h := marked()
	h.Downs = append(h.Downs, Down{Node: "n1", From: at(69), Until: at(70), Why: "kill"})
	edit(h, "n1", 70, 72, func(r *Request) { r.Marked = true })
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
}

func TestCalmHistoryHolds(t *testing.T) {
	for name, h := range map[string]*History{"calm": calm(), "header": tested(ByHeader), "percent": tested(ByPercent), "marked": marked(), "promoted": promoted(), "approved": approved(), "retried": retried()} {
		for _, v := range Check(h) {
			t.Errorf("%s: %s: %s", name, v.Rule, v.Text)
		}
	}
}

// While another rollout has a node of it, and once its nodes have something else, there is nothing of a rollout to undo.
func TestUndosMayBeRefused(t *testing.T) {
	for when, text := range map[float64]string{52.5: "1 of its nodes have been moved on since (n2 has r2)", 60: "nothing to take back: no node has its release any more"} {
		h := calm()
		object := "r1"
		if when == 60 {
			object = "r2"
		}
		h.Calls = append(h.Calls, Call{Client: 3, Actor: "a20", Op: OpUndo, Object: object, Begun: at(when), Ended: at(when + 0.1), Outcome: Refused, Error: text})
		for _, v := range Check(h) {
			t.Errorf("%s: %s: %s", text, v.Rule, v.Text)
		}
	}
}

// One that a fault holds up is rid of a bad release later.
func TestFaultsHoldUpWhatIsTakenBack(t *testing.T) {
	h := calm()
	h.Faults = append(h.Faults, Injected{Fault: Fault{Kind: Freeze, Part: Agent, Node: 1}, At: at(70), Until: at(74)})
	edit(h, "n2", 85, 85.1, func(r *Request) { r.Status, r.Stamp = 503, "" })
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
}

// What a filter answers itself need not pass through it, and so has no stamp.
func TestFailuresHaveNoStamp(t *testing.T) {
	h := calm()
	edit(h, "n2", 51, 55, func(r *Request) {
		if r.Status == 503 {
			r.Stamp = ""
		}
	})
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
}

// promoted is calm, but that the second wave of r1 is promoted as soon as it soaks, and has a line of history that says so.
func promoted() *History {
	h := calm()
	r := &h.Final.Rollouts[1]
	r.Lines = slices.Insert(slices.Clone(r.Lines), 4, Line{at(25), "Soaking", 2, "a40", "promoted: the soak ends now"})
	r.Waves[1].EndedAt = at(25)
	seen := *r
	h.Calls[8].Rollout = &seen
	h.Calls = append(h.Calls, Call{Client: 4, Actor: "a40", Op: OpPromo, Object: "r1", Begun: at(24.9), Ended: at(25.1), Outcome: Unknown})
	return h
}

// approved is calm, but that the first wave of r1 asks for an approval, which is given in the 18th second.
func approved() *History {
	h := calm()
	r := &h.Final.Rollouts[1]
	r.Asks, r.Waves[0].ApprovedBy = 1, "a50"
	r.Lines = slices.Insert(slices.Clone(r.Lines), 3, Line{at(18.01), "Soaking", 1, "a50", "wave 1 of 2 is approved: chaos"})
	for i := range h.Calls {
		call := &h.Calls[i]
		if call.Object != "r1" {
			continue
		}
		if call.Op == OpStart {
			call.Asks = 1
		}
		if call.Rollout != nil {
			call.Rollout.Asks, call.Rollout.Waves = 1, []Wave{{Nodes: []string{"n1"}, StartedAt: at(10)}}
		}
	}
	whole := *r
	h.Calls[8].Rollout = &whole
	given := *r
	given.Phase, given.Lines, given.Waves, given.Nodes = "Soaking", r.Lines[:4], []Wave{{Nodes: []string{"n1"}, StartedAt: at(10), ApprovedBy: "a50"}}, nil
	h.Calls = append(h.Calls, Call{Client: 4, Actor: "a50", Op: OpApprove, Object: "r1", Begun: at(18), Ended: at(18.02), Outcome: OK, Changed: true, Rollout: &given})
	h.Final.Actors = append(h.Final.Actors, "rollout.approve a50")
	return h
}

// retried is calm, but that n1, which rejects its chain from the 70th second to the 80th, is asked to try again while it does so, and after.
func retried() *History {
	h := calm()
	for i := range h.Samples {
		if s := &h.Samples[i]; s.Node == "n1" && s.Begun.After(at(70)) && s.Begun.Before(at(80)) {
			s.State, s.Reason = "REJECTED no memory", "no memory"
		}
	}
	h.Calls = append(h.Calls,
		Call{Client: 4, Actor: "a60", Op: OpRetry, Object: "n1", Begun: at(75), Ended: at(75.02), Outcome: OK, Changed: true},
		Call{Client: 4, Actor: "a61", Op: OpRetry, Object: "n1", Begun: at(90), Ended: at(90.02), Outcome: Refused, Error: "it waits for nothing, so there is nothing to try again"})
	h.Final.Actors = append(h.Final.Actors, "node.retry a60")
	return h
}

// A rollout that is seen before the call that starts it has answered, and before its first step, is no bug.
func TestStartIsSeenEarly(t *testing.T) {
	h := calm()
	answer, early := *h.Calls[3].Rollout, *h.Calls[3].Rollout
	answer.Lines = h.Final.Rollouts[1].Lines[:2]
	early.Phase = "Pending"
	h.Calls[3].Rollout = &answer
	h.Calls = append(h.Calls, Call{Client: 1, Actor: "a20", Op: OpGet, Object: "r1", Begun: at(10.005), Ended: at(10.01), Outcome: OK, Rollout: &early})
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
	// The other way round, after the answer, it is one.
	h.Calls[len(h.Calls)-1].Begun, h.Calls[len(h.Calls)-1].Ended = at(10.03), at(10.04)
	if found := Check(h); len(found) != 1 || found[0].Rule != RuleLinear {
		t.Errorf("a look that is older than the answer before it: %v", found)
	}
}

// An Envoy that is taken before what it serves is good falls back to what was good before, and that is no bug.
func TestFallBackIsNoBug(t *testing.T) {
	h := calm()
	edit(h, "n2", 21, 46, func(r *Request) { r.Stamp = "base" })
	edit(h, "n2", 57, 58, func(r *Request) { r.Stamp = "base" })
	h.Downs = append(h.Downs, Down{Node: "n2", From: at(56.9), Until: at(57), Why: "kill"})
	for _, v := range Check(h) {
		if v.Rule == RuleMove {
			t.Errorf("%s: %s", v.Rule, v.Text)
		}
	}
}

// A history that a run kept, named by $WAFT_HISTORY, is checked again, by the rules as they are now.
func TestKeptHistory(t *testing.T) {
	path := os.Getenv("WAFT_HISTORY")
	if path == "" {
		t.Skip("name one with WAFT_HISTORY")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := new(History)
	if err := json.Unmarshal(text, h); err != nil {
		t.Fatal(err)
	}
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
}

// Each bug that is planted in the calm history is found, by the rule that is there for it.
func TestPlantedBugs(t *testing.T) {
	found := map[string]bool{}
	for _, tc := range []struct {
		name, rule, text string
		plant            func(*History)
	}{
		{"a request without the header is answered by the chain of a cohort", RuleCohort, "n1 answers", func(h *History) {
			*h = *tested(ByHeader)
			edit(h, "n1", 15, 15.11, func(r *Request) { r.Stamp = "r1" })
		}},
		{"a release that was taken back from a cohort answers others", RuleCohort, "n2 answers", func(h *History) {
			*h = *tested(ByHeader)
			edit(h, "n2", 55, 55.5, func(r *Request) { r.Stamp = "r2" })
		}},
		{"a wave with a cohort is over that nobody met", RuleCohort, "no request of the cohort on n1", func(h *History) {
			*h = *tested(ByHeader)
			edit(h, "n1", 11, 20, func(r *Request) { r.Stamp = "base" })
		}},
		{"a cohort by percent has far more than that", RuleCohort, "of a hundred", func(h *History) {
			*h = *tested(ByPercent)
			edit(h, "n1", 11, 20, func(r *Request) { r.Stamp = "r1" })
		}},
		{"a cohort by percent has far less than that", RuleCohort, "of a hundred", func(h *History) {
			*h = *tested(ByPercent)
			i := 0
			edit(h, "n1", 11, 20, func(r *Request) {
				r.Stamp = "base"
				if i++; i%8 == 1 {
					r.Stamp = "r1"
				}
			})
		}},
		{"a fault loses the cohort for ever", RuleCohort, "of a hundred", func(h *History) {
			*h = *tested(ByPercent)
			r1 := &h.Final.Rollouts[1]
			r1.Waves[0].EndedAt, r1.Waves[1].StartedAt, r1.Waves[1].EndedAt, r1.EndedAt = at(45), at(45), at(48), at(48)
			h.Downs = append(h.Downs, Down{Node: "n1", From: at(12), Until: at(13), Why: "kill"})
			edit(h, "n1", 12, 45, func(r *Request) { r.Stamp = "base" })
		}},
		{"what is taken back fails requests long after, on a node that no fault met", RuleRequest, "n2", func(h *History) {
			h.Faults[0].At, h.Faults[0].Until, h.Healed = at(75), at(78), at(80)
			h.Faults[0].Node = 0
			edit(h, "n2", 85, 85.1, func(r *Request) { r.Status, r.Stamp = 503, "" })
		}},
		{"an undo is refused of what all nodes still have", RuleLinear, "had its release all the time", func(h *History) {
			h.Calls = append(h.Calls, Call{Client: 3, Actor: "a20", Op: OpUndo, Object: "r1", Begun: at(40), Ended: at(40.1), Outcome: Refused,
				Error: "nothing to take back: no node has its release any more"})
		}},
		{"an undo is refused since nodes moved on that did not", RuleLinear, "had its release all the time", func(h *History) {
			h.Calls = append(h.Calls, Call{Client: 3, Actor: "a20", Op: OpUndo, Object: "r1", Begun: at(40), Ended: at(40.1), Outcome: Refused, Conflict: true,
				Error: "3 of its nodes have been moved on since (n1 has r2); undo the newer rollout first"})
		}},
		{"a bad release fails requests of no cohort", RuleRequest, "n2", func(h *History) {
			*h = *tested(ByHeader)
			edit(h, "n2", 52, 52.11, func(r *Request) { r.Status, r.Stamp = 503, "" })
		}},
		{"a rollout that lies of a cohort by header", RuleLedger, "rollout/r1", func(h *History) {
			*h = *tested(ByHeader)
			edit(h, "n1", 11, 16, func(r *Request) { r.Stamp = "base" })
		}},
		{"a rollout that lies of a cohort by percent", RuleLedger, "rollout/r1", func(h *History) {
			*h = *tested(ByPercent)
			edit(h, "n1", 11, 18, func(r *Request) { r.Stamp = "base" })
		}},
		{"a filter is gone that nobody has disabled", RuleEmergency, "nobody had disabled", func(h *History) {
			*h = *marked()
			edit(h, "n1", 30, 30.1, func(r *Request) { r.Marked = false })
		}},
		{"a filter that was disabled is there", RuleEmergency, "said to be gone everywhere", func(h *History) {
			*h = *marked()
			edit(h, "n1", 70, 70.1, func(r *Request) { r.Marked = true })
		}},
		{"a filter that was disabled is never gone", RuleEmergency, "was not gone everywhere", func(h *History) {
			*h = *marked()
			h.Emergencies[0].Gone = time.Time{}
		}},
		{"a filter is never put back", RuleEmergency, "never was", func(h *History) {
			*h = *marked()
			h.Emergencies[0].Whole = time.Time{}
		}},
		{"a node ends without a filter that was put back", RuleEmergency, "n2 ends without", func(h *History) {
			*h = *marked()
			edit(h, "n2", 82, 100, func(r *Request) { r.Marked = false })
		}},
		{"a lost write: a filter was disabled without an audit entry", RuleLost, "filter.disable", func(h *History) {
			*h = *marked()
			h.Final.Actors = slices.DeleteFunc(h.Final.Actors, func(a string) bool { return a == "filter.disable a30" })
		}},
		{"one request fails on a node that nothing happens to", RuleRequest, "n1", func(h *History) {
			edit(h, "n1", 70, 70.05, func(r *Request) { r.Status = 503 })
		}},
		{"an answer that no filter has stamped", RuleRequest, "n1", func(h *History) {
			edit(h, "n1", 70, 70.05, func(r *Request) { r.Stamp = "" })
		}},
		{"a swap drops connections", RuleRequest, "n1", func(h *History) {
			edit(h, "n1", 10.9, 11, func(r *Request) { r.Status, r.Stamp, r.Error = 0, "", "EOF" })
		}},
		{"an Envoy is gone for longer than its fault", RuleRequest, "n3", func(h *History) {
			edit(h, "n3", 40, 45, func(r *Request) { r.Status, r.Stamp, r.Error = 0, "", "connection refused" })
		}},
		{"a bad release fails requests of another kind", RuleRequest, "n2", func(h *History) {
			edit(h, "n2", 51, 51.1, func(r *Request) { r.Status = 0 })
		}},
		{"a bad release fails every request", RuleCap, "n2", func(h *History) {
			edit(h, "n2", 51, 55, func(r *Request) { r.Status = 503 })
		}},
		{"a bad release fails every second request", RuleCap, "n2", func(h *History) {
			i := 0
			edit(h, "n2", 51, 55, func(r *Request) {
				if i++; i%2 == 0 {
					r.Status = 503
				} else {
					r.Status = 200
				}
			})
		}},
		{"a bad release fails every request, without its stamp", RuleCap, "n2", func(h *History) {
			edit(h, "n2", 51, 55, func(r *Request) { r.Status, r.Stamp = 503, "" })
		}},
		{"a bad release fails every second request, without its stamp", RuleCap, "n2", func(h *History) {
			i := 0
			edit(h, "n2", 51, 55, func(r *Request) {
				if i++; i%2 == 0 {
					r.Status, r.Stamp = 503, ""
				} else {
					r.Status = 200
				}
			})
		}},
		{"another release fails a request beside a bad one", RuleRequest, "n2", func(h *History) {
			edit(h, "n2", 53, 53.05, func(r *Request) { r.Status, r.Stamp = 503, "r1" })
		}},
		{"a bad release fails requests on more nodes than its first wave has", RuleCap, "2 nodes", func(h *History) {
			edit(h, "n3", 52, 52.05, func(r *Request) { r.Status, r.Stamp = 503, "r2" })
		}},
		{"a stale delivery takes a node back to what it had two rollouts before", RuleMove, `stamp "base"`, func(h *History) {
			edit(h, "n1", 52, 53, func(r *Request) { r.Stamp = "base" })
		}},
		{"a stale delivery during a later rollout", RuleMove, `stamp "base"`, func(h *History) {
			edit(h, "n2", 57, 58, func(r *Request) { r.Stamp = "base" })
		}},
		{"a stale delivery of what the node had for longer than what came after", RuleMove, `stamp "base"`, func(h *History) {
			edit(h, "n2", 21, 46, func(r *Request) { r.Stamp = "base" })
			edit(h, "n2", 57, 58, func(r *Request) { r.Stamp = "base" })
		}},
		{"a node moves before its wave", RuleMove, "n3", func(h *History) {
			edit(h, "n3", 15, 21, func(r *Request) { r.Stamp = "r1" })
		}},
		{"a node ends on what was taken back", RuleEnd, "n2", func(h *History) {
			edit(h, "n2", 90, 100, func(r *Request) { r.Stamp = "r2" })
		}},
		{"a lost write: a node is to run what it had before its last rollout", RuleEnd, "n1", func(h *History) {
			h.Final.Nodes[0].Assigned, h.Final.Nodes[0].Chain, h.Final.Nodes[0].Serving = id("base"), chain("base"), chain("base")
		}},
		{"a node never comes to rest", RuleEnd, "n1", func(h *History) { h.Final.Nodes[0].State = "REJECTED" }},
		{"a bad release gets to a second wave", RuleGate, "wave 2", func(h *History) {
			r := &h.Final.Rollouts[2]
			r.Waves = append(r.Waves, Wave{Nodes: []string{"n1"}, StartedAt: at(54)})
		}},
		{"a bad release is done", RuleGate, "Done", func(h *History) { h.Final.Rollouts[2].Phase = "Done" }},
		{"a bad release on a node of no wave", RuleGate, "n1", func(h *History) {
			edit(h, "n1", 52, 53, func(r *Request) { r.Stamp = "r2" })
		}},
		{"an Envoy is given what the probe refuses", RuleGate, "no Envoy", func(h *History) { h.Releases[2].Kind = Refusing }},
		{"a wave begins before the one before is approved", RuleApproval, "wave 2 begins", func(h *History) {
			*h = *approved()
			h.Calls[len(h.Calls)-1].Begun, h.Calls[len(h.Calls)-1].Ended = at(22), at(22.02)
		}},
		{"nobody has approved what is done", RuleApproval, "is done, and nobody", func(h *History) {
			*h = *approved()
			h.Final.Rollouts[1].Waves[0].ApprovedBy = ""
			h.Calls = h.Calls[:len(h.Calls)-1]
		}},
		{"an approval comes from nowhere", RuleApproval, "who has not done so", func(h *History) {
			*h = *approved()
			h.Calls = h.Calls[:len(h.Calls)-1]
		}},
		{"nodes are moved before the approval, and no record says so", RuleApproval, "[n1 n2 n3] answer", func(h *History) {
			*h = *approved()
			h.Calls[len(h.Calls)-1].Begun, h.Calls[len(h.Calls)-1].Ended = at(22), at(22.02)
			h.Final.Rollouts[1].Waves[0].EndedAt, h.Final.Rollouts[1].Waves[1].StartedAt = at(23), at(23)
		}},
		{"an approval is lost", RuleLost, "approved by", func(h *History) {
			*h = *approved()
			h.Final.Rollouts[1].Waves[0].ApprovedBy = ""
		}},
		{"an approval is lost, and its wave waits on", RuleLinear, "rollout/r1", func(h *History) {
			*h = *approved()
			again := h.Calls[len(h.Calls)-1]
			again.Actor, again.Begun, again.Ended = "a51", at(19), at(19.02)
			h.Calls = append(h.Calls, again)
		}},
		{"a retry is not in the audit log", RuleLost, "node.retry of n1", func(h *History) {
			*h = *retried()
			h.Final.Actors = h.Final.Actors[:len(h.Final.Actors)-1]
		}},
		{"a retry is taken of a node that serves", RuleLinear, "was taken", func(h *History) {
			*h = *retried()
			h.Calls[len(h.Calls)-1].Outcome = OK
		}},
		{"a retry is refused of a node that has rejected its chain", RuleLinear, "had rejected its chain", func(h *History) {
			*h = *retried()
			h.Calls[len(h.Calls)-2].Outcome, h.Calls[len(h.Calls)-2].Error = Refused, "there is nothing to try again"
		}},
		{"a retry is refused for no reason", RuleLinear, "not said why", func(h *History) {
			*h = *retried()
			h.Calls[len(h.Calls)-1].Error = "not now"
		}},
		{"a wave is over before it has soaked", RuleSoak, "wave 2", func(h *History) {
			h.Final.Rollouts[1].Waves[1].EndedAt = at(27.5)
		}},
		{"a wave is over that nobody has promoted", RuleSoak, "wave 2", func(h *History) {
			*h = *promoted()
			h.Calls[len(h.Calls)-1].Actor = "a41"
		}},
		{"a wave is over that was not to be promoted", RuleSoak, "wave 2", func(h *History) {
			*h = *promoted()
			h.Calls[len(h.Calls)-1].Outcome = Refused
		}},
		{"a wave is over that never soaked", RuleSoak, "wave 1", func(h *History) {
			h.Final.Rollouts[1].Waves[0].EndedAt = at(14)
			h.Final.Rollouts[1].Lines = slices.Clone(h.Final.Rollouts[1].Lines)
			h.Final.Rollouts[1].Lines[2].Wave = 3
		}},
		{"a wave too wide, by its own record", RuleWave, "r1", func(h *History) {
			h.Final.Rollouts[1].Waves[0].Nodes = []string{"n1", "n2"}
		}},
		{"a wave too wide, by the answers", RuleWave, "r2", func(h *History) {
			edit(h, "n3", 52, 53, func(r *Request) { r.Stamp = "r2" })
		}},
		{"a ledger that lies: a node is said to serve what it has never served", RuleLedger, "n3", func(h *History) {
			for i := range h.Samples {
				if s := &h.Samples[i]; s.Node == "n3" && s.Begun.After(at(12)) && s.Begun.Before(at(13)) {
					s.Serving = chain("r1")
				}
			}
		}},
		{"a rollout that lies: it counts a node that has never served", RuleLedger, "n2", func(h *History) {
			h.Calls[5].Rollout.Nodes = map[string]Member{"n2": {"Serving", 1, id("base")}}
		}},
		{"a rollout never ends", RuleDeadline, "r2", func(h *History) { h.Final.Rollouts[2].Phase = "Moving" }},
		{"a rollout ends too late", RuleDeadline, "r2", func(h *History) {
			h.Final.Rollouts[2].EndedAt, h.Ended = at(1000), at(1010)
		}},
		{"a lost write: a rollout that was started is gone", RuleLost, "rollout/r2", func(h *History) {
			h.Final.Rollouts = h.Final.Rollouts[:2]
		}},
		{"a lost write: a release that was created is gone", RuleLost, "release/", func(h *History) {
			h.Final.Releases = []string{id("base"), id("r2")}
		}},
		{"a lost write: a pause without its audit entry", RuleLost, "rollout.pause", func(h *History) {
			h.Final.Actors = slices.DeleteFunc(h.Final.Actors, func(a string) bool { return a == "rollout.pause a3" })
		}},
		{"a lost write: a line of a history is another one later", RuleHistory, "r1", func(h *History) {
			h.Final.Rollouts[1].Lines = slices.Clone(h.Final.Rollouts[1].Lines)
			h.Final.Rollouts[1].Lines[1].Text = "changed"
		}},
		{"a stale read: a rollout is as it was before the pause", RuleLinear, "r1", func(h *History) {
			r := *h.Calls[5].Rollout
			r.Lines, r.Phase = r.Lines[:1], "Fetching"
			h.Calls[5].Rollout = &r
		}},
		{"a stale read: a rollout that was started is not found", RuleLinear, "r1", func(h *History) {
			h.Calls[5].Outcome, h.Calls[5].NotFound, h.Calls[5].Rollout = Refused, true, nil
		}},
		{"a pause that does not hold", RuleLinear, "r1", func(h *History) {
			r := *h.Calls[5].Rollout
			r.Phase = "Moving"
			h.Calls[5].Rollout = &r
		}},
		{"an end that is not one", RuleLinear, "r1", func(h *History) {
			again := h.Calls[8]
			r := *again.Rollout
			r.Phase = "Moving"
			again.Rollout, again.Begun, again.Ended = &r, at(40), at(40.1)
			h.Calls = append(h.Calls, again)
		}},
		{"two starts of one name", RuleLinear, "r1", func(h *History) {
			again := h.Calls[3]
			again.Begun, again.Ended = at(20), at(20.1)
			h.Calls = append(h.Calls, again)
		}},
		{"a run without traffic", RuleRun, "n3", func(h *History) {
			h.Requests = slices.DeleteFunc(h.Requests, func(r Request) bool { return r.Node == "n3" })
		}},
		{"a run that was cut short", RuleRun, "within 15m", func(h *History) { h.Unended = "it did not come to its end within 15m0s" }},
		{"an Envoy that does not come back", RuleRun, "n3", func(h *History) { h.Downs[0].Until = time.Time{} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := calm()
			tc.plant(h)
			var told []string
			for _, v := range Check(h) {
				if v.Rule == tc.rule && strings.Contains(v.Text, tc.text) && v.Seed == h.Seed {
					found[tc.rule] = true
					return
				}
				told = append(told, fmt.Sprintf("%s: %s", v.Rule, v.Text))
			}
			t.Errorf("rule %s does not find it; what was found: %q", tc.rule, told)
		})
	}
	for _, rule := range Rules {
		if !found[rule] {
			t.Errorf("no planted bug shows that rule %s finds anything", rule)
		}
	}
}
