package build_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/build"
)

// minimal is a module that Envoy would load: what it does is no matter here.
const minimal = `package main

import _ "unsafe"

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(n int32) int32 { return n }

//go:wasmexport proxy_on_context_create
func create(_, _ int32) {}

func main() {}
`

func TestSourceSaysHowItIsBuilt(t *testing.T) {
	dir := module(t, "tagged", map[string]string{
		"main.go":   "//waft:memory 96MiB\n" + minimal + "\nvar _ = onlyWithTags\n",
		"tagged.go": "//go:build one && two.more\n\n//waft:tags one,two.more\npackage main\n\nconst onlyWithTags = true\n",
		// Neither a test nor a comment below the package clause counts.
		"x_test.go": "//waft:memory 1MiB\npackage main\n",
		"below.go":  "package main\n\n//waft:memory 1MiB\n",
	})
	if r := mustBuild(t, dir, build.Options{OutDir: t.TempDir()}); r.Manifest.MemoryMax != 96<<20 {
		t.Errorf("memory maximum %d", r.Manifest.MemoryMax)
	}
	if r := mustBuild(t, dir, build.Options{OutDir: t.TempDir(), MemoryMax: 32 << 20}); r.Manifest.MemoryMax != 32<<20 {
		t.Errorf("memory maximum %d where the options name one", r.Manifest.MemoryMax)
	}
}

func TestDirectiveErrors(t *testing.T) {
	for name, tc := range map[string]struct{ comment, says string }{
		"unknown":       {"//waft:memroy 1MiB", "main.go:1: invalid option: //waft:memroy is not known; there are tags, memory and loop-guard"},
		"no unit":       {"//waft:memory 100", `a memory maximum of "100"`},
		"nothing":       {"//waft:memory", `a memory maximum of ""`},
		"too much":      {"//waft:memory 4097MiB", "write from 1MiB to 4096MiB"},
		"zero":          {"//waft:memory 0MiB", "a memory maximum"},
		"no tag":        {"//waft:tags a,,b", `"" is no build tag`},
		"a flag":        {"//waft:tags -ldflags=x", `"-ldflags=x" is no build tag`},
		"twice":         {"//waft:memory 1MiB\n//waft:memory 1MiB", "main.go:2: invalid option: //waft:memory stands at "},
		"no number":     {"//waft:loop-guard lots", `a loop guard of "lots"; write from 1000 to 2147483647`},
		"too few loops": {"//waft:loop-guard 999", `a loop guard of "999"`},
		"a space in it": {"//waft:tags a b", `"a b" is no build tag`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := module(t, "refused", map[string]string{"main.go": tc.comment + "\n" + minimal})
			_, err := build.Build(t.Context(), dir, build.Options{OutDir: t.TempDir()})
			if e := wantError(t, err, build.ErrOption, tc.says); !strings.Contains(e.Subject, "main.go:") {
				t.Errorf("subject %q", e.Subject)
			}
		})
	}
}
