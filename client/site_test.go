package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/client"
	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// patience bounds each wait of these tests.
const patience = 60 * time.Second

// flags is what the applications of these tests take.
const flags = client.Collection[*structpb.Struct]("flags")

// site is a real distributor, which may be stopped and started again on the same address.
type site struct {
	t       *testing.T
	data    string
	address string
	secured bool
	stop    func()
	api     *api.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, data: t.TempDir(), address: "127.0.0.1:0"}
	s.start()
	return s
}

func (s *site) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan distributor.Addresses, 1), make(chan error, 1)
	cfg := distributor.Config{
		Data: s.data, Insecure: !s.secured, GRPC: s.address, HTTP: "127.0.0.1:0", StartGrace: time.Millisecond, StatisticsInterval: 100 * time.Millisecond,
		Started: func(a distributor.Addresses) { started <- a },
	}
	go func() { done <- distributor.Run(ctx, cfg) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the distributor: %v", err)
		}
	}
	s.t.Cleanup(s.stop)
	select {
	case a := <-started:
		s.address = a.GRPC
	case err := <-done:
		stopped = true
		s.t.Fatal(err)
	}
	dial := api.ClientConfig{Address: s.address, Insecure: !s.secured, Actor: "test"}
	if s.secured {
		dial.TLS = api.ClientTLS{CA: filepath.Join(s.data, "tls", "ca.pem"), Cert: filepath.Join(s.data, "tls", "person-operator.pem"), Key: filepath.Join(s.data, "tls", "person-operator.key")}
	}
	c, err := api.Dial(dial)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	s.api = c
}

// eventually waits until a condition holds; what it returns says what is missing.
func (s *site) eventually(what string, missing func() string) {
	s.t.Helper()
	var why string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if why = missing(); why == "" {
			return
		}
	}
	s.t.Fatalf("waited for %s: %s", what, why)
}

// document is one of those of the command line.
func document[M any](t *testing.T, text string) M {
	t.Helper()
	documents, err := api.DecodeDocuments([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := documents[0].(M)
	if !ok || len(documents) != 1 {
		t.Fatalf("%d documents, the first is %T", len(documents), documents[0])
	}
	return m
}

// release creates a release with one flag, checkout, whose value is a JSON object; more is added to its spec.
func (s *site) release(name, value string, more ...string) string {
	s.t.Helper()
	text := fmt.Sprintf(`
apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s}
spec:
  resources:
  - {collection: flags, name: checkout, spec: {"@type": type.googleapis.com/google.protobuf.Struct, value: %s}}
%s`, name, value, strings.Join(more, "\n"))
	return s.create(text)
}

func (s *site) create(text string) string {
	s.t.Helper()
	r, err := s.api.Releases.CreateRelease(s.t.Context(), &waftv1.CreateReleaseRequest{Release: document[*waftv1.Release](s.t, text), Reason: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.GetMetadata().GetName() + "@" + r.GetStatus().GetHash()
}

func rolloutOf(t *testing.T, name, release, waves string) *waftv1.Rollout {
	return document[*waftv1.Rollout](t, fmt.Sprintf(`
apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: %s}
spec: {release: %s, target: {selector: kind=app}, waves: %s}
`, name, release, waves))
}

func (s *site) roll(name, release, waves string) {
	s.t.Helper()
	if _, err := s.api.Rollouts.StartRollout(s.t.Context(), &waftv1.StartRolloutRequest{Rollout: rolloutOf(s.t, name, release, waves), Reason: "test"}); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until a rollout is in a phase.
func (s *site) await(name, phase string) *waftv1.Rollout {
	s.t.Helper()
	var r *waftv1.Rollout
	s.eventually("rollout/"+name+" to be "+phase, func() string {
		var err error
		if r, err = s.api.Rollouts.GetRollout(s.t.Context(), &waftv1.GetRolloutRequest{Name: name}); err != nil {
			return err.Error()
		}
		if got := r.GetStatus().GetPhase(); got != phase {
			return fmt.Sprintf("it is %s: %v", got, r.GetStatus())
		}
		return ""
	})
	return r
}

// bring rolls a release out to all, and waits for the end.
func (s *site) bring(name, release string) {
	s.t.Helper()
	s.roll(name, release, "[{percent: 100, soak: 0s}]")
	s.await(name, "Done")
}

func (s *site) node(id string) *waftv1.Node {
	s.t.Helper()
	n, err := s.api.Nodes.GetNode(s.t.Context(), &waftv1.GetNodeRequest{Id: id})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// stands waits until the ledger has an application at a state.
func (s *site) stands(id string, state waftv1.ChainState) *waftv1.Node {
	s.t.Helper()
	var n *waftv1.Node
	s.eventually(id+" to be "+state.String(), func() string {
		if n = s.node(id); n.GetLedger().GetState() != state || n.GetPresence() != "connected" {
			return fmt.Sprint(n)
		}
		return ""
	})
	return n
}

// config is that of an application; its folder is its own.
func (s *site) config(id string) client.Config {
	return client.Config{
		Node: id, Labels: map[string]string{"kind": "app"}, Version: "1.0", Servers: []string{s.address}, Insecure: true,
		StateDir: filepath.Join(s.t.TempDir(), id), Collections: []client.Subscription{flags}, Trial: -1,
	}
}

// open starts an application's client, and waits until its node is there.
func (s *site) open(cfg client.Config) *client.Client {
	s.t.Helper()
	c := s.begin(cfg)
	s.eventually(cfg.Node+" to connect", func() string {
		n, err := s.api.Nodes.GetNode(s.t.Context(), &waftv1.GetNodeRequest{Id: cfg.Node})
		if err != nil {
			return err.Error()
		}
		if n.GetPresence() != "connected" || !n.GetReports() {
			return fmt.Sprint(n)
		}
		return ""
	})
	return c
}

// begin starts an application's client, and waits for nothing.
func (s *site) begin(cfg client.Config) *client.Client {
	s.t.Helper()
	c, err := client.Start(context.Background(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return c
}

// has waits until an application has the flag checkout with that value of the field is.
func (s *site) has(c *client.Client, want string) {
	s.t.Helper()
	s.eventually("the flag to be "+want, func() string {
		if got := is(c.Snapshot()); got != want {
			return fmt.Sprintf("it is %q; %+v", got, c.Status())
		}
		return ""
	})
}

// is what the flag checkout is in a snapshot; empty when it is not there.
func is(s *client.Snapshot) string {
	flag, ok := flags.Get(s, "checkout")
	if !ok {
		return ""
	}
	return flag.GetFields()["is"].GetStringValue()
}

// value is a flag with that value of the field is.
func value(is string) string { return fmt.Sprintf(`{is: "%s"}`, is) }

// refuses is a check that does not take a flag with that value.
func refuses(bad string) func(context.Context, *client.Snapshot) error {
	return func(_ context.Context, s *client.Snapshot) error {
		if is(s) == bad {
			return errors.New("the flag checkout is " + bad + ", which this application cannot do")
		}
		return nil
	}
}

// deadAddress is one where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// nodesOf are the nodes of a wave, sorted.
func nodesOf(w *waftv1.WaveStatus) []string { return slices.Sorted(slices.Values(w.GetNodes())) }
