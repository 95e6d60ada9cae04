package merge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// Field is a field of a filter or a resource in a rendered chain.
type Field struct {
	// Path is as in FieldChange, but that items of a list which is merged by key go by their keys, as in Origins: spec.rules[name="all"].percent.
	Path string
	// Value is JSON. What names a secret is one value, which does not tell the secret.
	Value string
	// Layer gives it; empty where nobody does (a default).
	Layer model.Layer
}

// Fields are what the filters and resources of a chain consist of, by path; the keys are names of filters and keys of resources, as in the origins, which are those of the
// chain.
func Fields(chain model.Chain, origins Origins) map[string][]Field {
	out := make(map[string][]Field, len(chain.Filters)+len(chain.Resources))
	for _, f := range chain.Filters {
		from := origins[f.Name]
		out[f.Name] = sortedFields(filterFields(f, keyed{from}), from)
	}
	for _, r := range chain.Resources {
		from := origins[r.Key()]
		out[r.Key()] = sortedFields(resourceFields(r.ResourceSpec, keyed{from}), from)
	}
	return out
}

func sortedFields(values map[string]string, origins map[string]model.Layer) []Field {
	fields := make([]Field, 0, len(values))
	for _, path := range slices.Sorted(maps.Keys(values)) {
		fields = append(fields, Field{Path: path, Value: values[path], Layer: originOf(path, origins)})
	}
	return fields
}

// naming says what the items of a list go by.
type naming interface {
	// item is the path of an item of the list at a path.
	item(list string, i int, item any) string
}

// placed has items go by their places.
type placed struct{}

func (placed) item(list string, i int, _ any) string { return fmt.Sprintf("%s[%d]", list, i) }

// keyed has items of lists that were merged by key go by their keys, as the origins have them.
type keyed struct{ origins map[string]model.Layer }

func (k keyed) item(list string, i int, item any) string {
	if object, is := item.(map[string]any); is {
		for member, value := range object {
			switch value.(type) {
			case map[string]any, []any:
				continue // no key
			}
			path := fmt.Sprintf("%s[%s=%s]", list, member, quote(value))
			if _, told := k.origins[path]; told {
				return path
			}
		}
	}
	return placed{}.item(list, i, item)
}
