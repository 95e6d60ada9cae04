package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// APIVersion is the apiVersion of the documents that this version reads and writes.
const APIVersion = "waft.dev/v1"

// The kinds of document.
const (
	KindRelease    = "Release"
	KindRollout    = "Rollout"
	KindResource   = "Resource"
	KindCollection = "Collection"
)

// durations are the string fields that hold a Go duration.
var durations = map[protoreflect.FullName]bool{
	"waft.v1.Wave.soak":     true,
	"waft.v1.Wave.deadline": true,
}

// DecodeDocument reads one YAML or JSON document of kind Release, Rollout, Resource or Collection into its message. It is strict: a field that
// does not exist, is there twice or has the wrong type is an error with the field's path and the line; so is a number in
// a configuration that JSON readers would round. status is written by the distributor and is left out, so that what
// `show -o yaml` prints can be changed and given back.
//
// Limits: MaxDocumentBytes, MaxDocumentDepth, MaxDocumentNodes. Errors are *model.Error of kind model.ErrInvalid.
func DecodeDocument(document []byte) (proto.Message, error) {
	if len(document) > MaxDocumentBytes {
		return nil, model.Invalidf("", "", "split it or take large values out of it",
			"the document has %d bytes; the limit is %d", len(document), MaxDocumentBytes)
	}
	root, err := parse(document)
	if err != nil {
		return nil, err
	}
	return decodeRoot(root)
}

// decodeRoot reads the root mapping of a document.
func decodeRoot(root *yaml.Node) (proto.Message, error) {
	into, err := kindOf(root)
	if err != nil {
		return nil, err
	}
	w := &walker{}
	value, err := w.message(root, into.ProtoReflect().Descriptor(), "", 0)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, model.Invalidf("", "", "", "the document cannot be read: %v", err)
	}
	if err := protojson.Unmarshal(raw, into); err != nil {
		return nil, model.Invalidf("", "", "", "the document cannot be read: %v", err)
	}
	return into, nil
}

// parse gives the root mapping of the only document in the text.
func parse(document []byte) (*yaml.Node, error) {
	if json.Valid(document) {
		document = joinSurrogates(document)
	}
	d := yaml.NewDecoder(bytes.NewReader(document))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, model.Invalidf("", "", "write apiVersion, kind, metadata and spec", "the document is empty")
	case err != nil:
		return nil, model.Invalidf("", "", "correct the syntax", "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, model.Invalidf("", "", "put each document into a file of its own", "there is more than one document")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, model.Invalidf("", "", "write apiVersion, kind, metadata and spec", "the document is not a mapping")
	}
	return doc.Content[0], nil
}

// joinSurrogates replaces pairs of escapes (\ud83d\ude00) in a JSON text by the character that they stand for: YAML reads
// all of JSON but these.
func joinSurrogates(text []byte) []byte {
	const escape = len(`\ud83d`)
	rest, out := text, make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 || i+1 >= len(rest) {
			return append(out, rest...)
		}
		out, rest = append(out, rest[:i]...), rest[i:]
		if r := utf16.DecodeRune(escaped(rest), escaped(rest[min(escape, len(rest)):])); r != utf8.RuneError {
			out, rest = utf8.AppendRune(out, r), rest[2*escape:]
			continue
		}
		out, rest = append(out, rest[:2]...), rest[2:] // the character after the backslash may be one itself
	}
}

// escaped is the code unit of the escape \uXXXX that text begins with, or 0.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// kindOf makes an empty message of the document's kind.
func kindOf(root *yaml.Node) (proto.Message, error) {
	var version, kind string
	for i := 0; i+1 < len(root.Content); i += 2 {
		switch root.Content[i].Value {
		case "apiVersion":
			version = root.Content[i+1].Value
		case "kind":
			kind = root.Content[i+1].Value
		}
	}
	if version != APIVersion {
		return nil, model.Invalidf("", "apiVersion", "write apiVersion: "+APIVersion, "%s", wrong(version, APIVersion))
	}
	switch kind {
	case KindRelease:
		return &waftv1.Release{}, nil
	case KindRollout:
		return &waftv1.Rollout{}, nil
	case KindResource:
		return &waftv1.Resource{}, nil
	case KindCollection:
		return &waftv1.Collection{}, nil
	}
	return nil, model.Invalidf("", "kind", "write kind: Release, Rollout, Resource or Collection", "%s", wrong(kind, "Release, Rollout, Resource or Collection"))
}

func wrong(have, want string) string {
	if have == "" {
		return "is missing; want " + want
	}
	return fmt.Sprintf("is %q; want %s", have, want)
}

// walker turns YAML nodes into JSON values under the eyes of the message descriptors.
type walker struct {
	nodes int
	// open holds the aliases being replaced, so that one that contains itself is found.
	open []*yaml.Node
}

