package model

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"
)

// Bounds of what a gate says.
const (
	MaxGateText     = 4096
	MaxGateInterval = time.Hour
	MinGateInterval = time.Second
)

// gateKinds are the fields of a gate, as people write them.
const gateKinds = "errorRatio, deniedRatio, coverage, comparison, stuck, watchdog, reloads, growth, statistic, approval, prometheus, webhook"

func validateGates(object, field string, gates []GateSpec) error {
	if len(gates) > MaxGates {
		return Invalidf(object, field, "use fewer gates", "%d gates are more than %d", len(gates), MaxGates)
	}
	var problems []error
	names := map[string]int{}
	for i, g := range gates {
		at := fmt.Sprintf("%s[%d]", field, i)
		problems = append(problems, validateGate(object, at, g))
		// Readings are told apart by their names.
		if other, twice := names[g.Name()]; twice && g.Name() != "" {
			problems = append(problems, Invalidf(object, at, "leave one out, or give them different names", "%s is %s[%d] already", g.Name(), field, other))
		}
		names[g.Name()] = i
	}
	return errors.Join(problems...)
}

func validateGate(object, at string, g GateSpec) error {
	given := 0
	for _, is := range []bool{
		g.ErrorRatio != nil, g.DeniedRatio != nil, g.Coverage != nil, g.Comparison != nil, g.Stuck != nil, g.Watchdog != nil, g.Reloads != nil,
		g.Growth != nil, g.Statistic != nil, g.Approval != nil, g.Prometheus != nil, g.Webhook != nil,
	} {
		if is {
			given++
		}
	}
	if given != 1 {
		return Invalidf(object, at, "give one of "+gateKinds, "%d of them are given", given)
	}
	switch {
	case g.ErrorRatio != nil:
		return validateRatio(object, at+".errorRatio", "max", g.ErrorRatio.Max, g.ErrorRatio.MinSamples)
	case g.DeniedRatio != nil:
		return validateRatio(object, at+".deniedRatio", "max", g.DeniedRatio.Max, g.DeniedRatio.MinSamples)
	case g.Coverage != nil:
		return validateCoverage(object, at+".coverage", *g.Coverage)
	case g.Comparison != nil:
		return validateComparison(object, at+".comparison", *g.Comparison)
	case g.Stuck != nil:
		return validateRatio(object, at+".stuck", "max", g.Stuck.Max, g.Stuck.MinSamples)
	case g.Watchdog != nil:
		return validateCount(object, at+".watchdog.max", g.Watchdog.Max)
	case g.Reloads != nil:
		return validateCount(object, at+".reloads.max", g.Reloads.Max)
	case g.Growth != nil:
		return validateGrowthGate(object, at+".growth", *g.Growth)
	case g.Statistic != nil:
		return validateStatistic(object, at+".statistic", *g.Statistic)
	case g.Approval != nil:
		return validateText(object, at+".approval.note", g.Approval.Note)
	case g.Prometheus != nil:
		return validatePrometheus(object, at+".prometheus", *g.Prometheus)
	}
	return errors.Join(
		validateText(object, at+".webhook.name", g.Webhook.Name),
		validateURL(object, at+".webhook.url", g.Webhook.URL),
		validateInterval(object, at+".webhook.every", g.Webhook.Every))
}

func validateRatio(object, at, field string, ratio float64, samples int64) error {
	if math.IsNaN(ratio) || ratio < 0 || ratio > 1 {
		return Invalidf(object, at+"."+field, "use 0 to 1, such as 0.01 for one in a hundred", "%v is no ratio", ratio)
	}
	if samples < 0 {
		return Invalidf(object, at+".minSamples", "use 1 or more, or leave it out", "%d samples cannot be", samples)
	}
	return nil
}

// validateCoverage refuses the least share of 0, which a gate that does not say one has, too: it would look on while every request goes past the filters.
func validateCoverage(object, at string, g CoverageGate) error {
	if g.Min == 0 {
		return Invalidf(object, at+".min", "give the least share of requests that the filters must have counted, such as 0.95", "it has no bound, so that it could not fail")
	}
	return validateRatio(object, at, "min", g.Min, g.MinSamples)
}

func validateCount(object, at string, n int64) error {
	if n < 0 {
		return Invalidf(object, at, "use 0 or more", "%d cannot be", n)
	}
	return nil
}

