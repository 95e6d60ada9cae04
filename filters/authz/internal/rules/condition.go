package rules

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// Operator says how a condition looks at a claim.
type Operator uint8

// The operators. A claim that is absent satisfies none of them.
const (
	// In: the claim is a string, number or bool and equals one of the values.
	In Operator = iota + 1
	// ContainsAny: the claim is a list that holds at least one of the values. A single string, number or bool counts as a
	// list of one.
	ContainsAny
	// ContainsAll: like ContainsAny, with all of the values.
	ContainsAll
	// Present: the claim is there and not null. The values are not used.
	Present
)

// Condition is one question to a token's claims. The zero value holds for no claims.
type Condition struct {
	// Claim is the path to the claim: member names, outermost first.
	Claim []string
	// Operator says what is asked.
	Operator Operator
	// Values are what the claim is compared with: string, json.Number or bool.
	Values []any
	// Split, when not empty, makes a list of a string claim: what stands between these separators, empty parts left out.
	// It counts for ContainsAny and ContainsAll.
	Split string
}

// Holds says whether the claims satisfy the condition.
func (c Condition) Holds(claims map[string]any) bool {
	value, ok := Lookup(claims, c.Claim)
	if !ok {
		return false
	}
	switch c.Operator {
	case In:
		return contains(c.Values, value)
	case ContainsAny:
		for _, item := range c.list(value) {
			if contains(c.Values, item) {
				return true
			}
		}
		return false
	case ContainsAll:
		list := c.list(value)
		for _, wanted := range c.Values {
			if !contains(list, wanted) {
				return false
			}
		}
		return len(c.Values) > 0
	case Present:
		return value != nil
	}
	return false
}

func (c Condition) list(value any) []any {
	switch value := value.(type) {
	case []any:
		return value
	case string:
		if c.Split == "" {
			break
		}
		var list []any
		for part := range strings.SplitSeq(value, c.Split) {
			if part != "" {
				list = append(list, part)
			}
		}
		return list
	}
	return []any{value}
}

// Lookup follows a path of member names. It is false where one is absent or its parent is no object.
func Lookup(claims map[string]any, path []string) (any, bool) {
	var value any = claims
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[name]; !ok {
			return nil, false
		}
	}
	return value, len(path) > 0
}

func contains(list []any, value any) bool {
	for _, item := range list {
		if equal(item, value) {
			return true
		}
	}
	return false
}

// equal compares two scalars of one type. Objects, lists and null equal nothing, and "1" is not 1.
func equal(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case json.Number:
		b, ok := b.(json.Number)
		return ok && equalNumbers(string(a), string(b))
	}
	return false
}

// exactFloat is the range in which float64 tells whole numbers apart. Beyond it two accounts could look like one.
const exactFloat = 1 << 53

func equalNumbers(a, b string) bool {
	if a == b {
		return true
	}
	x, err := strconv.ParseFloat(a, 64)
	if err != nil || math.Abs(x) >= exactFloat {
		return false
	}
	y, err := strconv.ParseFloat(b, 64)
	return err == nil && x == y
}
