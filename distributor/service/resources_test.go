package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// readers are the real descriptors, as package distributor joins them to the service.
type readers struct{}

func (readers) Linked() service.MessageSet { return reader{descriptors.Linked()} }
func (readers) Parse(text []byte) (service.MessageSet, error) {
	set, err := descriptors.Parse(text)
	if err != nil {
		return nil, err
	}
	return reader{set}, nil
}

type reader struct{ *descriptors.Set }

func (r reader) Defines() []service.DefinedMessage {
	var out []service.DefinedMessage
	for _, m := range r.Messages() {
		out = append(out, service.DefinedMessage(m))
	}
	return out
}

// flagSet is a descriptor set with acme.Flag: bool enabled, and a repeated acme.Rule rules with rule_name and percent; more are names of further strings.
func flagSet(t *testing.T, more ...string) []byte {
	t.Helper()
	label := func(l descriptorpb.FieldDescriptorProto_Label) *descriptorpb.FieldDescriptorProto_Label { return &l }
	kind := func(k descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto_Type { return &k }
	one, many := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	flag := &descriptorpb.DescriptorProto{Name: proto.String("Flag"), Field: []*descriptorpb.FieldDescriptorProto{
		{Name: proto.String("enabled"), Number: proto.Int32(1), Label: label(one), Type: kind(descriptorpb.FieldDescriptorProto_TYPE_BOOL)},
		{Name: proto.String("rules"), Number: proto.Int32(2), Label: label(many), Type: kind(descriptorpb.FieldDescriptorProto_TYPE_MESSAGE), TypeName: proto.String(".acme.Rule")},
	}}
	for i, name := range more {
		flag.Field = append(flag.Field, &descriptorpb.FieldDescriptorProto{Name: &name, Number: proto.Int32(int32(10 + i)), Label: label(one), Type: kind(descriptorpb.FieldDescriptorProto_TYPE_STRING)})
	}
	rule := &descriptorpb.DescriptorProto{Name: proto.String("Rule"), Field: []*descriptorpb.FieldDescriptorProto{
		{Name: proto.String("rule_name"), Number: proto.Int32(1), Label: label(one), Type: kind(descriptorpb.FieldDescriptorProto_TYPE_STRING)},
		{Name: proto.String("percent"), Number: proto.Int32(2), Label: label(one), Type: kind(descriptorpb.FieldDescriptorProto_TYPE_INT32)},
	}}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		{Name: proto.String("acme.proto"), Package: proto.String("acme"), Syntax: proto.String("proto3"), MessageType: []*descriptorpb.DescriptorProto{flag, rule}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// shelves is a site whose service reads messages, with acme.Flag registered.
func shelves(t *testing.T) (*site, *service.Service) {
	t.Helper()
	s := newSite(t)
	s.config = func(c *service.Config) { c.Messages = readers{} }
	svc := s.start()
	if _, err := svc.RegisterTypes(t.Context(), alice, service.TypesDraft{Name: "acme", Descriptors: flagSet(t)}); err != nil {
		t.Fatal(err)
	}
	return s, svc
}

func flagDraft(name, fields string) service.ResourceDraft {
	return service.ResourceDraft{Collection: "flags", Name: name, Body: raw(`{"@type":"type.googleapis.com/acme.Flag"` + fields + `}`)}
}

func apply(t *testing.T, svc *service.Service, resources ...service.ResourceDraft) service.Applied {
	t.Helper()
	applied, err := svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Resources: resources})
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

func wantError(t *testing.T, what string, err, kind error, says ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
		return
	}
	told, ok := errors.AsType[*model.Error](err)
	if !ok || told.Message == "" || told.Next == "" {
		t.Errorf("%s: %v does not say what to do", what, err)
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q does not say %q", what, err, word)
		}
	}
}

