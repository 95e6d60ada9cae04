package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Result is the figures of some schedules.
type Result struct {
	Schedules  int         `json:"schedules"`
	Faults     int         `json:"faults"`
	Requests   int         `json:"requests"`
	Violations []Violation `json:"violations"`
	// Seed is the first.
	Seed uint64 `json:"seed"`
	// InWave is how many of the faults met a wave that was under way, Kinds how many there were of each.
	InWave int            `json:"inWave"`
	Kinds  map[string]int `json:"kinds"`
	// Undos are the rollouts that have taken back another one, whole.
	Undos int `json:"undos"`
	// Void is how many of each kind could not be done, and count for nothing else. Impossible are the kinds that nothing here can do, and why.
	Void       map[string]int    `json:"void"`
	Impossible map[string]string `json:"impossible"`
	// Lacks is what so many schedules must have and these have not.
	Lacks []string `json:"lacks"`
	// Seeds are all that were run, so that ranges can be put together without one counting twice.
	Seeds []uint64 `json:"seeds"`
}

// Add counts one schedule.
func (r *Result) Add(h *History, violations []Violation) {
	r.Schedules++
	r.Requests += len(h.Requests)
	r.Violations = append(r.Violations, violations...)
	r.InWave += InWave(h)
	for _, rollout := range h.Final.Rollouts {
		if rollout.Undoes != "" && rollout.Phase == "Done" {
			r.Undos++
		}
	}
	r.Seeds = append(r.Seeds, h.Seed)
	r.make()
	for _, f := range h.Faults {
		kind := item{kind: f.Kind, part: f.Part}.String()
		if f.Void {
			r.Void[kind]++
			if f.Impossible {
				r.Impossible[kind] = f.Note
			}
			continue
		}
		r.Faults++
		r.Kinds[kind]++
	}
	r.Lacks = r.lacks()
}

func (r *Result) make() {
	if r.Kinds == nil {
		r.Kinds, r.Void, r.Impossible = map[string]int{}, map[string]int{}, map[string]string{}
	}
}

// coveredBy is of how many schedules every kind of fault is asked.
const coveredBy = 10

// lacks is what so many schedules must have and these have not: every kind of fault that is possible here, most of them in a wave, and an undo that came to its end.
func (r *Result) lacks() []string {
	out := []string{}
	if r.Schedules < coveredBy {
		return out
	}
	for _, m := range slices.Concat(menu, memberMenu) {
		if kind := m.String(); r.Kinds[kind] == 0 && r.Impossible[kind] == "" {
			out = append(out, fmt.Sprintf("no fault %q took place, and %d were void", kind, r.Void[kind]))
		}
	}
	if 2*r.InWave <= r.Faults {
		out = append(out, fmt.Sprintf("%d of %d faults met a wave, and most of them must", r.InWave, r.Faults))
	}
	if r.Undos == 0 {
		out = append(out, "no undo has taken a rollout back that had ended")
	}
	return out
}

// InWave is how many faults of a history met a wave that was under way.
func InWave(h *History) int {
	n := 0
	for _, f := range h.Faults {
		if f.InWave && !f.Void {
			n++
		}
	}
	return n
}

// Err says what does not hold, or was not tried; nil when all was, and does.
func (r *Result) Err() error {
	var err error
	if len(r.Violations) > 0 {
		err = fmt.Errorf("%d violations in %d schedules; SEED=%d SCHEDULES=1 replays the first", len(r.Violations), r.Schedules, r.Violations[0].Seed)
	}
	if len(r.Lacks) > 0 {
		err = errors.Join(err, fmt.Errorf("%d schedules do not show what they are to: %s; run more seeds", r.Schedules, strings.Join(r.Lacks, "; ")))
	}
	return err
}

// Write writes the figures to a file.
func (r *Result) Write(path string) error {
	r.make()
	if r.Violations == nil {
		r.Violations = []Violation{}
	}
	if r.Lacks == nil {
		r.Lacks = []string{}
	}
	return writeJSON(path, r)
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Merge puts the figures of files together. A seed that is in two of them is an error.
func Merge(files []string) (*Result, error) {
	out := &Result{}
	out.make()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var one Result
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, seed := range one.Seeds {
			if slices.Contains(out.Seeds, seed) {
				return nil, fmt.Errorf("%s: seed %d is in another file, too; name ranges that do not overlap", path, seed)
			}
		}
		out.Seeds = append(out.Seeds, one.Seeds...)
		out.Schedules += one.Schedules
		out.Faults += one.Faults
		out.Requests += one.Requests
		out.InWave += one.InWave
		out.Undos += one.Undos
		out.Violations = append(out.Violations, one.Violations...)
		for kind, n := range one.Kinds {
			out.Kinds[kind] += n
		}
		for kind, n := range one.Void {
			out.Void[kind] += n
		}
		maps.Copy(out.Impossible, one.Impossible)
	}
	out.Lacks = out.lacks()
	slices.Sort(out.Seeds)
	if len(out.Seeds) > 0 {
		out.Seed = out.Seeds[0]
	}
	return out, nil
}

// Keeping is where histories and logs of schedules are kept.
type Keeping struct {
	// Dir gets a folder for each seed; empty: nothing is kept.
	Dir string
	// All keeps what schedules leave behind in which everything holds, too.
	All bool
}

// RunSeed draws a seed's schedule, carries it out and checks it. That a run could not be made is a violation as well, so that the seeds after it are
// run all the same. An error means that ctx is over, or that what is to be kept could not be.
func RunSeed(ctx context.Context, seed uint64, programs Programs, keep Keeping, note func(string, ...any)) (*History, []Violation, error) {
	dir, err := os.MkdirTemp("", "waft-chaos-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	h, err := Run(ctx, Draw(seed), programs, dir, note)
	if ctx.Err() != nil {
		return h, nil, err
	}
	if h == nil {
		h = &History{Seed: seed}
	}
	var violations []Violation
	if err != nil {
		violations = []Violation{{Seed: seed, Rule: RuleRun, Text: "the run could not be made: " + err.Error()}}
	} else {
		violations = Check(h)
	}
	if keep.Dir != "" && (keep.All || len(violations) > 0) {
		if err := preserve(filepath.Join(keep.Dir, fmt.Sprint(seed)), dir, h); err != nil {
			return h, violations, err
		}
	}
	return h, violations, nil
}

// preserve copies what explains a run.
func preserve(to, dir string, h *History) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), text, 0o644); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(to, "history.json"), h)
}
