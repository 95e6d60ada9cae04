package service

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Messages understands protobuf messages by their descriptors. An implementation may be used concurrently.
type Messages interface {
	// Linked are the messages that need no registration: those of Envoy's resources, and protobuf's own.
	Linked() MessageSet
	// Parse reads a serialized descriptor set that comes from a stranger; the error says what is wrong with it.
	Parse(set []byte) (MessageSet, error)
}

// MessageSet is the messages of one descriptor set. It does not change, and may be used concurrently. Errors are *model.JSONError where they are about a value.
type MessageSet interface {
	// Defines are the full names of the messages of the set, sorted, each with the description of the file that it is from: sets that agree about a message have the same.
	// None for those that are linked.
	Defines() []DefinedMessage
	// Has says whether it can read a message of that full name.
	Has(message string) bool
	// Normalize checks the fields of a message, whole or as a layer gives a part of them, and gives them in the one spelling that can be merged. In lists, which are merged by key, an item
	// may say that it is taken away.
	Normalize(message string, fields json.RawMessage, lists []model.ListKey) (json.RawMessage, error)
	// InlineSecrets are the paths of values in normal fields that are sensitive and stand there as they are.
	InlineSecrets(message string, fields json.RawMessage, lists []model.ListKey) []string
	// Marshal checks a whole message and gives its bytes, always the same for the same fields.
	Marshal(message string, fields json.RawMessage) ([]byte, error)
	// CheckLists says which of the lists a message does not have; nil where it has all.
	CheckLists(message string, lists []model.ListKey) error
}

// DefinedMessage is a message that a descriptor set defines.
type DefinedMessage struct {
	Name string
	File []byte
}

// noMessages knows none: all resources are opaque.
type noMessages struct{}

func (noMessages) Linked() MessageSet { return noSet{} }
func (noMessages) Parse([]byte) (MessageSet, error) {
	return nil, errors.New("this distributor reads no descriptors")
}

type noSet struct{}

func (noSet) Defines() []DefinedMessage { return nil }
func (noSet) Has(string) bool           { return false }
func (noSet) InlineSecrets(string, json.RawMessage, []model.ListKey) []string {
	return nil
}
func (noSet) CheckLists(message string, _ []model.ListKey) error {
	return errors.New(message + " is not known")
}
func (noSet) Marshal(message string, _ json.RawMessage) ([]byte, error) {
	return nil, errUnknownMessage(message)
}
func (noSet) Normalize(message string, _ json.RawMessage, _ []model.ListKey) (json.RawMessage, error) {
	return nil, errUnknownMessage(message)
}

func errUnknownMessage(message string) error {
	return &model.JSONError{Message: message + " is not known"}
}

// setOf is a descriptor set by its digest; empty means those that are linked. It is read once, and kept: the store never removes one, and there are few.
func (s *Service) setOf(ctx context.Context, digest string) (MessageSet, error) {
	if digest == "" {
		return s.messages.Linked(), nil
	}
	s.mu.Lock()
	set := s.sets[digest]
	s.mu.Unlock()
	if set != nil {
		return set, nil
	}
	content, err := s.store.GetDescriptors(ctx, digest)
	if err != nil {
		return nil, err
	}
	if set, err = s.messages.Parse(content); err != nil {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: "descriptors/" + digest, Message: "cannot be read: " + err.Error(), Next: "use the waft that registered it, or a newer one", Cause: err}
	}
	s.mu.Lock()
	s.sets[digest] = set
	s.mu.Unlock()
	return set, nil
}

// needSets reads the descriptor sets by which a release's resources are understood, so that it can be rendered.
func (s *Service) needSets(ctx context.Context, r model.Release) error {
	for _, resources := range [...][]model.ResourceSpec{r.Resources, r.ResourceOverrides} {
		for _, one := range resources {
			if one.Descriptors == "" {
				continue
			}
			if _, err := s.setOf(ctx, one.Descriptors); err != nil {
				return fmt.Errorf("release/%s: %w", r.ID, err)
			}
		}
	}
	return nil
}

// marshal gives the resources of a rendered chain their bytes; mu is held. Their sets have been read (needSets).
func (s *Service) marshal(chain *model.Chain) error {
	var problems []error
	for i := range chain.Resources {
		r := &chain.Resources[i]
		if r.IsOpaque() {
			r.Bytes = r.Opaque
			continue
		}
		object := "resource/" + r.Key()
		set := s.messages.Linked()
		if r.Descriptors != "" {
			if set = s.sets[r.Descriptors]; set == nil {
				return fmt.Errorf("%s: its descriptors %s are not loaded", object, r.Descriptors)
			}
		}
		bytes, err := set.Marshal(r.Message(), r.Fields)
		if err != nil {
			problems = append(problems, misfitResource(object, "spec", "correct it in a layer that gives it", err))
			continue
		}
		r.Bytes = bytes
	}
	return errors.Join(problems...)
}