func TestApplyingResources(t *testing.T) {
	_, svc := shelves(t)
	first := apply(t, svc, flagDraft("a", `,"enabled":true`), flagDraft("b", ``))
	if first.Resources[0].Change != service.ChangeCreated || first.Resources[0].Now.UpdatedBy != "alice" || string(first.Resources[0].Now.Fields) != `{"enabled":true}` {
		t.Errorf("got %+v", first.Resources[0])
	}
	// What is the same changes nothing, whatever it is written like; a diff changes nothing at all.
	diff, err := svc.DiffResources(t.Context(), alice, service.ApplyDraft{Resources: []service.ResourceDraft{flagDraft("a", ` , "enabled" : false`), flagDraft("b", ``), flagDraft("c", ``)}})
	if err != nil || diff.Resources[0].Change != service.ChangeChanged || diff.Resources[1].Change != service.ChangeNone || diff.Resources[2].Change != service.ChangeCreated {
		t.Errorf("the diff is %+v, %v", diff.Resources, err)
	}
	second := apply(t, svc, flagDraft("a", `,"enabled":false`), flagDraft("b", ``))
	if second.Resources[0].Change != service.ChangeChanged || second.Resources[0].Before.Version != first.Resources[0].Now.Version || second.Resources[1].Change != service.ChangeNone {
		t.Errorf("got %+v", second.Resources)
	}
	entries, _, err := svc.ListAudit(t.Context(), "collection/flags", service.Page{})
	if err != nil || len(entries) != 2 || entries[0].Action != "resource.apply" || entries[0].Reason != alice.Reason || !strings.Contains(entries[0].Detail, "layer global: a changed to sha256:") || strings.Contains(entries[0].Detail, "b ") {
		t.Errorf("the audit has %+v, %v", entries, err)
	}

	// A change that is based on what is there no longer is refused, and with it the whole file.
	stale := flagDraft("a", `,"enabled":true`)
	stale.Version = first.Resources[0].Now.Version
	bob := service.Actor{Name: "bob"}
	_, err = svc.ApplyResources(t.Context(), bob, service.ApplyDraft{Resources: []service.ResourceDraft{flagDraft("new", ``), stale}})
	wantError(t, "a stale change", err, model.ErrConflict, "resource/flags:a", "metadata.version", "alice", second.Resources[0].Now.Version, "waft get")
	_, err = svc.GetResource(t.Context(), service.ResourceRef{Collection: "flags", Name: "new"})
	wantError(t, "what came along", err, model.ErrNotFound, "resource/flags:new")
	stale.Version = second.Resources[0].Now.Version
	if _, err := svc.ApplyResources(t.Context(), bob, service.ApplyDraft{Resources: []service.ResourceDraft{stale}}); err != nil {
		t.Errorf("a change of what is there: %v", err)
	}

	other := flagDraft("a", `,"enabled":true`)
	other.Layer = "team/pay"
	apply(t, svc, other)
	all, _, err := svc.ListCollections(t.Context(), "", "", service.Page{})
	if err != nil || len(all) != 2 || all[0].Layer != "global" || len(all[0].Resources) != 2 || all[1].Layer != "team/pay" {
		t.Errorf("stored are %+v, %v", all, err)
	}
	one, next, err := svc.ListCollections(t.Context(), "", "flags", service.Page{Size: 1})
	if err != nil || len(one) != 1 || next == "" {
		t.Fatalf("the first page is %+v, %q, %v", one, next, err)
	}
	if one, next, err = svc.ListCollections(t.Context(), "", "flags", service.Page{Size: 1, Token: next}); err != nil || len(one) != 1 || one[0].Layer != "team/pay" || next != "" {
		t.Errorf("the second page is %+v, %q, %v", one, next, err)
	}

	_, err = svc.DeleteResources(t.Context(), alice, []service.ResourceRef{{Collection: "flags", Name: "b"}, {Collection: "flags", Name: "gone"}})
	wantError(t, "one that is not there", err, model.ErrNotFound, "resource/flags:gone")
	_, err = svc.DeleteResources(t.Context(), alice, []service.ResourceRef{{Collection: "flags", Name: "b", Version: "sha256:other"}})
	wantError(t, "another version", err, model.ErrConflict, "resource/flags:b")
	if _, err := svc.DeleteResources(t.Context(), alice, []service.ResourceRef{{Collection: "flags", Name: "a"}, {Collection: "flags", Name: "b"}}); err != nil {
		t.Fatal(err)
	}
	if all, _, err = svc.ListCollections(t.Context(), "global", "", service.Page{}); err != nil || len(all) != 0 {
		t.Errorf("left are %+v, %v", all, err)
	}
}

