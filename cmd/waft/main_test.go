package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/registry"
)

// try runs a command line in this process, with no distributor to talk to.
func try(ctx context.Context, input io.Reader, args ...string) error {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(input)
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	return root.ExecuteContext(ctx)
}

func TestCommandLinesThatCannotBeUnderstood(t *testing.T) {
	for _, test := range []struct {
		args string
		want []string
	}{
		{"frob", []string{"no command", "frob", "waft --help"}},
		{"release frob", []string{"waft release", "no command", "frob", "waft release --help"}},
		{"rollout stat edge", []string{"waft rollout", "no command", "stat", "did you mean status", "--help"}},
		{"nodes frob", []string{"waft nodes", "frob"}},
		{"release list a b", []string{"waft release list", "b", "too many"}},
		{"audit a b", []string{"waft audit", "b", "too many"}},
		{"release create", []string{"waft release create", "-f FILE is missing"}},
		{"rollout start", []string{"waft rollout start", "-f FILE is missing"}},
		{"release show", []string{"NAME is missing"}},
		{"apply", []string{"waft apply", "-f FILE is missing"}},
		{"get a b c", []string{"waft get", "c", "too many"}},
		{"delete flags", []string{"waft delete", "NAME is missing"}},
		{"delete flags a -f x.yaml", []string{"leave out COLLECTION, NAME and --layer"}},
		{"diff a", []string{"waft diff", "B is missing"}},
		{"diff a -f x.yaml", []string{"waft diff", "a", "too many"}},
		{"types register", []string{"NAME is missing"}},
		{"types register acme", []string{"-f FILE is missing"}},
		{"release list --frob", []string{"--frob", "waft release list --help"}},
		{"export -o x.tar", []string{"waft export", "REFERENCE is missing"}},
		{"export a.example/b:1", []string{"waft export", "-o BUNDLE.tar is missing"}},
		{"import", []string{"BUNDLE.tar is missing"}},
		{"import x.tar", []string{"--to HOST[/PREFIX] is missing"}},
		{"import x.tar --to a.example/b:1", []string{"leave out the tag"}},
		{"nodes list -o xml", []string{"xml", "table, json or yaml"}},
		{"serve --keep-releases 0", []string{"--keep-releases 0", "at least 1", "negative"}},
		{"serve --keep-rollouts 0", []string{"--keep-rollouts 0", "at least 1", "negative"}},
		{"serve --registry-retention 23h", []string{"--registry-retention 23h0m0s", "24h0m0s at least", "with 0"}},
		{"serve --registry-retention -1h", []string{"--registry-retention -1h0m0s", "with 0"}},
		{"build --loop-guard 5", []string{"--loop-guard 5", "from 1000 to 2147483647, or 0 for none"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			err := try(t.Context(), strings.NewReader(""), strings.Fields(test.args)...)
			var usage usageError
			if !errors.As(err, &usage) {
				t.Fatalf("got %v, want an error of usage", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
	for _, alone := range []string{"", "release", "rollout", "nodes"} {
		if err := try(t.Context(), strings.NewReader(""), strings.Fields(alone)...); err != nil {
			t.Errorf("waft %s: %v, want its help", alone, err)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Example == "" && !cmd.Hidden {
			t.Errorf("%s --help has no example", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRoot())
}

// A document that never comes must not hold up an interrupt.
func TestInterruptWhileADocumentIsRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- try(ctx, r, "release", "create", "-f", "-") }()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on reading")
	}
}

// A registry without TLS, and which flag says that this is meant.
func TestPushToPlainHTTP(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, args := range [][]string{{"inspect", host + "/f:1"}, {"pull", host + "/f:1", "-O", filepath.Join(t.TempDir(), "f.wasm")}} {
		err := try(t.Context(), nil, args...)
		if !errors.Is(err, registry.ErrUntrusted) || !strings.Contains(err.Error(), "--plain-http "+host) {
			t.Errorf("%s: got %v", args[0], err)
		}
	}
}

// What a node says of itself must neither break the table nor steer the terminal.
func TestTableOfWhatStrangersSay(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out)
	table.row("reason", "failed\x1b[2J\nnode  serving\té")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "reason   failed\\x1b[2J\\nnode  serving\\té\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// listening has a server that a test made serve until the test ends, and gives its address.
func listening(t *testing.T, server *grpc.Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}
