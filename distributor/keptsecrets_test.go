package distributor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// saved is a backup of a distributor.
func saved(t *testing.T, c *api.Client) []byte {
	t.Helper()
	stream, err := c.Backups.Backup(t.Context(), &waftv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, part.GetData()...)
	}
}

// asks runs an MCP sink of a node that asks for its secrets, and gives their values as they come. take, which may be nil, is told of all that comes. held are secrets that the node has
// from an earlier life.
func asks(t *testing.T, address, node string, take func(mcp.Update), held ...*mcpv1.Resource) (values <-chan []string, stop func()) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan []string, 100)
	s, err := mcp.NewSink(mcp.SinkConfig{
		Conn: conn, Node: node, Labels: map[string]string{"env": "prod"},
		Collections: []string{model.CollectionPrefetch, model.CollectionFilters, model.CollectionSecrets, model.CollectionChains},
		Apply: func(_ context.Context, u mcp.Update) error {
			if take != nil {
				take(u)
			}
			if u.Collection != model.CollectionSecrets {
				return nil
			}
			var got []string
			for _, r := range u.Resources {
				body := new(waftv1.SecretValue)
				if err := mcp.Body(r, body); err != nil {
					return err
				}
				got = append(got, body.GetValue()+body.GetTrouble())
			}
			came <- got
			return nil
		},
		Held:       map[string][]*mcpv1.Resource{model.CollectionSecrets: held},
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	stop = func() { cancel(); <-done; conn.Close() }
	t.Cleanup(stop)
	return came, stop
}

// keyedAgent is a node that asks for secrets, and says that it has done whatever it is told.
func keyedAgent(t *testing.T, s *server, node string) (values <-chan []string, stop func()) {
	t.Helper()
	return holdingAgent(t, s, node, func([]*mcpv1.Resource) {})
}

// holdingAgent is one that has secrets from an earlier life; has is told what it has then.
func holdingAgent(t *testing.T, s *server, node string, has func([]*mcpv1.Resource), held ...*mcpv1.Resource) (values <-chan []string, stop func()) {
	t.Helper()
	stream, err := s.client(t).Reports.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &waftv1.Hello{Node: node, Labels: map[string]string{"env": "prod"}, EnvoyVersion: "1.40.0", EnvoyBuild: "b", AgentVersion: "t", Secrets: true, KeptSecrets: true}
	if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // the directive with which a session begins
		t.Fatal(err)
	}
	return asks(t, s.GRPC, node, func(u mcp.Update) {
		if u.Collection == model.CollectionSecrets {
			has(u.Resources)
		}
		for _, r := range u.Resources {
			prefetch, chain := &waftv1.Prefetch{}, &waftv1.Chain{}
			switch {
			case u.Collection == model.CollectionPrefetch && mcp.Body(r, prefetch) == nil:
				_ = stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{Digests: []string{prefetch.GetModule().GetDigest()}}}})
			case u.Collection == model.CollectionChains && mcp.Body(r, chain) == nil:
				_ = stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{
					Hash: chain.GetHash(), State: waftv1.ChainState_SERVING, Step: "serve", ServingHash: chain.GetHash(), Generation: chain.GetGeneration(),
				}}})
			}
		}
	}, held...)
}

// wantSecret waits until the one secret of a node has, or says, that.
func wantSecret(t *testing.T, values <-chan []string, has string) {
	t.Helper()
	late := time.After(patience)
	var last []string
	for {
		select {
		case last = <-values:
			if len(last) == 1 && strings.Contains(last[0], has) {
				return
			}
		case <-late:
			t.Fatalf("the node is not given %q; the last was %q", has, last)
		}
	}
}

// A secret is on disk and in a backup as it is sealed. A distributor that is restored without the key says which is missing, at the start and when a rollout needs it; with the key it goes on. Who asks for
// secrets and has no agent is given none.
func TestKeptSecretsOverABackup(t *testing.T) {
	const value = "correct-horse-battery"
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true})
	c := s.client(t)
	ctx := t.Context()
	push(t, s.HTTP+"/filters/f:1.0.0", module("one"), `{"type":"object"}`)
	if _, err := c.Secrets.SetSecret(ctx, &waftv1.SetSecretRequest{Name: "token", Value: value}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:1.0.0", `{t: {$secret: {name: token}}}`))})
	if err != nil {
		t.Fatal(err)
	}
	if text := r.String(); !strings.Contains(text, "version") || strings.Contains(text, value) {
		t.Errorf("the release is %s", text)
	}
	agents, _ := keyedAgent(t, s, "n")
	rollout := &waftv1.Rollout{Metadata: &waftv1.RolloutMetadata{Name: "one"}, Spec: &waftv1.RolloutSpec{Release: "edge", Target: &waftv1.Target{Selector: "env=prod"}}}
	plan := func(c *api.Client) error {
		_, err := c.Rollouts.PlanRollout(ctx, &waftv1.StartRolloutRequest{Rollout: rollout})
		return err
	}
	if err := plan(c); err != nil {
		t.Errorf("with an agent: %v", err)
	}
	stranger, _ := asks(t, s.GRPC, "plain", nil)
	if got := <-stranger; len(got) != 0 {
		t.Errorf("a sink without an agent is given %q", got)
	}
	rollout.Spec.Target.IncludeUnreported = true
	if err := plan(c); !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "node/plain") || !strings.Contains(err.Error(), "only an agent") {
		t.Errorf("with a sink without an agent: %v", err)
	}
	if got := <-agents; len(got) != 0 {
		t.Errorf("before the rollout the agent is given %q", got)
	}
	backup := saved(t, c)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(backup, []byte(value)) || bytes.Contains(backup, []byte("secret.key")) {
		t.Error("the backup has the value, or the key")
	}
	if err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(value)) {
			t.Errorf("%s has the value", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	log := &lockedBuffer{}
	again := filepath.Join(t.TempDir(), "again")
	cfg := distributor.Config{Data: again, Insecure: true, Log: slog.New(slog.NewTextHandler(log, nil))}
	if _, err := distributor.Restore(ctx, distributor.Restoration{Data: again, Log: cfg.Log}, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "the backup has secrets, sealed") {
		t.Errorf("the restore says %s", log)
	}
	rollout.Spec.Target.IncludeUnreported = false
	s = start(t, cfg)
	if err := plan(s.client(t)); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "is sealed with the key") || strings.Contains(err.Error(), again) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(again, "secret.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key is made beside values that it does not open: %v", err)
	}
	if _, err := s.client(t).Secrets.SetSecret(ctx, &waftv1.SetSecretRequest{Name: "token", Value: value}); !errors.Is(err, model.ErrPrecondition) || strings.Contains(err.Error(), again) {
		t.Errorf("a value is set without a key: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "no other is made") || !strings.Contains(log.String(), filepath.Join(again, "secret.key")) {
		t.Errorf("the log does not say where the key is missing: %s", log)
	}
	if !strings.Contains(log.String(), "secrets cannot be opened") || strings.Contains(log.String(), value) {
		t.Errorf("the log has the value, or not that the key is missing: %s", log)
	}
	cfg.SecretKey = filepath.Join(data, "secret.key")
	s = start(t, cfg)
	if err := plan(s.client(t)); errors.Is(err, model.ErrPrecondition) && strings.Contains(err.Error(), "sealed") {
		t.Errorf("with the key: %v", err)
	}
	cfg.SecretKey = filepath.Join(t.TempDir(), "none")
	cfg.Data = t.TempDir()
	if err := distributor.Run(ctx, cfg); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), cfg.SecretKey) {
		t.Errorf("with a file that is not there: %v", err)
	}
}

