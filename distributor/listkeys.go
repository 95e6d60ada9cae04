package distributor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// keysKeyword is Kubernetes' word, in a JSON Schema, for the members by which items of a list are told apart.
const keysKeyword = "x-kubernetes-list-map-keys"

const (
	// maxSchemaDepth is how deep a list that is merged by key may stand in a configuration.
	maxSchemaDepth = 16
	// maxSchemaSteps bounds the work on one schema, which comes from a stranger: references may name one part often.
	maxSchemaSteps = 1 << 14
	// maxSchemaPath bounds a path in bytes: it is written anew at each step, and a name may be as long as the schema.
	maxSchemaPath = 4 << 10
)

// listKeys are the lists of a configuration that are merged by key, as the JSON Schema of it says: an array with x-kubernetes-list-map-keys. It looks into
// properties, items of such lists, references within the schema, and anyOf, oneOf and allOf. A list that stands in itself, by a reference, has no path of its own there, and is replaced. The
// error says what of it cannot be.
func listKeys(schema json.RawMessage) ([]model.ListKey, error) {
	if !strings.Contains(string(schema), keysKeyword) {
		return nil, nil
	}
	var root any
	if err := json.Unmarshal(schema, &root); err != nil {
		return nil, err
	}
	w := &keyWalk{root: root}
	if err := w.walk("", root, nil); err != nil {
		return nil, err
	}
	slices.SortFunc(w.found, func(a, b model.ListKey) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Key, b.Key))
	})
	return slices.Compact(w.found), nil
}

// keyWalk goes through a schema.
type keyWalk struct {
	root  any
	found []model.ListKey
	steps int
}

// walk looks at the schema of what stands at a path. within are the references that lead there.
func (w *keyWalk) walk(path string, schema any, within []string) error {
	if w.steps++; w.steps > maxSchemaSteps {
		return fmt.Errorf("it is too large to be searched for %s", keysKeyword)
	}
	if len(path) > maxSchemaPath {
		return fmt.Errorf("the path %.64q… has %d bytes; the limit is %d where %s stands", path, len(path), maxSchemaPath, keysKeyword)
	}
	s, ok := schema.(map[string]any)
	if !ok || strings.Count(path, ".") > maxSchemaDepth {
		return nil
	}
	if ref, _ := s["$ref"].(string); ref != "" && !slices.Contains(within, ref) {
		if target := w.resolve(ref); target != nil {
			if err := w.walk(path, target, append(slices.Clone(within), ref)); err != nil {
				return err
			}
		}
	}
	for _, keyword := range []string{"anyOf", "oneOf", "allOf"} {
		parts, _ := s[keyword].([]any)
		for _, part := range parts {
			if err := w.walk(path, part, within); err != nil {
				return err
			}
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, property := range properties {
		inside := name
		if path != "" {
			inside = path + "." + name
		}
		if err := w.walk(inside, property, within); err != nil {
			return err
		}
	}
	said, there := s[keysKeyword]
	if !there {
		return nil
	}
	keys, _ := said.([]any)
	key := ""
	if len(keys) == 1 {
		key, _ = keys[0].(string)
	}
	if key == "" || path == "" {
		return fmt.Errorf("the list %q has %s: %v; give one member, of a list that is a member itself", path, keysKeyword, said)
	}
	w.found = append(w.found, model.ListKey{Path: path, Key: key})
	return w.walk(path+"[]", s["items"], within)
}

// resolve finds what a reference within the schema names (RFC 6901 in a fragment); nil for any other.
func (w *keyWalk) resolve(ref string) any {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	at := w.root
	for _, part := range strings.Split(pointer, "/")[1:] {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return at
}
