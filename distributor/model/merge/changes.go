package merge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// FilterChange is a filter, or a resource, by which two chains differ.
type FilterChange struct {
	// Filter is its name; of a resource, its key (model.ResourceSpec.Key).
	Filter string
	// Added and Removed say that only one of the chains has it; neither, that both do and differ in Fields.
	Added, Removed bool
	Fields         []FieldChange
}

// FieldChange is a field that differs. From and To are JSON, empty for absent.
type FieldChange struct {
	// Path is module (its digest), phase, priority, failurePolicy, or a place in the config such as config.rules[0].path. Of a resource it is type, descriptors (their
	// digest), a place in its fields such as spec.percent, or spec where it is opaque (the digest of its bytes).
	Path     string
	From, To string
	// Layer gives the new value; empty where there is none, or nobody gives it (a default).
	Layer model.Layer
}

// Changes is what a node sees that goes from one chain to another, by name of the filter and by path (the order in the chain follows from
// phase, priority and name); origins are those of the chain it goes
// to. Lists are compared place by place. Equal chains give none.
func Changes(from, to model.Chain, origins Origins) []FilterChange {
	before, after := fieldsOf(from), fieldsOf(to)
	var changes []FilterChange
	for _, name := range keysOfBoth(before, after) {
		was, is := before[name], after[name]
		change := FilterChange{Filter: name, Added: was == nil, Removed: is == nil, Fields: fieldChanges(was, is, origins[name])}
		if change.Added || change.Removed || len(change.Fields) > 0 {
			changes = append(changes, change)
		}
	}
	return changes
}

// fieldsOf are the filters of a chain as fields by path.
func fieldsOf(c model.Chain) map[string]map[string]string {
	out := make(map[string]map[string]string, len(c.Filters))
	for _, f := range c.Filters {
		out[f.Name] = filterFields(f, placed{})
	}
	for _, r := range c.Resources {
		out[r.Key()] = resourceFields(r.ResourceSpec, placed{})
	}
	return out
}

func filterFields(f model.RenderedFilter, items naming) map[string]string {
	fields := map[string]string{"phase": quote(f.Phase), "failurePolicy": quote(f.FailurePolicy)}
	if f.Module != nil {
		fields["module"] = quote(f.Module.Digest)
	}
	if f.Priority != nil {
		fields["priority"] = quote(*f.Priority)
	}
	if f.Config != nil {
		if config, err := decode(f.Config); err == nil {
			flatten("config", config, fields, items)
		}
	}
	return fields
}

func resourceFields(r model.ResourceSpec, items naming) map[string]string {
	fields := map[string]string{"type": quote(r.Type)}
	if r.Descriptors != "" {
		fields["descriptors"] = quote(r.Descriptors)
	}
	if r.IsOpaque() {
		fields[specPath] = quote(model.Digest(r.Opaque))
	} else if value, err := decode(r.Fields); err == nil {
		flatten(specPath, value, fields, items)
	}
	return fields
}

// flatten puts the leaves of a JSON value into a map by their paths. An empty object or list is a leaf, and so is what names a secret.
func flatten(path string, value any, into map[string]string, items naming) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) > 0 && !model.IsSecret(v) {
			for key, child := range v {
				flatten(member(path, key), child, into, items)
			}
			return
		}
	case []any:
		if len(v) > 0 {
			for i, child := range v {
				flatten(items.item(path, i, child), child, into, items)
			}
			return
		}
	}
	into[path] = quote(value)
}

// quote is a value as JSON; a string, a number or what decode gives always has one.
func quote(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

func fieldChanges(was, is map[string]string, origins map[string]model.Layer) []FieldChange {
	var changes []FieldChange
	for _, path := range keysOfBoth(was, is) {
		from, to := was[path], is[path]
		if from == to {
			continue
		}
		change := FieldChange{Path: path, From: from, To: to}
		if to != "" {
			change.Layer = originOf(path, origins)
		}
		changes = append(changes, change)
	}
	return changes
}

// keysOfBoth are the keys of either map, sorted, each once.
func keysOfBoth[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// originOf is the layer of a field: that of the field itself, or of the nearest thing that was given whole.
func originOf(path string, origins map[string]model.Layer) model.Layer {
	for path != "" {
		if layer, ok := origins[path]; ok {
			return layer
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return ""
}
