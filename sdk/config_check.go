package sdk

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/waft-project/waft/sdk/internal/configtag"
)

// valueRules are what the tags of a field say of its value.
type valueRules struct {
	configtag.Tags
	// emptyIsUnset lets the empty string stand for a field that is not set, although an enum does not list it.
	emptyIsUnset bool
}

// noRules takes every value.
var noRules = valueRules{Tags: configtag.None()}

// rulesOf reads the tags of a field.
func rulesOf(path string, f *configField) (*valueRules, error) {
	tags, err := configtag.Parse(f.tag)
	if err != nil {
		return nil, ConfigErrorf(path, "the filter's config type is wrong: %v", err)
	}
	return &valueRules{Tags: tags, emptyIsUnset: !f.required && !tags.HasDefault}, nil
}

// element is what holds for each value of a list or a map.
func (r *valueRules) element() *valueRules { return &valueRules{Tags: r.Tags.Element()} }

func (d *configDecoder) checkString(path, text string, rules *valueRules) error {
	if rules.Enum != nil && !slices.Contains(rules.Enum, text) && !(text == "" && rules.emptyIsUnset) {
		return ConfigErrorf(path, "want one of %s, got %q", strings.Join(rules.Enum, ", "), text)
	}
	if rules.MinLength != configtag.Unbounded || rules.MaxLength != configtag.Unbounded {
		switch n := utf8.RuneCountInString(text); {
		case n < rules.MinLength && n == 0:
			return ConfigErrorf(path, "it is empty")
		case n < rules.MinLength:
			return ConfigErrorf(path, "want at least %d characters, got %d", rules.MinLength, n)
		case rules.MaxLength != configtag.Unbounded && n > rules.MaxLength:
			return ConfigErrorf(path, "want at most %d characters, got %d", rules.MaxLength, n)
		}
	}
	if rules.Pattern == "" {
		return nil
	}
	if d.patterns == nil {
		return ConfigErrorf(path, "the filter's config type has a pattern and no method MatchPattern; see sdk.PatternMatcher")
	}
	ok, err := d.patterns.MatchPattern(rules.Pattern, text)
	if err != nil {
		return ConfigErrorf(path, "the filter's config type is wrong: the tag pattern: %v", err)
	}
	if !ok {
		return ConfigErrorf(path, "want what matches %s, got %q", rules.Pattern, text)
	}
	return nil
}

// checkNumber checks a number as it stands in JSON.
func checkNumber(path, raw string, rules *valueRules) error {
	if rules.Min != "" && configtag.Compare(raw, rules.Min) < 0 {
		return ConfigErrorf(path, "want at least %s, got %s", rules.Min, raw)
	}
	if rules.Max != "" && configtag.Compare(raw, rules.Max) > 0 {
		return ConfigErrorf(path, "want at most %s, got %s", rules.Max, raw)
	}
	return nil
}

func checkItems(path string, n int, rules *valueRules) error {
	switch {
	case n < rules.MinItems && n == 0:
		return ConfigErrorf(path, "it is empty; want at least %d", rules.MinItems)
	case n < rules.MinItems:
		return ConfigErrorf(path, "want at least %d, got %d", rules.MinItems, n)
	case rules.MaxItems != configtag.Unbounded && n > rules.MaxItems:
		return ConfigErrorf(path, "want at most %d, got %d", rules.MaxItems, n)
	}
	return nil
}
