package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/waft-project/waft/filters/authz/internal/rules"
	"github.com/waft-project/waft/sdk"
)

func compileCondition(at string, c Condition) (rules.Condition, error) {
	claim, err := claimPath(at, c.Claim, c.ClaimPath)
	if err != nil {
		return rules.Condition{}, err
	}
	out := rules.Condition{Claim: claim, Split: c.Split}
	set := 0
	for _, form := range []struct {
		field    string
		operator rules.Operator
		values   []json.RawMessage
	}{{"in", rules.In, c.In}, {"containsAny", rules.ContainsAny, c.ContainsAny}, {"containsAll", rules.ContainsAll, c.ContainsAll}} {
		if form.values == nil {
			continue
		}
		set++
		out.Operator = form.operator
		if out.Values, err = scalars(at+"."+form.field, form.values); err != nil {
			return rules.Condition{}, err
		}
	}
	if c.Present {
		set++
		out.Operator = rules.Present
	}
	switch {
	case set != 1:
		return rules.Condition{}, sdk.ConfigErrorf(at, "exactly one of in, containsAny, containsAll and present is needed")
	case c.Split != "" && (out.Operator == rules.In || out.Operator == rules.Present):
		return rules.Condition{}, sdk.ConfigErrorf(at+".split", "counts for containsAny and containsAll only")
	}
	return out, nil
}

// scalars reads values as conditions compare them: string, json.Number, bool.
func scalars(at string, list []json.RawMessage) ([]any, error) {
	var out []any
	for i, raw := range list {
		value, ok := scalar(raw)
		if !ok {
			return nil, sdk.ConfigErrorf(index(at, i), "want a string, a number or a boolean, got %s", raw)
		}
		out = append(out, value)
	}
	return out, nil
}

// scalar reads a string, a number or a boolean. A number keeps its digits.
func scalar(raw json.RawMessage) (any, bool) {
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, false
	}
	switch value.(type) {
	case string, bool:
		return value, true
	case float64:
		return json.Number(bytes.TrimSpace(raw)), true
	}
	return nil, false
}

// claimPath is the path of a claim that is written with dots or as a list.
func claimPath(at, dotted string, list []string) ([]string, error) {
	switch {
	case dotted != "" && list != nil:
		return nil, sdk.ConfigErrorf(at+".claim", "excludes claimPath; give one of the two")
	case dotted != "":
		return dottedPath(at+".claim", dotted)
	case list == nil:
		return nil, sdk.ConfigErrorf(at+".claim", "missing; name the claim with claim or claimPath")
	}
	return list, nil
}

func dottedPath(at, dotted string) ([]string, error) {
	path := strings.Split(dotted, ".")
	for _, name := range path {
		if name == "" {
			return nil, sdk.ConfigErrorf(at, "%q has an empty name between dots; a claim whose name has dots needs claimPath", dotted)
		}
	}
	return path, nil
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
