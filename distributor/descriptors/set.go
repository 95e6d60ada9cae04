package descriptors

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	_ "github.com/waft-project/waft/envoy" // links Envoy's resources, see envoy/resources.go
)

// Limits of a set.
const (
	// MaxSet is its size, in bytes: it is kept in the store.
	MaxSet = 512 << 10
	// maxFiles is how many files it may have.
	maxFiles = 4096
	// maxNames is how many bytes the full names of all that it declares may have together: each is kept, and holds those of what it stands in. A set of
	// MaxSet that somebody has written has a tenth of it.
	maxNames = 16 << 20
	// maxNesting is how deep messages may stand in one another.
	maxNesting = 32
)

// Set is the messages of some files. It does not change, and may be used concurrently. The zero value is not usable: see Linked and Parse.
type Set struct {
	types resolver
	own   []Message
}

// Message is one that a set defines.
type Message struct {
	// Name is its full name.
	Name string
	// File is the serialized descriptor of the file that defines it, without its comments: two sets that have a message from the same file agree about it.
	File []byte
}

// resolver finds types for protojson: in the set first, and then among those that are linked.
type resolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// Linked are the messages that waft has in itself: Envoy's resources, and those of protobuf (google.protobuf.Struct and others).
func Linked() *Set { return &Set{types: protoregistry.GlobalTypes} }

