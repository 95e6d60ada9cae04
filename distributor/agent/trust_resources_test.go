package agent

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/registry/trust"
)

// flagSet is a descriptor set of acme.Flag: bool enabled, and a string of the name given.
func flagSet(t *testing.T, second string) []byte {
	t.Helper()
	one := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	raw, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String("acme.proto"), Package: proto.String("acme"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Flag"), Field: []*descriptorpb.FieldDescriptorProto{
			{Name: proto.String("enabled"), Number: proto.Int32(1), Label: one, Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum()},
			{Name: proto.String(second), Number: proto.Int32(2), Label: one, Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// The resources of a release are covered by its signature, down to their bytes: a distributor changes none, and leaves none out.
func TestJudgeResources(t *testing.T) {
	n := newNotary(t)
	text, other := flagSet(t, "who"), flagSet(t, "whom")
	set, err := descriptors.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	otherSet, err := descriptors.Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	flag := func(fields string) model.ResourceSpec {
		return model.ResourceSpec{Collection: "flags", Name: "checkout", ResourceBody: model.ResourceBody{
			Type: model.TypeURLPrefix + "acme.Flag", Descriptors: model.Digest(text), Fields: json.RawMessage(fields),
		}}
	}
	global, globalDossier := n.release(model.Release{ID: model.ReleaseID{Name: "edge"}, Resources: []model.ResourceSpec{
		flag(`{"enabled":true,"who":"staff"}`),
		{Collection: "settings", Name: "site", ResourceBody: model.ResourceBody{Type: model.TypeURLPrefix + "google.protobuf.StringValue", Fields: json.RawMessage(`{"value":"x"}`)}},
		{Collection: "things", Name: "raw", ResourceBody: model.ResourceBody{Type: model.TypeURLPrefix + "acme.Thing", Opaque: []byte{1, 2, 3}}},
	}}, "k")
	team, teamDossier := n.release(model.Release{ID: model.ReleaseID{Name: "edge-team"}, Layer: "team/x", Resources: []model.ResourceSpec{flag(`{"enabled":false}`)}}, "k")
	all := filed{
		releases:    map[string]trust.ReleaseDossier{releaseName(global.ID.String()): globalDossier, releaseName(team.ID.String()): teamDossier},
		descriptors: map[string]*descriptors.Set{descriptorsName(model.Digest(text)): set, descriptorsName(model.Digest(other)): otherSet},
	}
	// sent is what an honest distributor sends.
	sent := func() *chain {
		layers := map[model.Layer]model.Release{global.Layer: global, team.Layer: team}
		rendered, err := merge.Render(layers)
		if err != nil {
			t.Fatal(err)
		}
		c := &chain{Hash: rendered.Hash, Releases: []release{{global.Layer, global.ID.String()}, {team.Layer, team.ID.String()}}}
		for _, r := range rendered.Resources {
			message := r.Opaque
			if !r.IsOpaque() {
				from := descriptors.Linked()
				if r.Descriptors != "" {
					from = set
				}
				if message, err = from.Marshal(r.Message(), r.Fields); err != nil {
					t.Fatal(err)
				}
			}
			c.Resources = append(c.Resources, heldResource{
				Collection: r.Collection, Name: r.Name, Version: r.Version, Type: r.Type, Descriptors: r.Descriptors, Content: model.Digest(message),
			})
		}
		return c
	}
	governed := n.policy([]string{"k"}, nil, "  releases: [{name: all, releases: [\"edge*\"], signatures: {keys: [k]}}]\n")
	modulesOnly := n.policy([]string{"k"}, nil, "")
	now := time.Now()
	for _, tc := range []struct {
		name   string
		policy *trust.Policy
		change func(c *chain, have *filed)
		want   trustState
		says   string
	}{
		{name: "as it was signed", want: trusted},
		{name: "modules alone are asked about", policy: modulesOnly, want: trusted, change: func(c *chain, _ *filed) { c.Resources[0].Content = someDigest }},
		{name: "one left out", want: distrusted, says: "they make 3 resources, and 2 were sent", change: func(c *chain, _ *filed) { c.Resources = c.Resources[1:] }},
		{name: "one more", want: distrusted, says: "3 resources, and 4", change: func(c *chain, _ *filed) { c.Resources = append(c.Resources, c.Resources[0]) }},
		{name: "one in the place of another", want: distrusted, says: "settings:site was sent in the place of flags:checkout", change: func(c *chain, _ *filed) { c.Resources[0] = c.Resources[1] }},
		{name: "another type", want: distrusted, says: "another type", change: func(c *chain, _ *filed) { c.Resources[0].Type = c.Resources[1].Type }},
		{name: "another version", want: distrusted, says: "another version", change: func(c *chain, _ *filed) { c.Resources[0].Version = c.Resources[1].Version }},
		{name: "another message of the user's", want: distrusted, says: "flags:checkout has another content", change: func(c *chain, _ *filed) { c.Resources[0].Content = someDigest }},
		{name: "another message of protobuf's", want: distrusted, says: "settings:site has another content", change: func(c *chain, _ *filed) { c.Resources[1].Content = someDigest }},
		{name: "another opaque message", want: distrusted, says: "things:raw has another content", change: func(c *chain, _ *filed) { c.Resources[2].Content = someDigest }},
		{name: "other descriptors", want: distrusted, says: "other descriptors", change: func(c *chain, _ *filed) { c.Resources[0].Descriptors = model.Digest(other) }},
		{name: "no descriptors", want: distrusted, says: "other descriptors", change: func(c *chain, _ *filed) { c.Resources[0].Descriptors = "" }},
		{name: "the descriptors are not here yet", want: unjudged, change: func(_ *chain, have *filed) { have.descriptors = nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, have := sent(), filed{releases: maps.Clone(all.releases), descriptors: maps.Clone(all.descriptors)}
			if tc.change != nil {
				tc.change(c, &have)
			}
			policy := tc.policy
			if policy == nil {
				policy = governed
			}
			if j := judge(policy, c, have, now); j.state != tc.want || !strings.Contains(j.reason, tc.says) {
				t.Errorf("judged %+v, want %d with %q", j, tc.want, tc.says)
			}
		})
	}
	if names := needs(governed, sent()); !slices.Equal(names, []string{releaseName(global.ID.String()), releaseName(team.ID.String()), descriptorsName(model.Digest(text))}) {
		t.Errorf("it needs %q", names)
	}
}

// Descriptors are taken from the distributor by their digest, kept, and found again; others are not taken.
func TestDescriptorsAreFetched(t *testing.T) {
	s := newSource(t, "n1")
	text := flagSet(t, "who")
	name, wrong := descriptorsName(model.Digest(text)), descriptorsName(someDigest)
	body, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	s.dossiers[name], s.dossiers[wrong] = body, body
	dir := t.TempDir()
	d, err := newDossiers(Config{Modules: s.httpAddress, Insecure: true}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.fetch(t.Context(), wrong, 0); err == nil || !strings.Contains(err.Error(), "other descriptors") {
		t.Errorf("others were taken: %v", err)
	}
	if err := d.fetch(t.Context(), name, 0); err != nil {
		t.Fatal(err)
	}
	s.stop()
	again, err := newDossiers(Config{Modules: s.httpAddress, Insecure: true}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.fetch(t.Context(), name, 0); err != nil {
		t.Errorf("with the distributor away: %v", err)
	}
	if have, _ := again.all(); have.descriptors[name] == nil || have.has(wrong) {
		t.Errorf("there are %v", have.descriptors)
	}
	again.keep(nil)
	if have, _ := again.all(); have.has(name) {
		t.Error("they are kept without need")
	}
}
