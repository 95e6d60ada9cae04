package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/client"
)

// serving runs waft serve in this process until the test ends, and gives the flags by which other commands reach it, and its gRPC address.
func serving(t *testing.T, dir string) (server []string, address string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	file := filepath.Join(dir, "addresses")
	go func() {
		ended <- try(ctx, nil, "serve", "--insecure", "--data", filepath.Join(dir, "serve"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--addresses-file", file, "--log-level", "error")
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var at struct{ GRPC string }
	await(t, "waft serve serves", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("waft serve ended: %v", err)
		default:
		}
		text, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(text, &at) == nil
	})
	return []string{"--insecure", "--server", at.GRPC}, at.GRPC
}

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// shop is a distributor with one node, shop-1, an application that takes flags. Both run in this process.
type shop struct {
	dir string
	// server are the flags by which commands reach the distributor.
	server []string
}

// openShop starts both, and ends them with the test.
func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{dir: t.TempDir()}
	server, address := serving(t, s.dir)
	s.server = server
	node, err := client.Start(t.Context(), client.Config{
		Node: "shop-1", Servers: []string{address}, Insecure: true, StateDir: filepath.Join(s.dir, "shop-1"), Trial: -1,
		Collections: []client.Subscription{client.Collection[*wrapperspb.BoolValue]("flags")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	await(t, "the node is connected", func() bool { return strings.Contains(s.waft(t, "nodes", "list"), "connected") })
	return s
}

// waft runs a command that must succeed, and gives what it printed.
func (s *shop) waft(t *testing.T, args ...string) string {
	t.Helper()
	return mustWaft(t, append(args, s.server...)...)
}

// put writes a document.
func (s *shop) put(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, "document.yaml")
	if err := os.WriteFile(path, []byte("apiVersion: waft.dev/v1\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// flag makes a release, flags, in which the flag on is so.
func (s *shop) flag(t *testing.T, is bool) {
	t.Helper()
	s.waft(t, "apply", "--reason", "test", "-f", s.put(t, fmt.Sprintf(`kind: Resource
metadata: {collection: flags, name: on}
spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: %v}
`, is)))
	s.waft(t, "release", "create", "--reason", "test", "-f", s.put(t, "kind: Release\nmetadata: {name: flags}\nspec: {collections: [flags]}\n"))
}

// A dry run says, of a real fleet, which wave would take which node, and what would change there, field by field with its layer; and nothing has begun.
func TestDryRunOfARollout(t *testing.T) {
	s := openShop(t)
	start := func(name string, more ...string) string {
		t.Helper()
		path := s.put(t, "kind: Rollout\nmetadata: {name: "+name+"}\nspec: {release: flags, waves: [{nodes: 1}, {percent: 100}]}\n")
		return s.waft(t, append([]string{"rollout", "start", "--reason", "test", "-f", path}, more...)...)
	}
	s.flag(t, true)
	start("first", "--follow")
	s.flag(t, false)
	plan := start("second", "--dry-run")
	t.Log(plan)
	for _, want := range []string{`1 +shop-1 +sha256:\w+ +sha256:\w+\n`, `2 +– +takes no node\n`, `\n  changed flags:on\n    spec.value: true → false  \(global\)\n`, `, nothing was changed\n`} {
		if !regexp.MustCompile(want).MatchString(plan) {
			t.Errorf("the plan does not say %q", want)
		}
	}
	if list := s.waft(t, "rollout", "list"); strings.Contains(list, "second") {
		t.Errorf("after a dry run there is\n%s", list)
	}
}
