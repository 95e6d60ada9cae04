package compare

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
)

// typesOf are the types that a schema accepts; nil: every type.
func typesOf(n node) []string {
	switch t := n.words["type"].(type) {
	case string:
		return []string{t}
	case []any:
		types := []string{}
		for _, v := range t {
			if s, ok := v.(string); ok {
				types = append(types, s)
			}
		}
		slices.Sort(types)
		return types
	}
	return nil
}

// compareTypes says whether the other words are worth a look: they are not where the types have nothing in common.
func (c *schemaComparison) compareTypes(path string, a, b node) bool {
	was, is := typesOf(a), typesOf(b)
	takes := func(types []string, t string) bool {
		return types == nil || slices.Contains(types, t) || t == "integer" && slices.Contains(types, "number")
	}
	var lost, won []string
	for _, t := range was {
		if !takes(is, t) {
			lost = append(lost, t)
		}
	}
	for _, t := range is {
		if !takes(was, t) {
			won = append(won, t)
		}
	}
	switch {
	case was == nil && is != nil:
		c.add(path, Breaks, "any type was accepted, now %s", strings.Join(is, " or "))
	case len(lost) > 0:
		c.add(path, Breaks, "the type was %s, now it is %s", strings.Join(was, " or "), strings.Join(is, " or "))
	case is == nil && was != nil:
		c.add(path, Allows, "any type is accepted, it was %s", strings.Join(was, " or "))
	case len(won) > 0:
		c.add(path, Allows, "the type was %s, now it is %s", strings.Join(was, " or "), strings.Join(is, " or "))
	}
	return len(lost) == 0 || len(lost) < len(was)
}

func (c *schemaComparison) compareDefault(path string, a, b node) {
	was, had := a.words["default"]
	is, has := b.words["default"]
	switch {
	case had && has && !equal(was, is):
		c.add(path, Changes, "the default was %s, now it is %s", text(was), text(is))
	case had && !has:
		c.add(path, Changes, "the default was %s, now there is none", text(was))
	case !had && has:
		c.add(path, Changes, "the default is %s, there was none", text(is))
	}
}

// valuesOf are the values that enum and const leave; ok is false where they leave all.
func valuesOf(n node) (values []any, ok bool) {
	if v, there := n.words["const"]; there {
		return []any{v}, true
	}
	values, ok = n.words["enum"].([]any)
	return values, ok
}

func (c *schemaComparison) compareEnum(path string, a, b node) {
	was, had := valuesOf(a)
	is, has := valuesOf(b)
	in := func(list []any, v any) bool {
		return slices.ContainsFunc(list, func(o any) bool { return equal(o, v) })
	}
	switch {
	case !had && !has:
	case !had:
		c.add(path, Breaks, "only %s is accepted now", text(is))
	case !has:
		c.add(path, Allows, "more than %s is accepted now", text(was))
	default:
		for _, v := range was {
			if !in(is, v) {
				c.add(path, Breaks, "%s is not accepted any more", text(v))
			}
		}
		for _, v := range is {
			if !in(was, v) {
				c.add(path, Allows, "%s is accepted, too", text(v))
			}
		}
	}
}

// Bounds of numbers, lengths and counts.
var (
	lows  = []string{"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
	highs = []string{"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
)

func (c *schemaComparison) compareBounds(path string, a, b node) {
	for i, words := range [][]string{lows, highs} {
		for _, word := range words {
			was, had := a.words[word]
			is, has := b.words[word]
			switch {
			case equal(was, is):
			case !had:
				c.add(path, Breaks, "%s is %s, there was none", word, text(is))
			case !has:
				c.add(path, Allows, "%s was %s, now there is none", word, text(was))
			default:
				x, y := numberOf(was), numberOf(is)
				effect := MayBreak
				if x != nil && y != nil {
					order := y.Cmp(x)
					if order == 0 {
						continue // 1 and 1.0
					}
					effect = Allows
					if (i == 0) == (order > 0) {
						effect = Breaks
					}
				}
				c.add(path, effect, "%s was %s, now it is %s", word, text(was), text(is))
			}
		}
	}
}

// numberOf is a number with all digits that a 64-bit integer may have; nil where it is none.
func numberOf(v any) *big.Float {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	const bits = 256
	f, _, err := big.ParseFloat(n.String(), 10, bits, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return nil
	}
	return f
}

// forms are words about how a text must look, of which none can be compared with another.
var forms = []string{"pattern", "format", "contentEncoding", "contentMediaType"}

func (c *schemaComparison) compareForms(path string, a, b node) {
	for _, word := range forms {
		was, had := a.words[word]
		is, has := b.words[word]
		switch {
		case equal(was, is):
		case !had:
			c.add(path, Breaks, "%s is %s, there was none", word, text(is))
		case !has:
			c.add(path, Allows, "%s was %s, now there is none", word, text(was))
		default:
			c.add(path, MayBreak, "%s was %s, now it is %s", word, text(was), text(is))
		}
	}
}
