package descriptors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waft-project/waft/distributor/model"
)

// patchMember may stand in an item of a list that is merged by key, see package merge.
const patchMember = "$patch"

// Normalize checks the fields of a message as a layer gives them, whole or in part, and gives them with each field under its JSON name, as canonical JSON. Nothing is left out
// that was written: not what is a default in protobuf, which a layer may mean to set, and not null, which takes away what is under it. In lists, by path, an item may say that it is taken away.
// Errors are *model.JSONError.
func (s *Set) Normalize(message string, fields json.RawMessage, lists []model.ListKey) (json.RawMessage, error) {
	mt, err := s.find(message)
	if err != nil {
		return nil, &model.JSONError{Message: message + " is not known"}
	}
	value, err := decode(fields)
	if err != nil {
		return nil, err
	}
	w := walker{set: s, lists: lists}
	out, err := w.embedded(mt.Descriptor(), value, place{})
	if err != nil {
		return nil, err
	}
	normal, err := model.CanonicalOf(out)
	if err != nil {
		return nil, err
	}
	// Each field fits by itself; what they are together (two of one oneof) is seen in the whole.
	whole, err := json.Marshal(withoutPatches(out))
	if err != nil {
		return nil, err
	}
	_, err = s.unmarshal(mt, whole)
	return normal, err
}

// Marshal gives the bytes of a whole message. Errors are *model.JSONError; they say what does not fit, or which rule of the message's own (protoc-gen-validate) it breaks.
func (s *Set) Marshal(message string, fields json.RawMessage) ([]byte, error) {
	mt, err := s.find(message)
	if err != nil {
		return nil, &model.JSONError{Message: message + " is not known"}
	}
	m, err := s.unmarshal(mt, fields)
	if err != nil {
		return nil, err
	}
	if checked, ok := m.(interface{ ValidateAll() error }); ok {
		if err := checked.ValidateAll(); err != nil {
			return nil, &model.JSONError{Message: err.Error()}
		}
	}
	out, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, &model.JSONError{Message: err.Error()}
	}
	return out, nil
}

// unmarshal reads fields as they stand in the JSON form of an Any: those of a message that has a JSON form of its own are under "value".
func (s *Set) unmarshal(mt protoreflect.MessageType, fields json.RawMessage) (proto.Message, error) {
	if isSpecial(mt.Descriptor()) {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(fields, &members); err != nil {
			return nil, &model.JSONError{Message: err.Error()}
		}
		fields = members[model.OpaqueMember]
	}
	m := mt.New().Interface()
	if err := (protojson.UnmarshalOptions{Resolver: s.types, AllowPartial: true}).Unmarshal(fields, m); err != nil {
		return nil, &model.JSONError{Message: plain(err)}
	}
	return m, nil
}

// position is where protojson found something, in a text that nobody has written.
var position = regexp.MustCompile(`^proto:[ \x{a0}]+(\(line [0-9]+:[0-9]+\): )?`)

func plain(err error) string { return position.ReplaceAllString(err.Error(), "") }

func decode(text json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, &model.JSONError{Message: "not JSON: " + err.Error()}
	}
	return v, nil
}

// isSpecial says whether a message has a JSON form that is not its fields.
func isSpecial(md protoreflect.MessageDescriptor) bool {
	if md.ParentFile().Package() != "google.protobuf" {
		return false
	}
	switch md.Name() {
	case "Any", "Timestamp", "Duration", "Struct", "Value", "ListValue", "FieldMask",
		"DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue":
		return true
	}
	return false
}

// walker goes through a value beside its descriptor.
type walker struct {
	set   *Set
	lists []model.ListKey
	// inline is told of the places of sensitive values that stand in the message; nil: nobody asks.
	inline func(place)
}

// place is where it is: at for people, in as lists are declared.
type place struct{ at, in string }

func (p place) member(name string) place {
	return place{at: strings.TrimPrefix(p.at+"."+name, "."), in: strings.TrimPrefix(p.in+"."+name, ".")}
}

func (p place) item(i int) place { return place{at: fmt.Sprintf("%s[%d]", p.at, i), in: p.in + "[]"} }