func validateGrowthGate(object, at string, g GrowthGate) error {
	if g.MaxMemory == nil && g.MaxVMs == nil {
		return Invalidf(object, at, "give maxMemory, maxVms or both", "it has no bound, so that it could not fail")
	}
	var problems []error
	if g.MaxMemory != nil {
		problems = append(problems, validateCount(object, at+".maxMemory", *g.MaxMemory))
	}
	if g.MaxVMs != nil {
		problems = append(problems, validateCount(object, at+".maxVms", *g.MaxVMs))
	}
	return errors.Join(problems...)
}

// Bounds of a comparison of latency.
const (
	// MaxSlowdown is in parts of the others' time.
	MaxSlowdown = 100
	MaxSlack    = time.Minute
)

func validateComparison(object, at string, g ComparisonGate) error {
	switch g.Of {
	case ComparedErrors, ComparedDenied, ComparedStuck:
		if g.Percentile != 0 || g.Slack != 0 {
			return Invalidf(object, at, fmt.Sprintf("leave them out, or compare %s", ComparedLatency), "percentile and slack are of %s, and %s are compared", ComparedLatency, g.Of)
		}
		return validateRatio(object, at, "maxIncrease", g.MaxIncrease, g.MinSamples)
	case ComparedLatency:
		return validateLatency(object, at, g)
	}
	return Invalidf(object, at+".of", fmt.Sprintf("use %s, %s, %s or %s", ComparedErrors, ComparedDenied, ComparedStuck, ComparedLatency), "%q cannot be compared", g.Of)
}

func validateLatency(object, at string, g ComparisonGate) error {
	var problems []error
	if math.IsNaN(g.MaxIncrease) || g.MaxIncrease < 0 || g.MaxIncrease > MaxSlowdown {
		problems = append(problems, Invalidf(object, at+".maxIncrease", fmt.Sprintf("use 0 to %d, such as 0.2 for a fifth more", MaxSlowdown), "%v cannot be", g.MaxIncrease))
	}
	if math.IsNaN(g.Percentile) || g.Percentile < 0 || g.Percentile >= 100 {
		problems = append(problems, Invalidf(object, at+".percentile", "use one above 0 and below 100, such as 99", "%v is no percentile", g.Percentile))
	}
	if g.Slack < 0 || g.Slack > MaxSlack {
		problems = append(problems, Invalidf(object, at+".slack", fmt.Sprintf("use up to %s, or leave it out", MaxSlack), "%s cannot be", g.Slack))
	}
	if g.MinSamples < 0 {
		problems = append(problems, Invalidf(object, at+".minSamples", "use 1 or more, or leave it out", "%d samples cannot be", g.MinSamples))
	}
	return errors.Join(problems...)
}

func validatePrometheus(object, at string, g PrometheusGate) error {
	problems := []error{
		validateText(object, at+".name", g.Name), validateText(object, at+".query", g.Query),
		validateURL(object, at+".server", g.Server), validateInterval(object, at+".every", g.Every),
	}
	if g.Query == "" {
		problems = append(problems, Invalidf(object, at+".query", "write PromQL", "is empty"))
	}
	switch {
	case g.Max == nil && g.Min == nil:
		problems = append(problems, Invalidf(object, at, "give max, min or both", "it has no bound, so that it could not fail"))
	case g.Max != nil && math.IsNaN(*g.Max) || g.Min != nil && math.IsNaN(*g.Min):
		problems = append(problems, Invalidf(object, at, "use numbers", "a bound is no number"))
	case g.Max != nil && g.Min != nil && *g.Max < *g.Min:
		problems = append(problems, Invalidf(object, at, "let max be at least min", "no value is at most %v and at least %v", *g.Max, *g.Min))
	}
	return errors.Join(problems...)
}

func validateText(object, at, text string) error {
	if len(text) > MaxGateText {
		return Invalidf(object, at, "make it shorter", "%d bytes are more than %d", len(text), MaxGateText)
	}
	return nil
}

func validateURL(object, at, text string) error {
	u, err := url.Parse(text)
	if err != nil || len(text) > MaxGateText || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return Invalidf(object, at, "write one such as https://prometheus.example:9090", "%q is no URL of http or https", text)
	}
	if u.User != nil {
		return Invalidf(object, at, "leave them out: who may read the rollout could read them", "the URL holds credentials")
	}
	return nil
}

func validateInterval(object, at string, d time.Duration) error {
	if d != 0 && (d < MinGateInterval || d > MaxGateInterval) {
		return Invalidf(object, at, fmt.Sprintf("use %s to %s", MinGateInterval, MaxGateInterval), "%s cannot be", d)
	}
	return nil
}
