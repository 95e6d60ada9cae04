package build_test

import (
	"testing"

	"github.com/waft-project/waft/sdk/build"
)

func TestBuildReadDir(t *testing.T) {
	r, err := build.Build(t.Context(), "testdata/readdir", build.Options{OutDir: t.TempDir(), Step: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := r.Manifest.Encode()
	t.Logf("%s", d)
	for _, w := range r.Warnings {
		t.Log(w)
	}
}
func TestBuildRaw(t *testing.T) {
	r, err := build.Build(t.Context(), "testdata/raw", build.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := r.Manifest.Encode()
	t.Logf("%s", d)
	for _, w := range r.Warnings {
		t.Log(w)
	}
}
