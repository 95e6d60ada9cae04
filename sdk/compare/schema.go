package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Effect is what a change of a schema means for configurations that exist.
type Effect string

// The effects, the worst first.
const (
	// Breaks: a configuration that was accepted is refused now.
	Breaks Effect = "breaks"
	// MayBreak: it cannot be told here whether some configuration is refused now.
	MayBreak Effect = "may break"
	// Changes: what was accepted still is, and may mean something else.
	Changes Effect = "changes"
	// Allows: more is accepted than before.
	Allows Effect = "allows"
)

// SchemaChange is one change of a configuration's schema.
type SchemaChange struct {
	// Path leads to the value: rules[].path; {} stands for any member of a map. Empty: the configuration itself.
	Path string `json:"path"`
	// What changed, in a few words.
	What   string `json:"what"`
	Effect Effect `json:"effect"`
}

// Limits, for schemas from strangers.
const (
	maxSchemaChanges = 1000
	maxSchemaDepth   = 64
)

// Schemas compares two JSON Schemas (2020-12) of a configuration, as far as it understands them: what `waft build` writes, and whatever else
// is made of the same words. A change of any other word is one that may break. Descriptions do not matter. Nil is a schema that is not known.
func Schemas(a, b json.RawMessage) []SchemaChange {
	c := &schemaComparison{seen: map[[2]string]bool{}, changes: []SchemaChange{}}
	switch {
	case a == nil && b == nil:
		return c.changes
	case a == nil:
		c.add("", MayBreak, "it has a schema now, and had none")
		return c.changes
	case b == nil:
		c.add("", MayBreak, "it has no schema any more")
		return c.changes
	}
	var errA, errB error
	if c.a, errA = decode(a); errA == nil {
		c.b, errB = decode(b)
	}
	if errA != nil || errB != nil {
		c.add("", MayBreak, "a schema is not JSON")
		return c.changes
	}
	c.seen[[2]string{"#", "#"}] = true
	c.compare("", c.a, c.b, 0)
	return c.changes
}

func decode(text json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // integers beyond 2^53 stay what they are
	var v any
	err := dec.Decode(&v)
	return v, err
}

// schemaComparison is a comparison under way.
type schemaComparison struct {
	a, b    any // the whole schemas, for references
	seen    map[[2]string]bool
	changes []SchemaChange
}

func (c *schemaComparison) add(path string, effect Effect, format string, args ...any) {
	if len(c.changes) < maxSchemaChanges {
		c.changes = append(c.changes, SchemaChange{path, fmt.Sprintf(format, args...), effect})
	}
}

// node is a schema of one value, its references followed.
type node struct {
	words    map[string]any
	ref      string // the last reference that led here
	nullable bool   // null is accepted besides, as for a pointer in Go
	never    bool   // the schema false
	unknown  bool   // a reference that leads nowhere
}

// any says that every value is accepted.
func (n node) any() bool {
	for word := range n.words {
		if !slices.Contains(saysNothing, word) && word != "default" {
			return false
		}
	}
	return !n.never && !n.unknown
}

// saysNothing are words that no value is refused by.
var saysNothing = []string{"$schema", "$id", "$comment", "$defs", "title", "description", "examples", "deprecated"}

// follow finds what a schema says, past references and the null of a pointer. The words beside a reference count, too.
func follow(root, v any) node {
	n := node{words: map[string]any{}}
	for range maxSchemaDepth {
		object, ok := v.(map[string]any)
		if !ok {
			n.never = v == false
			n.unknown = v != false && v != true
			return n
		}
		var next any
		ref, isRef := object["$ref"].(string)
		inner, isPointer := pointerTo(object)
		for word, value := range object {
			if word == "$ref" || isPointer && word == "anyOf" {
				continue
			}
			have, there := n.words[word]
			if there && !slices.Contains(saysNothing, word) && word != "default" && !equal(have, value) {
				n.unknown = true // both must hold, which one word cannot say
			}
			if !there {
				n.words[word] = value
			}
		}
		switch {
		case isRef:
			if next, ok = resolve(root, ref); !ok {
				n.unknown = true
				return n
			}
			n.ref = ref
		case isPointer:
			n.nullable, next = true, inner
		default:
			return n
		}
		v = next
	}
	n.unknown = true // it leads in a circle
	return n
}

