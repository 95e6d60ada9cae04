package main

import (
	"bytes"
	"context"
	"encoding/json"
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

// Whoever watches a rollout on a terminal sees its waves, its nodes and its gates as they are at the moment, with a soak counted down, and what happened above that; at the end the
// whole of it stands in their place.
func TestRolloutIsWatchedOnATerminal(t *testing.T) {
	dir := t.TempDir()
	server, address := serving(t, dir)
	waft := func(args ...string) string {
		t.Helper()
		return mustWaft(t, append(args, server...)...)
	}
	node, err := client.Start(t.Context(), client.Config{
		Node: "shop-1", Servers: []string{address}, Insecure: true, StateDir: filepath.Join(dir, "shop-1"), Trial: -1,
		Collections: []client.Subscription{client.Collection[*wrapperspb.BoolValue]("flags")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("apiVersion: waft.dev/v1\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	waft("apply", "--reason", "test", "-f", put("flag.yaml", `kind: Resource
metadata: {collection: flags, name: on}
spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: true}
`))
	waft("release", "create", "--reason", "test", "-f", put("release.yaml", "kind: Release\nmetadata: {name: flags}\nspec: {collections: [flags]}\n"))
	await(t, "the node is connected", func() bool { return strings.Contains(waft("nodes", "list"), "connected") })
	waft("rollout", "start", "--reason", "test", "-f", put("rollout.yaml", "kind: Rollout\nmetadata: {name: flags-1}\nspec: {release: flags, waves: [{nodes: 1, soak: 1h}, {percent: 100}]}\n"))

	term := openTerminal(t, 100)
	var result bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		root := newRoot()
		root.SetArgs(append([]string{"rollout", "status", "flags-1", "--watch"}, server...))
		root.SetOut(&result)
		root.SetErr(term.slave)
		ended <- root.ExecuteContext(t.Context())
	}()
	soaks := regexp.MustCompile(`wave 1  █{20}  1 serving; soaks for another (\S+)`)
	await(t, "the soak is counted down", func() bool {
		left := map[string]bool{}
		for _, match := range soaks.FindAllStringSubmatch(term.sofar(), -1) {
			left[match[1]] = true
		}
		return len(left) > 1
	})
	waft("rollout", "promote", "flags-1", "--reason", "test")
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	drawn := strings.ReplaceAll(term.text(), "\r\n", "\n")
	for _, part := range []string{"gate    loaded: pass: 1 node serves\n", "  then all\n", "  Soaking  wave 1  "} {
		if !strings.Contains(drawn, part) {
			t.Errorf("%q was never drawn", part)
		}
	}
	// A terminal that is told to go up and to clear what is below shows what came last.
	pages := regexp.MustCompile(`\x1b\[\d+A\r\x1b\[J`).Split(drawn, -1)
	if last := pages[len(pages)-1]; len(pages) < 4 || last != "" {
		t.Errorf("of %d drawings this is left: %q", len(pages), last)
	}
	if text := result.String(); !strings.Contains(text, "Done") || strings.ContainsAny(text, "\r\x1b") {
		t.Errorf("the result is %q", text)
	}
}
