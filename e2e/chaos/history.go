package chaos

import (
	"slices"
	"time"
)

// History is all that a schedule left behind: what was done to the fleet, what clients got, and what the API said. The checker
// reads nothing else. All times are of one clock, that of the machine, but those
// that the distributor told of rollouts: those are by its own, which may jump.
type History struct {
	Seed  uint64    `json:"seed"`
	Begun time.Time `json:"begun"`
	// Healed is when the last fault was over and every process ran again. Ended is when the run stopped looking.
	Healed time.Time `json:"healed"`
	Ended  time.Time `json:"ended"`
	// Unended says why the run was cut short; empty: it came to its end.
	Unended string `json:"unended,omitempty"`

	Releases []Release  `json:"releases"`
	Faults   []Injected `json:"faults"`
	// Downs are the times in which an Envoy was not there to answer, because a fault took it: from the fault until its first answer.
	Downs    []Down    `json:"downs"`
	Requests []Request `json:"requests"`
	Calls    []Call    `json:"calls"`
	Samples  []Sample  `json:"samples"`
	Final    Final     `json:"final"`
	// Marked: every answer is to have a mark, but while its filter is disabled. Emergencies are when somebody did that.
	Marked      bool        `json:"marked,omitempty"`
	Emergencies []Emergency `json:"emergencies,omitempty"`
}

// Emergency is a time in which a filter was taken out of all chains.
type Emergency struct {
	// Actor is who did it. Told is when he first asked, Known when that was acknowledged.
	Actor string    `json:"actor"`
	Told  time.Time `json:"told"`
	Known time.Time `json:"known"`
	// Gone is when every node was said to serve its chain without the filter; zero: that was not seen.
	Gone time.Time `json:"gone"`
	// Back is when it was first asked to put the filter back, Whole when the rollout that does so was seen to be done; zero: it never was.
	Back  time.Time `json:"back"`
	Whole time.Time `json:"whole"`
}

// Kind says what a release does to whoever runs it.
type Kind string

// The kinds of releases.
const (
	// Good answers everything.
	Good Kind = "good"
	// Failing loads, and then answers every third request with 503: the gate errorRatio finds out.
	Failing Kind = "failing"
	// Refusing refuses its configuration: the probe finds out, and no Envoy is given it.
	Refusing Kind = "refusing"
)

// Cohort says which requests the first wave of a rollout gives its release.
type Cohort string

// The cohorts.
const (
	// ByHeader: those that have the header that every third request of the load has.
	ByHeader Cohort = "header"
	// ByPercent: cohortPercent of a hundred, which nobody knows beforehand.
	ByPercent Cohort = "percent"
)

// Release is one that the run created, and the stamp by which its answers are known.
type Release struct {
	// ID is NAME@sha256:HEX; empty when the distributor never acknowledged it.
	ID    string `json:"id"`
	Stamp string `json:"stamp"`
	Kind  Kind   `json:"kind"`
}

// Injected is a fault that took place.
type Injected struct {
	Fault
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	// InWave: a wave of a rollout was under way.
	InWave bool `json:"inWave"`
	// Note says what was done exactly, or why it could not be done.
	Note string `json:"note,omitempty"`
	// Ahead is how far ahead of the machine's a clock is from then on, that Jump has set.
	Ahead time.Duration `json:"ahead,omitempty"`
	// Void: it could not be done, such as a file that was not there to be damaged.
	Void bool `json:"void,omitempty"`
	// Impossible: it is void because nothing here can do it, whenever it comes.
	Impossible bool `json:"impossible,omitempty"`
}

