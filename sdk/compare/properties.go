package compare

import (
	"maps"
	"slices"
	"strings"
)

// compareProperties compares the fields of an object, and the members of a map.
func (c *schemaComparison) compareProperties(path string, a, b node, depth int) {
	was, _ := a.words["properties"].(map[string]any)
	is, _ := b.words["properties"].(map[string]any)
	mustA, mustB := requiredOf(a), requiredOf(b)
	all := maps.Clone(was)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		at := strings.TrimPrefix(path+"."+name, ".")
		before, had := was[name]
		now, has := is[name]
		switch {
		case !has:
			c.removed(at, before, b, depth)
		case !had:
			c.added(at, now, a, slices.Contains(mustB, name), depth)
		default:
			c.compare(at, before, now, depth+1)
			if slices.Contains(mustB, name) && !slices.Contains(mustA, name) {
				c.add(at, Breaks, "it is required now")
			} else if slices.Contains(mustA, name) && !slices.Contains(mustB, name) {
				c.add(at, Allows, "it is not required any more")
			}
		}
	}
	// Required names without a schema of their own.
	for _, name := range mustB {
		if _, has := is[name]; !has && !slices.Contains(mustA, name) {
			c.add(strings.TrimPrefix(path+"."+name, "."), Breaks, "it is required now")
		}
	}
	if has(a, "additionalProperties") || has(b, "additionalProperties") {
		c.compareRest(path, a, b, depth)
	}
}

// removed is about a field that the new schema does not name.
func (c *schemaComparison) removed(at string, before any, b node, depth int) {
	switch rest := follow(c.b, orAny(b, "additionalProperties")); {
	case has(b, "patternProperties") || has(b, "unevaluatedProperties"):
		c.add(at, MayBreak, "the field is gone, and its name may be one of a pattern")
	case rest.never:
		c.add(at, Breaks, "the field is gone, and refused")
	case rest.any():
		c.add(at, Changes, "the field is gone, and passed over")
	default:
		c.add(at, MayBreak, "the field is one of a map now")
		c.compare(at, before, orAny(b, "additionalProperties"), depth+1)
	}
}

// added is about a field that the old schema did not name.
func (c *schemaComparison) added(at string, now any, a node, required bool, depth int) {
	rest := follow(c.a, orAny(a, "additionalProperties"))
	switch {
	case required:
		c.add(at, Breaks, "the field is new, and required")
	case rest.never:
		c.add(at, Allows, "the field is new")
	case rest.any() && follow(c.b, now).any():
		c.add(at, Changes, "the field is new, and was passed over before")
	default:
		c.add(at, MayBreak, "the field is new, and whatever stood there was accepted before")
	}
}

// compareRest compares what is said of members that are not named.
func (c *schemaComparison) compareRest(path string, a, b node, depth int) {
	was, is := orAny(a, "additionalProperties"), orAny(b, "additionalProperties")
	switch before, now := follow(c.a, was), follow(c.b, is); {
	case before.never && now.never:
	case now.never:
		c.add(path, Breaks, "members that are not known are refused now")
	case before.never:
		c.add(path, Allows, "members that are not known are accepted now")
	default:
		c.compare(path+"{}", was, is, depth+1)
	}
}

func requiredOf(n node) []string {
	list, _ := n.words["required"].([]any)
	var names []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			names = append(names, s)
		}
	}
	return names
}