func fail(p place, format string, args ...any) error {
	return &model.JSONError{Path: p.at, Message: fmt.Sprintf(format, args...)}
}

// embedded is a message as it stands in an Any.
func (w walker) embedded(md protoreflect.MessageDescriptor, value any, p place) (any, error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, fail(p, "want an object with the fields of %s", md.FullName())
	}
	if !isSpecial(md) {
		return w.message(md, members, p)
	}
	body, there := members[model.OpaqueMember]
	if !there || len(members) != 1 {
		return nil, fail(p, "a %s stands under %q, and nothing beside it", md.FullName(), model.OpaqueMember)
	}
	inner, err := w.value(md, body, p.member(model.OpaqueMember))
	return map[string]any{model.OpaqueMember: inner}, err
}

// value is a message as a field's value.
func (w walker) value(md protoreflect.MessageDescriptor, value any, p place) (any, error) {
	if md.FullName() == "google.protobuf.Any" {
		return w.any(value, p)
	}
	if isSpecial(md) {
		return value, w.fits(md, value, p)
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, fail(p, "want an object with the fields of %s", md.FullName())
	}
	return w.message(md, members, p)
}

func (w walker) any(value any, p place) (any, error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, fail(p, "want an object with %s", model.TypeMember)
	}
	url, _ := members[model.TypeMember].(string)
	if url == "" {
		return nil, fail(p.member(model.TypeMember), "is missing: the message may be of any type")
	}
	mt, err := w.set.types.FindMessageByURL(url)
	if err != nil {
		return nil, fail(p.member(model.TypeMember), "%.200q is not known: neither waft has it in itself, nor the descriptor set; register one with it (waft types register)", url)
	}
	rest := maps.Clone(members)
	delete(rest, model.TypeMember)
	inner, err := w.embedded(mt.Descriptor(), rest, p)
	if err != nil {
		return nil, err
	}
	out, _ := inner.(map[string]any) // embedded gives objects
	out[model.TypeMember] = url
	return out, nil
}

func (w walker) message(md protoreflect.MessageDescriptor, members map[string]any, p place) (any, error) {
	out := make(map[string]any, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if strings.HasPrefix(name, "[") { // an extension: by its full name, which is the only one
			out[name] = members[name]
			continue
		}
		if name == patchMember && w.keyed(p) {
			out[name] = members[name]
			continue
		}
		fd := md.Fields().ByJSONName(name)
		if fd == nil {
			fd = md.Fields().ByTextName(name)
		}
		if fd == nil {
			return nil, fail(p.member(name), "%s has no such field; there are %s", md.FullName(), fieldNames(md))
		}
		json := fd.JSONName()
		if _, twice := out[json]; twice {
			return nil, fail(p.member(json), "given twice, as %s and as %s", json, fd.Name())
		}
		value, err := w.field(fd, members[name], p.member(json))
		if err != nil {
			return nil, err
		}
		out[json] = value
	}
	return out, nil
}

// keyed says whether what stands here is an item of a list that is merged by key.
func (w walker) keyed(p place) bool {
	list, ok := strings.CutSuffix(p.in, "[]")
	return ok && slices.ContainsFunc(w.lists, func(l model.ListKey) bool { return l.Path == list })
}

