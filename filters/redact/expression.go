package main

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/waft-project/waft/sdk"
)

// matches finds everything that an expression matches. Matches of nothing are passed over.
func matches(re *regexp.Regexp) finder {
	return func(s string, add func(start, end int)) {
		for _, m := range re.FindAllStringIndex(s, -1) {
			if m[1] > m[0] {
				add(m[0], m[1])
			}
		}
	}
}

// compileExpressions checks a policy's own patterns.
func compileExpressions(at string, list []Expression) (patterns, error) {
	var out patterns
	for i, e := range list {
		at := at + "[" + strconv.Itoa(i) + "]"
		sameName := func(p pattern) bool { return string(p.kind) == e.Name }
		if e.Name == string(kindField) || slices.ContainsFunc(builtin[:], sameName) || slices.ContainsFunc(out, sameName) {
			return nil, sdk.ConfigErrorf(at+".name", "%q is the name of something else that is replaced; choose another", e.Name)
		}
		re, err := regexp.Compile(e.Regex)
		if err != nil {
			return nil, sdk.ConfigErrorf(at+".regex", "it is no regular expression of RE2: %v", err)
		}
		if re.MatchString("") {
			return nil, sdk.ConfigErrorf(at+".regex", "%q matches nothing at all, so it would match everywhere", e.Regex)
		}
		out = append(out, pattern{kind(e.Name), matches(re)})
	}
	return out, nil
}
