package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// Where nothing can be written, or a rename would destroy what is no file, nothing is fetched and nothing touched.
func TestOutFilesThatCannotBeWritten(t *testing.T) {
	e := registrytest.Start(t)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{
		dir: "is a folder", filepath.Join(dir, "none", "x"): "no folder", filepath.Join(pipe, "x"): "no folder", pipe: "is no file",
	} {
		for _, args := range [][]string{{"pull", e.Host + "/f:1", "-O", file}, {"export", e.Host + "/f:1", "-o", file}} {
			_, err := waftOut(t, append(args, "--plain-http", e.Host)...)
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v, want one that says %q", strings.Join(args, " "), err, says)
			}
		}
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe became %v, %v", info, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v are left, %v", files, err)
	}
}

// A module that is not what its digest says is not pulled, and nothing of it stays; a bundle neither.
func TestPullOfOtherBytes(t *testing.T) {
	inner := registrytest.Start(t)
	ref := inner.Reference(t, "filters/f:1")
	a, err := inner.Client(t).Push(t.Context(), ref, registry.ModuleBytes(registrytest.Wasm(50_000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	front := registrytest.NewFaulty(inner.Handler)
	e := registrytest.Serve(t, front)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for what, part := range map[string]string{"the module": "/blobs/" + string(a.Module.Digest), "the image manifest": "/manifests/"} {
		front.Break(registrytest.Path("GET", part), registrytest.WrongBytes)
		dir := t.TempDir()
		at := e.Host + "/filters/f@" + string(a.Digest)
		for _, args := range [][]string{{"pull", at, "-O", filepath.Join(dir, "f.wasm"), "-o", "json"}, {"export", at, "-o", filepath.Join(dir, "b.tar"), "--output", "json"}} {
			out, err := waftOut(t, append(args, "--plain-http", e.Host)...)
			if !errors.Is(err, registry.ErrDigestMismatch) || out != "" {
				t.Errorf("%s is another one: waft %s says %v and prints %q", what, args[0], err, out)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
				t.Errorf("waft %s leaves %v, %v", args[0], files, err)
			}
		}
	}
	front.Mend()
	var bundle registry.Bundle
	out := mustWaft(t, "export", e.Host+"/filters/f:1", "-o", filepath.Join(t.TempDir(), "b.tar"), "--output", "json", "--plain-http", e.Host)
	if err := json.Unmarshal([]byte(out), &bundle); err != nil || len(bundle.Artifacts) != 1 {
		t.Errorf("%s: %v", out, err)
	}
}
