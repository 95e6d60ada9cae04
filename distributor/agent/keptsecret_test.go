package agent

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy/envoytest"
)

// keptConfig is a filter whose configuration is a version of a kept secret.
func keptConfig(module *waftv1.ModuleRef, version int) *waftv1.Filter {
	f := filterOf("one", module, "")
	f.Config = fmt.Appendf(nil, `{"$secret":{"layer":"global","name":"token","version":%d}}`, version)
	return f
}

// secret gives the node a version of the secret, and no other; the value may be none, with why.
func (s *source) secret(version int64, value, trouble string) {
	s.t.Helper()
	body := &waftv1.SecretValue{Layer: "global", Name: "token", Version: version, Value: value, Trouble: trouble}
	one := resource(s.t, fmt.Sprint("kept:global/token@", version), fmt.Sprint(version, trouble), body)
	s.change(func() { s.collections[model.CollectionSecrets] = []*mcpv1.Resource{one} })
}

func TestDecodeSecrets(t *testing.T) {
	of := func(v *waftv1.SecretValue) *mcpv1.Resource { return resource(t, "x", "1", v) }
	good := &waftv1.SecretValue{Layer: "team/a", Name: "token", Version: 2, Value: "hunter2"}
	got, err := decodeSecrets([]*mcpv1.Resource{of(good), of(&waftv1.SecretValue{Layer: "global", Name: "b", Version: 1, Trouble: "no key"})})
	if err != nil || len(got) != 2 || got[model.SecretRef{Layer: "team/a", Name: "token", Version: 2}].value != "hunter2" || got[model.SecretRef{Layer: "global", Name: "b", Version: 1}].trouble != "no key" {
		t.Errorf("%v, %v", got, err)
	}
	many := make([]*mcpv1.Resource, model.MaxChainSecrets+1)
	for i := range many {
		many[i] = of(good)
	}
	for name, test := range map[string]struct {
		of   []*mcpv1.Resource
		want string
	}{
		"too many":     {many, "65 secrets are more than 64"},
		"another type": {[]*mcpv1.Resource{resource(t, "x", "1", &waftv1.Filter{Name: "hunter2"})}, "secret 1 of 1 is no waft.v1.SecretValue"},
		"no body":      {[]*mcpv1.Resource{{}}, "is no waft.v1.SecretValue"},
		"no name":      {[]*mcpv1.Resource{of(&waftv1.SecretValue{Layer: "global", Version: 1, Value: "hunter2"})}, "secret 1 of 1 has no name"},
		"no layer":     {[]*mcpv1.Resource{of(&waftv1.SecretValue{Name: "a", Version: 1, Value: "hunter2"})}, "has no name, layer and version"},
		"no version":   {[]*mcpv1.Resource{of(&waftv1.SecretValue{Layer: "global", Name: "a", Value: "hunter2"})}, "has no name, layer and version"},
		"no value":     {[]*mcpv1.Resource{of(&waftv1.SecretValue{Layer: "global", Name: "a", Version: 1})}, "kept:global/a@1 is empty"},
		"no text":      {[]*mcpv1.Resource{of(&waftv1.SecretValue{Layer: "global", Name: "a", Version: 1, Value: "hunter2\x00"})}, "no text in UTF-8"},
	} {
		got, err := decodeSecrets(test.of)
		if got != nil || err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A value that the node has is not given up for the news that the distributor cannot open it; one of another id is another secret.
func TestTroubleReplacesNoValue(t *testing.T) {
	value := func(version int64, id, value, trouble string) *mcpv1.Resource {
		return resource(t, fmt.Sprint("kept:global/token@", version), id+trouble, &waftv1.SecretValue{Layer: "global", Name: "token", Version: version, Id: id, Value: value, Trouble: trouble})
	}
	first, second := strings.Repeat("0a", 16), strings.Repeat("0b", 16)
	dir, _, err := openState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := openInbox("n1", dir, slog.New(slog.DiscardHandler))
	has := func(id string) string {
		got, err := in.keptSecret(model.SecretRef{Layer: "global", Name: "token", Version: 2, ID: id})
		if err != nil {
			return err.Error()
		}
		return got
	}
	apply := func(r ...*mcpv1.Resource) {
		t.Helper()
		if err := in.apply(t.Context(), mcp.Update{Collection: model.CollectionSecrets, Resources: r}); err != nil {
			t.Fatal(err)
		}
	}
	apply(value(2, first, "hunter2", ""))
	apply(value(2, first, "", "no key"))
	if got := has(first); got != "hunter2" {
		t.Errorf("the node has %q", got)
	}
	in = openInbox("n1", dir, slog.New(slog.DiscardHandler))
	if got := has(first); got != "hunter2" {
		t.Errorf("started again, the node has %q", got)
	}
	apply(value(2, second, "", "no key"))
	if got := has(second); !strings.Contains(got, "no key") {
		t.Errorf("of another id the node has %q", got)
	}
}

// A kept secret comes with the chain that names it: after it, before it, and with why there is none. Another version is another chain, and goes the way of one; a version that is refused
// leaves the one that serves. Without the distributor the node serves on, and starts again, with the value that it has; and no log and no report says one.
func TestKeptSecrets(t *testing.T) {
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Trial = 100 * time.Millisecond
	agent := run(t, config)
	plain := s.module(guest)
	const common = "battery-staple"

	first := s.give(keptConfig(plain, 1))
	await := func(what string, is func(*waftv1.ChainReport) bool) {
		t.Helper()
		var last *waftv1.ChainReport
		envoytest.Eventually(t, what, func(context.Context) error {
			if last = s.lastStanding(); last == nil || !is(last) {
				return fmt.Errorf("the last report is %v", last)
			}
			return nil
		})
	}
	await("the secret is waited for", func(r *waftv1.ChainReport) bool { return r.GetHash() == first && r.GetReason() == reasonReading })
	s.secret(1, "", "sealed with the key 00aa, which is not there")
	await("there is none, and why", func(r *waftv1.ChainReport) bool {
		return r.GetHash() == first && r.GetState() == waftv1.ChainState_REJECTED && strings.Contains(r.GetReason(), "kept:global/token@1: the distributor cannot give it: sealed with the key 00aa")
	})
	s.secret(1, "first-"+common, "")
	if got := s.await(first, waftv1.ChainState_SERVING); got.GetSecrets()["kept:global/token@1"] == "" {
		t.Errorf("reported %v", got)
	}
	answers(t, config.Listen, "x-one", "first-"+common)

	v := visitFor(t, config.Listen, "x-one")
	s.secret(2, "second-"+common, "") // it comes before the chain, and takes the place of the first
	second := s.give(keptConfig(plain, 2))
	s.await(second, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "second-"+common)
	v.stop()
	if failed := v.failed.Load(); failed > 0 {
		t.Errorf("%d of %d requests failed while the version was changed: %v", failed, v.sent.Load(), v.last.Load())
	}
	back := s.give(keptConfig(plain, 1))
	s.secret(1, "first-"+common, "")
	answers(t, config.Listen, "x-one", "first-"+common)
	if back != first {
		t.Errorf("the chain before is %s, and was %s", back, first)
	}
	await("the first is good again", func(r *waftv1.ChainReport) bool {
		return r.GetHash() == first && r.GetState() == waftv1.ChainState_SERVING
	})

	s.stop()
	agent.stop()
	again := run(t, config)
	answers(t, config.Listen, "x-one", "first-"+common)
	again.stop()

	for _, report := range s.said() {
		if strings.Contains(report.String(), common) {
			t.Errorf("a report has a value: %v", report)
		}
	}
	onDisk := 0
	if err := filepath.WalkDir(config.StateDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "first-"+common) {
			return err
		}
		onDisk++
		if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has a value, and mode %v, %v", path, info.Mode(), err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if onDisk == 0 {
		t.Error("no file has a value: how did it serve?")
	}
}
