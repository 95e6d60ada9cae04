package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// MaxInlineBytes bounds the modules that one release is given as bytes, all of them together. In base64, with a document around them, they fit into a message
// to the API; and those of all layers that a node has, into one to a sink.
const MaxInlineBytes = 6_000_000

// InlineRepositories is what the names of the repositories begin with that inline modules are kept in.
const InlineRepositories = "inline"

// InlineDraft is a module as bytes, as a person gives it.
type InlineDraft struct {
	// Wasm is the module.
	Wasm []byte
	// Manifest is the JSON of its waft manifest. Nil: it is made from the module.
	Manifest json.RawMessage
}

// InlineModule is a module that was given as bytes, and for which filter of which layer.
type InlineModule struct {
	Layer  model.Layer
	Filter string
	InlineDraft
}

// Repository is the one that it is kept in, so that access and trust policies can tell layers and filters apart.
func (m InlineModule) Repository() string {
	return InlineRepositories + "/" + string(m.Layer) + "/" + m.Filter
}

// ModuleBytes are the bytes of a module that a release names, verified. They may be shared, and are not to be changed. Errors are those of Modules.Bytes.
func (s *Service) ModuleBytes(ctx context.Context, module model.Module) ([]byte, error) {
	return s.modules.Bytes(ctx, module)
}

// FetchesModules says whether a node gets modules by their digests: it has an agent, of whatever version. What is not known of a node yet is not so.
func (s *Service) FetchesModules(nodeID string) bool {
	s.enter()
	defer s.leave()
	n := s.nodes[nodeID]
	return n != nil && n.row.Reports && n.row.Dialect == "" && n.row.AgentVersion != ""
}

// inlines goes through the filters of a draft that give their module as bytes, and where each stands.
func inlines(draft ReleaseDraft, each func(at string, d FilterDraft) error) error {
	for _, list := range []struct {
		path   string
		drafts []FilterDraft
	}{{"spec.filters", draft.Filters}, {"spec.overrides", draft.Overrides}} {
		for i, d := range list.drafts {
			if d.Inline == nil {
				continue
			}
			if err := each(fmt.Sprintf("%s[%d].inline", list.path, i), d); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkInline says what is wrong with inline modules before any of them is looked into.
func checkInline(object string, draft ReleaseDraft) error {
	total := 0
	return inlines(draft, func(at string, d FilterDraft) error {
		if d.Module != "" {
			return model.Invalidf(object, at, "leave out one of them", "filter %s gives a module by a reference and another one as bytes", d.Name)
		}
		if len(d.Inline.Wasm) == 0 {
			return model.Invalidf(object, at+".wasm", "give the bytes of the module, in base64", "filter %s has no bytes", d.Name)
		}
		if total += len(d.Inline.Wasm); total > MaxInlineBytes {
			return model.Invalidf(object, at+".wasm", "push it to a registry (waft push), and give the reference as module",
				"filter %s brings the inline modules of the release to %d bytes; the limit is %d", d.Name, total, MaxInlineBytes)
		}
		return nil
	})
}

// mayInline asks whether who creates the release may write where its inline modules are kept: who may push nothing brings in no module this way either.
func (s *Service) mayInline(ctx context.Context, object string, layer model.Layer, draft ReleaseDraft) error {
	return inlines(draft, func(_ string, d FilterDraft) error {
		kept := InlineModule{Layer: layer, Filter: d.Name}
		return s.may(ctx, Act{Verb: VerbInlineModule, Object: object, Layer: layer, Repository: kept.Repository()})
	})
}

// inline keeps a module that was given as bytes, and resolves it as any other.
func (r *resolver) inline(ctx context.Context, at string, draft FilterDraft) (*model.Module, error) {
	reference, err := r.service.modules.Keep(ctx, InlineModule{Layer: r.layer, Filter: draft.Name, InlineDraft: *draft.Inline})
	if err != nil {
		return nil, r.failed(at, draft.Name, "the inline module", err)
	}
	module, err := r.module(ctx, at, draft.Name, reference)
	if err != nil {
		return nil, err
	}
	if model.Digest(draft.Inline.Wasm) != module.Digest {
		return nil, model.Invalidf(r.object, at, "report this as a bug of waft", "filter %s: the registry has kept other bytes, %s, than were given", draft.Name, module.Digest)
	}
	module.Inline = true
	return &module, nil
}
