package model

import (
	"errors"
	"fmt"
	"regexp"
)

// Cohort says which requests of a node take the chain under test: those with a header, or a share of all. Exactly one is set; the zero value is
// no cohort, and then every request takes one chain. Values can be compared.
type Cohort struct {
	Header CohortHeader `json:"header,omitzero"`
	// Percent of the requests, 1 to 99, by a hash of x-request-id.
	Percent int `json:"percent,omitempty"`
}

// CohortHeader is a header that a request of the cohort has, with that very value.
type CohortHeader struct {
	// Name is in lower case, as in HTTP/2.
	Name  string `json:"name"`
	Value string `json:"value"`
}

// String is the cohort in words: "requests with x-canary: 1". Empty for the zero value.
func (c Cohort) String() string {
	switch {
	case c.Percent > 0:
		return fmt.Sprintf("%d %% of the requests", c.Percent)
	case c.Header != CohortHeader{}:
		return fmt.Sprintf("requests with %s: %s", c.Header.Name, c.Header.Value)
	}
	return ""
}

// NodeSplit is a release under test on a node: the requests of the cohort take the chain that is rendered with Release in the place of what the node
// is assigned in Layer, the rest that of what it is assigned. The zero value is none. Values can be compared.
type NodeSplit struct {
	Layer   Layer     `json:"layer"`
	Release ReleaseID `json:"release"`
	Cohort  Cohort    `json:"cohort"`
}

// Side says which requests meet a filter of a split chain.
type Side string

// The sides.
const (
	// SideBoth is a filter that is the same in both chains: every request meets it. It is the side of all filters of a chain that is not split.
	SideBoth Side = ""
	// SideRest is a filter that the cohort does not meet.
	SideRest Side = "rest"
	// SideCohort is a filter that only the cohort meets.
	SideCohort Side = "cohort"
)

// CohortSuffix stands behind the name of a filter that only a cohort meets, wherever one that others meet may have the same name. It is no part of a
// name that a filter can have.
const CohortSuffix = ".cohort"

// ResourceName is the name of the filter's resource in CollectionFilters, in which a split chain may have two of one name.
func (f RenderedFilter) ResourceName() string {
	if f.Side == SideCohort {
		return f.Name + CohortSuffix
	}
	return f.Name
}

// ChainSplit says that a chain is two, of which each request takes one, whole.
type ChainSplit struct {
	NodeSplit
	// Rest and Test are the hashes of the two chains, each as it would be alone.
	Rest string `json:"rest"`
	Test string `json:"test"`
}

// SplitHash is the identity of two chains of which the requests of a cohort take the second. Chains that are the same are one, with its own identity; so it is
// without a cohort, when all requests take the second.
func SplitHash(rest, test string, cohort Cohort) string {
	if rest == test || cohort == (Cohort{}) {
		return test
	}
	// Hashes, a token and a value without control characters: no two splits read the same.
	return Digest(fmt.Appendf(nil, "split\n%s\n%s\n%q\n%q\n%d\n", rest, test, cohort.Header.Name, cohort.Header.Value, cohort.Percent))
}

// MaxCohortValue is how long the value of a cohort's header may be, in bytes.
const MaxCohortValue = 256

var (
	// headerName is a field name (RFC 9110 section 5.1) in lower case.
	headerName = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$")
	// headerValue is visible ASCII, with spaces only inside: what no proxy changes on the way.
	headerValue = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
)

// ValidateCohort checks which requests a cohort takes; every problem is an *Error of kind ErrInvalid that names the field.
func ValidateCohort(object, at string, c Cohort) error {
	header := c.Header != CohortHeader{}
	var problems []error
	if header == (c.Percent != 0) {
		problems = append(problems, Invalidf(object, at, `write one of header: {name: x-canary, value: "1"} and percent: 10`, "give exactly one of header and percent"))
	}
	if c.Percent < 0 || c.Percent > 99 {
		problems = append(problems, Invalidf(object, at+".percent", "use 1 to 99; a wave without a cohort moves all requests", "%d is out of range", c.Percent))
	}
	if header && !headerName.MatchString(c.Header.Name) {
		problems = append(problems, Invalidf(object, at+".header.name", "use the name of a header in lower case, such as x-canary", "%q is not one", shorten(c.Header.Name)))
	}
	if header && (len(c.Header.Value) > MaxCohortValue || !headerValue.MatchString(c.Header.Value)) {
		problems = append(problems, Invalidf(object, at+".header.value", fmt.Sprintf("use up to %d visible characters", MaxCohortValue), "%q cannot be a header's value", shorten(c.Header.Value)))
	}
	return errors.Join(problems...)
}

// validateCohorts checks the waves with cohorts together: they come first, their shares do not fall, and the last wave takes every node and every
// request, so that no rollout is done while two chains run side by side.
func validateCohorts(object, field string, waves []WaveSpec) error {
	var problems []error
	whole, share, any := -1, 0, false
	for i, w := range waves {
		at := fmt.Sprintf("%s[%d].cohort", field, i)
		if w.Cohort == (Cohort{}) {
			if whole < 0 {
				whole = i
			}
			continue
		}
		any = true
		problems = append(problems, ValidateCohort(object, at, w.Cohort))
		if whole >= 0 {
			problems = append(problems, Invalidf(object, at, "put the waves with a cohort first", "wave %d has moved nodes with all their requests already", whole+1))
		}
		if w.Cohort.Percent < share {
			problems = append(problems, Invalidf(object, at, "let shares grow from wave to wave, and headers come before them", "%s is less than the %d %% of an earlier wave", w.Cohort, share))
		}
		share = max(share, w.Cohort.Percent)
	}
	if last := len(waves) - 1; any && (waves[last].Cohort != Cohort{} || waves[last].Percent != 100) {
		problems = append(problems, Invalidf(object, fmt.Sprintf("%s[%d]", field, last), "end with a wave of percent: 100 without a cohort",
			"a rollout with a cohort must end with every node and every request on the release"))
	}
	return errors.Join(problems...)
}