// pointerTo is X of {"anyOf": [X, {"type": "null"}]}, with nothing beside it that would refuse null.
func pointerTo(object map[string]any) (any, bool) {
	for word := range object {
		if word != "anyOf" && word != "default" && !slices.Contains(saysNothing, word) {
			return nil, false
		}
	}
	list, ok := object["anyOf"].([]any)
	if !ok || len(list) != 2 {
		return nil, false
	}
	null, ok := list[1].(map[string]any)
	return list[0], ok && len(null) == 1 && null["type"] == "null"
}

// resolve finds "#" and "#/$defs/NAME".
func resolve(root any, ref string) (any, bool) {
	if ref == "#" {
		return root, true
	}
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	if !ok {
		return nil, false
	}
	object, _ := root.(map[string]any)
	defs, _ := object["$defs"].(map[string]any)
	v, ok := defs[name]
	return v, ok
}

func (c *schemaComparison) compare(path string, va, vb any, depth int) {
	a, b := follow(c.a, va), follow(c.b, vb)
	if a.ref != "" && b.ref != "" {
		pair := [2]string{a.ref, b.ref}
		if c.seen[pair] {
			return // said where they were met first, or under way
		}
		c.seen[pair] = true
	}
	if depth > maxSchemaDepth || a.unknown || b.unknown {
		if !equal(va, vb) || !equal(c.a, c.b) {
			c.add(path, MayBreak, "a part of the schema that is not understood")
		}
		return
	}
	c.compareDefault(path, a, b)
	switch {
	case a.nullable && !b.nullable && !b.any():
		c.add(path, Breaks, "null is not accepted any more")
	case !a.nullable && b.nullable && !a.any():
		c.add(path, Allows, "null is accepted, too")
	}
	switch {
	case a.any() && b.any():
		return
	case a.any():
		c.add(path, Breaks, "anything was accepted, now %s", kind(b))
		return
	case b.any():
		c.add(path, Allows, "anything is accepted, it was %s", kind(a))
		return
	case a.never || b.never:
		if a.never != b.never {
			c.add(path, map[bool]Effect{true: Allows, false: Breaks}[a.never], "nothing was or is accepted here")
		}
		return
	}
	if !c.compareTypes(path, a, b) {
		return
	}
	c.compareEnum(path, a, b)
	c.compareBounds(path, a, b)
	c.compareForms(path, a, b)
	c.compareProperties(path, a, b, depth)
	if has(a, "items") || has(b, "items") {
		c.compare(path+"[]", orAny(a, "items"), orAny(b, "items"), depth+1)
	}
	c.compareOthers(path, a, b)
}

// compareOthers finds changes of words that are not understood here.
func (c *schemaComparison) compareOthers(path string, a, b node) {
	all := maps.Clone(a.words)
	maps.Copy(all, b.words)
	for _, word := range slices.Sorted(maps.Keys(all)) {
		if !slices.Contains(saysNothing, word) && !slices.Contains(understood, word) && !equal(a.words[word], b.words[word]) {
			c.add(path, MayBreak, "%s is another one", word)
		}
	}
}

// understood are the words that the other functions compare.
var understood = slices.Concat([]string{"default", "type", "enum", "const", "properties", "required", "additionalProperties", "items", "$ref"}, lows, highs, forms)

func has(n node, word string) bool { _, ok := n.words[word]; return ok }

// orAny is a part of a schema; where there is none, every value is accepted.
func orAny(n node, word string) any {
	if v, ok := n.words[word]; ok {
		return v
	}
	return true
}

// equal compares two JSON values as they are written, whatever the order of members.
func equal(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// text shows a value in a message.
func text(v any) string {
	const shown = 80
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(b) > shown {
		return strings.ToValidUTF8(string(b[:shown]), "") + "…"
	}
	return string(b)
}

// kind is what a schema accepts, in a word or two.
func kind(n node) string {
	switch types := typesOf(n); {
	case n.never:
		return "nothing"
	case types == nil:
		return "less"
	default:
		return strings.Join(types, " or ")
	}
}
