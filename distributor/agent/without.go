package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// version names what is in the slots, and becomes their version_text: the hash, what is left out, and the versions of its secrets. Two chains with the same are the same.
func (c *chain) version() string {
	version := c.Hash
	if len(c.LeftOut) > 0 {
		version += " without " + strings.Join(c.LeftOut, ",")
	}
	if secrets := c.secretsVersion(); secrets != "" {
		version += " with secrets " + secrets
	}
	return version
}

// optional says whether the node may run the chain without the filter when it does not load: its policy is to be passed over when it fails,
// and it does not say who may come in.
func (f filter) optional() bool {
	return f.Policy == model.FailOpen && f.Phase != model.PhaseAuthn && f.Phase != model.PhaseAuthz
}

// mayLack says whether the node may run the chain without some of its filters. Of two chains the one under test is to show
// whether it loads, and neither may become nothing.
func (c *chain) mayLack() bool {
	return c.Split == nil && slices.ContainsFunc(c.Filters, filter.optional)
}

// without is the chain without the filters that the probe has found not to load alone, and why; the chain itself where there are none, where
// one of them must not be left out, nothing would be left, or where it is split. An Envoy that has a slot for each gets one that does nothing there: see envoy.Fill.
func without(c *chain, version envoy.Version, verdicts *verdicts) (rest *chain, reason string) {
	if !c.mayLack() {
		return c, ""
	}
	less := *c
	less.Filters, less.LeftOut = nil, slices.Clone(c.LeftOut)
	var reasons []string
	for _, f := range c.Filters {
		verdict := verdicts.of(version.Build, f.content())
		if verdict == nil || verdict.Outcome != envoy.Rejected {
			less.Filters = append(less.Filters, f)
			continue
		}
		if !f.optional() {
			return c, ""
		}
		less.LeftOut = append(less.LeftOut, f.Name)
		reasons = append(reasons, fmt.Sprintf("filter %s was left out: %s", f.Name, verdict.Reason()))
	}
	// A chain of nothing would let everything pass, and nobody has asked for that.
	if len(reasons) == 0 || len(less.Filters) == 0 {
		return c, ""
	}
	return &less, strings.Join(reasons, "; ")
}
