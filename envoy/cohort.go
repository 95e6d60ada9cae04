package envoy

import (
	"fmt"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	matchingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	skipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	networkinputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	fractionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Cohort is a part of the requests. Exactly one of Header and Percent is set; the zero value is no cohort.
type Cohort struct {
	// Header is the name of a header, in lower case; the requests that have it with the value Value.
	Header, Value string
	// Percent of the requests, 1 to 99, by a hash of x-request-id.
	Percent int
}

// Only says which requests meet a filter. The zero value: all. Its cohort is the same for all filters of a chain that have one.
type Only struct {
	Cohort Cohort
	// Outside: those that are not of the cohort.
	Outside bool
}

// Names around a cohort.
const (
	// CohortSuffix stands behind the name of a filter that only the cohort meets: the plugin's name, its VM's id, what the module is told, and its
	// statistics. A filter of that name outside of the cohort is another plugin in another VM. It is no part of a DNS label, so that no filter is named so.
	CohortSuffix = ".cohort"
	// cohortState is the filter state that holds the decision about a request, and cohortIn its value for those of the cohort.
	cohortState = "waft.cohort"
	cohortIn    = "in"
)

// inCohort says whether only a cohort meets the filter.
func (o Only) inCohort() bool { return o.Cohort != Cohort{} && !o.Outside }

// cohortOf is the cohort of a chain's filters; the zero value where every request meets all of them.
func cohortOf(filters []WasmFilter) (Cohort, error) {
	var cohort Cohort
	for _, f := range filters {
		switch {
		case f.Only.Cohort == Cohort{}:
		case cohort == Cohort{}:
			cohort = f.Only.Cohort
		case cohort != f.Only.Cohort:
			return Cohort{}, fmt.Errorf("%w: the chain has filters of two cohorts", ErrInvalid)
		}
	}
	return cohort, nil
}

// decision is the first filter of a chain with a cohort: it decides about each request once and keeps that in the filter state, which no Wasm filter can
// write by set_property. Each filter behind it goes by that: were it to look at the header itself, a filter that changes headers would send a request
// through parts of both chains, since Envoy evaluates a matcher when the request reaches its filter.
func decision(cohort Cohort) (*corev3.TypedExtensionConfig, error) {
	set, err := anypb.New(&setfilterstatev3.Config{OnRequestHeaders: []*filterstatev3.FilterStateValue{{
		Key:        &filterstatev3.FilterStateValue_ObjectKey{ObjectKey: cohortState},
		FactoryKey: "envoy.string",
		Value: &filterstatev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: cohortIn}}},
		}},
	}}})
	if err != nil {
		return nil, fmt.Errorf("render a cohort: %w", err)
	}
	name := "x-request-id"
	if cohort.Header != "" {
		name = cohort.Header
	}
	of, err := singlePredicate("header", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: name})
	if err != nil {
		return nil, err
	}
	if cohort.Header != "" {
		of.Matcher = valueIs(cohort.Value)
	} else {
		fraction, err := extension("fraction", &fractionv3.RuntimeFraction{RuntimeFraction: &corev3.RuntimeFractionalPercent{
			// Envoy wants a runtime key, with which the value could be overridden; nobody does.
			RuntimeKey:   "waft.cohort_percent",
			DefaultValue: &typev3.FractionalPercent{Numerator: uint32(cohort.Percent), Denominator: typev3.FractionalPercent_HUNDRED},
		}})
		if err != nil {
			return nil, err
		}
		of.Matcher = &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{CustomMatch: fraction}
	}
	return skipping(&corev3.TypedExtensionConfig{Name: cohortState, TypedConfig: set}, not(of))
}

// only has requests skip a filter that is not for them, by what was decided.
func only(filter *corev3.TypedExtensionConfig, o Only) (*corev3.TypedExtensionConfig, error) {
	if o.Cohort == (Cohort{}) {
		return filter, nil
	}
	in, err := singlePredicate("cohort", &networkinputsv3.FilterStateInput{Key: cohortState})
	if err != nil {
		return nil, err
	}
	in.Matcher = valueIs(cohortIn)
	if o.Outside {
		return skipping(filter, predicate(in))
	}
	return skipping(filter, not(in))
}

type singlePredicateOf = xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate

func singlePredicate(name string, input proto.Message) (*singlePredicateOf, error) {
	packed, err := extension(name, input)
	return &singlePredicateOf{Input: packed}, err
}

func valueIs(value string) *xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_ValueMatch{
		ValueMatch: &xdsmatcherv3.StringMatcher{MatchPattern: &xdsmatcherv3.StringMatcher_Exact{Exact: value}},
	}
}

func predicate(of *singlePredicateOf) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{SinglePredicate: of}}
}

func not(of *singlePredicateOf) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: predicate(of)}}
}

// skipping is a filter that requests skip for which the predicate holds.
func skipping(filter *corev3.TypedExtensionConfig, when *xdsmatcherv3.Matcher_MatcherList_Predicate) (*corev3.TypedExtensionConfig, error) {
	skip, err := extension("skip", &skipv3.SkipFilter{})
	if err != nil {
		return nil, err
	}
	packed, err := anypb.New(&matchingv3.ExtensionWithMatcher{
		ExtensionConfig: filter,
		XdsMatcher: &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{
				Predicate: when,
				OnMatch:   &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: skip}},
			}},
		}}},
	})
	if err != nil {
		return nil, fmt.Errorf("render a matcher around %s: %w", filter.GetName(), err)
	}
	return &corev3.TypedExtensionConfig{Name: filter.GetName(), TypedConfig: packed}, nil
}

func extension(name string, config proto.Message) (*xdscorev3.TypedExtensionConfig, error) {
	packed, err := anypb.New(config)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", config.ProtoReflect().Descriptor().FullName(), err)
	}
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: packed}, nil
}