// misfitResource says where a resource does not fit its type.
func misfitResource(object, field, next string, err error) error {
	told := model.Invalidf(object, field, next, "%v", err)
	if at, ok := errors.AsType[*model.JSONError](err); ok {
		told.Message = at.Message
		switch {
		case strings.HasPrefix(at.Path, "["):
			told.Field += at.Path
		case at.Path != "":
			told.Field += "." + at.Path
		}
	}
	told.Cause = err
	return told
}

// typing is what bodies are read by while one request is served: what is registered and declared at that moment.
type typing struct {
	service  *Service
	types    []model.TypeSet
	declared map[string]model.DeclaredCollection
}

func (s *Service) typing(ctx context.Context) (*typing, error) {
	types, err := s.store.ListTypes(ctx)
	if err != nil {
		return nil, err
	}
	declarations, err := s.store.ListDeclarations(ctx)
	if err != nil {
		return nil, err
	}
	t := &typing{service: s, types: types, declared: map[string]model.DeclaredCollection{}}
	for _, d := range declarations {
		t.declared[d.Name] = d
	}
	return t, nil
}

// lookup finds the set by which a message is read, and its digest, which is empty for those that are linked; nil where nobody knows it. What is registered goes before what
// is linked: whoever registers Envoy's own messages means those of the Envoy that they run.
func (t *typing) lookup(ctx context.Context, message string) (MessageSet, string, error) {
	for _, registered := range t.types {
		for _, name := range registered.Messages {
			if name == message {
				set, err := t.service.setOf(ctx, registered.Digest)
				return set, registered.Digest, err
			}
		}
	}
	if linked := t.service.messages.Linked(); linked.Has(message) {
		return linked, "", nil
	}
	return nil, "", nil
}

// body reads what a person wrote of a resource: by its type where that is known, and else as an opaque message. at is the path of the resource's document.
func (t *typing) body(ctx context.Context, object, at, collection, name string, text json.RawMessage) (model.ResourceBody, error) {
	field := at + "spec"
	url, members, err := model.SplitBody(object, field, text)
	if err != nil {
		return model.ResourceBody{}, err
	}
	body := model.ResourceBody{Type: url}
	if fixed := model.EnvoyType(collection); fixed != "" && body.Message() != fixed {
		return body, model.Invalidf(object, field+"."+model.TypeMember, "write "+model.TypeURLPrefix+fixed, "%s holds nothing else", collection)
	}
	declared := t.declared[collection]
	if declared.Type != "" && declared.Type != body.Message() {
		return body, model.Invalidf(object, field+"."+model.TypeMember, "write "+model.TypeURLPrefix+declared.Type+", or change the declaration of the collection",
			"the collection %s is declared to hold %s", collection, declared.Type)
	}
	set, digest, err := t.lookup(ctx, body.Message())
	if err != nil {
		return body, err
	}
	if set == nil {
		body.Opaque, err = opaque(members)
		if err != nil {
			return body, model.Invalidf(object, field+"."+model.TypeMember,
				"register it with `waft types register NAME -f set.binpb`, or give the message as it is: {\"@type\": …, \"value\": BASE64}",
				"%s is not known, so that its fields cannot be read", body.Message())
		}
		return body, nil
	}
	if members, err = nameFor(object, field, collection, name, members); err != nil {
		return body, err
	}
	body.Descriptors = digest
	if body.Fields, err = set.Normalize(body.Message(), members, declared.Lists); err != nil {
		return body, misfitResource(object, field, "correct it", err)
	}
	if t.service.inlineSecrets {
		return body, nil
	}
	if found := set.InlineSecrets(body.Message(), body.Fields, declared.Lists); len(found) > 0 {
		return body, model.Invalidf(object, field+"."+found[0],
			"name a file where Envoy runs instead ({filename: /PATH}), or a variable of its environment ({environmentVariable: NAME}); whoever runs the distributor may allow it (waft serve --allow-inline-secrets)",
			"a secret stands in the resource, which is stored as it is, and shown to whoever may see anything, in differences and in backups, too")
	}
	return body, nil
}

// opaque is the message in {"value": BASE64}.
func opaque(members json.RawMessage) ([]byte, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(members, &given); err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(given[model.OpaqueMember], &text); err != nil || len(given) != 1 {
		return nil, errors.New("not opaque")
	}
	return base64.StdEncoding.DecodeString(text)
}

// nameFor sees to it that a resource of Envoy's has in its message the name that it goes by: Envoy takes none that is called otherwise.
func nameFor(object, field, collection, name string, members json.RawMessage) (json.RawMessage, error) {
	member := model.EnvoyNameMember(collection)
	if member == "" {
		return members, nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(members, &given); err != nil {
		return nil, err
	}
	for _, spelled := range []string{member, model.EnvoyNameMemberInProto(collection)} {
		raw, there := given[spelled]
		if !there {
			continue
		}
		var said string
		if err := json.Unmarshal(raw, &said); err != nil || said != name {
			return nil, model.Invalidf(object, field+"."+spelled, "leave it out, or write "+name, "Envoy knows the resource by this name, and it is called %s here", name)
		}
		return members, nil
	}
	text, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	given[member] = text
	return model.CanonicalOf(given)
}