// rolled sets the one secret of a release anew, and rolls that out.
func rolled(t *testing.T, s *server, name, value string) {
	t.Helper()
	c, ctx := s.client(t), t.Context()
	if _, err := c.Secrets.SetSecret(ctx, &waftv1.SetSecretRequest{Name: "token", Value: value}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:1.0.0", `{t: {$secret: {name: token}}}`))}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{Release: "edge", Waves: []*waftv1.Wave{{Percent: 100}}},
	}, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if ended := follow(t, c, name); ended.GetStatus().GetPhase() != string(model.RolloutDone) {
		t.Fatalf("the rollout ended as %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
	}
}

// A restored distributor gives a number of a version once more. A node that holds what that was before is sent what it is now, by its own chain's hash.
func TestVersionGivenOnceMoreAfterARestore(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true})
	push(t, s.HTTP+"/filters/f:1.0.0", module("one"), `{"type":"object"}`)
	var mu sync.Mutex
	var held []*mcpv1.Resource
	values, stop := holdingAgent(t, s, "n", func(has []*mcpv1.Resource) {
		mu.Lock()
		defer mu.Unlock()
		held = has
	})
	rolled(t, s, "a", "first")
	backup := saved(t, s.client(t))
	rolled(t, s, "b", "before the restore")
	wantSecret(t, values, "before the restore")
	stop()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := distributor.Restore(t.Context(), distributor.Restoration{Data: again, Log: slog.New(slog.DiscardHandler)}, bytes.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	s = start(t, distributor.Config{Data: again, Insecure: true, SecretKey: filepath.Join(data, "secret.key")})
	mu.Lock()
	before := held
	mu.Unlock()
	_, other := keyedAgent(t, s, "m")
	defer other()
	rolled(t, s, "c", "after the restore")
	values, stop = holdingAgent(t, s, "n", func([]*mcpv1.Resource) {}, before...)
	defer stop()
	wantSecret(t, values, "after the restore")
}

// Replicas have the key in common: what is set by way of one that follows, the next leader gives to agents. A replica without it says which key is missing.
func TestKeptSecretsOverReplicas(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name, key string) *server {
		return start(t, distributor.Config{
			Data: t.TempDir(), Insecure: true, Replica: name, Names: []string{"registry.example:80"}, Peer: "127.0.0.1:0", SecretKey: key,
			Etcd: store.External{Endpoints: etcd.Endpoints},
		})
	}
	first, second := open("first", keys), open("second", keys)
	ctx := t.Context()
	c := second.client(t)
	if _, err := c.Secrets.SetSecret(ctx, &waftv1.SetSecretRequest{Name: "token", Value: "correct-horse"}); err != nil {
		t.Fatal(err)
	}
	push(t, second.HTTP+"/filters/f:1.0.0", module("replicas"), `{"type":"object"}`)
	if _, err := c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", second.HTTP+"/filters/f:1.0.0", `{t: {$secret: {name: token}}}`))}); err != nil {
		t.Fatal(err)
	}
	values, stop := keyedAgent(t, second, "n")
	if _, err := c.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "r"}, Spec: &waftv1.RolloutSpec{Release: "edge", Waves: []*waftv1.Wave{{Percent: 100}}},
	}, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if ended := follow(t, c, "r"); ended.GetStatus().GetPhase() != string(model.RolloutDone) {
		t.Fatalf("the rollout ended as %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
	}
	wantSecret(t, values, "correct-horse")
	stop()
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second replica leads", func() bool { return leads(t, &replicaServer{server: second}) })
	values, stop = keyedAgent(t, second, "n")
	wantSecret(t, values, "correct-horse")
	stop()
	third := open("third", "")
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third replica leads", func() bool { return leads(t, &replicaServer{server: third}) })
	values, _ = keyedAgent(t, third, "n")
	wantSecret(t, values, "it has no key for secrets")
}
