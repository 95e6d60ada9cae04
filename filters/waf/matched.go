package main

import (
	"fmt"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// matched logs a rule that matched and wants to be logged. Names of variables come from the client, and are quoted.
func (f *filter) matched(m types.MatchedRule) {
	var where strings.Builder
	for _, d := range m.MatchedDatas() {
		if where.Len() > 0 {
			where.WriteString(", ")
		}
		fmt.Fprintf(&where, "%s", d.Variable().Name())
		if d.Key() != "" {
			fmt.Fprintf(&where, ":%q", clipped(d.Key()))
		}
		if f.logValues {
			fmt.Fprintf(&where, "=%q", clipped(d.Value()))
		}
	}
	f.log.Warnf("rule %d, %s: %q in %s; tx %q", m.Rule().ID(), m.Rule().Severity(), m.Message(), &where, m.TransactionID())
}

// clipped is the beginning of a text.
func clipped(s string) string {
	if len(s) > maxLoggedValue {
		return s[:maxLoggedValue] + "…"
	}
	return s
}

// countAttacks counts each kind of attack once that a rule which matched is tagged with.
func (f *filter) countAttacks(rules []types.MatchedRule) {
	var seen map[string]bool
	for _, m := range rules {
		for _, tag := range m.Rule().Tags() {
			kind, ok := strings.CutPrefix(tag, attackTag)
			if !ok || seen[kind] {
				continue
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[kind] = true
			f.attacks[kind].Inc()
		}
	}
}
