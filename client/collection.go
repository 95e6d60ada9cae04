package client

import (
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Collection is the name of a collection of messages of one type, such as Collection[*flagspb.Flag]("flags"). M is the pointer type of a generated message, or
// proto.Message for messages of any type that is linked into the application. Its methods read snapshots, and may be called concurrently; a message that they
// return is shared, and must not be changed.
type Collection[M proto.Message] string

// Subscription is a collection that a client takes: a Collection of any type.
type Subscription interface {
	// Name of the collection.
	Name() string
	// decode reads the body of a resource.
	decode(body *anypb.Any) (proto.Message, error)
}

// Name of the collection.
func (c Collection[M]) Name() string { return string(c) }

func (c Collection[M]) decode(body *anypb.Any) (proto.Message, error) {
	var none M
	if any(none) == nil {
		return body.UnmarshalNew()
	}
	message := none.ProtoReflect().New().Interface()
	if err := body.UnmarshalTo(message); err != nil {
		return nil, err
	}
	return message, nil
}

// Get is the resource of that name in a snapshot; false when there is none, and when the snapshot is of a client that does not take the collection as this type.
func (c Collection[M]) Get(s *Snapshot, name string) (M, bool) {
	var none M
	item, there := s.item(string(c), name)
	if !there {
		return none, false
	}
	message, ok := item.message.(M)
	return message, ok
}

// Version is that of the resource of that name in a snapshot, which changes with its content; empty when there is none.
func (c Collection[M]) Version(s *Snapshot, name string) string {
	item, _ := s.item(string(c), name)
	return item.resource.GetMetadata().GetVersion()
}

// All are the resources of the collection in a snapshot, in the order of their names.
func (c Collection[M]) All(s *Snapshot) iter.Seq2[string, M] {
	return func(yield func(string, M) bool) {
		for _, name := range s.names(string(c)) {
			if message, ok := c.Get(s, name); ok && !yield(name, message) {
				return
			}
		}
	}
}

// Len is how many resources the collection has in a snapshot.
func (c Collection[M]) Len(s *Snapshot) int { return len(s.names(string(c))) }