// Down is a time in which a node's Envoy cannot be expected to answer.
type Down struct {
	Node  string    `json:"node"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Why   string    `json:"why"`
}

// Request is one request of the load, with what came of it.
type Request struct {
	Node  string    `json:"node"`
	Sent  time.Time `json:"sent"`
	Ended time.Time `json:"ended"`
	// Status is 0 when there was no answer; Error says why.
	Status int `json:"status"`
	// Cohort: it has the header by which waves with a cohort know their requests.
	Cohort bool `json:"cohort,omitempty"`
	// Marked: the answer has the mark of the filter that may be disabled.
	Marked bool   `json:"marked,omitempty"`
	Stamp  string `json:"stamp"`
	Error  string `json:"error,omitempty"`
}

// failed says whether the client did not get what it must get: 200, with a stamp.
func (r Request) failed() bool { return r.Status != 200 || r.Stamp == "" }

// Op is what a call asks for.
type Op string

// The calls of the API that are logged.
const (
	OpCreate  Op = "release.create"
	OpStart   Op = "rollout.start"
	OpPause   Op = "rollout.pause"
	OpResume  Op = "rollout.resume"
	OpPromo   Op = "rollout.promote"
	OpApprove Op = "rollout.approve"
	OpAbort   Op = "rollout.abort"
	OpUndo    Op = "rollout.undo"
	OpOut     Op = "filter.disable"
	OpBack    Op = "rollout.enable"
	OpRetry   Op = "node.retry"
	OpGet     Op = "rollout.get"
)

// Outcome is what the caller knows after a call.
type Outcome string

// The outcomes.
const (
	// OK: the distributor acknowledged it.
	OK Outcome = "ok"
	// Refused: the distributor said no, and nothing changed.
	Refused Outcome = "refused"
	// Unknown: no answer, or one that leaves open whether it was done.
	Unknown Outcome = "unknown"
)

// Call is one call of the API.
type Call struct {
	Client int `json:"client"`
	// Actor is unique to the call, so that its audit entry is known.
	Actor string    `json:"actor"`
	Op    Op        `json:"op"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
	// Object is a rollout's name, the stamp of the release that is created, or the node that OpRetry is about.
	Object string `json:"object"`
	// Release is what OpStart starts, and Asks which of its waves asks for an approval, counted from 1; 0: none does.
	Release string  `json:"release,omitempty"`
	Asks    int     `json:"asks,omitempty"`
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error,omitempty"`
	// NotFound: the refusal says that there is no such rollout. Exists: that there is one of the name. Conflict: that somebody else was first.
	NotFound bool `json:"notFound,omitempty"`
	Exists   bool `json:"exists,omitempty"`
	Conflict bool `json:"conflict,omitempty"`
	// Changed: the answer shows that it was this call that changed something, and so is in the audit log.
	Changed bool `json:"changed,omitempty"`
	// Rollout is the rollout as the answer gives it; ID the release that was created.
	Rollout *Rollout `json:"rollout,omitempty"`
	ID      string   `json:"id,omitempty"`
}

// Rollout is what the checker reads of one.
type Rollout struct {
	Name    string `json:"name"`
	Release string `json:"release"`
	Undoes  string `json:"undoes,omitempty"`
	// StartedBy is the actor of the call that did.
	StartedBy string `json:"startedBy,omitempty"`
	Phase     string `json:"phase"`
	Message   string `json:"message"`
	// Shares are the waves' spec, as numbers of nodes in all.
	Shares []int `json:"shares"`
	// Cohort is of which requests of its nodes the first wave gives the release; empty: of all.
	Cohort Cohort `json:"cohort,omitempty"`
	// Soaks are how long each wave is to soak, by its spec.
	Soaks []time.Duration `json:"soaks,omitempty"`
	// Asks is which wave asks for an approval by its spec, counted from 1; 0: none does.
	Asks      int               `json:"asks,omitempty"`
	Waves     []Wave            `json:"waves"`
	Nodes     map[string]Member `json:"nodes"`
	Lines     []Line            `json:"lines"`
	StartedAt time.Time         `json:"startedAt"`
	EndedAt   time.Time         `json:"endedAt"`
}

// Wave is what became of one.
type Wave struct {
	Nodes     []string  `json:"nodes"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt"`
	// ApprovedBy is the actor of the call that approved it; empty: nobody has.
	ApprovedBy string `json:"approvedBy,omitempty"`
}

// Member is a node within a rollout.
type Member struct {
	State string `json:"state"`
	Wave  int    `json:"wave"`
	From  string `json:"from"`
}

// Line is one of a rollout's history.
type Line struct {
	At    time.Time `json:"at"`
	Phase string    `json:"phase"`
	Wave  int       `json:"wave"`
	Actor string    `json:"actor"`
	Text  string    `json:"text"`
}

// Sample is what the API said of one node at one moment between Begun and Ended.
type Sample struct {
	Begun     time.Time `json:"begun"`
	Ended     time.Time `json:"ended"`
	Node      string    `json:"node"`
	Connected bool      `json:"connected"`
	// Assigned is the release that the node is to run, Chain what that renders to, State how far it has come with it, Serving the chain
	// that it serves.
	Assigned string `json:"assigned"`
	Chain    string `json:"chain"`
	State    string `json:"state"`
	Serving  string `json:"serving"`
	// Reason is what the node says of what keeps it, in whatever state; empty: nothing does.
	Reason string `json:"reason,omitempty"`
}

// Final is how things stand at the end.
type Final struct {
	Rollouts []Rollout `json:"rollouts"`
	Nodes    []Sample  `json:"nodes"`
	// Actors are those of the audit log, with the action: ACTION ACTOR.
	Actors []string `json:"actors"`
	// Releases are the ids that the distributor has.
	Releases []string `json:"releases"`
}

// ended says whether nothing can follow in a phase.
func ended(phase string) bool { return phase == "Done" || phase == "RolledBack" || phase == "Aborted" }

// release finds one by its id.
func (h *History) release(id string) (Release, bool) {
	i := slices.IndexFunc(h.Releases, func(r Release) bool { return id != "" && r.ID == id })
	if i < 0 {
		return Release{}, false
	}
	return h.Releases[i], true
}

// stampOf is the stamp of a release, by its id; empty for none.
func (h *History) stampOf(id string) string {
	r, _ := h.release(id)
	return r.Stamp
}
