package distributor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
)

// loadable is a module that Envoy would take: it has what the ABI asks for, which does nothing. text makes it one of its own.
func loadable(text string) []byte {
	text1 := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	section := func(id byte, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append([]byte{id, byte(len(body))}, body...)
	}
	const none, alloc, two = 0, 1, 2 // types: () → (), (i32) → i32, (i32, i32) → ()
	exported := []struct {
		name string
		of   byte
	}{{"proxy_abi_version_0_2_1", none}, {"_initialize", none}, {"proxy_on_memory_allocate", alloc}, {"proxy_on_context_create", two}}
	functions, exports, code := []byte{4}, []byte{4}, []byte{4}
	for i, f := range exported {
		functions = append(functions, f.of)
		exports = append(append(exports, text1(f.name)...), 0, byte(i))
		if f.of == alloc {
			code = append(code, 4, 0, 0x41, 0, 0x0b)
		} else {
			code = append(code, 2, 0, 0x0b)
		}
	}
	out := append([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, []byte{3, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 2, 0x7f, 0x7f, 0})...)
	out = append(out, section(3, functions)...)
	out = append(out, section(5, []byte{1, 1, 1, 16})...)
	out = append(out, section(7, exports)...)
	out = append(out, section(10, code)...)
	custom := append(text1("x"), text...)
	size := len(custom)
	out = append(out, 0)
	for size >= 0x80 {
		out, size = append(out, byte(size)|0x80), size>>7
	}
	return append(append(out, byte(size)), custom...)
}

func inlineDocument(name, wasm, more string) string {
	return fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n  - name: f\n    inline: {wasm: %q%s}\n    config: {issuer: a}\n", name, wasm, more)
}

func encodedModule(wasm []byte) string { return base64.StdEncoding.EncodeToString(wasm) }

// A module that a release is given as bytes is kept in the registry by its digest, reaches a node by that, and is bytes again at a sink that does not fetch.
func TestInlineModule(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true})
	c := s.client(t)
	wasm := loadable("inline")
	create := func(name string) *waftv1.Release {
		t.Helper()
		r, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument(name, encodedModule(wasm), ""))})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	made := create("inline")
	resolved := made.GetStatus().GetModules()[0]
	if !resolved.GetInline() || resolved.GetModule().GetDigest() != digestOf(wasm) || len(resolved.GetEnvoys()) == 0 {
		t.Errorf("it was resolved to %v", resolved)
	}
	reference := made.GetSpec().GetFilters()[0].GetModule()
	if !strings.Contains(reference, "/inline/global/f@sha256:") || made.GetSpec().GetFilters()[0].GetInline() != nil {
		t.Errorf("it is read back as %v", made.GetSpec().GetFilters()[0])
	}
	if err := exists(t, strings.Replace(reference, "localhost", "127.0.0.1", 1)); err != nil {
		t.Errorf("it is not in the registry: %v", err)
	}
	if again := create("inline"); again.GetStatus().GetHash() != made.GetStatus().GetHash() || again.GetStatus().GetCreatedAt().AsTime() != made.GetStatus().GetCreatedAt().AsTime() {
		t.Errorf("the same content again is %v, was %v", again.GetStatus(), made.GetStatus())
	}
	// By its reference it is the same release.
	byReference := release(t, document("inline", reference, "{issuer: a}"))
	byReference.Spec.Filters[0].Phase = waftv1.Phase_PHASE_UNSPECIFIED
	if r, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: byReference}); err != nil || r.GetStatus().GetHash() != made.GetStatus().GetHash() {
		t.Errorf("by its reference it is %v, %v", r.GetStatus(), err)
	}

	agent(t, s, "node-1")
	updates := sink(t, s.GRPC, "node-2")
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Reason: "go", Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "first"}, Spec: &waftv1.RolloutSpec{Release: "inline", Waves: []*waftv1.Wave{{Percent: 100}}, Target: &waftv1.Target{Selector: "env=prod", IncludeUnreported: true}},
	}}); err != nil {
		t.Fatal(err)
	}
	f := &waftv1.Filter{}
	if err := mcp.Body(until(t, updates, model.CollectionFilters, some)[0], f); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.GetInline(), wasm) || f.GetModule().GetDigest() != digestOf(f.GetInline()) || f.GetModule().GetSize() != int64(len(wasm)) {
		t.Errorf("the sink has %d bytes, %s, of %v", len(f.GetInline()), digestOf(f.GetInline()), f.GetModule())
	}
	byDigest := "http://" + s.HTTP + "/v2/waft/modules/blobs/" + digestOf(wasm)
	if status, body, _ := get(t, byDigest); status != http.StatusOK || body != string(wasm) {
		t.Errorf("an agent that fetches it gets %d, %d bytes", status, len(body))
	}

	// What somebody has tampered with on the disk is had again from the registry, and never served.
	copied := filepath.Join(data, "modules", "blobs", "sha256", strings.TrimPrefix(digestOf(wasm), "sha256:"))
	tampered := bytes.Replace(wasm, []byte("inline"), []byte("tamper"), 1)
	if err := os.Chmod(copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, tampered, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := get(t, byDigest); status != http.StatusOK || body != string(wasm) {
		t.Errorf("after it was tampered with it is %d, %q", status, body)
	}
}