// Many who apply to one collection at once are all heard, and nobody's resource is lost.
func TestApplyingAtOnce(t *testing.T) {
	_, svc := shelves(t)
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			if _, err := svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Resources: []service.ResourceDraft{flagDraft(fmt.Sprintf("f%d", i), ``)}}); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wait.Wait()
	all, _, err := svc.ListCollections(t.Context(), "global", "flags", service.Page{})
	if err != nil || len(all) != 1 || len(all[0].Resources) != 4 {
		t.Errorf("stored are %+v, %v", all, err)
	}
}

func TestApplyRefuses(t *testing.T) {
	_, svc := shelves(t)
	body := func(collection, text string) service.ResourceDraft {
		return service.ResourceDraft{Collection: collection, Name: "x", Body: raw(text)}
	}
	in := func(layer model.Layer) service.ResourceDraft {
		d := flagDraft("x", ``)
		d.Layer = layer
		return d
	}
	for _, test := range []struct {
		name  string
		draft []service.ResourceDraft
		says  []string
	}{
		{"a type that is not known", []service.ResourceDraft{body("things", `{"@type":"type.googleapis.com/acme.Thing","a":1}`)}, []string{"resource/things:x", "spec.@type", "waft types register", "BASE64"}},
		{"no type", []service.ResourceDraft{body("things", `{"a":1}`)}, []string{"spec.@type", "is missing"}},
		{"a field that is not there", []service.ResourceDraft{flagDraft("x", `,"enabeld":true`)}, []string{"spec.enabeld", "enabled, rules"}},
		{"another type in Envoy's", []service.ResourceDraft{body("envoy/clusters", `{"@type":"type.googleapis.com/acme.Flag"}`)}, []string{"envoy.config.cluster.v3.Cluster"}},
		{"another name in Envoy's", []service.ResourceDraft{body("envoy/clusters", `{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"y"}`)}, []string{"spec.name", "leave it out, or write x"}},
		{"waft's own", []service.ResourceDraft{body("waft/v1/filters", `{"@type":"type.googleapis.com/acme.Flag"}`)}, []string{"waft's own"}},
		{"a layer that is none", []service.ResourceDraft{in("planet")}, []string{"metadata.layer"}},
		{"a layer that takes away", []service.ResourceDraft{in("emergency/authz")}, []string{"metadata.layer"}},
		{"twice", []service.ResourceDraft{flagDraft("x", ``), flagDraft("x", ``)}, []string{"twice", "resource 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Resources: test.draft})
			wantError(t, "apply", err, model.ErrInvalid, test.says...)
			_, err = svc.DiffResources(t.Context(), alice, service.ApplyDraft{Resources: test.draft})
			wantError(t, "diff", err, model.ErrInvalid, test.says...)
		})
	}
	if all, _, err := svc.ListCollections(t.Context(), "", "", service.Page{}); err != nil || len(all) != 0 {
		t.Errorf("stored are %+v, %v", all, err)
	}
	_, err := svc.ApplyResources(t.Context(), service.Actor{}, service.ApplyDraft{Resources: []service.ResourceDraft{flagDraft("x", ``)}})
	wantError(t, "nobody", err, model.ErrInvalid, "actor")
}

// A private key in a resource is refused, with words that say what to do and not what it is; unless that is allowed.
func TestSecretsInResources(t *testing.T) {
	s, svc := shelves(t)
	body := raw(`{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret","tlsCertificate":{"privateKey":{"inline_string":"hunter2"}}}`)
	draft := service.ApplyDraft{Resources: []service.ResourceDraft{{Collection: "envoy/secrets", Name: "site", Body: body}}}
	release := service.ReleaseDraft{Name: "site", Resources: []service.ReleaseResourceDraft{{Collection: "envoy/secrets", Name: "site", Body: body}}}
	override := service.ReleaseDraft{Name: "site", ResourceOverrides: release.Resources}
	acts := map[string]func(svc *service.Service) error{
		"apply":   func(svc *service.Service) error { _, err := svc.ApplyResources(t.Context(), alice, draft); return err },
		"diff":    func(svc *service.Service) error { _, err := svc.DiffResources(t.Context(), alice, draft); return err },
		"release": func(svc *service.Service) error { _, err := svc.CreateRelease(t.Context(), alice, release); return err },
		"override": func(svc *service.Service) error {
			_, err := svc.CreateRelease(t.Context(), alice, override)
			return err
		},
	}
	for name, act := range acts {
		err := act(svc)
		wantError(t, name, err, model.ErrInvalid, "spec.tlsCertificate.privateKey.inlineString", "{filename: /PATH}", "--allow-inline-secrets")
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells it: %v", name, err)
		}
	}
	// What is stored from before goes into no release, either.
	s.stop()
	s.config = func(c *service.Config) { c.Messages, c.InlineSecrets = readers{}, true }
	svc = s.start()
	for name, act := range acts {
		if err := act(svc); err != nil {
			t.Errorf("%s, where it is allowed: %v", name, err)
		}
	}
	s.stop()
	s.config = func(c *service.Config) { c.Messages = readers{} }
	svc = s.start()
	_, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "taken", Collections: []string{"envoy/secrets"}})
	wantError(t, "a release that takes it", err, model.ErrInvalid, "resource/envoy/secrets:site", "--allow-inline-secrets")
}

