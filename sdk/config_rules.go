package sdk

import "strconv"

// MaxRules is the most rules of a [Rules].
const MaxRules = 1000

// Rules are a configuration that depends on the request: the config of the first rule that matches counts, and the default
// where none does. A filter's config struct embeds it, or has it as a field:
//
//	type Config struct {
//		sdk.Rules[Limits]
//	}
//
// so that a configuration reads
//
//	default: {requests: 100}
//	rules:
//	- match: {hosts: ["*.internal.example"]}
//	  config: {requests: 1000}
//	- match: {methods: [POST], path: {prefix: /upload}}
//	  config: {requests: 10}
//
// [CompileRules] makes a [Selector] of it when the filter is configured.
type Rules[T any] struct {
	// Default is the config of requests that no rule matches.
	Default *T `json:"default,omitempty"`
	// Rules are tried in their order. The first one that matches counts.
	Rules []Rule[T] `json:"rules,omitempty" maxItems:"1000"`
}

// Rule is the config of the requests that match.
type Rule[T any] struct {
	// Match says which requests the rule is about.
	Match Match `json:"match"`
	// Config is the config of those requests.
	Config T `json:"config"`
}

// Selector finds what a request's rule was compiled to. It may be used for several requests, one after the other. The zero
// Selector finds nothing.
type Selector[R any] struct {
	matchers  []Matcher
	compiled  []R
	otherwise R
	// hasDefault is set where otherwise counts.
	hasDefault bool
	// reads is what a request is asked for: what no rule looks at costs nothing.
	reads matchReads
}

// CompileRules checks rules and compiles the config of each, once, into what requests need. at is the path of the field that
// holds them, "" where they are embedded in the configuration; compile gets the path of each config, for its errors. The
// errors are [*ConfigError]s, or those of compile.
func CompileRules[T, R any](at string, rules *Rules[T], compile func(at string, config *T) (R, error)) (*Selector[R], error) {
	s := &Selector[R]{}
	for i := range rules.Rules {
		path := join(at, "rules") + "[" + strconv.Itoa(i) + "]"
		if i > 0 && s.matchers[i-1].reads == (matchReads{}) {
			return nil, ConfigErrorf(path, "it never counts: the rule before it matches every request")
		}
		m, err := rules.Rules[i].Match.Compile(path + ".match")
		if err != nil {
			return nil, err
		}
		compiled, err := compile(path+".config", &rules.Rules[i].Config)
		if err != nil {
			return nil, err
		}
		s.matchers, s.compiled = append(s.matchers, m), append(s.compiled, compiled)
		s.reads = s.reads.and(m.reads)
	}
	if rules.Default == nil {
		return s, nil
	}
	var err error
	s.otherwise, err = compile(join(at, "default"), rules.Default)
	s.hasDefault = err == nil
	return s, err
}

// For is what the request's rule was compiled to. It is false where no rule matches and there is no default. It is called in
// OnRequestHeaders, where a request's headers can be read, and allocates nothing beyond what reading them does.
func (s *Selector[R]) For(r *Request) (R, bool) {
	if len(s.matchers) > 0 {
		facts := s.reads.of(r)
		for i := range s.matchers {
			if s.matchers[i].matches(&facts) {
				return s.compiled[i], true
			}
		}
	}
	return s.otherwise, s.hasDefault
}

// All are the results of compile, the default's last.
func (s *Selector[R]) All() []R {
	all := append([]R(nil), s.compiled...)
	if s.hasDefault {
		all = append(all, s.otherwise)
	}
	return all
}
