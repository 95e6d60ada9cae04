package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/envoy"
)

// maxVerdicts is how many verdicts are kept; the oldest go first.
const maxVerdicts = 256

// verdicts keeps what the probe found, by Envoy build and rendered hash, on disk. It belongs to the driver's goroutine.
type verdicts struct {
	path string
	kept map[string]keptVerdict
}

type keptVerdict struct {
	envoy.Verdict
	At time.Time `json:"at"`
}

// openVerdicts reads what was kept. Verdicts that cannot be read are found again by probing.
func openVerdicts(path string) (*verdicts, error) {
	v := &verdicts{path: path, kept: map[string]keptVerdict{}}
	_, err := readSealed(path, &v.kept)
	return v, err
}

func verdictKey(build, hash string) string { return build + " " + hash }

// of returns the verdict on a chain, or nil.
func (v *verdicts) of(build, hash string) *envoy.Verdict {
	kept, ok := v.kept[verdictKey(build, hash)]
	if !ok {
		return nil
	}
	return &kept.Verdict
}

// keep stores a verdict that would come out the same again. Inconclusive ones are not kept.
func (v *verdicts) keep(build, hash string, verdict envoy.Verdict, now time.Time) error {
	if verdict.Outcome == envoy.Inconclusive {
		return nil
	}
	v.kept[verdictKey(build, hash)] = keptVerdict{verdict, now}
	if len(v.kept) > maxVerdicts {
		oldest := slices.SortedFunc(maps.Keys(v.kept), func(a, b string) int { return v.kept[a].At.Compare(v.kept[b].At) })
		for _, key := range oldest[:len(v.kept)-maxVerdicts] {
			delete(v.kept, key)
		}
	}
	return writeSealed(v.path, v.kept)
}

// forget drops the verdict on a chain, so that it is probed again.
func (v *verdicts) forget(build, hash string) error {
	delete(v.kept, verdictKey(build, hash))
	return writeSealed(v.path, v.kept)
}
