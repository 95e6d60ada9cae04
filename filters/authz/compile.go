package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/jwt"
	"github.com/waft-project/waft/filters/authz/internal/rules"
	"github.com/waft-project/waft/filters/internal/headername"
	"github.com/waft-project/waft/sdk"
)

// compiled is a checked configuration in the form that requests are decided with. It is not changed afterwards.
type compiled struct {
	verifier jwt.Verifier
	rules    *rules.Set
	sources  []source
	forward  []forwarded
	// remembered is how many tokens are kept.
	remembered  int
	removeToken bool
	realm       string
}

// maxTokenHeaders is the most headers that are searched for a token: the tag maxItems of Config.TokenHeaders.
const maxTokenHeaders = 4

// source is a header that may carry the token. name is in lower case; scheme is "" when the token is the whole value.
type source struct{ name, scheme string }

// forwarded is a claim that becomes a header. header is in lower case.
type forwarded struct {
	claim  []string
	header string
}

// compile checks a configuration. The errors are *sdk.ConfigError and name the field.
func compile(c *Config) (*compiled, error) {
	out := &compiled{removeToken: c.RemoveToken, realm: c.Realm}
	for _, step := range []func(*Config) error{out.compileToken, out.compileSources, out.compileForward, out.compileRules} {
		if err := step(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// compileToken is everything about what a good token is.
func (out *compiled) compileToken(c *Config) error {
	if c.AnyAudience && c.Audiences != nil {
		return sdk.ConfigErrorf("anyAudience", "excludes audiences; give one of the two")
	}
	keys, err := jwt.ParseKeySet(c.JWKS)
	if err != nil {
		return keyError(err)
	}
	if i := strings.IndexFunc(c.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }); i >= 0 {
		return sdk.ConfigErrorf("realm", "only printable ASCII without quotes and backslashes can stand in WWW-Authenticate")
	}
	out.remembered = c.RememberedTokens
	out.verifier = jwt.Verifier{
		Keys: keys, Issuer: c.Issuer, Audiences: c.Audiences, AnyAudience: c.AnyAudience, Types: c.Types,
		ClockSkew: time.Duration(c.ClockSkewSeconds) * time.Second, MaxTokenBytes: c.MaxTokenBytes,
	}
	return nil
}

// keyError puts "jwks" before the field of a key set's error.
func keyError(err error) error {
	var field *jwt.FieldError
	if !errors.As(err, &field) || field.Field == "" {
		return sdk.ConfigErrorf("jwks", "%v", err)
	}
	return sdk.ConfigErrorf("jwks."+field.Field, "%s", field.Problem)
}

func (out *compiled) compileSources(c *Config) error {
	for i, h := range c.TokenHeaders {
		at, name := index("tokenHeaders", i), string(h.Name)
		if h.Scheme != "" && !isToken(h.Scheme) {
			return sdk.ConfigErrorf(at+".scheme", "%q is no authentication scheme: letters, digits and hyphens are", h.Scheme)
		}
		if name == "authorization" && h.Scheme == "" {
			return sdk.ConfigErrorf(at+".scheme", "missing; authorization always has a scheme, such as Bearer")
		}
		if slices.ContainsFunc(out.sources, func(s source) bool { return s.name == name }) {
			return sdk.ConfigErrorf(at+".name", "%q is there twice", name)
		}
		out.sources = append(out.sources, source{name: name, scheme: h.Scheme})
	}
	return nil
}

// unforwardable are headers that say how the message travels. A claim must not write them.
var unforwardable = []string{"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "keep-alive", "proxy-connection"}

func (out *compiled) compileForward(c *Config) error {
	for i, f := range c.Forward {
		at := index("forward", i)
		claim, err := claimPath(at, f.Claim, f.ClaimPath)
		if err != nil {
			return err
		}
		name := string(f.Header)
		switch {
		case slices.Contains(unforwardable, name):
			return sdk.ConfigErrorf(at+".header", "%q says how the message travels; a claim cannot set it", name)
		case slices.ContainsFunc(out.sources, func(s source) bool { return headername.Same(s.name, name) }):
			return sdk.ConfigErrorf(at+".header", "%q carries the token", name)
		case slices.ContainsFunc(out.forward, func(f forwarded) bool { return headername.Same(f.header, name) }):
			return sdk.ConfigErrorf(at+".header", "%q is there twice", name)
		}
		out.forward = append(out.forward, forwarded{claim: claim, header: name})
	}
	return nil
}

func (out *compiled) compileRules(c *Config) error {
	rolesClaim := []string{"roles"}
	if c.RolesClaim != "" {
		var err error
		if rolesClaim, err = dottedPath("rolesClaim", c.RolesClaim); err != nil {
			return err
		}
	}
	list := make([]rules.Rule, len(c.Rules))
	for i, r := range c.Rules {
		var err error
		if list[i], err = compileRule(index("rules", i), r, rolesClaim); err != nil {
			return err
		}
	}
	set, err := rules.NewSet(list, c.IgnoreCase)
	var wrong *rules.RuleError
	switch {
	case errors.As(err, &wrong):
		return sdk.ConfigErrorf(index("rules", wrong.Index), "%s", wrong.Problem)
	case err != nil:
		return sdk.ConfigErrorf("rules", "%v", err)
	}
	out.rules = set
	return nil
}

func compileRule(at string, r Rule, rolesClaim []string) (out rules.Rule, err error) {
	out.Public = r.Public
	if out.Paths, err = compilePaths(at, r); err != nil {
		return out, err
	}
	for i, m := range r.Methods {
		if !rules.ValidMethod(m) {
			return out, sdk.ConfigErrorf(index(at+".methods", i), "%q is no method in upper case", m)
		}
	}
	out.Methods = r.Methods
	for i, h := range r.Headers {
		pattern, err := compileHeader(index(at+".headers", i), h)
		if err != nil {
			return out, err
		}
		out.Headers = append(out.Headers, pattern)
	}
	if out.All, err = compileConditions(at+".allow", r.Allow); err != nil {
		return out, err
	}
	if out.Any, err = compileConditions(at+".allowAny", r.AllowAny); err != nil {
		return out, err
	}
	for _, short := range []struct {
		list      []string
		condition rules.Condition
	}{
		{r.Roles, rules.Condition{Claim: rolesClaim, Operator: rules.ContainsAny}},
		{r.Scopes, rules.Condition{Claim: []string{"scope"}, Operator: rules.ContainsAll, Split: " "}},
	} {
		if short.list == nil {
			continue
		}
		for _, value := range short.list {
			short.condition.Values = append(short.condition.Values, value)
		}
		out.All = append(out.All, short.condition)
	}
	return out, nil
}

func compilePaths(at string, r Rule) ([]rules.PathPattern, error) {
	switch {
	case r.Path != "" && r.Paths != nil:
		return nil, sdk.ConfigErrorf(at+".path", "excludes paths; give one of the two")
	case r.Path != "":
		pattern, err := rules.Prefix(r.Path)
		if err != nil {
			return nil, sdk.ConfigErrorf(at+".path", "%q: %v", r.Path, err)
		}
		return []rules.PathPattern{pattern}, nil
	case len(r.Paths) == 0:
		return nil, sdk.ConfigErrorf(at+".path", "missing; give path or paths, / stands for every path")
	}
	var out []rules.PathPattern
	for i, p := range r.Paths {
		var pattern rules.PathPattern
		set := 0
		for _, form := range []struct {
			field, text string
			compile     func(string) (rules.PathPattern, error)
		}{{"exact", p.Exact, rules.Exact}, {"prefix", p.Prefix, rules.Prefix}, {"regex", p.Regex, rules.Regex}} {
			if form.text == "" {
				continue
			}
			set++
			var err error
			if pattern, err = form.compile(form.text); err != nil {
				return nil, sdk.ConfigErrorf(index(at+".paths", i)+"."+form.field, "%q: %v", form.text, err)
			}
		}
		if set != 1 {
			return nil, sdk.ConfigErrorf(index(at+".paths", i), "exactly one of exact, prefix and regex is needed")
		}
		out = append(out, pattern)
	}
	return out, nil
}

func compileHeader(at string, h HeaderMatch) (rules.HeaderPattern, error) {
	name := h.Name
	if name != ":authority" {
		var err error
		if name, err = headerName(at+".name", h.Name); err != nil {
			return rules.HeaderPattern{}, err
		}
	}
	set := 0
	for _, is := range []bool{h.Exact != nil, h.Prefix != "", h.Regex != "", h.Absent} {
		if is {
			set++
		}
	}
	if set > 1 {
		return rules.HeaderPattern{}, sdk.ConfigErrorf(at, "at most one of exact, prefix, regex and absent can be given")
	}
	var re *regexp.Regexp
	if h.Regex != "" {
		var err error
		if re, err = rules.CompileRegex(h.Regex); err != nil {
			return rules.HeaderPattern{}, sdk.ConfigErrorf(at+".regex", "%q: %v", h.Regex, err)
		}
	}
	return rules.HeaderPattern{Name: name, Absent: h.Absent, Exact: h.Exact, Prefix: h.Prefix, Regex: re}, nil
}

func compileConditions(at string, list []Condition) ([]rules.Condition, error) {
	var out []rules.Condition
	for i, c := range list {
		condition, err := compileCondition(index(at, i), c)
		if err != nil {
			return nil, err
		}
		out = append(out, condition)
	}
	return out, nil
}
