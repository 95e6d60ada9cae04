package main

import (
	"regexp"

	"github.com/waft-project/waft/sdk"
)

// Bounds of what is held and inspected, in bytes.
const (
	// maxBody is the highest limit of a body. Envoy itself holds 1 MiB, unless it is told otherwise.
	maxBody = 8 << 20
	// maxLoggedValue is how much of a value that a rule matched is logged, if values are logged at all.
	maxLoggedValue = 200
)

// Config is the configuration of the filter waf. Requests that no rule is about have the default's policy, and without a
// default that of an empty one: the rule set at its first paranoia level, blocking.
type Config struct {
	sdk.Rules[Policy]
	// Groups are the groups of the core rule set that are loaded. Left out, all of them are.
	Groups []string `json:"groups,omitempty" minItems:"1" maxItems:"13" enum:"method,scanner,protocol,multipart,lfi,rfi,rce,php,generic,xss,sqli,session,java"`
	// DirectivesBefore are SecLang directives that are read before the rule set, such as variables that set it up.
	DirectivesBefore string `json:"directivesBefore,omitempty" maxLength:"1000000"`
	// DirectivesAfter are SecLang directives that are read after the rule set, such as rules of your own and changes to its rules.
	DirectivesAfter string `json:"directivesAfter,omitempty" maxLength:"1000000"`
	// LogValues has the values that rules matched logged, which may be passwords or personal data.
	LogValues bool `json:"logValues,omitempty"`
}

// Policy is how some requests are inspected.
type Policy struct {
	// Mode is what becomes of a request that reaches a threshold: block answers it, detect logs and counts it, and off does
	// not inspect at all.
	Mode string `json:"mode,omitempty" enum:"block,detect,off" default:"block"`
	// ParanoiaLevel is how strict the rule set is: more rules at each level, and more false alarms.
	ParanoiaLevel int `json:"paranoiaLevel,omitempty" min:"1" max:"4" default:"1"`
	// InboundThreshold is the anomaly score at which a request is refused. A critical rule scores 5.
	InboundThreshold int `json:"inboundThreshold,omitempty" min:"1" max:"100000" default:"5"`
	// OutboundThreshold is the anomaly score at which a response is refused.
	OutboundThreshold int `json:"outboundThreshold,omitempty" min:"1" max:"100000" default:"4"`
	// AllowedMethods are the methods that the rule set lets pass. Left out, they are GET, HEAD, POST and OPTIONS.
	AllowedMethods []string `json:"allowedMethods,omitempty" minItems:"1" maxItems:"50" pattern:"^[A-Z]{1,20}$"`
	// Exclude takes rules, or what they look at, out of the inspection.
	Exclude []Exclusion `json:"exclude,omitempty" maxItems:"100"`
	// HeadersLimit is the most bytes of a request's headers, path and query included. A request with more is answered with
	// 431; in mode detect it is not inspected.
	HeadersLimit int `json:"headersLimit,omitempty" min:"1" max:"1048576" default:"8192"`
	// RequestBody says how request bodies are inspected.
	RequestBody RequestBody `json:"requestBody,omitzero"`
	// Response says how responses are inspected.
	Response Response `json:"response,omitzero"`
}

// Exclusion takes rules out of the inspection; with targets, only those variables out of the rules.
type Exclusion struct {
	// Rules are ids, as 942100, or ranges of them, as 942000-942999.
	Rules []string `json:"rules,omitempty" maxItems:"100" pattern:"^[0-9]{1,9}(-[0-9]{1,9})?$"`
	// Tags are tags of rules, such as attack-sqli.
	Tags []string `json:"tags,omitempty" maxItems:"100" pattern:"^[A-Za-z0-9_./-]{1,100}$"`
	// Targets are variables, such as ARGS:comment or REQUEST_HEADERS:x-query.
	Targets []string `json:"targets,omitempty" maxItems:"100" pattern:"^[A-Z_]{1,50}(:[A-Za-z0-9_.$-]{1,100})?$"`
}

// RequestBody says how request bodies are inspected.
type RequestBody struct {
	// Inspect has bodies held back until they are whole and inspected. Without it they pass as they come.
	Inspect bool `json:"inspect,omitempty" default:"true"`
	// Limit is the longest body, in bytes. A longer one is answered with 413; in mode detect this much of it is inspected.
	Limit int `json:"limit,omitempty" min:"1" max:"8388608" default:"8192"`
}

// Response says how responses are inspected.
type Response struct {
	// Inspect has the headers of responses inspected, and their bodies held back until they are whole and inspected.
	Inspect bool `json:"inspect,omitempty"`
	// Limit is how much of a body is inspected, in bytes. What is longer passes behind it.
	Limit int `json:"limit,omitempty" min:"1" max:"8388608" default:"8192"`
}

// MatchPattern lets the fields above have patterns.
func (*Config) MatchPattern(pattern, text string) (bool, error) {
	return regexp.MatchString(pattern, text)
}

// defaultPolicy is what an empty policy means.
func defaultPolicy() (Policy, error) {
	var p Policy
	return p, sdk.DecodeConfig(nil, &p)
}