func fieldNames(md protoreflect.MessageDescriptor) string {
	const most = 40
	var names []string
	for i := range md.Fields().Len() {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, md.Fields().Get(i).JSONName())
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func (w walker) field(fd protoreflect.FieldDescriptor, value any, p place) (any, error) {
	if value == nil {
		return nil, nil // takes away what is under it
	}
	w.findInline(fd, value, p)
	switch {
	case fd.IsMap() && fd.MapValue().Message() != nil:
		members, ok := value.(map[string]any)
		if !ok {
			return nil, fail(p, "want an object, whose members are %s", fd.MapValue().Message().FullName())
		}
		out := make(map[string]any, len(members))
		for _, key := range slices.Sorted(maps.Keys(members)) {
			if members[key] == nil {
				out[key] = nil
				continue
			}
			inner, err := w.value(fd.MapValue().Message(), members[key], p.member(key))
			if err != nil {
				return nil, err
			}
			out[key] = inner
		}
		return out, nil
	case fd.IsMap():
		// Members may be taken away one by one; what is left must fit.
		left, ok := value.(map[string]any)
		if !ok {
			return nil, fail(p, "want an object")
		}
		left = maps.Clone(left)
		maps.DeleteFunc(left, func(_ string, v any) bool { return v == nil })
		return value, w.fieldFits(fd, left, p)
	case fd.IsList() && fd.Message() != nil:
		items, ok := value.([]any)
		if !ok {
			return nil, fail(p, "want a list of %s", fd.Message().FullName())
		}
		out := make([]any, 0, len(items))
		for i, item := range items {
			inner, err := w.value(fd.Message(), item, p.item(i))
			if err != nil {
				return nil, err
			}
			out = append(out, inner)
		}
		return out, nil
	case !fd.IsList() && fd.Message() != nil:
		return w.value(fd.Message(), value, p)
	}
	return value, w.fieldFits(fd, value, p)
}

// fits says whether a message with a JSON form of its own can be read.
func (w walker) fits(md protoreflect.MessageDescriptor, value any, p place) error {
	mt, err := w.set.types.FindMessageByName(md.FullName())
	if err != nil {
		return fail(p, "%s is not known", md.FullName())
	}
	text, err := json.Marshal(value)
	if err == nil {
		err = (protojson.UnmarshalOptions{Resolver: w.set.types}).Unmarshal(text, mt.New().Interface())
	}
	if err != nil {
		return fail(p, "%s", plain(err))
	}
	return nil
}

// fieldFits says whether a field without messages in it can be read.
func (w walker) fieldFits(fd protoreflect.FieldDescriptor, value any, p place) error {
	mt, err := w.set.types.FindMessageByName(fd.ContainingMessage().FullName())
	if err != nil {
		return fail(p, "%s is not known", fd.ContainingMessage().FullName())
	}
	text, err := json.Marshal(map[string]any{fd.JSONName(): value})
	if err == nil {
		err = (protojson.UnmarshalOptions{Resolver: w.set.types, AllowPartial: true}).Unmarshal(text, mt.New().Interface())
	}
	if err != nil {
		return fail(p, "%s", plain(err))
	}
	return nil
}

// withoutPatches is a value without items that are taken away, and without the word for it.
func withoutPatches(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, child := range v {
			if name != patchMember && child != nil {
				out[name] = withoutPatches(child)
			}
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if object, ok := item.(map[string]any); !ok || object[patchMember] == nil {
				out = append(out, withoutPatches(item))
			}
		}
		return out
	}
	return value
}

// CheckLists says whether a message has the lists, and their items the keys; nil where it does. Paths are as in model.ListKey.
func (s *Set) CheckLists(message string, lists []model.ListKey) error {
	mt, err := s.find(message)
	if err != nil {
		return errors.New(message + " is not known")
	}
	for _, l := range lists {
		md := mt.Descriptor()
		parts := strings.Split(l.Path, ".")
		for i, part := range parts {
			name, inside := strings.CutSuffix(part, "[]")
			fd := md.Fields().ByJSONName(name)
			switch {
			case fd == nil:
				return fmt.Errorf("%s: %s has no field %s (by its JSON name); there are %s", l.Path, md.FullName(), name, fieldNames(md))
			case fd.Message() == nil || fd.IsMap():
				return fmt.Errorf("%s: %s of %s is no message and no list of messages", l.Path, name, md.FullName())
			case i < len(parts)-1 && fd.IsList() != inside:
				return fmt.Errorf("%s: write [] behind a list, and only there: %s of %s", l.Path, name, md.FullName())
			case i == len(parts)-1 && !fd.IsList():
				return fmt.Errorf("%s: %s of %s is no list", l.Path, name, md.FullName())
			}
			md = fd.Message()
		}
		// Numbers and enums may be spelled in several ways in JSON, and items of one key would pass for different ones.
		if key := md.Fields().ByJSONName(l.Key); key == nil || key.IsList() || key.Kind() != protoreflect.StringKind && key.Kind() != protoreflect.BoolKind {
			return fmt.Errorf("%s: %s has no field %s that is a string or a boolean", l.Path, md.FullName(), l.Key)
		}
	}
	return nil
}