// As many resources as a collection or a release may have are taken, and not one more.
func TestSoManyResources(t *testing.T) {
	_, svc := shelves(t)
	many := func(n int) []service.ResourceDraft {
		var drafts []service.ResourceDraft
		for i := range n {
			drafts = append(drafts, flagDraft(fmt.Sprint("f", i), ``))
		}
		return drafts
	}
	_, err := svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Resources: many(service.MaxApply + 1)})
	wantError(t, "more at once", err, model.ErrInvalid, "4097")
	apply(t, svc, many(model.MaxResources)...)
	_, err = svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Resources: []service.ResourceDraft{flagDraft("another", ``)}})
	wantError(t, "one more in a collection", err, model.ErrInvalid, "4097 resources in it, more than 4096")
	apply(t, svc, flagDraft("f0", `,"enabled":true`)) // one that is there

	draft := service.ReleaseDraft{Name: "many"}
	for i := range model.MaxResources + 1 {
		draft.Resources = append(draft.Resources, service.ReleaseResourceDraft{Collection: "flags", Name: fmt.Sprint("f", i), Body: flagDraft("", ``).Body})
	}
	_, err = svc.CreateRelease(t.Context(), alice, draft)
	wantError(t, "one more in a release", err, model.ErrInvalid, "spec.resources: 4097 resources are more than 4096")
	draft.Resources = draft.Resources[:model.MaxResources]
	if _, err := svc.CreateRelease(t.Context(), alice, draft); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
}

// payTeam may write team/pay, and nothing else.
type payTeam struct{}

func (payTeam) May(_ context.Context, act service.Act) error {
	if act.Layer == "team/pay" {
		return nil
	}
	return &model.Error{Kind: model.ErrDenied, Object: act.Object, Message: "not yours", Next: "ask"}
}