// What is wrong with an inline module is said with the field, and nothing is stored.
func TestInlineModuleRefused(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	c := s.client(t)
	good := loadable("good")
	manifestFor := func(sha256 string, envoys string) string {
		return fmt.Sprintf(`, manifest: {name: f, version: "1", sha256: "%s", size: %d, abi: "0.2.1", imports: [], envoys: %s, memoryMax: 1048576}`,
			strings.TrimPrefix(sha256, "sha256:"), len(good), envoys)
	}
	for name, tc := range map[string]struct {
		wasm, more string
		words      []string
	}{
		"no bytes":                      {"", "", []string{"spec.filters[0].inline.wasm", "has no bytes"}},
		"no module":                     {encodedModule([]byte("#!/bin/sh")), "", []string{"spec.filters[0].inline", "waft build"}},
		"a module that Envoy cannot":    {encodedModule(module("empty")), "", []string{"no Envoy that waft knows can load it"}},
		"another module's manifest":     {encodedModule(good), manifestFor(digestOf([]byte("another")), "[envoy-1.40]"), []string{"its manifest is about another module"}},
		"a manifest that says too much": {encodedModule(good), manifestFor(digestOf(good), "[envoy-9.99]"), []string{"its manifest says that envoy-9.99"}},
		"a manifest that is none":       {encodedModule(good), `, manifest: {name: f}`, []string{"its manifest", "is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument("refused", tc.wasm, tc.more))})
			if !errors.Is(err, model.ErrInvalid) {
				t.Fatalf("it is %v", err)
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in %v", word, err)
				}
			}
		})
	}
	t.Run("a reference beside it", func(t *testing.T) {
		r := release(t, inlineDocument("refused", encodedModule(good), ""))
		r.Spec.Filters[0].Module = s.HTTP + "/filters/f:1"
		_, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: r})
		if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "by a reference and another one as bytes") {
			t.Errorf("it is %v", err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		half := loadable(strings.Repeat("x", service.MaxInlineBytes/2))
		r := &waftv1.Release{Metadata: &waftv1.ReleaseMetadata{Name: "refused"}, Spec: &waftv1.ReleaseSpec{Filters: []*waftv1.FilterSpec{
			{Name: "a", Inline: &waftv1.InlineModule{Wasm: half}}, {Name: "b", Inline: &waftv1.InlineModule{Wasm: half}},
		}}}
		_, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: r})
		if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "spec.filters[1].inline.wasm") || !strings.Contains(err.Error(), "waft push") {
			t.Errorf("two that are too large together: %v", err)
		}
		r.Spec.Filters = r.Spec.Filters[:1]
		if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: r}); err != nil {
			t.Errorf("one of them: %v", err)
		}
	})
	if _, err := api.DecodeDocument([]byte(inlineDocument("bad", "AGFz!", ""))); err == nil || !strings.Contains(err.Error(), "spec.filters[0].inline.wasm") || !strings.Contains(err.Error(), "base64") {
		t.Errorf("what is no base64: %v", err)
	}
	if status, body := post(t, "http://"+s.HTTP+"/v1/releases", "ann", `{"metadata": {"name": "x"}, "spec": {"filters": [{"name": "f", "inline": {"wasm": "AGFz!"}}]}}`); status != http.StatusBadRequest {
		t.Errorf("what is no base64, by REST: %d %s", status, body)
	}
	if status, body := post(t, "http://"+s.HTTP+"/v1/releases?reason=rest", "ann",
		fmt.Sprintf(`{"metadata": {"name": "rest"}, "spec": {"filters": [{"name": "f", "inline": {"wasm": %q}}]}}`, encodedModule(good))); status != http.StatusOK {
		t.Errorf("by REST: %d %s", status, body)
	}
}

// A module gets round no trust policy by being inline: it is judged as an artifact of the repository that it is kept in, and can be signed there.
func TestInlineModuleIsJudged(t *testing.T) {
	p := newPolicyFile(t)
	p.put(signedRules)
	file := p.open()
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, TrustPolicy: file})
	c := s.client(t)
	wasm := loadable("judged")
	create := func() error {
		_, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument("judged", encodedModule(wasm), ""))})
		return err
	}
	err := create()
	if !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "rule all") {
		t.Fatalf("without a signature it is %v", err)
	}
	_, rest, _ := strings.Cut(err.Error(), "/inline/global/f@")
	digest := "sha256:" + strings.TrimPrefix(rest, "sha256:")[:64]
	signModule(t, p, s.HTTP+"/inline/global/f@"+digest)
	if err := create(); err != nil {
		t.Errorf("with a signature it is %v", err)
	}
	p.put(signedRules + "  revoked: {digests: [\"" + digestOf(wasm) + "\"]}\n")
	if _, err := file.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := create(); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("revoked, it is %v", err)
	}
}

// Who may push nothing to the repository in which an inline module is kept brings in none.
func TestInlineModuleTakesTheRightToPush(t *testing.T) {
	const layersOnly = `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: layers, subjects: [{certificate: "cn:lena"}], roles: [publisher], layers: ["team/payments"], repositories: ["inline/team/payments/other"]}
  - {name: both, subjects: [{certificate: "cn:paul"}], roles: [publisher], layers: ["team/payments"], repositories: ["inline/team/payments/*"]}
`
	g := startWith(t, layersOnly)
	create := func(who string) error {
		r := release(t, inlineDocument("inline", encodedModule(loadable("rights")), ""))
		r.Metadata.Layer = "team/payments"
		_, err := waftv1.NewReleaseServiceClient(g.visitor(t, who).conn).CreateRelease(context.Background(), &waftv1.CreateReleaseRequest{Release: r, Reason: "go"})
		return err
	}
	if err := create("lena"); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "inline/team/payments/f") {
		t.Errorf("who may not push: %v", err)
	}
	if err := create("paul"); err != nil {
		t.Errorf("who may: %v", err)
	}
}

// An inline module without a tag is found by no name.
func TestInlineModuleHasNoTag(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
	if _, err := s.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument("inline", encodedModule(loadable("tag")), ""))}); err != nil {
		t.Fatal(err)
	}
	if err := exists(t, s.HTTP+"/inline/global/f:"+registry.DefaultTag); err == nil {
		t.Error("a tag names it")
	}
}
