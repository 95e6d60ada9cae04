package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// FaultKind is what is done to a part of the fleet.
type FaultKind string

// The kinds of faults.
const (
	// Kill is kill -9; the process is started again after the fault's time.
	Kill FaultKind = "kill"
	// Freeze is SIGSTOP, and SIGCONT after the fault's time.
	Freeze FaultKind = "freeze"
	// Restart is SIGTERM; the process is started again as soon as it has ended.
	Restart FaultKind = "restart"
	// Corrupt damages a file of a cache.
	Corrupt FaultKind = "corrupt"
	// Fill leaves no room on the disk of a node's agent, or of the distributor.
	Fill FaultKind = "fill"
	// Slow holds up every piece of what passes between an agent and the distributor.
	Slow FaultKind = "slow"
	// Cut resets the connections between an agent and the distributor, at random and new ones too.
	Cut FaultKind = "cut"
	// Stall lets nothing pass between an agent and the distributor, and resets nothing.
	Stall FaultKind = "stall"
	// Jump sets a process's clock on or back; it stays so.
	Jump FaultKind = "jump"
)

// Part is what a fault is done to.
type Part string

// The parts of a fleet.
const (
	// Distributor is the one that leads, where there are several.
	Distributor Part = "distributor"
	Registry    Part = "registry"
	Agent       Part = "agent"
	Envoy       Part = "envoy"
	Network     Part = "network"
	// EtcdMember is one of the members of an etcd, where that is not in the distributor's process.
	EtcdMember Part = "etcd"
)

// item is a kind of fault on a part that can have it, with how often it is drawn beside the others, and how long it lasts at the most.
type item struct {
	kind   FaultKind
	part   Part
	weight int
	most   time.Duration
}

func (i item) String() string { return string(i.kind) + " " + string(i.part) }

// menu is every kind of fault of the parts that each fleet has.
var menu = []item{
	{Kill, Distributor, 3, 3 * time.Second}, {Freeze, Distributor, 2, 4 * time.Second}, {Restart, Distributor, 2, 0},
	{Kill, Agent, 3, 3 * time.Second}, {Freeze, Agent, 2, 4 * time.Second}, {Restart, Agent, 2, 0},
	{Kill, Registry, 1, 3 * time.Second}, {Freeze, Registry, 1, 3 * time.Second}, {Restart, Registry, 1, 0},
	{Kill, Envoy, 2, 0}, {Freeze, Envoy, 1, time.Second}, {Restart, Envoy, 1, 0},
	{Corrupt, Agent, 2, 0}, {Corrupt, Distributor, 1, 0}, {Fill, Agent, 2, 5 * time.Second}, {Fill, Distributor, 2, 4 * time.Second},
	{Jump, Distributor, 3, 0}, {Jump, Agent, 2, 0},
	{Slow, Network, 2, 5 * time.Second}, {Cut, Network, 2, 4 * time.Second}, {Stall, Network, 2, 4 * time.Second},
}

// memberMenu is that of the members of etcd. A schedule that has them has each of these, beside what is drawn from the menu.
var memberMenu = []item{{Kill, EtcdMember, 1, 4 * time.Second}, {Freeze, EtcdMember, 1, 4 * time.Second}, {Restart, EtcdMember, 1, 0}}

// leadersEnd is how many of the first of the menu end or stop a distributor.
const leadersEnd = 3

// Fault is one fault of a schedule.
type Fault struct {
	Kind FaultKind `json:"kind"`
	Part Part      `json:"part"`
	// Node is the number of the node, from 0, for the parts that each node has, or that of the member of etcd.
	Node int `json:"node"`
	// Rollout and Phase say when: After so long in that phase of that rollout, whose wave is Wave (from 1). When the rollout ends without
	// having been there, the fault comes at its end.
	Rollout int           `json:"rollout"`
	Wave    int           `json:"wave"`
	Phase   string        `json:"phase"`
	After   time.Duration `json:"after"`
	// For is how long it lasts; 0: no longer than it takes.
	For time.Duration `json:"for"`
	// By is how far a clock is set on; below zero: back.
	By time.Duration `json:"by,omitempty"`
}

