package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// What cannot be used is found before anybody is asked, and named.
func TestExternalThatCannotBe(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	two := filepath.Join(t.TempDir(), "two")
	if err := os.WriteFile(two, []byte("u:p@\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		etcd store.External
		want string
	}{
		"a path":           {store.External{Endpoints: []string{"http://a:2379/v3"}}, "--etcd"},
		"a scheme":         {store.External{Endpoints: []string{"ftp://a:2379"}}, "--etcd"},
		"a password in it": {store.External{Endpoints: []string{"http://u:p@a:2379"}}, "--etcd-password-file"},
		"mixed":            {store.External{Endpoints: []string{"http://a:2379", "https://b:2379"}}, "--etcd"},
		"files without":    {store.External{Endpoints: []string{"http://a:2379"}, CA: "ca.pem"}, "--etcd-ca"},
		"half a pair":      {store.External{Endpoints: []string{"a:2379"}, Cert: "c.pem"}, "--etcd-key"},
		"half a user":      {store.External{Endpoints: []string{"a:2379"}, User: "u"}, "--etcd-password-file"},
		"no file":          {store.External{Endpoints: []string{"a:2379"}, CA: "no-such-file"}, "no-such-file"},
		"no password":      {store.External{Endpoints: []string{"a:2379"}, User: "u", PasswordFile: empty}, empty},
		"two passwords":    {store.External{Endpoints: []string{"a:2379"}, User: "u", PasswordFile: two}, two},
	} {
		client, err := store.Connect(c.etcd, nil)
		if err == nil {
			_ = client.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q does not name %q", name, err, c.want)
		}
		if strings.Contains(err.Error(), "u:p@") {
			t.Errorf("%s: error %q tells the password", name, err)
		}
	}
}

// An etcd on another machine is spoken to by TLS, unless its URL says that it is not; then the log has a warning.
func TestExternalIsSpokenToByTLS(t *testing.T) {
	for endpoint, c := range map[string]struct {
		url    string
		warned bool
	}{
		"a.example:2379":        {"https://a.example:2379", false},
		"10.0.0.1:2379":         {"https://10.0.0.1:2379", false},
		"a.example":             {"https://a.example", false},
		"localhost:2379":        {"http://localhost:2379", false},
		"127.0.0.1:2379":        {"http://127.0.0.1:2379", false},
		"[::1]:2379":            {"http://[::1]:2379", false},
		"http://127.0.0.1:2379": {"http://127.0.0.1:2379", false},
		"http://a.example:2379": {"http://a.example:2379", true},
		"http://10.0.0.1:2379":  {"http://10.0.0.1:2379", true},
	} {
		var log bytes.Buffer
		client, err := store.Connect(store.External{Endpoints: []string{endpoint}}, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatalf("%s: %v", endpoint, err)
		}
		if got := client.Endpoints(); len(got) != 1 || got[0] != c.url {
			t.Errorf("%s is %v, want %s", endpoint, got, c.url)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if warned := strings.Contains(log.String(), "without TLS"); warned != c.warned {
			t.Errorf("%s: warned is %v: %s", endpoint, warned, &log)
		}
	}
}

// A cluster of three is a store with one member less, too.
func TestExternalLosesAMember(t *testing.T) {
	etcd := etcdtest.Start(t, 3)
	client, err := store.Connect(store.External{Endpoints: etcd.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := store.Open(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutNodes(t.Context(), []model.Node{{ID: "n"}}, nil); err != nil {
		t.Fatal(err)
	}
	etcd.Stop(etcd.Leader())
	// The change that meets the loss may not be answered; those after it are.
	for err := error(model.ErrUnavailable); err != nil; {
		if err = s.PutNodes(t.Context(), []model.Node{{ID: "m"}}, nil); err != nil && !errors.Is(err, model.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if rows, err := s.ListNodes(t.Context(), "", 10); err != nil || len(rows) != 2 {
		t.Fatalf("%v (%v)", rows, err)
	}
}