// Parse reads a serialized google.protobuf.FileDescriptorSet, as protoc -o and buf build write it. Files that it imports and does not hold are taken from those that are linked.
// The error says what is wrong with the set.
func Parse(text []byte) (*Set, error) {
	if len(text) > MaxSet {
		return nil, fmt.Errorf("it has %d bytes, and a descriptor set may have %d; leave out source information and files that are not imported", len(text), MaxSet)
	}
	var files descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(text, &files); err != nil {
		return nil, errors.New("it is no FileDescriptorSet; write one with protoc --include_imports -o, or buf build -o")
	}
	if len(files.GetFile()) == 0 || len(files.GetFile()) > maxFiles {
		return nil, fmt.Errorf("it has %d files, not 1 to %d", len(files.GetFile()), maxFiles)
	}
	given := map[string]bool{}
	for _, f := range files.GetFile() {
		if given[f.GetName()] {
			return nil, fmt.Errorf("it holds the file %.200q twice", f.GetName())
		}
		given[f.GetName()] = true
	}
	if err := boundNames(&files); err != nil {
		return nil, err
	}
	whole, err := withImports(&files)
	if err != nil {
		return nil, err
	}
	registry, err := protodesc.NewFiles(whole)
	if err != nil {
		return nil, fmt.Errorf("its files do not fit together: %w", err)
	}
	s := &Set{types: both{dynamicpb.NewTypes(registry), protoregistry.GlobalTypes}}
	for _, f := range files.GetFile() {
		if strings.HasPrefix(f.GetName(), "google/protobuf/") {
			continue // every set brings those along, and they are always the same
		}
		file, err := registry.FindFileByPath(f.GetName())
		if err != nil {
			return nil, fmt.Errorf("its file %.200q: %w", f.GetName(), err)
		}
		plain := proto.CloneOf(f)
		plain.SourceCodeInfo = nil
		content, err := proto.MarshalOptions{Deterministic: true}.Marshal(plain)
		if err != nil {
			return nil, fmt.Errorf("its file %.200q: %w", f.GetName(), err)
		}
		s.add(file.Messages(), content)
	}
	if len(s.own) == 0 {
		return nil, errors.New("it defines no message")
	}
	slices.SortFunc(s.own, func(a, b Message) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// boundNames looks at what a set declares before anything is made of it.
func boundNames(files *descriptorpb.FileDescriptorSet) error {
	total := 0
	names := func(in int, of ...string) error {
		for _, n := range of {
			if total += in + 1 + len(n); total > maxNames {
				return fmt.Errorf("the full names of what it declares have more than %d bytes; use shorter ones", maxNames)
			}
		}
		return nil
	}
	fields := func(in int, all []*descriptorpb.FieldDescriptorProto) error {
		for _, f := range all {
			if err := names(in, f.GetName()); err != nil {
				return err
			}
		}
		return nil
	}
	enums := func(in int, all []*descriptorpb.EnumDescriptorProto) error {
		for _, e := range all {
			if err := names(in, e.GetName()); err != nil {
				return err
			}
			for _, v := range e.GetValue() {
				if err := names(in, v.GetName()); err != nil { // values stand beside their enum
					return err
				}
			}
		}
		return nil
	}
	var messages func(in, depth int, all []*descriptorpb.DescriptorProto) error
	messages = func(in, depth int, all []*descriptorpb.DescriptorProto) error {
		if len(all) > 0 && depth > maxNesting {
			return fmt.Errorf("its messages stand in one another more than %d deep", maxNesting)
		}
		for _, m := range all {
			at := in + 1 + len(m.GetName())
			err := errors.Join(names(in, m.GetName()), fields(at, m.GetField()), fields(at, m.GetExtension()), enums(at, m.GetEnumType()))
			for _, o := range m.GetOneofDecl() {
				err = errors.Join(err, names(at, o.GetName()))
			}
			if err != nil {
				return err
			}
			if err := messages(at, depth+1, m.GetNestedType()); err != nil {
				return err
			}
		}
		return nil
	}
	for _, f := range files.GetFile() {
		in := len(f.GetPackage())
		if err := errors.Join(messages(in, 1, f.GetMessageType()), enums(in, f.GetEnumType()), fields(in, f.GetExtension())); err != nil {
			return err
		}
		for _, s := range f.GetService() {
			err := names(in, s.GetName())
			for _, m := range s.GetMethod() {
				err = errors.Join(err, names(in+1+len(s.GetName()), m.GetName()))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Set) add(messages protoreflect.MessageDescriptors, file []byte) {
	for i := range messages.Len() {
		m := messages.Get(i)
		if m.IsMapEntry() {
			continue
		}
		s.own = append(s.own, Message{Name: string(m.FullName()), File: file})
		s.add(m.Messages(), file)
	}
}

// withImports adds the linked files that are imported and not there.
func withImports(set *descriptorpb.FileDescriptorSet) (*descriptorpb.FileDescriptorSet, error) {
	whole := &descriptorpb.FileDescriptorSet{File: slices.Clone(set.GetFile())}
	have := map[string]bool{}
	for _, f := range whole.GetFile() {
		have[f.GetName()] = true
	}
	for i := 0; i < len(whole.GetFile()); i++ { // it grows
		f := whole.GetFile()[i]
		for _, path := range f.GetDependency() {
			if have[path] {
				continue
			}
			linked, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err != nil {
				return nil, fmt.Errorf("its file %.200q imports %.200q, which is not in it; write it with its imports (protoc --include_imports)", f.GetName(), path)
			}
			have[path] = true
			whole.File = append(whole.File, protodesc.ToFileDescriptorProto(linked))
		}
	}
	return whole, nil
}

// Messages are those that the set defines, by name; none for those that are linked. Do not change them.
func (s *Set) Messages() []Message { return s.own }

// Has says whether a message can be read by the set.
func (s *Set) Has(name string) bool {
	_, err := s.find(name)
	return err == nil
}

func (s *Set) find(name string) (protoreflect.MessageType, error) {
	if !protoreflect.FullName(name).IsValid() {
		return nil, protoregistry.NotFound
	}
	return s.types.FindMessageByName(protoreflect.FullName(name))
}

// both looks into the first, and then into the second.
type both struct{ first, second resolver }

func (b both) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if t, err := b.first.FindMessageByName(name); err == nil {
		return t, nil
	}
	return b.second.FindMessageByName(name)
}

func (b both) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if t, err := b.first.FindMessageByURL(url); err == nil {
		return t, nil
	}
	return b.second.FindMessageByURL(url)
}

func (b both) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if t, err := b.first.FindExtensionByName(name); err == nil {
		return t, nil
	}
	return b.second.FindExtensionByName(name)
}

func (b both) FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if t, err := b.first.FindExtensionByNumber(message, field); err == nil {
		return t, nil
	}
	return b.second.FindExtensionByNumber(message, field)
}