func (f Fault) String() string {
	part := string(f.Part)
	switch f.Part {
	case Distributor, Registry:
	case EtcdMember:
		part = fmt.Sprintf("member m%d of etcd", f.Node+1)
	default:
		part = fmt.Sprintf("%s of n%d", f.Part, f.Node+1)
	}
	if f.Kind == Jump {
		part += fmt.Sprintf(" by %s", f.By)
	}
	return fmt.Sprintf("%s %s for %s, %s into %s of wave %d of rollout %d", f.Kind, part, f.For, f.After, f.Phase, f.Wave, f.Rollout)
}

// Step is one rollout of a schedule.
type Step struct {
	Kind Kind `json:"kind"`
	// Module is which of the modules it runs: a new one has to be fetched and loaded.
	Module int `json:"module"`
	// Shares are how many nodes each wave reaches in all.
	Shares []int         `json:"shares"`
	Soak   time.Duration `json:"soak"`
	// Cohort is that of the first wave; the others give the release to all requests.
	Cohort Cohort `json:"cohort,omitempty"`
	// Ungated waves have no gate but the one that each has: there is no traffic to judge by yet.
	Ungated bool `json:"ungated,omitempty"`
	// Pause: somebody pauses it in its first soak, and resumes it. Undo: somebody takes it back when it is done.
	Pause bool `json:"pause"`
	Undo  bool `json:"undo"`
	// Disable: somebody takes a filter out everywhere in its first soak, which is put back when it has ended.
	Disable bool `json:"disable,omitempty"`
	// Promote: the second operator ends a soak of it. EndBy is by what he ends it after its first wave, OpAbort or OpUndo; empty: he does not.
	Promote bool `json:"promote,omitempty"`
	EndBy   Op   `json:"endBy,omitempty"`
	// Asks is which of its waves asks for an approval, counted from 1, that the second operator gives; 0: none does.
	Asks int `json:"asks,omitempty"`
}

// Schedule is what a run does, drawn from its seed and from nothing else: the same seed gives the same schedule.
type Schedule struct {
	Seed   uint64  `json:"seed"`
	Nodes  int     `json:"nodes"`
	Steps  []Step  `json:"steps"`
	Faults []Fault `json:"faults"`
	// Marked: all its releases have a second filter, which marks each response. It is the one that a step may disable.
	Marked bool `json:"marked,omitempty"`
	// Members is how many etcd has, each a process of its own; 0: it is in the distributor's.
	Members int `json:"members,omitempty"`
	// Replicas is how many distributors there are over such an etcd; 0: there is one.
	Replicas int `json:"replicas,omitempty"`
	// Second: a second operator works on the same rollouts at the same time.
	Second bool `json:"second,omitempty"`
}

// Limits of schedules.
const (
	scheduleNodes = 3
	leastSteps    = 3
	leastFaults   = 6
	moreFaults    = 4
	// modules is how many there are to choose from.
	modules = 2
	// membersEvery is of how many seeds one has an etcd of its own, so that any ten have three.
	membersEvery = 3
)

// Jumps says whether a clock jumps in it.
func (s Schedule) Jumps() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Kind == Jump })
}

