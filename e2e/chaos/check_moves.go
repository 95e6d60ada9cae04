package chaos

import (
	"slices"
	"strings"
	"time"
)

// sure is how long a node must have answered through a chain for it to be the one that the agent falls back to: well above
// the trial of the run's agents.
const sure = 4 * trial

// stint is the time of a node in one rollout.
type stint struct {
	rollout Rollout
	// from is when the node's wave began. Until the rollout ends the node may serve what it had (had) or what it is given (gives).
	from       time.Time
	had, gives string
}

// rest is what the node serves once the rollout has ended and all is well; empty where either will do.
func (s stint) rest() string {
	switch s.rollout.Phase {
	case "Done":
		return s.gives
	case "RolledBack":
		return s.had
	}
	return ""
}

// stints are the rollouts that had a node in a wave, in the order of time.
func (c *checker) stints(node string) []stint {
	var out []stint
	for _, r := range c.h.Final.Rollouts {
		for _, w := range r.Waves {
			if contains(w.Nodes, node) {
				s := stint{rollout: r, from: w.StartedAt, had: c.h.stampOf(r.Nodes[node].From), gives: c.gives(r, node)}
				if s.had == "" {
					// It had nothing, and keeps what it is given, since there is nothing to go back to.
					s.had = s.gives
				}
				out = append(out, s)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b stint) int { return a.from.Compare(b.from) })
	return out
}

func (c *checker) nodes() []string {
	var out []string
	for _, n := range c.h.Final.Nodes {
		out = append(out, n.Node)
	}
	for _, r := range c.h.Requests {
		if !contains(out, r.Node) {
			out = append(out, r.Node)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// moves follows each node through its answers: each must carry the stamp of a release that a rollout allows there and then.
func (c *checker) moves() {
	for _, node := range c.nodes() {
		w := walk{stints: c.stints(node)}
		for _, d := range c.h.Downs {
			if d.Node == node {
				w.downs = append(w.downs, d.From)
			}
		}
		for _, r := range c.h.Requests {
			if r.Node != node || r.Stamp == "" {
				continue
			}
			if allowed := w.allowed(r); !contains(allowed, r.Stamp) {
				c.fail(RuleMove, "%s answers with stamp %q at %s; its rollouts allow %s (%s)", node, r.Stamp, c.clock(r.Ended),
					strings.Join(allowed, " or "), w.describe())
			}
			w.see(r)
		}
	}
}

// walk goes through a node's answers in the order of time.
type walk struct {
	stints []stint
	// at is the stint of the answer before, -1 before the first; settled: the node has come to rest in it.
	at      int
	begun   bool
	settled bool
	// stamp has been answered since since; proved is the last stamp that was answered for long enough to be good beyond doubt.
	stamp    string
	since    time.Time
	proved   string
	provedAt time.Time
	// downs are when faults took the node's Envoy.
	downs []time.Time
}

// fellSince says whether a fault took the Envoy between the last answer that was good beyond doubt and t.
func (w *walk) fellSince(t time.Time) bool {
	return slices.ContainsFunc(w.downs, func(down time.Time) bool { return !down.Before(w.provedAt) && down.Before(t) })
}

// stintAt is the last stint that had begun.
func (w *walk) stintAt(t time.Time) int {
	at := -1
	for i, s := range w.stints {
		if !s.from.After(t) {
			at = i
		}
	}
	return at
}

// allowed are the stamps that an answer may carry.
func (w *walk) allowed(r Request) []string {
	var out []string
	before, now := w.stintAt(r.Sent), w.stintAt(r.Ended)
	for i := max(before, 0); i <= now; i++ {
		s := w.stints[i]
		if w.begun && i == w.at && w.settled {
			out = append(out, s.rest())
			continue
		}
		out = append(out, s.had, s.gives)
		if w.proved != "" && w.fellSince(r.Ended) {
			// An Envoy that restarts within a trial starts on the last good chain, which may be an older one.
			out = append(out, w.proved)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// see takes an answer into account.
func (w *walk) see(r Request) {
	now := w.stintAt(r.Ended)
	if !w.begun || now != w.at {
		w.begun, w.at, w.settled = true, now, false
		w.since = r.Ended
	}
	if r.Stamp != w.stamp {
		w.stamp, w.since = r.Stamp, r.Ended
	}
	if r.Ended.Sub(w.since) < sure {
		return
	}
	w.proved, w.provedAt = r.Stamp, r.Ended
	if now < 0 {
		return
	}
	s := w.stints[now]
	if !s.rollout.EndedAt.IsZero() && r.Ended.Sub(s.rollout.EndedAt) > sure && s.rest() == r.Stamp {
		w.settled = true
	}
}

func (w *walk) describe() string {
	if w.at < 0 || !w.begun {
		return "before any"
	}
	s := w.stints[w.at]
	text := "rollout/" + s.rollout.Name + ", " + s.rollout.Phase
	if w.settled {
		text += ", long over"
	}
	return text
}

// ends holds what each node ends on against its last rollout.
func (c *checker) ends() {
	for _, n := range c.h.Final.Nodes {
		assigned := c.h.stampOf(n.Assigned)
		stints := c.stints(n.Node)
		if len(stints) == 0 {
			if n.Assigned != "" {
				c.fail(RuleEnd, "%s is to run %s, and no rollout had it", n.Node, n.Assigned)
			}
			continue
		}
		last := stints[len(stints)-1]
		if rest := last.rest(); rest != "" && assigned != rest {
			c.fail(RuleEnd, "%s is to run %q; its last rollout %s ended as %s, which says %q", n.Node, assigned, last.rollout.Name, last.rollout.Phase, rest)
		}
		if n.Serving != n.Chain || n.State != "serving" {
			c.fail(RuleEnd, "%s has not come to rest: it is to run chain %.15s (%s), and serves %.15s", n.Node, n.Chain, n.State, n.Serving)
		}
		if !n.Connected {
			c.fail(RuleEnd, "%s is not connected", n.Node)
		}
		stamp, at := "", time.Time{}
		for _, r := range c.h.Requests {
			if r.Node == n.Node && r.Stamp != "" {
				stamp, at = r.Stamp, r.Ended
			}
		}
		if stamp != assigned {
			c.fail(RuleEnd, "%s is to run %q, and its last answer, at %s, has stamp %q", n.Node, assigned, c.clock(at), stamp)
		}
	}
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }
