package service_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// rulesSchema is a schema such as waft build derives from a filter's Go struct.
const rulesSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "required": ["issuer"],
  "additionalProperties": false,
  "properties": {
    "issuer": {"type": "string", "minLength": 1},
    "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}}
  },
  "$defs": {"rule": {
    "type": "object", "additionalProperties": false,
    "properties": {"path": {"type": "string"}, "roles": {"type": "array", "items": {"type": "string"}}}
  }}
}`

func TestCreateReleaseRefuses(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	s.modules.add("authz:1", rulesSchema)
	s.modules.add("odd:1", `{"$ref": "https://example.org/schema.json"}`)
	s.modules.add("torn:1", `{"type": `)
	filter := func(config string) service.FilterDraft {
		return service.FilterDraft{Name: "authz", Module: "authz:1", Config: raw(config)}
	}
	draft := func(filters ...service.FilterDraft) service.ReleaseDraft {
		return service.ReleaseDraft{Name: "edge", Filters: filters}
	}
	for _, test := range []struct {
		name  string
		draft service.ReleaseDraft
		kind  error
		says  []string
	}{
		{"no name", service.ReleaseDraft{}, model.ErrInvalid, []string{"metadata.name"}},
		{"a name that is no label", service.ReleaseDraft{Name: "Edge Auth"}, model.ErrInvalid, []string{"metadata.name"}},
		{"a layer that is none", service.ReleaseDraft{Name: "edge", Layer: "planet"}, model.ErrInvalid, []string{"metadata.layer", "planet"}},
		{"a filter twice", draft(filter(`{"issuer":"x"}`), filter(`{"issuer":"x"}`)), model.ErrInvalid, []string{"spec.filters[1].name", "spec.filters[0]"}},
		{"a filter without a name", draft(service.FilterDraft{Module: "authz:1"}), model.ErrInvalid, []string{"spec.filters[0].name"}},
		{"a reference that does not exist", draft(service.FilterDraft{Name: "a", Module: "none:1"}), model.ErrNotFound, []string{"spec.filters[0].module", "none:1", "waft push"}},
		{"a field of the wrong type", draft(filter(`{"issuer":"x","rules":[{"path":7}]}`)), model.ErrInvalid,
			[]string{"release/edge", "spec.filters[0].config.rules[0].path", "got number, want string", "waft inspect authz:1"}},
		{"a field that is missing", draft(filter(`{"rules":[]}`)), model.ErrInvalid, []string{"spec.filters[0].config: ", "issuer"}},
		{"a field that is unknown", draft(filter(`{"issuer":"x","rules":[{"pfad":"/"}]}`)), model.ErrInvalid, []string{"spec.filters[0].config.rules[0]", "pfad"}},
		{"a config that is no JSON", draft(filter(`{"issuer":`)), model.ErrInvalid, []string{"spec.filters[0].config"}},
		{"a config of another kind", draft(filter(`"text"`)), model.ErrInvalid, []string{"spec.filters[0].config"}},
		{"a bad override", service.ReleaseDraft{Name: "edge", Overrides: []service.FilterDraft{filter(`{"issuer":1}`)}}, model.ErrInvalid, []string{"spec.overrides[0].config.issuer"}},
		{"FAIL_OPEN for AUTHN", draft(service.FilterDraft{Name: "a", Module: "authz:1", Phase: model.PhaseAuthn, FailurePolicy: model.FailOpen}), model.ErrInvalid,
			[]string{"spec.filters[0].failurePolicy", "FAIL_OPEN", "FAIL_CLOSED"}},
		{"FAIL_OPEN for AUTHZ", draft(service.FilterDraft{Name: "a", Module: "authz:1", Phase: model.PhaseAuthz, FailurePolicy: model.FailOpen}), model.ErrInvalid,
			[]string{"spec.filters[0].failurePolicy"}},
		{"a phase that is none", draft(service.FilterDraft{Name: "a", Module: "authz:1", Phase: "LATER"}), model.ErrInvalid, []string{"spec.filters[0].phase", "LATER"}},
		{"a schema that reaches out", draft(service.FilterDraft{Name: "a", Module: "odd:1", Config: raw(`{}`)}), model.ErrInvalid,
			[]string{"spec.filters[0].module", "example.org", "not followed"}},
		{"a schema that is torn", draft(service.FilterDraft{Name: "a", Module: "torn:1", Config: raw(`{}`)}), model.ErrInvalid, []string{"spec.filters[0].module", "torn:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := svc.CreateRelease(t.Context(), alice, test.draft)
			wantKind(t, err, test.kind, test.says...)
			var told *model.Error
			if !errors.As(err, &told) || told.Next == "" {
				t.Errorf("error %v does not say what to do next", err)
			}
		})
	}
	t.Run("a registry that is away", func(t *testing.T) {
		s.modules.fail(&model.Error{Kind: model.ErrUnavailable, Object: "registry localhost:5000", Message: "connection refused"})
		defer s.modules.fail(nil)
		_, err := svc.CreateRelease(t.Context(), alice, draft(filter(`{"issuer":"x"}`)))
		wantKind(t, err, model.ErrUnavailable, "release/edge", "spec.filters[0].module", "connection refused", "try again")
	})
	t.Run("bytes that do not match their digest", func(t *testing.T) {
		s.modules.fail(&model.Error{Kind: model.ErrInvalid, Object: "authz:1", Message: "the bytes have another digest than the manifest says"})
		defer s.modules.fail(nil)
		_, err := svc.CreateRelease(t.Context(), alice, draft(filter(`{"issuer":"x"}`)))
		wantKind(t, err, model.ErrInvalid, "spec.filters[0].module", "another digest")
	})
	t.Run("an error of no kind", func(t *testing.T) {
		s.modules.fail(errors.New("oops"))
		defer s.modules.fail(nil)
		_, err := svc.CreateRelease(t.Context(), alice, draft(filter(`{"issuer":"x"}`)))
		wantKind(t, err, model.ErrUnavailable, "authz:1", "oops")
	})
	t.Run("nobody who asks", func(t *testing.T) {
		_, err := svc.CreateRelease(t.Context(), service.Actor{}, draft())
		wantKind(t, err, model.ErrInvalid, "actor")
		_, err = svc.CreateRelease(t.Context(), service.Actor{Name: "a", Reason: strings.Repeat("x", 5000)}, draft())
		wantKind(t, err, model.ErrInvalid, "actor")
	})
	if list, _, err := svc.ListReleases(t.Context(), "", service.Page{}); err != nil || len(list) != 0 {
		t.Errorf("something was stored: %v, %v", list, err)
	}
}

func TestCreateRelease(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	s.modules.add("authz:1", rulesSchema, "envoy-1.40")
	draft := service.ReleaseDraft{Name: "edge", Filters: []service.FilterDraft{{
		Name: "authz", Module: "authz:1", Phase: model.PhaseAuthn, Config: raw(`{ "rules": [ {"path": "/admin"} ], "issuer": "x" }`),
	}}}
	first, err := svc.CreateRelease(t.Context(), alice, draft)
	if err != nil {
		t.Fatal(err)
	}
	f := first.Filters[0]
	if first.Layer != model.LayerGlobal || first.CreatedBy != "alice" || f.Module.Digest != model.Digest([]byte("authz:1")) || f.Module.Reference != "authz:1" {
		t.Errorf("the release is %+v", first)
	}
	if want := `{"issuer":"x","rules":[{"path":"/admin"}]}`; string(f.Config) != want {
		t.Errorf("the config is %s, want the canonical %s", f.Config, want)
	}
	again, err := svc.CreateRelease(t.Context(), service.Actor{Name: "bob"}, draft)
	if err != nil || again.ID != first.ID || again.CreatedBy != "alice" || !again.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("the same again is %+v, %v", again, err)
	}
	draft.Filters[0].Config = raw(`{"issuer":"y"}`)
	second, err := svc.CreateRelease(t.Context(), alice, draft)
	if err != nil || second.ID.Hash == first.ID.Hash {
		t.Errorf("another config is %+v, %v", second.ID, err)
	}
	if _, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "empty"}); err != nil {
		t.Errorf("an explicit empty release: %v", err)
	}
	entries, _, err := svc.ListAudit(t.Context(), "release/"+first.ID.String(), service.Page{})
	if err != nil || len(entries) != 1 || entries[0].Action != "release.create" || entries[0].Actor != "alice" {
		t.Errorf("the audit is %+v, %v", entries, err)
	}

	for ref, want := range map[string]model.ReleaseID{
		"edge":                        second.ID,
		first.ID.String():             first.ID,
		"edge@" + first.ID.Hash[:20]:  first.ID,
		"edge@" + second.ID.Hash[:20]: second.ID,
	} {
		if got, err := svc.GetRelease(t.Context(), ref); err != nil || got.ID != want {
			t.Errorf("%s is %s, %v, want %s", ref, got.ID, err, want)
		}
	}
	for ref, kind := range map[string]error{
		"none": model.ErrNotFound, "edge@sha256:" + strings.Repeat("0", 64): model.ErrNotFound, "edge@sha256:0000000000": model.ErrNotFound, "Edge@": model.ErrInvalid,
	} {
		if _, err := svc.GetRelease(t.Context(), ref); !errors.Is(err, kind) {
			t.Errorf("%s: %v, want %q", ref, err, kind)
		}
	}

	var names []string
	for page := (service.Page{Size: 2}); ; {
		list, next, err := svc.ListReleases(t.Context(), "", page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			names = append(names, r.ID.Name)
		}
		if page.Token = next; next == "" {
			break
		}
	}
	if got := strings.Join(names, " "); got != "empty edge edge" {
		t.Errorf("the list is %q", got)
	}
	for _, page := range []service.Page{{Token: "!"}, {Token: "-5"}, {Size: -1}} {
		_, _, err := svc.ListReleases(t.Context(), "", page)
		wantKind(t, err, model.ErrInvalid, "page_")
	}
}

// The prefix of a hash that two releases share names both.
func TestAmbiguousPrefix(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	for _, last := range []string{"a", "b"} {
		id := model.ReleaseID{Name: "edge", Hash: "sha256:" + strings.Repeat("0", 63) + last}
		if err := s.store.CreateRelease(t.Context(), model.Release{ID: id}, model.AuditEntry{Object: "release/edge"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := svc.GetRelease(t.Context(), "edge@sha256:0000")
	wantKind(t, err, model.ErrInvalid, "edge@sha256:0000", "0a and edge@", "more of the hash")
}

func TestStartRolloutRefuses(t *testing.T) {
	s, _ := settled(t, 2)
	svc, _ := s.service()
	old := s.sim(service.NodeHello{ID: "old", Labels: map[string]string{"env": "old"}, Reports: true, EnvoyVersion: "1.36.4"})
	s.known(old)
	s.modules.add("new:1", "", "envoy-1.39", "envoy-1.40")
	s.modules.add("strict:1", rulesSchema)
	s.release("two", "good:2")
	s.release("new", "new:1")
	s.release("unconfigured", "strict:1")
	partial := service.ReleaseDraft{Name: "partial", Layer: "team/shop", Filters: []service.FilterDraft{{Name: "filter", Config: raw(`{"a":1}`)}}}
	lonely := service.ReleaseDraft{Name: "lonely", Layer: "team/shop", Filters: []service.FilterDraft{{Name: "nobody", Config: raw(`{"a":1}`)}}}
	for _, draft := range []service.ReleaseDraft{partial, lonely} {
		if _, err := svc.CreateRelease(t.Context(), alice, draft); err != nil {
			t.Fatal(err)
		}
	}

	for _, test := range []struct {
		name  string
		draft service.RolloutDraft
		kind  error
		says  []string
	}{
		{"no name", service.RolloutDraft{Release: "two"}, model.ErrInvalid, []string{"metadata.name"}},
		{"no release", service.RolloutDraft{Name: "r"}, model.ErrInvalid, []string{"rollout/r", "spec.release"}},
		{"an unknown release", service.RolloutDraft{Name: "r", Release: "none"}, model.ErrNotFound, []string{"rollout/r", "spec.release", "release/none", "waft release list"}},
		{"an empty target", service.RolloutDraft{Name: "r", Release: "two", Selector: "env=none"}, model.ErrPrecondition,
			[]string{"rollout/r", "spec.target.selector", `"env=none"`, "none of the 3 nodes", "waft nodes list"}},
		{"a selector that does not parse", service.RolloutDraft{Name: "r", Release: "two", Selector: "env=" + "=("}, model.ErrInvalid, []string{"rollout/r", "selector"}},
		{"a wave of nothing", service.RolloutDraft{Name: "r", Release: "two", Waves: waves(model.WaveSpec{})}, model.ErrInvalid, []string{"spec.waves[0]"}},
		{"a name that is taken", service.RolloutDraft{Name: "first", Release: "two"}, model.ErrExists, []string{"rollout/first", "alice", "Done", "choose another"}},
		{"an Envoy that cannot load a module", service.RolloutDraft{Name: "r", Release: "new"}, model.ErrInvalid,
			[]string{"rollout/r", "node/old", "Envoy 1.36.4", "new:1", "envoy-1.39, envoy-1.40", "waft check"}},
		{"a module without the configuration that it needs", service.RolloutDraft{Name: "r", Release: "unconfigured"}, model.ErrInvalid,
			[]string{"rollout/r", "spec.release", "filter/filter", "config", "issuer"}},
		{"a layer without a module", service.RolloutDraft{Name: "r", Release: "lonely"}, model.ErrInvalid, []string{"rollout/r", "filter/nobody", "module", "lonely@"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.tap.rollouts.Load()
			_, err := svc.StartRollout(t.Context(), alice, test.draft)
			wantKind(t, err, test.kind, test.says...)
			if s.tap.rollouts.Load() != before && test.kind != model.ErrExists {
				t.Error("something was written")
			}
		})
	}
	t.Run("the same release where every Envoy can load it", func(t *testing.T) {
		if _, err := s.try("fits", "new", "env=prod", all); err != nil {
			t.Fatal(err)
		}
		s.reach("fits", model.RolloutDone)
	})
	t.Run("a schema that cannot be read", func(t *testing.T) {
		r, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "later", Filters: []service.FilterDraft{{Name: "later", Module: "good:1"}}})
		if err != nil {
			t.Fatal(err)
		}
		s.stop()
		svc := s.start()
		s.modules.fail(&model.Error{Kind: model.ErrUnavailable, Message: "registry is away"})
		_, err = svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "later", Release: r.ID.String()})
		wantKind(t, err, model.ErrUnavailable, "registry is away")
		s.modules.fail(nil)
		s.begin("later", r.ID.String(), all)
		s.reach("later", model.RolloutDone)
	})
}

// A layer above another: the merge is what is checked, and what runs.
func TestLayers(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	nodes := s.nodes(2)
	s.modules.add("strict:1", rulesSchema)
	for _, draft := range []service.ReleaseDraft{
		{Name: "base", Filters: []service.FilterDraft{{Name: "authz", Module: "strict:1", Config: raw(`{"issuer":"x"}`)}}},
		{Name: "good", Layer: "team/shop", Filters: []service.FilterDraft{{Name: "authz", Config: raw(`{"rules":[{"path":"/shop"}]}`)}}},
		{Name: "bad", Layer: "team/shop", Filters: []service.FilterDraft{{Name: "authz", Config: raw(`{"rules":[{"path":7}]}`)}}},
	} {
		if _, err := svc.CreateRelease(t.Context(), alice, draft); err != nil {
			t.Fatal(err)
		}
	}
	s.begin("base", "base", all)
	s.reach("base", model.RolloutDone)
	_, err := s.try("bad", "bad", "", all)
	wantKind(t, err, model.ErrInvalid, "rollout/bad", "node/n0", "global base@", "team/shop bad@", "config.rules[0].path")
	s.begin("good", "good", all)
	s.reach("good", model.RolloutDone)
	for _, n := range nodes {
		n.mu.Lock()
		if got := string(n.chain.Filters[0].Config); got != `{"issuer":"x","rules":[{"path":"/shop"}]}` {
			t.Errorf("%s runs %s", n.hello.ID, got)
		}
		n.mu.Unlock()
	}
	if _, err := svc.Undo(t.Context(), alice, "good"); err != nil {
		t.Fatal(err)
	}
	s.reach("good-undo", model.RolloutDone)
	status, err := svc.GetNode(t.Context(), "n0")
	if err != nil || len(status.Assigned) != 1 {
		t.Errorf("after the undo the node has %v, %v", status.Assigned, err)
	}
}