func TestATeamWritesItsOwnLayerOnly(t *testing.T) {
	s, _ := shelves(t)
	s.stop()
	s.config = func(c *service.Config) { c.Messages, c.Roles = readers{}, payTeam{} }
	svc := s.start()
	mine, theirs := flagDraft("x", ``), flagDraft("x", ``)
	mine.Layer, theirs.Layer = "team/pay", "team/shop"
	apply(t, svc, mine)
	for name, draft := range map[string]service.ApplyDraft{
		"another team's":    {Resources: []service.ResourceDraft{mine, theirs}},
		"everybody's":       {Resources: []service.ResourceDraft{flagDraft("x", ``)}},
		"a declaration":     {Declarations: []service.CollectionDraft{{CollectionSpec: model.CollectionSpec{Name: "flags"}}}},
		"with what is mine": {Resources: []service.ResourceDraft{mine}, Declarations: []service.CollectionDraft{{CollectionSpec: model.CollectionSpec{Name: "flags"}}}},
	} {
		if _, err := svc.ApplyResources(t.Context(), alice, draft); !errors.Is(err, model.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := svc.DeleteResources(t.Context(), alice, []service.ResourceRef{{Layer: "team/pay", Collection: "flags", Name: "x"}, {Collection: "flags", Name: "x"}}); !errors.Is(err, model.ErrDenied) {
		t.Errorf("delete: %v", err)
	}
	if _, err := svc.RegisterTypes(t.Context(), alice, service.TypesDraft{Name: "mine", Descriptors: flagSet(t)}); !errors.Is(err, model.ErrDenied) {
		t.Errorf("types: %v", err)
	}
}

func TestRegisteringTypes(t *testing.T) {
	s, svc := shelves(t)
	list, err := svc.ListTypes(t.Context())
	if err != nil || len(list) != 1 || strings.Join(list[0].Messages, " ") != "acme.Flag acme.Rule" || list[0].UpdatedBy != "alice" {
		t.Fatalf("registered are %+v, %v", list, err)
	}
	for name, test := range map[string]struct {
		draft service.TypesDraft
		says  []string
	}{
		"a name":        {service.TypesDraft{Name: "A b", Descriptors: flagSet(t)}, []string{"name"}},
		"no set":        {service.TypesDraft{Name: "x", Descriptors: []byte("syntax")}, []string{"types/x", "FileDescriptorSet"}},
		"too large":     {service.TypesDraft{Name: "x", Descriptors: make([]byte, service.MaxDescriptors+1)}, []string{"524288"}},
		"defined twice": {service.TypesDraft{Name: "x", Descriptors: flagSet(t, "owner")}, []string{"acme.Flag", "types/acme"}},
	} {
		_, err := svc.RegisterTypes(t.Context(), alice, test.draft)
		wantError(t, name, err, model.ErrInvalid, test.says...)
	}
	if _, err := svc.RegisterTypes(t.Context(), alice, service.TypesDraft{Name: "copy", Descriptors: flagSet(t)}); err != nil {
		t.Errorf("the same under another name: %v", err)
	}
	s.stop()
	svc = s.start() // a set that another process has registered is read from the store
	apply(t, svc, flagDraft("a", `,"rules":[{"rule_name":"x"}]`))
}

func TestOpaqueResources(t *testing.T) {
	_, svc := shelves(t)
	one := apply(t, svc, service.ResourceDraft{Collection: "things", Name: "x", Body: raw(`{"@type":"type.googleapis.com/acme.Thing","value":"AAEC"}`)}).Resources[0].Now
	if !one.IsOpaque() || string(one.Opaque) != "\x00\x01\x02" || one.Descriptors != "" {
		t.Errorf("got %+v", one)
	}
	empty := apply(t, svc, service.ResourceDraft{Collection: "things", Name: "e", Body: raw(`{"@type":"type.googleapis.com/acme.Thing","value":""}`)}).Resources[0].Now
	text, err := empty.JSON()
	if err != nil || string(text) != `{"@type":"type.googleapis.com/acme.Thing","value":""}` {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestDeclaringCollections(t *testing.T) {
	_, svc := shelves(t)
	declare := func(spec model.CollectionSpec, resources ...service.ResourceDraft) (service.Applied, error) {
		return svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Declarations: []service.CollectionDraft{{CollectionSpec: spec}}, Resources: resources})
	}
	flags := model.CollectionSpec{Name: "flags", Type: "acme.Flag", Lists: []model.ListKey{{Path: "rules", Key: "ruleName"}}}
	// The declaration counts for what is applied with it.
	applied, err := declare(flags, flagDraft("a", `,"rules":[{"$patch":"delete","ruleName":"x"}]`))
	if err != nil || applied.Declarations[0].Change != service.ChangeCreated || applied.Resources[0].Change != service.ChangeCreated {
		t.Fatalf("got %+v, %v", applied, err)
	}
	if again, err := declare(flags); err != nil || again.Declarations[0].Change != service.ChangeNone {
		t.Errorf("once more: %+v, %v", again, err)
	}
	for name, test := range map[string]struct {
		spec model.CollectionSpec
		says []string
	}{
		"a list that is not there": {model.CollectionSpec{Name: "flags", Type: "acme.Flag", Lists: []model.ListKey{{Path: "rulez", Key: "a"}}}, []string{"collection/flags", "spec.lists", "rulez"}},
		"a type of Envoy's":        {model.CollectionSpec{Name: "envoy/clusters", Type: "acme.Flag"}, []string{"spec.type"}},
		"an unknown type":          {model.CollectionSpec{Name: "x", Type: "acme.Gone", Lists: []model.ListKey{{Path: "a", Key: "b"}}}, []string{"waft types register"}},
	} {
		_, err := declare(test.spec)
		wantError(t, name, err, model.ErrInvalid, test.says...)
	}
	twice := service.CollectionDraft{CollectionSpec: model.CollectionSpec{Name: "toggles"}}
	_, err = svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Declarations: []service.CollectionDraft{twice, twice}})
	wantError(t, "twice", err, model.ErrInvalid, "twice")
	_, err = declare(flags, service.ResourceDraft{Collection: "flags", Name: "x", Body: raw(`{"@type":"type.googleapis.com/acme.Rule"}`)})
	wantError(t, "another type", err, model.ErrInvalid, "declared to hold acme.Flag")
}

