package agent

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// maxVerdicts is how many verdicts are kept; the oldest go first.
const maxVerdicts = 256

// verdicts keeps what the probe found on disk, by Envoy build and rendered hash; and which filters it accepted, by Envoy
// build and the filter's content (its name, module, configuration and policy). A filter has a VM of its own, so what Envoy loaded
// once it loads in another chain, too: a chain is probed for what is new in it. It belongs to the driver's goroutine.
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

// keep stores a verdict on a chain that would come out the same again, and of an accepted one that its filters are
// accepted; of a rejected one, what each was found to be alone. Inconclusive ones are not kept. What is too much goes, the oldest first.
func (v *verdicts) keep(build string, c *chain, found probed, now time.Time) error {
	verdict := found.verdict
	if verdict.Outcome == envoy.Inconclusive {
		return nil
	}
	v.kept[verdictKey(build, c.version())] = keptVerdict{verdict, now}
	for content, alone := range found.alone {
		v.kept[verdictKey(build, content)] = keptVerdict{alone, now}
	}
	if verdict.Outcome == envoy.Accepted {
		for _, f := range c.Filters {
			v.kept[verdictKey(build, f.content())] = keptVerdict{envoy.Verdict{Outcome: envoy.Accepted}, now}
		}
	}
	if len(v.kept) > maxVerdicts {
		oldest := slices.SortedFunc(maps.Keys(v.kept), func(a, b string) int { return v.kept[a].At.Compare(v.kept[b].At) })
		for _, key := range oldest[:len(v.kept)-maxVerdicts] {
			delete(v.kept, key)
		}
	}
	return writeSealed(v.path, v.kept)
}

// unproven are the filters of a chain that the build has not accepted yet.
func (v *verdicts) unproven(build string, c *chain) []filter {
	return slices.DeleteFunc(slices.Clone(c.Filters), func(f filter) bool {
		verdict := v.of(build, f.content())
		return verdict != nil && verdict.Outcome == envoy.Accepted
	})
}

// forget drops the verdict on a chain and on its filters, so that it is probed again, whole.
func (v *verdicts) forget(build string, c *chain) error {
	prefix := verdictKey(build, c.Hash)
	maps.DeleteFunc(v.kept, func(key string, _ keptVerdict) bool { return strings.HasPrefix(key, prefix) }) // with what was left out of it, too
	for _, f := range c.Filters {
		delete(v.kept, verdictKey(build, f.content()))
	}
	return writeSealed(v.path, v.kept)
}
