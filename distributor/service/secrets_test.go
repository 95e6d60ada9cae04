package service_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/envelope"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// keeping is a site that keeps secrets, with keys that are 32 of each byte.
func keeping(t *testing.T, keys ...byte) (s *site, file string) {
	t.Helper()
	s = newSite(t)
	file = filepath.Join(t.TempDir(), "keys")
	writeKeys(t, file, keys...)
	ring, err := envelope.OpenKeyring(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.config = func(c *service.Config) { c.Keys = ring }
	return s, file
}

func writeKeys(t *testing.T, file string, keys ...byte) {
	t.Helper()
	var text []byte
	for _, k := range keys {
		text = append(base64.StdEncoding.AppendEncode(text, bytes.Repeat([]byte{k}, 32)), '\n')
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func idOf(k byte) string { return envelope.Key(bytes.Repeat([]byte{k}, 32)).ID() }

func (s *site) secret(layer model.Layer, name, value string) model.KeptSecret {
	s.t.Helper()
	svc, _ := s.service()
	one, err := svc.SetSecret(s.t.Context(), alice, service.SecretDraft{Layer: layer, Name: name, Value: []byte(value)})
	if err != nil {
		s.t.Fatal(err)
	}
	return one
}

// keyed creates a release whose filter has a configuration.
func (s *site) keyed(name string, layer model.Layer, config string) (model.Release, error) {
	svc, _ := s.service()
	return svc.CreateRelease(s.t.Context(), alice, service.ReleaseDraft{Name: name, Layer: layer, Filters: []service.FilterDraft{{Name: "filter", Module: "good:1", Config: json.RawMessage(config)}}})
}

func (s *site) mustKeyed(name string, layer model.Layer, config string) model.Release {
	s.t.Helper()
	r, err := s.keyed(name, layer, config)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// keyedNode is a node whose agent asks for kept secrets.
func (s *site) keyedNode(id string) *sim {
	return s.sim(service.NodeHello{ID: id, Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0", Secrets: true, KeptSecrets: true})
}

func TestKeptSecretsHaveVersions(t *testing.T) {
	s, _ := keeping(t, 1)
	svc := s.start()
	one := s.secret("team/a", "token", "first")
	if one.Last != 1 || len(one.Versions) != 1 || one.Versions[0].Key != idOf(1) || one.Versions[0].SetBy != alice.Name || one.Versions[0].ID == "" {
		t.Errorf("%+v", one)
	}
	one = s.secret("team/a", "token", "second")
	of := s.secret("", "token", "of global")
	if one.Versions[0].ID == one.Versions[1].ID {
		t.Errorf("two versions have one id: %+v", one)
	}
	for ref, want := range map[model.SecretRef]string{one.Ref(1): "first", one.Ref(2): "second", of.Ref(1): "of global"} {
		if got, err := svc.SecretValue(t.Context(), ref); err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	list, next, err := svc.ListSecrets(t.Context(), "", service.Page{})
	if err != nil || len(list) != 2 || next != "" || list[0].Layer != "global" {
		t.Errorf("%+v %q %v", list, next, err)
	}
	for name, draft := range map[string]service.SecretDraft{
		"is empty": {Name: "x"}, "no text in UTF-8": {Name: "x", Value: []byte("hunter2\xff")}, "more than 65536": {Name: "x", Value: bytes.Repeat([]byte("hunter2"), model.MaxSecret)},
		"no secrets": {Name: "x", Layer: "emergency/x", Value: []byte("hunter2")}, "there is no layer": {Name: "x", Layer: "x", Value: []byte("hunter2")}, "the name": {Name: "", Value: []byte("hunter2")},
	} {
		_, err := svc.SetSecret(t.Context(), alice, draft)
		wantKind(t, err, model.ErrInvalid, name)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error has the value: %v", err)
		}
	}
	entries, _, err := svc.ListAudit(t.Context(), "secret/team/a/token", service.Page{})
	if err != nil || len(entries) != 2 || entries[0].Action != "secret.set" || entries[0].Actor != alice.Name || !strings.Contains(entries[0].Detail, "version 2") {
		t.Errorf("%+v %v", entries, err)
	}
	s.stop()
	if svc = s.start(); true {
		if got, err := svc.SecretValue(t.Context(), one.Ref(2)); err != nil || got != "second" {
			t.Errorf("after a restart: %q, %v", got, err)
		}
	}
}

// A release holds the version that was the newest when it was created, and names no other layer's secrets.
func TestReleasesPinSecrets(t *testing.T) {
	s, _ := keeping(t, 1)
	s.start()
	token := s.secret("team/a", "token", "first")
	first := s.mustKeyed("edge", "team/a", `{"t":{"$secret":{"name":"token"}}}`)
	if got, want := string(first.Filters[0].Config), `{"t":{"$secret":{"id":"`+token.Ref(1).ID+`","layer":"team/a","name":"token","version":1}}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s.secret("team/a", "token", "second")
	if again := s.mustKeyed("edge", "team/a", string(first.Filters[0].Config)); again.ID != first.ID {
		t.Errorf("what it was given as is another release, %s", again.ID)
	}
	second := s.mustKeyed("edge", "team/a", `{"t":{"$secret":{"name":"token"}}}`)
	if second.ID == first.ID || !strings.Contains(string(second.Filters[0].Config), `"version":2`) {
		t.Errorf("%s", second.Filters[0].Config)
	}
	for config, want := range map[string]struct {
		kind error
		text string
	}{
		`{"t":{"$secret":{"name":"tokem"}}}`:                                                     {model.ErrNotFound, "layer team/a has no secret tokem"},
		`{"t":{"$secret":{"name":"token","version":3}}}`:                                         {model.ErrNotFound, "has no version 3"},
		`{"t":{"$secret":{"name":"token","version":1,"id":"000102030405060708090a0b0c0d0e0f"}}}`: {model.ErrNotFound, "not the one with the id 0001"},
		`{"t":{"$secret":{"name":"token","version":1,"id":"0001"}}}`:                             {model.ErrInvalid, "none of a version"},
		`{"t":{"$secret":{"name":"token","id":"000102030405060708090a0b0c0d0e0f"}}}`:             {model.ErrInvalid, "none of a version"},
		`{"t":{"$secret":{"name":"token","layer":"global"}}}`:                                    {model.ErrInvalid, "a secret of layer global is not for a release of layer team/a"},
		`{"t":{"$secret":{"name":"token","layer":"team/b"}}}`:                                    {model.ErrInvalid, "a secret of layer team/b is not for"},
		`{"t":{"$secret":{"name":"token","layer":"emergency/x"}}}`:                               {model.ErrInvalid, "as the layer is none"},
		`{"t":{"$secret":{"name":"token","version":0}}}`:                                         {model.ErrInvalid, "no version"},
		`{"t":{"$secret":{"name":"token","version":1.5}}}`:                                       {model.ErrInvalid, "no version"},
		`{"t":{"$secret":{"env":"A","version":1}}}`:                                              {model.ErrInvalid, "beside what has none"},
		`{"t":{"$secret":{"name":"token"},"and":{"$secret":{"name":"No"}}}}`:                     {model.ErrInvalid, "nothing beside it"},
	} {
		_, err := s.keyed("other", "team/a", config)
		wantKind(t, err, want.kind, want.text)
	}
	_, err := s.keyed("other", "team/b", `{"t":{"$secret":{"name":"token"}}}`)
	wantKind(t, err, model.ErrNotFound, "layer team/b has no secret token", "--layer team/b")
}

// What a node is given of secrets is what its chain names, and only where its agent asks for it.
func TestSecretsGoToAgentsWhoseChainNamesThem(t *testing.T) {
	s, file := keeping(t, 1)
	svc := s.start()
	agent := s.keyedNode("agent")
	plain := s.sim(service.NodeHello{ID: "plain", Labels: map[string]string{"env": "other"}, Reports: true, EnvoyVersion: "1.40.0"})
	older := s.sim(service.NodeHello{ID: "older", Labels: map[string]string{"env": "old"}, Reports: true, EnvoyVersion: "1.40.0", Secrets: true})
	s.known(agent, plain, older)
	token := s.secret("", "token", "first")
	s.secret("", "other", "not named")
	s.mustKeyed("edge", "", `{"t":{"$secret":{"name":"token"}}}`)
	_, err := s.try("all", "edge", "env=other", all)
	wantKind(t, err, model.ErrInvalid, "node/plain", "names a secret")
	_, err = s.try("old", "edge", "env=old", all)
	wantKind(t, err, model.ErrInvalid, "node/older", "kept:global/token@1", "only an agent")

	writeKeys(t, file, 2)
	_, err = s.try("wrong", "edge", "env=prod", all)
	wantKind(t, err, model.ErrPrecondition, "kept:global/token@1", "sealed with the key "+idOf(1), idOf(2))
	writeKeys(t, file, 1)
	if _, err := s.try("one", "edge", "env=prod", all); err != nil {
		t.Fatal(err)
	}
	s.reach("one", model.RolloutDone)
	named := func(id string) []model.SecretRef {
		collections, err := svc.Collections(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var refs []model.SecretRef
		for _, c := range collections {
			for _, r := range c.Resources {
				if (c.Name == model.CollectionSecrets) != (r.Secret != nil) {
					t.Errorf("%s: %+v", c.Name, r)
				}
				if r.Secret != nil {
					refs = append(refs, *r.Secret)
				}
			}
		}
		return refs
	}
	if got := named("agent"); !slices.Equal(got, []model.SecretRef{token.Ref(1)}) {
		t.Errorf("the agent is given %v", got)
	}
	for _, other := range []string{"plain", "older", "nobody"} {
		if got := named(other); got != nil {
			t.Errorf("%s is given %v", other, got)
		}
	}
	// The same node, by an agent that does not ask.
	agent.disconnect()
	agent.mu.Lock()
	agent.hello.KeptSecrets = false
	agent.mu.Unlock()
	agent.connect()
	s.eventually("it is given none", func() bool { return named("agent") == nil })
}

// What may still be needed is not deleted; the rest is, and cannot be rolled out any more.
func TestNeededSecretsStay(t *testing.T) {
	s, _ := keeping(t, 1)
	svc := s.start()
	s.known(s.keyedNode("n"))
	roll := func(name, release string) {
		t.Helper()
		s.begin(name, release, all)
		s.reach(name, model.RolloutDone)
	}
	remove := func(version int64) error {
		_, err := svc.DeleteSecret(t.Context(), alice, "", "token", version)
		return err
	}
	config := `{"t":{"$secret":{"name":"token"}}}`
	s.secret("", "token", "first")
	one := s.mustKeyed("one", "", config)
	roll("a", "one")
	s.secret("", "token", "second")
	two := s.mustKeyed("two", "", config)
	s.secret("", "token", "third")
	three := s.mustKeyed("three", "", config)
	roll("b", "two")
	for _, version := range []int64{0, 1} {
		wantKind(t, remove(version), model.ErrPrecondition, "version 1", one.ID.String()) // an undo leads there
	}
	wantKind(t, remove(2), model.ErrPrecondition, "version 2", two.ID.String())
	wantKind(t, remove(4), model.ErrNotFound, "no version 4")
	status, err := svc.GetSecret(t.Context(), "", "token")
	if err != nil || len(status.Versions) != 3 || !slices.Equal(status.Releases[3], []model.ReleaseID{three.ID}) || !slices.Equal(status.Releases[1], []model.ReleaseID{one.ID}) {
		t.Errorf("%+v, %v", status, err)
	}
	if err := remove(3); err != nil {
		t.Fatal(err)
	}
	_, err = s.try("c", "three", "", all)
	wantKind(t, err, model.ErrPrecondition, "kept:global/token@3", "create a release")
	_, err = s.keyed("four", "", `{"t":{"$secret":{"name":"token","version":3}}}`)
	wantKind(t, err, model.ErrNotFound, "no version 3")

	// The fleet settles on what names none, with no way back to it.
	s.release("none", "good:1")
	s.release("none-too", "good:2")
	roll("d", "none")
	wantKind(t, remove(2), model.ErrPrecondition, "version 2")
	roll("e", "none-too")
	if err := remove(0); err != nil {
		t.Fatal(err)
	}
	wantKind(t, remove(0), model.ErrNotFound, "no such secret")
	if list, _, err := svc.ListSecrets(t.Context(), "", service.Page{}); err != nil || len(list) != 0 {
		t.Errorf("left are %v, %v", list, err)
	}
	if again := s.secret("", "token", "anew"); again.Versions[0].Version != 4 {
		t.Errorf("a version is given twice: %+v", again)
	}
}

// Of many versions the oldest goes that no release names; where releases name all, none comes.
func TestVersionsAreBounded(t *testing.T) {
	s, _ := keeping(t, 1)
	svc := s.start()
	for i := range model.MaxSecretVersions {
		s.secret("", "token", fmt.Sprint("value ", i))
		if i != 1 {
			s.mustKeyed("edge", "", `{"t":{"$secret":{"name":"token"}}}`)
		}
	}
	one := s.secret("", "token", "one more")
	if len(one.Versions) != model.MaxSecretVersions || one.Versions[0].Version != 1 || one.Versions[1].Version != 3 {
		t.Errorf("%+v", one.Versions)
	}
	if _, err := svc.SecretValue(t.Context(), one.Ref(2)); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("the value of the version that went: %v", err)
	}
	s.mustKeyed("edge", "", `{"t":{"$secret":{"name":"token"}}}`)
	_, err := svc.SetSecret(t.Context(), alice, service.SecretDraft{Name: "token", Value: []byte("too much")})
	wantKind(t, err, model.ErrPrecondition, "16 versions", "releases name all")
}

func TestRekey(t *testing.T) {
	s, file := keeping(t, 1)
	svc := s.start()
	s.secret("", "a", "first")
	s.secret("", "a", "second")
	s.secret("team/a", "b", "third")
	writeKeys(t, file, 2, 1)
	one := s.secret("", "a", "fourth")
	done, err := svc.RekeySecrets(t.Context(), alice)
	if err != nil || done.Resealed != 3 || done.Key != idOf(2) || done.Failures != 0 {
		t.Fatalf("%+v %v", done, err)
	}
	writeKeys(t, file, 2)
	for version, want := range map[int64]string{1: "first", 2: "second", 3: "fourth"} {
		if got, err := svc.SecretValue(t.Context(), one.Ref(version)); err != nil || got != want {
			t.Errorf("version %d: %q, %v", version, got, err)
		}
	}
	if done, err := svc.RekeySecrets(t.Context(), alice); err != nil || done.Resealed != 0 {
		t.Errorf("once more: %+v, %v", done, err)
	}
	writeKeys(t, file, 3)
	if done, err := svc.RekeySecrets(t.Context(), alice); err != nil || done.Resealed != 0 || done.Failures != 4 || !strings.Contains(done.Failed[0], "kept:global/a@1: it is sealed with the key "+idOf(2)) {
		t.Errorf("without the key: %+v, %v", done, err)
	}
}

// What cannot be opened keeps no other value from the new key, of the same secret or of another.
func TestRekeyGoesOn(t *testing.T) {
	s, file := keeping(t, 1)
	svc := s.start()
	s.secret("", "a", "lost")
	writeKeys(t, file, 2)
	a := s.secret("", "a", "again")
	b := s.secret("team/z", "b", "third")
	writeKeys(t, file, 3, 2)
	done, err := svc.RekeySecrets(t.Context(), alice)
	if err != nil || done.Key != idOf(3) || done.Resealed != 2 || done.Failures != 1 || len(done.Failed) != 1 || !strings.Contains(done.Failed[0], "kept:global/a@1") {
		t.Errorf("%+v, %v", done, err)
	}
	writeKeys(t, file, 3)
	for ref, want := range map[model.SecretRef]string{a.Ref(2): "again", b.Ref(1): "third"} {
		if got, err := svc.SecretValue(t.Context(), ref); err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
}

func TestWithoutKeysThereAreNoSecrets(t *testing.T) {
	s := newSite(t)
	svc := s.start()
	_, err := svc.SetSecret(t.Context(), alice, service.SecretDraft{Name: "token", Value: []byte("hunter2")})
	wantKind(t, err, model.ErrPrecondition, "--secret-key")
	if list, _, err := svc.ListSecrets(context.Background(), "", service.Page{}); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// slowKeys are keys that open nothing until they are let.
type slowKeys struct {
	service.Keys
	asked chan struct{}
	let   chan struct{}
}

func (k slowKeys) Open(of model.SecretRef, sealed []byte) ([]byte, error) {
	k.asked <- struct{}{}
	<-k.let
	return k.Keys.Open(of, sealed)
}

// Secrets are read outside the drive loop: nobody else waits for them. What is removed meanwhile is found out.
func TestSecretsAreReadOutsideTheDriveLoop(t *testing.T) {
	s, file := keeping(t, 1)
	ring, err := envelope.OpenKeyring(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := slowKeys{Keys: ring, asked: make(chan struct{}, 100), let: make(chan struct{})}
	s.config = func(c *service.Config) { c.Keys = keys }
	svc := s.start()
	s.known(s.keyedNode("n"))
	s.secret("", "token", "first")
	s.mustKeyed("edge", "", `{"t":{"$secret":{"name":"token"}}}`)
	started := make(chan error, 1)
	go func() {
		_, err := s.try("one", "edge", "env=prod", all)
		started <- err
	}()
	<-keys.asked
	if _, err := svc.DeleteSecret(t.Context(), alice, "", "token", 0); err != nil {
		t.Fatal(err)
	}
	close(keys.let)
	wantKind(t, <-started, model.ErrPrecondition, "kept:global/token@1", "create a release")
}