func TestAReleaseTakesWhatIsStored(t *testing.T) {
	_, svc := shelves(t)
	flags := service.CollectionDraft{CollectionSpec: model.CollectionSpec{Name: "flags", Lists: []model.ListKey{{Path: "rules", Key: "ruleName"}}}}
	if _, err := svc.ApplyResources(t.Context(), alice, service.ApplyDraft{Declarations: []service.CollectionDraft{flags}, Resources: []service.ResourceDraft{flagDraft("a", `,"enabled":true`)}}); err != nil {
		t.Fatal(err)
	}
	draft := service.ReleaseDraft{Name: "flags", Collections: []string{"flags"}, Resources: []service.ReleaseResourceDraft{
		{Collection: "envoy/clusters", Name: "backend", Body: raw(`{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","connect_timeout":"5s"}`)},
	}}
	first, err := svc.CreateRelease(t.Context(), alice, draft)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Resources) != 2 || string(first.Resources[0].Fields) != `{"connectTimeout":"5s","name":"backend"}` || first.Resources[1].Name != "a" || first.Taken[0].Name != "flags" ||
		len(first.Declared) != 1 || first.Declared[0].Lists[0].Key != "ruleName" {
		t.Errorf("got %+v", first)
	}
	// The same again is the same, and what is stored later changes no release.
	if again, err := svc.CreateRelease(t.Context(), alice, draft); err != nil || again.ID != first.ID {
		t.Errorf("once more it is %v, %v", again.ID, err)
	}
	apply(t, svc, flagDraft("a", `,"enabled":false`))
	if kept, err := svc.GetRelease(t.Context(), first.ID.String()); err != nil || string(kept.Resources[1].Fields) != `{"enabled":true}` {
		t.Errorf("the release is %+v, %v", kept, err)
	}
	second, err := svc.CreateRelease(t.Context(), alice, draft)
	if err != nil || second.ID == first.ID || string(second.Resources[1].Fields) != `{"enabled":false}` {
		t.Errorf("the next is %+v, %v", second, err)
	}
	// A release holds the types as they were; the next one has those of now.
	if _, err := svc.RegisterTypes(t.Context(), alice, service.TypesDraft{Name: "acme", Descriptors: flagSet(t, "owner")}); err != nil {
		t.Fatal(err)
	}
	third, err := svc.CreateRelease(t.Context(), alice, draft)
	if err != nil || third.Resources[1].Descriptors == second.Resources[1].Descriptors {
		t.Errorf("the third is %+v, %v", third, err)
	}

	for name, test := range map[string]struct {
		draft service.ReleaseDraft
		kind  error
		says  []string
	}{
		"an empty collection":   {service.ReleaseDraft{Name: "x", Collections: []string{"none"}}, model.ErrNotFound, []string{"spec.collections[0]", "waft apply"}},
		"in another layer":      {service.ReleaseDraft{Name: "x", Layer: "team/pay", Collections: []string{"flags"}}, model.ErrNotFound, []string{"team/pay"}},
		"a collection twice":    {service.ReleaseDraft{Name: "x", Collections: []string{"flags", "flags"}}, model.ErrInvalid, []string{"spec.collections[1]"}},
		"stored and written":    {service.ReleaseDraft{Name: "x", Collections: []string{"flags"}, Resources: []service.ReleaseResourceDraft{{Collection: "flags", Name: "a", Body: flagDraft("a", ``).Body}}}, model.ErrInvalid, []string{"flags:a", "spec.resources[0] already"}},
		"a field that is wrong": {service.ReleaseDraft{Name: "x", ResourceOverrides: []service.ReleaseResourceDraft{{Collection: "flags", Name: "a", Body: flagDraft("a", `,"enabled":5`).Body}}}, model.ErrInvalid, []string{"spec.resourceOverrides[0].spec.enabled"}},
	} {
		_, err := svc.CreateRelease(t.Context(), alice, test.draft)
		wantError(t, name, err, test.kind, test.says...)
	}
}