// Draw makes the schedule of a seed.
func Draw(seed uint64) Schedule {
	r := rand.New(rand.NewPCG(seed, 0x77616674))
	s := Schedule{Seed: seed, Nodes: scheduleNodes}
	steps := leastSteps + r.IntN(2)
	bad := r.IntN(steps)
	for i := range steps {
		step := Step{Kind: Good, Module: r.IntN(modules), Shares: []int{1, scheduleNodes}, Soak: time.Duration(3+r.IntN(3)) * time.Second}
		if r.IntN(2) == 0 {
			step.Shares = []int{1, 2, scheduleNodes}
		}
		switch {
		case i == bad:
			// Each schedule has one that runs and fails requests.
			step.Kind = Failing
		case r.IntN(4) == 0:
			step.Kind = Refusing
		}
		step.Pause = r.IntN(3) == 0
		step.Undo = step.Kind == Good && r.IntN(4) == 0
		step.Cohort = []Cohort{"", "", ByHeader, ByPercent}[r.IntN(4)]
		s.Steps = append(s.Steps, step)
	}
	if r.IntN(3) == 0 {
		s.Marked = true
		i := r.IntN(steps)
		if s.Steps[i].Kind == Refusing {
			i = bad // a refusing one never soaks
		}
		s.Steps[i].Disable = true
	}
	for i := range leastFaults + r.IntN(moreFaults+1) {
		if i < inTurn {
			s.Faults = append(s.Faults, drawFaultOf(r, s.Steps, menu[int((seed*inTurn+uint64(i))%uint64(len(menu)))]))
			continue
		}
		s.Faults = append(s.Faults, drawFault(r, s.Steps))
	}
	if seed%membersEvery == 0 {
		// Of a source of their own, so that all else is drawn as it is without them.
		r := rand.New(rand.NewPCG(seed, 0x65746364))
		s.Members, s.Replicas = scheduleMembers, scheduleReplicas
		for _, m := range memberMenu {
			f := drawFaultOf(r, s.Steps, m)
			f.Node = r.IntN(scheduleMembers)
			s.Faults = append(s.Faults, f)
		}
		// The first of the menu end or stop a distributor: in turn, so that another takes over in each of these schedules.
		s.Faults = append(s.Faults, drawFaultOf(r, s.Steps, menu[seed/membersEvery%leadersEnd]))
	}
	s.meddled()
	return s
}

// meddled draws what the second operator does, of a source of its own. He takes no hand in what a step undoes or disables, and aborts none in which nodes may
// give a release to a part of their requests, which they would go on with.
func (s *Schedule) meddled() {
	r, asks := rand.New(rand.NewPCG(s.Seed, 0x7365636f)), rand.New(rand.NewPCG(s.Seed, 0x61736b73))
	s.Second = true
	for i := range s.Steps {
		step := &s.Steps[i]
		if ask, wave := asks.IntN(2) == 0, 1+asks.IntN(len(step.Shares)); ask && step.Kind != Refusing { // which never soaks
			step.Asks = wave
		}
		promote, end := r.IntN(2) == 0, []Op{"", "", OpAbort, OpAbort, OpUndo}[r.IntN(5)]
		if step.Kind != Good || step.Undo || step.Disable || end == OpAbort && step.Cohort != "" {
			continue
		}
		step.Promote, step.EndBy = promote, end
	}
}

// inTurn is how many faults of a schedule are taken from the menu in turn, so that the ten seeds of make chaos have every one of them.
const inTurn = 3

// jumps are how far clocks are set. However they add up, no clock tells within a run what it has told before: it goes back by an hour, less
// some steps of minutes, which is longer than any run.
var jumps = []time.Duration{2 * time.Minute, time.Hour, -time.Hour}

func drawFault(r *rand.Rand, steps []Step) Fault {
	all := 0
	for _, m := range menu {
		all += m.weight
	}
	at := r.IntN(all)
	i := 0
	for ; at >= menu[i].weight; i++ {
		at -= menu[i].weight
	}
	return drawFaultOf(r, steps, menu[i])
}

// drawFaultOf draws when and where a fault of the menu comes: at a moment that its rollout is likely to have.
func drawFaultOf(r *rand.Rand, steps []Step, m item) Fault {
	f := Fault{Kind: m.kind, Part: m.part, Node: r.IntN(scheduleNodes), Rollout: r.IntN(len(steps))}
	if m.most > 0 {
		const least = 300 * time.Millisecond
		f.For = least + time.Duration(r.Int64N(int64(m.most-least))).Truncate(time.Millisecond)
	}
	if f.Kind == Jump {
		f.By = jumps[r.IntN(len(jumps))]
	}
	f.Wave = 1 + r.IntN(len(steps[f.Rollout].Shares))
	f.Phase = []string{"Fetching", "Moving", "Moving", "Soaking", "Soaking", "RollingBack"}[r.IntN(6)]
	switch kind := steps[f.Rollout].Kind; {
	case kind == Good && f.Phase == "RollingBack", kind == Refusing && f.Phase == "Soaking":
		f.Phase = "Moving"
	}
	if steps[f.Rollout].Kind != Good {
		f.Wave = 1 // it gets no further
	}
	f.After = time.Duration(r.IntN(1500)) * time.Millisecond
	return f
}
