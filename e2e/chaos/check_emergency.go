package chaos

import "time"

// emergencies holds the marks of answers against when the filter that gives them was disabled. Between being told and being gone, and between being
// put back and being whole, a node may have it or not.
func (c *checker) emergencies() {
	if !c.h.Marked {
		return
	}
	last := map[string]Request{}
	for _, r := range c.h.Requests {
		if r.Status != 200 || r.Stamp == "" {
			continue
		}
		last[r.Node] = r
		if !r.Marked && (len(c.h.Emergencies) == 0 || r.Ended.Before(c.h.Emergencies[0].Told)) {
			c.fail(RuleEmergency, "%s answers at %s without the mark of filter/%s, which nobody had disabled", r.Node, c.clock(r.Ended), markFilter)
		}
		for _, e := range c.h.Emergencies {
			if r.Marked && !e.Gone.IsZero() && r.Sent.After(e.Gone) && r.Ended.Before(e.Back) && !c.fell(r.Node, e.Told, r.Ended) {
				c.fail(RuleEmergency, "%s answers at %s with the mark of filter/%s, which was said to be gone everywhere at %s", r.Node, c.clock(r.Ended), markFilter, c.clock(e.Gone))
			}
		}
	}
	for _, e := range c.h.Emergencies {
		switch {
		case e.Gone.IsZero():
			c.fail(RuleEmergency, "filter/%s was disabled at %s, and was not gone everywhere when %s had passed since the rollout ended", markFilter, c.clock(e.Known), goneLimit)
		case e.Whole.IsZero():
			c.fail(RuleEmergency, "filter/%s was to be put back from %s on, and never was", markFilter, c.clock(e.Back))
		}
	}
	for _, node := range c.nodes() {
		if r, ok := last[node]; ok && !r.Marked {
			c.fail(RuleEmergency, "%s ends without the mark of filter/%s: its last answer is of %s", node, markFilter, c.clock(r.Ended))
		}
	}
}

// fell says whether a fault took a node's Envoy in some time. It comes back on the last good chain, which may be an older one.
func (c *checker) fell(node string, from, until time.Time) bool {
	for _, d := range c.h.Downs {
		if d.Node == node && d.From.Before(until) && d.Until.After(from) {
			return true
		}
	}
	return false
}