// A node whose sink does not say that it keeps resources is not given any: it would run the filters without what they were tested with.
func TestResourcesGoToSinksThatKeepThem(t *testing.T) {
	s, svc := shelves(t)
	release, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "flags", Filters: []service.FilterDraft{{Name: "filter", Module: "good:1"}},
		Resources: []service.ReleaseResourceDraft{{Collection: "flags", Name: "a", Body: flagDraft("a", `,"enabled":true`).Body}}})
	if err != nil {
		t.Fatal(err)
	}
	hello := func(id string, resources bool) service.NodeHello {
		return service.NodeHello{ID: id, Labels: map[string]string{"node": id}, Reports: true, EnvoyVersion: "1.40.0", AgentVersion: "v9", Resources: resources}
	}
	s.known(s.sim(hello("keeps", true)), s.sim(hello("lacks", false)))
	_, err = svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "r1", Release: "flags", Selector: "node=lacks"})
	wantError(t, "a sink that keeps none", err, model.ErrInvalid, "node/lacks", "does not say that it keeps any")
	if _, err := s.try("r2", release.ID.String(), "node=keeps", model.WaveSpec{Percent: 100}); err != nil {
		t.Fatal(err)
	}
	var got []model.Collection
	s.eventually("the node that keeps them is sent the flags", func() bool {
		got, err = svc.Collections(t.Context(), "keeps")
		return err == nil && len(got) == 4
	})
	if flags := got[3]; flags.Name != "flags" || len(flags.Resources) != 1 || string(flags.Resources[0].Any.Bytes) != "\x08\x01" || flags.Resources[0].Any.Type != "type.googleapis.com/acme.Flag" {
		t.Errorf("it is sent %+v", got[3])
	}
	rendered, err := svc.RenderedOn(t.Context(), "keeps")
	if err != nil || len(rendered) != 2 || rendered[0].Name != "filter" || layerOf(rendered[0], "module") != "global" || rendered[1].Collection != "flags" || layerOf(rendered[1], "spec.enabled") != "global" {
		t.Errorf("it is rendered to %+v, %v", rendered, err)
	}
	if chain := got[1].Resources[0].Chain; len(chain.Resources) != 1 || chain.Resources[0].Version != got[3].Resources[0].Version || chain.Resources[0].Fields != nil {
		t.Errorf("its chain names %+v", chain.Resources)
	}
}

// A sink that has no report stream says by its dialect whether it may ask for resources; an agent's own word counts more, whichever of its streams comes first.
func TestSinksWithoutReportsAndResources(t *testing.T) {
	_, svc := shelves(t)
	if _, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "flags",
		Resources: []service.ReleaseResourceDraft{{Collection: "flags", Name: "a", Body: flagDraft("a", ``).Body}}}); err != nil {
		t.Fatal(err)
	}
	start := func(name, node string) error {
		_, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: name, Release: "flags", Selector: "node=" + node, IncludeUnreported: true, NoWait: true})
		return err
	}
	hello := func(id string, reports, resources bool) {
		connect(t, svc, service.NodeHello{ID: id, Labels: map[string]string{"node": id}, Reports: reports, EnvoyVersion: "1.40.0", Resources: resources})
	}
	hello("mcp", false, true)
	if err := start("r1", "mcp"); err != nil {
		t.Errorf("a plain sink: %v", err)
	}
	hello("istio", false, false)
	wantError(t, "one that takes none", start("r2", "istio"), model.ErrInvalid, "node/istio", "does not say that it keeps any")
	hello("old", false, true)
	hello("old", true, false)
	hello("old", false, true)
	wantError(t, "an agent that keeps none", start("r3", "old"), model.ErrInvalid, "node/old", "does not say that it keeps any")
}

// layerOf is the layer that gives a field of what is rendered.
func layerOf(r service.Rendered, path string) model.Layer {
	for _, f := range r.Fields {
		if f.Path == path {
			return f.Layer
		}
	}
	return ""
}
