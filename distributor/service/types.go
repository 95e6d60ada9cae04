package service

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

const (
	// MaxDescriptors is the size of a descriptor set, in bytes: it is kept in the store, and a store is no place for more.
	MaxDescriptors = 512 << 10
	// MaxTypeSets is how many descriptor sets may be registered.
	MaxTypeSets = 64
)

// TypesDraft is a descriptor set to be registered.
type TypesDraft struct {
	// Name is a DNS label. A set that is registered under it already is replaced for what is applied and created from then on.
	Name string
	// Descriptors is a serialized google.protobuf.FileDescriptorSet, at most MaxDescriptors bytes.
	Descriptors []byte
}

// RegisterTypes makes the messages of a descriptor set known. Releases hold the digest of the set that they were created by, so that they mean the same when it is registered anew.
//
// Errors are *model.Error: ErrInvalid for what is no set, is too large, or defines a message otherwise than a set of another name; ErrDenied where Roles says so.
func (s *Service) RegisterTypes(ctx context.Context, actor Actor, draft TypesDraft) (model.TypeSet, error) {
	if err := model.ValidateName("types", "name", draft.Name); err != nil {
		return model.TypeSet{}, err
	}
	object := "types/" + draft.Name
	if err := s.may(ctx, Act{Verb: VerbRegisterTypes, Object: object, Layer: model.LayerGlobal}); err != nil {
		return model.TypeSet{}, err
	}
	if err := actor.check(object); err != nil {
		return model.TypeSet{}, err
	}
	if len(draft.Descriptors) > MaxDescriptors {
		return model.TypeSet{}, model.Invalidf(object, "descriptors", "leave out source information (protoc does unless told otherwise) and files that nothing of yours imports",
			"the set has %d bytes, and the store takes %d", len(draft.Descriptors), MaxDescriptors)
	}
	if err := s.Ready(); err != nil {
		return model.TypeSet{}, err
	}
	set, err := s.messages.Parse(draft.Descriptors)
	if err != nil {
		return model.TypeSet{}, model.Invalidf(object, "descriptors", "give what `protoc --include_imports -o set.binpb FILE…` or `buf build -o set.binpb` writes", "%v", err)
	}
	registered, err := s.store.ListTypes(ctx)
	if err != nil {
		return model.TypeSet{}, err
	}
	now := model.TypeSet{Name: draft.Name, Digest: model.Digest(draft.Descriptors), Size: len(draft.Descriptors), UpdatedAt: s.stamp(), UpdatedBy: actor.Name, Reason: actor.Reason}
	defined := map[string][]byte{}
	for _, m := range set.Defines() {
		now.Messages = append(now.Messages, m.Name)
		defined[m.Name] = m.File
	}
	slices.Sort(now.Messages)
	others := 0
	for _, other := range registered {
		if other.Name == draft.Name {
			if other.Digest == now.Digest {
				return other, nil
			}
			now.Revision = other.Revision
			continue
		}
		others++
		if err := s.agree(ctx, object, other, defined); err != nil {
			return model.TypeSet{}, err
		}
	}
	if others >= MaxTypeSets {
		return model.TypeSet{}, model.Invalidf(object, "", "put messages that belong together into one set", "%d sets are registered, which is the most", others)
	}
	entry := model.AuditEntry{At: now.UpdatedAt, Actor: actor.Name, Action: string(VerbRegisterTypes), Object: object, Reason: actor.Reason,
		Detail: fmt.Sprintf("%s, %d messages", now.Digest, len(now.Messages))}
	if err := s.store.PutTypes(ctx, now, draft.Descriptors, entry); err != nil {
		return model.TypeSet{}, err
	}
	s.log.Info("types registered", "name", now.Name, "digest", now.Digest, "messages", len(now.Messages), "actor", actor.Name)
	return now, nil
}

// agree refuses a set that defines a message otherwise than one that is registered: which of the two was meant would depend on their names.
func (s *Service) agree(ctx context.Context, object string, other model.TypeSet, defined map[string][]byte) error {
	if !slices.ContainsFunc(other.Messages, func(name string) bool { return defined[name] != nil }) {
		return nil
	}
	set, err := s.setOf(ctx, other.Digest)
	if err != nil {
		return err
	}
	for _, m := range set.Defines() {
		if file, both := defined[m.Name]; both && !bytes.Equal(file, m.File) {
			return model.Invalidf(object, "descriptors", "register both as one set, or leave the message out of one of them",
				"it defines %s otherwise than types/%s, which is registered", m.Name, other.Name)
		}
	}
	return nil
}

// ListTypes returns the registered descriptor sets, by name.
func (s *Service) ListTypes(ctx context.Context) ([]model.TypeSet, error) {
	if err := s.Ready(); err != nil {
		return nil, err
	}
	return s.store.ListTypes(ctx)
}

// Descriptors returns a descriptor set that was registered, under whatever name, by its digest; or ErrNotFound.
func (s *Service) Descriptors(ctx context.Context, digest string) ([]byte, error) {
	if err := s.Ready(); err != nil {
		return nil, err
	}
	return s.store.GetDescriptors(ctx, digest)
}
