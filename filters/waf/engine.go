package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/waft-project/waft/sdk"
)

// engine is Coraza with all rules read.
type engine struct {
	waf coraza.WAF
	// tags are how many rules have each tag; ids are those of all rules, in order.
	tags map[string]int
	ids  []int
}

// newEngine reads the rules for some policies, by number. An error is a [*sdk.ConfigError] if it is about a directive of the
// user's; no other is expected. logger gets the engine's errors, and matched the rules that match.
func newEngine(c *Config, policies []*Policy, logger sdk.Logger, matched func(types.MatchedRule)) (*engine, error) {
	e := &engine{tags: map[string]int{}}
	read := newReadLog(logger)
	waf := coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDebugLogger(read).WithErrorCallback(matched)
	waf = experimental.WAFConfigWithRuleObserver(waf, func(rule types.RuleMetadata) {
		e.ids = append(e.ids, rule.ID())
		for _, tag := range rule.Tags() {
			e.tags[tag]++
		}
	})
	for _, text := range allDirectives(c, policies) {
		if text != "" {
			waf = waf.WithDirectives(text)
		}
	}
	var err error
	if e.waf, err = coraza.NewWAF(waf); err != nil {
		return nil, read.blame(c, err)
	}
	read.done = true
	slices.Sort(e.ids)
	return e, nil
}

// allDirectives are the texts that Coraza reads, in order.
func allDirectives(c *Config, policies []*Policy) []string {
	setup := basics
	responses := false
	for n, p := range policies {
		setup += policyRule(n, p)
		responses = responses || p.Response.Inspect
	}
	var include strings.Builder
	for _, file := range ruleFiles(c.Groups, responses) {
		fmt.Fprintf(&include, "Include @owasp_crs/%s.conf\n", file)
	}
	return []string{setup, c.DirectivesBefore, include.String(), c.DirectivesAfter}
}

// check says what a policy excludes that is not there: a slip of the pen must not look like an exclusion.
func (e *engine) check(at string, p *Policy) error {
	for i, x := range p.Exclude {
		path := fmt.Sprintf("%s.exclude[%d]", at, i)
		if len(x.Rules)+len(x.Tags) == 0 {
			return sdk.ConfigErrorf(path, "it names neither rules nor tags")
		}
		if parts := (len(x.Rules) + len(x.Tags)) * max(len(x.Targets), 1); parts > maxParts {
			return sdk.ConfigErrorf(path, "%d pairs of rules or tags with targets, at most %d; exclude ranges or tags", parts, maxParts)
		}
		for j, rule := range x.Rules {
			if !e.hasRule(rule) {
				return sdk.ConfigErrorf(fmt.Sprintf("%s.rules[%d]", path, j), "no rule that is loaded has the id %s", rule)
			}
		}
		for j, tag := range x.Tags {
			if e.tags[tag] == 0 {
				return sdk.ConfigErrorf(fmt.Sprintf("%s.tags[%d]", path, j), "no rule that is loaded has the tag %s", tag)
			}
		}
	}
	return nil
}

// hasRule says whether a rule is loaded that has the id, or one of the range.
func (e *engine) hasRule(ids string) bool {
	from, to, isRange := strings.Cut(ids, "-")
	if !isRange {
		to = from
	}
	low, err := strconv.Atoi(from)
	if err != nil {
		return false
	}
	high, err := strconv.Atoi(to)
	if err != nil {
		return false
	}
	at, _ := slices.BinarySearch(e.ids, low)
	return at < len(e.ids) && e.ids[at] <= high
}

// attacks are the kinds of attack that rules are tagged with, "sqli" for attack-sqli, in order.
func (e *engine) attacks() []string {
	var kinds []string
	for tag := range e.tags {
		if kind, ok := strings.CutPrefix(tag, attackTag); ok {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// attackTag begins the tags that say what kind of attack a rule is about.
const attackTag = "attack-"
