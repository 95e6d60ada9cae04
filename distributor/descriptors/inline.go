package descriptors

import (
	"encoding/json"
	"maps"
	"slices"

	udpa "github.com/cncf/xds/go/udpa/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waft-project/waft/distributor/model"
)

// dataSource is the message by which Envoy's say where a value is: in a file, in a variable of the environment, or in themselves.
const dataSource = "envoy.config.core.v3.DataSource"

// InlineSecrets are the paths of values in a message, whole or in part as Normalize gives it, which Envoy holds to be sensitive (private keys, their passwords, session ticket keys, generic secrets)
// and which stand in the message itself instead of in a file or in the environment of whoever reads it. None for what is no such message.
func (s *Set) InlineSecrets(message string, fields json.RawMessage, lists []model.ListKey) []string {
	mt, err := s.find(message)
	if err != nil {
		return nil
	}
	value, err := decode(fields)
	if err != nil {
		return nil
	}
	var found []string
	w := walker{set: s, lists: lists, inline: func(p place) { found = append(found, p.at) }}
	_, _ = w.embedded(mt.Descriptor(), value, place{}) // what does not fit is for Normalize to say
	return found
}

// findInline tells of what stands inline in a sensitive field.
func (w walker) findInline(fd protoreflect.FieldDescriptor, value any, p place) {
	if w.inline == nil {
		return
	}
	md := fd.Message()
	if fd.IsMap() {
		md = fd.MapValue().Message()
	}
	if md == nil || md.FullName() != dataSource || !sensitive(fd) {
		return
	}
	switch {
	case fd.IsMap():
		members, _ := value.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(members)) {
			w.inlineIn(members[key], p.member(key))
		}
	case fd.IsList():
		items, _ := value.([]any)
		for i, item := range items {
			w.inlineIn(item, p.item(i))
		}
	default:
		w.inlineIn(value, p)
	}
}

func (w walker) inlineIn(value any, p place) {
	members, _ := value.(map[string]any)
	for _, name := range []string{"inlineString", "inlineBytes"} {
		if text, _ := members[name].(string); text != "" {
			w.inline(p.member(name))
		}
	}
}

// sensitive says whether Envoy's own descriptors say so of a field; where others are registered for its messages, those of the message that waft has in itself count as well.
func sensitive(fd protoreflect.FieldDescriptor) bool {
	marked := func(fd protoreflect.FieldDescriptor) bool {
		is, _ := proto.GetExtension(fd.Options(), udpa.E_Sensitive).(bool)
		return is
	}
	if marked(fd) {
		return true
	}
	own, err := Linked().find(string(fd.ContainingMessage().FullName()))
	if err != nil {
		return false
	}
	same := own.Descriptor().Fields().ByName(fd.Name())
	return same != nil && marked(same)
}
