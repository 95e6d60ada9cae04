package admission_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/admission"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/manifest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// module is a filter as waft build makes it.
type module struct {
	wasm     []byte
	manifest manifest.Manifest
	path     string
}

func built(t *testing.T, dir string) module {
	t.Helper()
	r, err := build.Build(t.Context(), filepath.Join("../..", dir), build.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(r.Module)
	if err != nil {
		t.Fatal(err)
	}
	return module{wasm, r.Manifest, r.Module}
}

func newHost(t *testing.T) *wasmhost.Host {
	t.Helper()
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	return host
}

func scenario(name, text string) admission.Scenarios {
	return admission.Scenarios{Files: []admission.File{{Name: name, Text: text}}}
}

const oneRequest = "\nscenarios:\n- name: x\n  request: {path: /}\n"

func TestAdmit(t *testing.T) {
	host := newHost(t)
	failing, headers := built(t, "demo/filters/failing"), built(t, "filters/headers")
	own, err := admission.Collect("../../filters/headers")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		module    module
		scenarios admission.Scenarios
		// words of the refusal; none: it is admitted.
		words []string
		// empty are words of why the empty configuration was refused.
		empty string
	}{
		{name: "a filter with its own scenarios", module: headers, scenarios: own},
		{name: "an empty configuration is accepted", module: headers},
		{name: "an empty configuration is refused in good order", module: failing, empty: "every"},
		{name: "a filter that dies when it starts", module: built(t, "demo/filters/unloadable"), words: []string{"envoy-1.36", "dies on purpose", "empty configuration"}},
		{name: "a configuration is accepted", module: failing, scenarios: scenario("good.yaml", "config: {every: 2}"+oneRequest)},
		{name: "a configuration is refused", module: failing, scenarios: scenario("bad.yaml", "config: {every: often}"+oneRequest), words: []string{"envoy-1.36", "bad.yaml", "returned false", "every"}},
		{name: "a configuration is refused as it must be", module: failing, scenarios: scenario("bad.yaml", "config: {every: often}\nconfigError: every\n")},
		{name: "a configuration is refused with other words", module: failing, scenarios: scenario("bad.yaml", "config: {every: often}\nconfigError: no such words\n"), words: []string{"bad.yaml", "no line of the log", "no such words"}},
		{name: "a configuration is accepted and must not be", module: failing, scenarios: scenario("bad.yaml", "config: {every: 2}\nconfigError: every\n"), words: []string{"bad.yaml", "must be refused", "every"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, err := admission.Admit(t.Context(), host, tc.module.wasm, tc.module.manifest, tc.scenarios, nil)
			var r *admission.Refusal
			if errors.As(err, &r) != (len(tc.words) > 0) || r == nil && err != nil {
				t.Fatalf("got %v", err)
			}
			for _, word := range append(tc.words, "not admitted", tc.module.manifest.Name) {
				if r != nil && (!strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n")) {
					t.Errorf("%q does not say %q on one line", err, word)
				}
			}
			if r != nil {
				return
			}
			if !slices.Equal(a.Profiles, tc.module.manifest.Envoys) || len(a.Configurations) != len(tc.scenarios.Files) {
				t.Errorf("admitted as %+v", a)
			}
			if (a.Refused != "") != (tc.empty != "") || !strings.Contains(a.Refused, tc.empty) {
				t.Errorf("the empty configuration: %q, want %q", a.Refused, tc.empty)
			}
		})
	}
	for name, envoys := range map[string][]string{"no Envoy": {}, "an Envoy that is not known": {"envoy-9.99"}} {
		t.Run("a manifest that claims "+name, func(t *testing.T) {
			m := headers.manifest
			m.Envoys = envoys
			var r *admission.Refusal
			if _, err := admission.Admit(t.Context(), host, headers.wasm, m, own, nil); !errors.As(err, &r) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a manifest that claims too much", func(t *testing.T) {
		// Go's os.ReadDir needs what Envoy has from 1.39 on only; waft build would have taken it out.
		wasm := compile(t, "../build/testdata/readdir")
		m, err := build.ManifestFor(wasm, build.ManifestOptions{Name: "readdir"})
		if err != nil || m.LoadableBy("envoy-1.36") {
			t.Fatalf("%v, %v", m.Envoys, err)
		}
		m.Envoys, m.Missing = append([]string{"envoy-1.36"}, m.Envoys...), nil
		var r *admission.Refusal
		if _, err := admission.Admit(t.Context(), host, wasm, m, admission.Scenarios{}, nil); !errors.As(err, &r) || r.Profile != "envoy-1.36" || !strings.Contains(r.Reason, "fd_readdir") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := admission.Admit(ctx, host, headers.wasm, headers.manifest, own, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestScenariosBesideAModule(t *testing.T) {
	s, err := admission.Collect("../../filters/headers")
	if err != nil || len(s.Files) == 0 {
		t.Fatalf("%d files, %v", len(s.Files), err)
	}
	dir := t.TempDir()
	wasm := filepath.Join(dir, "headers.wasm")
	if _, found, err := admission.Read(wasm, "00"); found || err != nil {
		t.Errorf("where nothing is: %v, %v", found, err)
	}
	s.SHA256 = strings.Repeat("ab", 32)
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "headers"+admission.Suffix), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	got, found, err := admission.Read(wasm, s.SHA256)
	if !found || err != nil || got.SHA256 != s.SHA256 || !slices.Equal(got.Files, s.Files) {
		t.Errorf("it came back as %+v, %v", got, err)
	}
	if _, _, err := admission.Read(wasm, strings.Repeat("cd", 32)); !errors.Is(err, admission.ErrScenarios) {
		t.Errorf("another module's: %v", err)
	}
	for _, bad := range []string{"", "[]", `{"sha256":"` + s.SHA256 + `","what":1}`, strings.Repeat(" ", admission.MaxBytes+1)} {
		write([]byte(bad))
		if _, _, err := admission.Read(wasm, s.SHA256); !errors.Is(err, admission.ErrScenarios) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := scenario("x", strings.Repeat("x", admission.MaxBytes)).Encode(); !errors.Is(err, admission.ErrScenarios) {
		t.Errorf("too much: %v", err)
	}
	if s, err := admission.Collect(t.TempDir()); err != nil || s.Files == nil || len(s.Files) != 0 {
		t.Errorf("a folder without scenarios: %+v, %v", s, err)
	}
	broken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(broken, "scenarios"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, "scenarios", "a.yaml"), []byte("scenario: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admission.Collect(broken); err == nil || !strings.Contains(err.Error(), "a.yaml") {
		t.Errorf("a broken file: %v", err)
	}
}
