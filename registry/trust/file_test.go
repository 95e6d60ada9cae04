package trust_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry/trust"
)

// patience is how long a test waits for a condition.
const patience = 30 * time.Second

// A policy's file is read anew when it changes; one that cannot be used is said to be, once, and changes nothing.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	good := policyOf(t, "  rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true}\n")
	named := func(name string) string { return strings.Replace(good, "{name: p}", "{name: "+name+"}", 1) }
	if _, err := trust.Open(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	put("kind: nonsense")
	if _, err := trust.Open(path); !errors.Is(err, trust.ErrInvalidPolicy) || !strings.Contains(err.Error(), path) {
		t.Errorf("a bad file: %v", err)
	}
	put(named("first"))
	f, err := trust.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	first, id := f.Policy()
	if first.Name() != "first" || f.Path() != path {
		t.Errorf("%s", first.Name())
	}
	type news struct {
		name string
		err  error
	}
	told := make(chan news, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Watch(ctx, func(p *trust.Policy, err error) {
			if err != nil {
				told <- news{err: err}
				return
			}
			told <- news{name: p.Name()}
		})
	}()
	next := func() news {
		t.Helper()
		select {
		case n := <-told:
			return n
		case <-time.After(patience):
			t.Fatal("nothing was told")
			return news{}
		}
	}
	put("kind: nonsense")
	if n := next(); !errors.Is(n.err, trust.ErrInvalidPolicy) {
		t.Errorf("a bad file: %+v", n)
	}
	if now, same := f.Policy(); now != first || same != id {
		t.Error("a bad file has changed the policy")
	}
	if changed, err := f.Reload(); changed || !errors.Is(err, trust.ErrInvalidPolicy) {
		t.Errorf("asked for it: %v, %v", changed, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if n := next(); !errors.Is(n.err, os.ErrNotExist) {
		t.Errorf("a file that is gone: %+v", n)
	}
	put(named("second"))
	if n := next(); n.name != "second" {
		t.Errorf("%+v", n)
	}
	// What somebody else has reloaded is told, too.
	put(named("third"))
	if _, err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	if n := next(); n.name != "third" {
		t.Errorf("%+v", n)
	}
	cancel()
	<-done
	if len(told) > 0 {
		t.Errorf("told besides: %+v", <-told)
	}
}
