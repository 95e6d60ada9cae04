package main

import (
	"fmt"
	"strings"
)

// The ids of the rules that the filter writes itself. They are out of the range that is for users, 1 to 99,999, and of those
// of the rule set.
const firstPolicyRule = 190_000

// maxParts is how many directives one exclusion may grow to: rules and tags times targets.
const maxParts = 1000

// basics set the engine up. Coraza's recommended configuration is read first, for its body processors and its checks of
// malformed bodies; these lines change what does not fit: nothing is logged to files, and the limits of bodies are the
// filter's business, so that Coraza's must never be reached.
var basics = fmt.Sprintf(`Include @coraza.conf-recommended
SecRuleEngine On
SecAuditEngine Off
SecRequestBodyAccess On
SecRequestBodyLimit %[1]d
SecRequestBodyInMemoryLimit %[1]d
SecResponseBodyAccess Off
SecResponseBodyLimit %[1]d
Include @crs-setup.conf.example
SecDefaultAction "phase:3,log,auditlog,pass"
SecDefaultAction "phase:4,log,auditlog,pass"
SecAction "id:%[2]d,phase:1,pass,nolog,t:none,setvar:tx.early_blocking=1"
`, maxBody+1, firstPolicyRule)

// policyMark begins the ids of the transactions of a policy; the rule of the policy looks for it.
func policyMark(n int) string { return fmt.Sprintf("policy-%d/", n) }

// nextAction goes on with a rule's actions in a line of its own, since lines have a greatest length (maxLine).
const nextAction = ",\\\n"

// policyRule is the rule that makes the nth policy hold for its transactions.
func policyRule(n int, p *Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, `SecRule UNIQUE_ID "@beginsWith %s" "id:%d,phase:1,pass,nolog,t:none`, policyMark(n), firstPolicyRule+1+n)
	set := func(format string, args ...any) { fmt.Fprintf(&b, nextAction+"setvar:'tx."+format+"'", args...) }
	set("blocking_paranoia_level=%d", p.ParanoiaLevel)
	set("detection_paranoia_level=%d", p.ParanoiaLevel)
	set("inbound_anomaly_score_threshold=%d", p.InboundThreshold)
	set("outbound_anomaly_score_threshold=%d", p.OutboundThreshold)
	if len(p.AllowedMethods) > 0 {
		set("allowed_methods=%s", strings.Join(p.AllowedMethods, " "))
	}
	if p.Mode == modeDetect {
		b.WriteString(nextAction + "ctl:ruleEngine=DetectionOnly")
	}
	if p.Response.Inspect {
		b.WriteString(nextAction + "ctl:responseBodyAccess=On")
	}
	for _, e := range p.Exclude {
		e.write(&b)
	}
	b.WriteString("\"\n")
	return b.String()
}

// write adds the actions of an exclusion.
func (e *Exclusion) write(b *strings.Builder) {
	for _, by := range []struct {
		name   string
		values []string
	}{{"Id", e.Rules}, {"Tag", e.Tags}} {
		for _, value := range by.values {
			if len(e.Targets) == 0 {
				fmt.Fprintf(b, nextAction+"ctl:ruleRemoveBy%s=%s", by.name, value)
			}
			for _, target := range e.Targets {
				fmt.Fprintf(b, nextAction+"ctl:ruleRemoveTargetBy%s=%s;%s", by.name, value, target)
			}
		}
	}
}
