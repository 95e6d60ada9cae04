package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	// Seeds are all that were run, so that ranges can be put together without one counting twice.
	Seeds []uint64 `json:"seeds"`
}

// Add counts one schedule.
func (r *Result) Add(h *History, violations []Violation) {
	r.Schedules++
	r.Requests += len(h.Requests)
	r.Violations = append(r.Violations, violations...)
	r.InWave += InWave(h)
	r.Seeds = append(r.Seeds, h.Seed)
	if r.Kinds == nil {
		r.Kinds = map[string]int{}
	}
	for _, f := range h.Faults {
		if !f.Void {
			r.Faults++
			r.Kinds[string(f.Kind)+" "+string(f.Part)]++
		}
	}
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

// Err says what does not hold; nil when all does.
func (r *Result) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return fmt.Errorf("%d violations in %d schedules; SEED=%d replays the first", len(r.Violations), r.Schedules, r.Violations[0].Seed)
}

// Write writes the figures to a file.
func (r *Result) Write(path string) error {
	if r.Violations == nil {
		r.Violations = []Violation{}
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
	out := &Result{Kinds: map[string]int{}}
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
		out.Violations = append(out.Violations, one.Violations...)
		for kind, n := range one.Kinds {
			out.Kinds[kind] += n
		}
	}
	slices.Sort(out.Seeds)
	if len(out.Seeds) > 0 {
		out.Seed = out.Seeds[0]
	}
	return out, nil
}

// RunSeed draws a seed's schedule, carries it out and checks it. What a schedule with violations left behind is kept in a folder
// of keep, where that is given: history.json and the logs.
func RunSeed(ctx context.Context, seed uint64, programs Programs, keep string, note func(string, ...any)) (*History, []Violation, error) {
	dir, err := os.MkdirTemp("", "waft-chaos-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	h, err := Run(ctx, Draw(seed), programs, dir, note)
	var violations []Violation
	if h != nil && err == nil {
		violations = Check(h)
	}
	if keep != "" && (err != nil || len(violations) > 0) {
		err = errors.Join(err, preserve(filepath.Join(keep, fmt.Sprint(seed)), dir, h))
	}
	return h, violations, err
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
	if h == nil {
		return nil
	}
	return writeJSON(filepath.Join(to, "history.json"), h)
}