func invalid(n *yaml.Node, path, next, format string, args ...any) error {
	return model.Invalidf("", path, next, "line %d: %s", n.Line, fmt.Sprintf(format, args...))
}

// enter counts a node and replaces an alias by what it stands for; the function returned ends it.
func (w *walker) enter(n *yaml.Node, path string, depth int) (*yaml.Node, func(), error) {
	if w.nodes++; w.nodes > MaxDocumentNodes {
		return nil, nil, invalid(n, path, "write it with fewer aliases", "the document holds more than %d values", MaxDocumentNodes)
	}
	if depth > MaxDocumentDepth {
		return nil, nil, invalid(n, path, "", "nested deeper than %d", MaxDocumentDepth)
	}
	if n.Kind != yaml.AliasNode {
		return n, func() {}, nil
	}
	for _, o := range w.open {
		if o == n.Alias {
			return nil, nil, invalid(n, path, "", "the alias *%s contains itself", n.Value)
		}
	}
	w.open = append(w.open, n.Alias)
	return n.Alias, func() { w.open = w.open[:len(w.open)-1] }, nil
}

// kindName is a node's type in words that a person uses.
func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "the date " + n.Value
	}
	return strconv.Quote(n.Value)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// entries goes through a mapping; keys are strings and each is there once.
func entries(n *yaml.Node, path string, visit func(key, value *yaml.Node) error) error {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			return invalid(key, path, "write the fields out", "merge keys (<<) are not read")
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			return invalid(key, path, "put it in quotes", "the key %s is not a string", kindName(key))
		}
		if line, twice := seen[key.Value]; twice {
			return invalid(key, join(path, key.Value), "leave one of them out", "is there already on line %d", line)
		}
		seen[key.Value] = key.Line
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) message(n *yaml.Node, md protoreflect.MessageDescriptor, path string, depth int) (any, error) {
	switch md.FullName() {
	case "google.protobuf.Value":
		return w.value(n, path, depth)
	case "google.protobuf.Timestamp":
		return w.text(n, path, depth)
	}
	n, leave, err := w.enter(n, path, depth)
	if err != nil {
		return nil, err
	}
	defer leave()
	if n.Kind != yaml.MappingNode {
		return nil, invalid(n, path, "", "want a mapping with %s, not %s", fieldNames(md), kindName(n))
	}
	out := map[string]any{}
	return out, entries(n, path, func(key, value *yaml.Node) error {
		fd := md.Fields().ByJSONName(key.Value)
		if fd == nil {
			return unknownField(key, md, path)
		}
		if depth == 0 && fd.Name() == "status" {
			return nil
		}
		if value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null" && !isValue(fd) {
			if fd.IsList() {
				// Most likely its items were forgotten, or are not indented as they should be.
				return invalid(value, join(path, key.Value), "write its items, or [] for none", "want a list, not nothing")
			}
			return nil // the same as leaving it out
		}
		v, err := w.field(value, fd, join(path, key.Value), depth+1)
		out[key.Value] = v
		return err
	})
}

func isValue(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Value"
}

func unknownField(key *yaml.Node, md protoreflect.MessageDescriptor, path string) error {
	next := "leave it out; there are " + fieldNames(md)
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	for i := range md.Fields().Len() {
		if name := md.Fields().Get(i).JSONName(); plain(name) == plain(key.Value) {
			next = "write " + name
		}
	}
	return invalid(key, join(path, key.Value), next, "no such field")
}

