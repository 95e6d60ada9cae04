package access

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/distributor/model"
)

// labels are what nodes must say of themselves, by key: one of the values. In a value, * is any part of it, and {node} the id of the node.
type labels map[string][]string

// documentLabels is their form: KEY: VALUE, or KEY: [VALUE, …].
type documentLabels map[string]texts

// texts are one string, or a list of them.
type texts []text

// UnmarshalYAML takes either.
func (t *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]text)(t))
	}
	var one text
	if err := n.Decode(&one); err != nil {
		return err
	}
	*t = texts{one}
	return nil
}

// read checks the labels of a binding, whose name stands for the line of what has none.
func (d documentLabels) read(field string, name text) (labels, error) {
	if len(d) > MaxEntries {
		return nil, at(name, field, "split the binding", "%d entries, over the limit of %d", len(d), MaxEntries)
	}
	var out labels
	for _, key := range slices.Sorted(maps.Keys(d)) {
		field := fmt.Sprintf("%s[%.320s]", field, key)
		switch n := len(d[key]); {
		case n == 0:
			return nil, at(name, field, "write the values that it may have", "no node could have the label")
		case n > MaxEntries:
			return nil, at(name, field, "split the binding", "%d entries, over the limit of %d", n, MaxEntries)
		}
		for _, v := range d[key] {
			filled := strings.NewReplacer(capture, "x", "*", "x").Replace(v.value)
			if err := model.ValidateLabels("", "", map[string]string{key: filled}); err != nil {
				return nil, at(v, field, "write a value that a label may have, with * for any part of it and {node} for the node's id", "%.320q is no label of a node", key+"="+v.value)
			}
		}
		if out == nil {
			out = labels{}
		}
		out[key] = values(d[key])
	}
	return out, nil
}

// of are the values of a key for a node.
func (l labels) of(key, node string) []string {
	var out []string
	for _, pattern := range l[key] {
		out = append(out, strings.ReplaceAll(pattern, capture, node))
	}
	return out
}

// wrong is the first key, in their order, for which a node says what it may not; empty: there is none.
func (l labels) wrong(node string, said map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(l)) {
		value, says := said[key]
		if !says || !slices.ContainsFunc(l[key], func(pattern string) bool { return labelFits(pattern, node, value) }) {
			return key
		}
	}
	return ""
}

// labelFits says whether a value fits a pattern. Nothing in the id of a node is taken for a pattern: an id may have stars in it, and then fits no value.
func labelFits(pattern, node, value string) bool {
	if strings.Contains(pattern, capture) && strings.ContainsAny(node, `*?[]\`) {
		return false
	}
	ok, _ := path.Match(strings.ReplaceAll(pattern, capture, node), value) // else it has what a label may have, and stars
	return ok
}

// words say what a node must be labelled with, by one key.
func (l labels) words(key, node string) string {
	return key + "=" + strings.Join(l.of(key, node), " or ")
}