func fieldNames(md protoreflect.MessageDescriptor) string {
	var names []string
	for i := range md.Fields().Len() {
		if name := md.Fields().Get(i).JSONName(); name != "status" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (w *walker) field(n *yaml.Node, fd protoreflect.FieldDescriptor, path string, depth int) (any, error) {
	switch {
	case fd.IsMap():
		n, leave, err := w.enter(n, path, depth)
		if err != nil {
			return nil, err
		}
		defer leave()
		if n.Kind != yaml.MappingNode {
			return nil, invalid(n, path, "", "want a mapping, not %s", kindName(n))
		}
		out := map[string]any{}
		return out, entries(n, path, func(key, value *yaml.Node) error {
			v, err := w.single(value, fd.MapValue(), join(path, key.Value), depth+1)
			out[key.Value] = v
			return err
		})
	case fd.IsList():
		n, leave, err := w.enter(n, path, depth)
		if err != nil {
			return nil, err
		}
		defer leave()
		if n.Kind != yaml.SequenceNode {
			return nil, invalid(n, path, "", "want a list, not %s", kindName(n))
		}
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			v, err := w.single(item, fd, fmt.Sprintf("%s[%d]", path, i), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	return w.single(n, fd, path, depth)
}

func (w *walker) single(n *yaml.Node, fd protoreflect.FieldDescriptor, path string, depth int) (any, error) {
	if fd.Message() != nil {
		return w.message(n, fd.Message(), path, depth)
	}
	switch fd.Kind() {
	case protoreflect.StringKind:
		s, err := w.text(n, path, depth)
		if err == nil && durations[fd.FullName()] {
			err = checkDuration(n, s, path)
		}
		return s, err
	case protoreflect.EnumKind:
		return w.enum(n, fd.Enum(), path, depth)
	case protoreflect.BytesKind:
		return w.bytes(n, path, depth)
	}
	n, leave, err := w.enter(n, path, depth)
	if err != nil {
		return nil, err
	}
	defer leave()
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode {
		tag = ""
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		var v bool
		if tag == "!!bool" && n.Decode(&v) == nil {
			return v, nil
		}
		return nil, invalid(n, path, "", "want true or false, not %s", kindName(n))
	case protoreflect.Int32Kind:
		var v int32
		if tag == "!!int" && n.Decode(&v) == nil {
			return v, nil
		}
		return nil, invalid(n, path, "", "want a whole number of at most 32 bits, not %s", kindName(n))
	case protoreflect.Int64Kind:
		var v int64
		if tag == "!!int" && n.Decode(&v) == nil {
			return v, nil
		}
		if tag == "!!str" { // how JSON writes numbers of 64 bits
			if v, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
				return v, nil
			}
		}
		return nil, invalid(n, path, "", "want a whole number of at most 64 bits, not %s", kindName(n))
	case protoreflect.DoubleKind:
		var v float64
		if (tag == "!!int" || tag == "!!float") && n.Decode(&v) == nil && finite(v) {
			return v, nil
		}
		return nil, invalid(n, path, "", "want a number, not %s", kindName(n))
	}
	return nil, invalid(n, path, "", "fields of type %s cannot be written in a document", fd.Kind())
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func (w *walker) text(n *yaml.Node, path string, depth int) (string, error) {
	n, leave, err := w.enter(n, path, depth)
	if err != nil {
		return "", err
	}
	defer leave()
	if n.Kind != yaml.ScalarNode {
		return "", invalid(n, path, "", "want a string, not %s", kindName(n))
	}
	if n.ShortTag() != "!!str" {
		return "", invalid(n, path, "put it in quotes", "want a string, not %s", kindName(n))
	}
	return n.Value, nil
}

func checkDuration(n *yaml.Node, s, path string) error {
	if d, err := time.ParseDuration(s); err != nil || d < 0 {
		return invalid(n, path, "", "want a duration such as 30s or 2m, not %q", s)
	}
	return nil
}

func (w *walker) enum(n *yaml.Node, ed protoreflect.EnumDescriptor, path string, depth int) (string, error) {
	s, err := w.text(n, path, depth)
	if err != nil {
		return "", err
	}
	if v := ed.Values().ByName(protoreflect.Name(s)); v != nil && v.Number() != 0 {
		return s, nil
	}
	var names []string
	for i := range ed.Values().Len() {
		if v := ed.Values().Get(i); v.Number() != 0 {
			names = append(names, string(v.Name()))
		}
	}
	return "", invalid(n, path, "write one of "+strings.Join(names, ", ")+", or leave it out", "%q is no %s", s, ed.Name())
}

// value is a free JSON value: a filter's configuration.
func (w *walker) value(n *yaml.Node, path string, depth int) (any, error) {
	n, leave, err := w.enter(n, path, depth)
	if err != nil {
		return nil, err
	}
	defer leave()
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		return out, entries(n, path, func(key, value *yaml.Node) error {
			v, err := w.value(value, join(path, key.Value), depth+1)
			out[key.Value] = v
			return err
		})
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			v, err := w.value(item, fmt.Sprintf("%s[%d]", path, i), depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value, nil // a date without quotes is a text like any other
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		if err := n.Decode(&v); err != nil {
			return nil, invalid(n, path, "put it in quotes", "%q is neither true nor false", n.Value)
		}
		return v, nil
	case "!!int":
		var v int64
		if err := n.Decode(&v); err != nil || v > maxExactInteger || v < -maxExactInteger {
			return nil, invalid(n, path, "put it in quotes", "the number %s is beyond 2^53, where JSON readers round", n.Value)
		}
		return v, nil
	case "!!float":
		var v float64
		if err := n.Decode(&v); err != nil || !finite(v) {
			return nil, invalid(n, path, "put it in quotes", "the number %s does not exist in JSON", n.Value)
		}
		if math.Trunc(v) == v && math.Abs(v) > maxExactInteger && !strings.ContainsAny(n.Value, "eE") {
			return nil, invalid(n, path, "put it in quotes", "the number %s is beyond 2^53, where JSON readers round", n.Value)
		}
		return v, nil
	}
	return nil, invalid(n, path, "write a string, number, boolean, list or mapping", "values of type %s are not read", n.Tag)
}

// maxExactInteger is the largest integer up to which every JSON reader that uses float64 is exact.
const maxExactInteger = 1 << 53
