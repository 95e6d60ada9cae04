package distributor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/manifest"
)

// patience bounds each wait of these tests.
const patience = 60 * time.Second

// server is a distributor that runs in a test.
type server struct {
	distributor.Addresses
	stop func() error
}

// start runs a distributor and returns when it serves.
func start(t *testing.T, cfg distributor.Config) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan distributor.Addresses, 1), make(chan error, 1)
	cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Started = func(a distributor.Addresses) { started <- a }
	cfg.StartGrace = time.Millisecond
	go func() { done <- distributor.Run(ctx, cfg) }()
	s := &server{}
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("it does not stop")
		}
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case s.Addresses = <-started:
	case err := <-done:
		t.Fatalf("Run: %v", err)
	case <-time.After(patience):
		t.Fatal("it does not start")
	}
	return s
}

func (s *server) client(t *testing.T) *api.Client {
	t.Helper()
	c, err := api.Dial(api.ClientConfig{Address: s.GRPC, Insecure: true, Actor: "Zoë 100%"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// module is a Wasm module that does nothing, made its own by a custom section.
func module(text string) []byte {
	section := append([]byte{1, 'x'}, text...)
	return append([]byte("\x00asm\x01\x00\x00\x00\x00"), append([]byte{byte(len(section))}, section...)...)
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// push publishes a module with a manifest.
func push(t *testing.T, reference string, wasm []byte, schema string) {
	t.Helper()
	pushModule(t, reference, wasm, schema, false)
}

// pushUntagged pushes a module without a tag, as inline ones are kept, and gives the digest of its artifact.
func pushUntagged(t *testing.T, repository string, wasm []byte) string {
	t.Helper()
	return pushModule(t, repository, wasm, schema, true)
}

func pushModule(t *testing.T, reference string, wasm []byte, schema string, untagged bool) string {
	t.Helper()
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := manifest.Manifest{
		Name: "f", Version: "1.0.0", SHA256: strings.TrimPrefix(digestOf(wasm), "sha256:"), Size: int64(len(wasm)), ABI: manifest.ABI021,
		Imports: []string{}, Envoys: []string{"envoy-1.36", "envoy-1.40"}, MemoryMax: 64 << 20, ConfigSchema: json.RawMessage(schema),
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := client.Push(t.Context(), ref, registry.Module{
		Content: bytes.NewReader(wasm), Size: int64(len(wasm)), Name: "f", Version: "1.0.0", ABIVersions: []string{manifest.ABI021}, Manifest: raw, Untagged: untagged,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(pushed.Digest)
}

func exists(t *testing.T, reference string) error {
	t.Helper()
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Resolve(t.Context(), ref)
	return err
}

const schema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"issuer":{"type":"string"}},"required":["issuer"],"additionalProperties":false}`

func document(name, module, config string) string {
	return fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n  - {name: f, module: %q, phase: AUTHN, config: %s}\n", name, module, config)
}

func release(t *testing.T, text string) *waftv1.Release {
	t.Helper()
	m, err := api.DecodeDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m.(*waftv1.Release)
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func post(t *testing.T, url, actor, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Waft-Actor", actor)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(out)
}

// sink runs an MCP sink that knows nothing of waft but the protocol, and gives its updates.
func sink(t *testing.T, address, node string) <-chan mcp.Update {
	t.Helper()
	return sinkOver(t, address, insecure.NewCredentials(), node)
}

func sinkOver(t *testing.T, address string, creds credentials.TransportCredentials, node string) <-chan mcp.Update {
	t.Helper()
	return sinkBy(t, address, creds, mcp.SinkConfig{Node: node})
}

// sinkBy runs one that is also told what is in cfg.
func sinkBy(t *testing.T, address string, creds credentials.TransportCredentials, cfg mcp.SinkConfig) <-chan mcp.Update {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	updates := make(chan mcp.Update, 100)
	cfg.Conn, cfg.Labels = conn, map[string]string{"env": "prod"}
	cfg.Collections = []string{model.CollectionPrefetch, model.CollectionFilters, model.CollectionChains}
	cfg.Apply = func(_ context.Context, u mcp.Update) error {
		updates <- u
		return nil
	}
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 10*time.Millisecond
	s, err := mcp.NewSink(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; conn.Close() })
	return updates
}

// until waits for an update of a collection that fits.
func until(t *testing.T, updates <-chan mcp.Update, collection string, fits func([]*mcpv1.Resource) bool) []*mcpv1.Resource {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case u := <-updates:
			if u.Collection == collection && fits(u.Resources) {
				return u.Resources
			}
		case <-late:
			t.Fatalf("no update of %s fits", collection)
		}
	}
}

func some(r []*mcpv1.Resource) bool { return len(r) > 0 }

// agent is a node that says it has done whatever it is told.
func agent(t *testing.T, s *server, node string) {
	t.Helper()
	agentOver(t, s.client(t), s.GRPC, insecure.NewCredentials(), node)
}

// agentOver is agent with a client's and a sink's own ways to the distributor.
func agentOver(t *testing.T, c *api.Client, address string, creds credentials.TransportCredentials, node string) {
	t.Helper()
	stream, err := c.Reports.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{
		Node: node, Labels: map[string]string{"env": "prod"}, EnvoyVersion: "1.40.0", EnvoyBuild: "b", AgentVersion: "t",
	}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // the directive with which a session begins
		t.Fatal(err)
	}
	updates := sinkOver(t, address, creds, node)
	go func() {
		for {
			var u mcp.Update
			select {
			case u = <-updates:
			case <-t.Context().Done():
				return
			}
			switch u.Collection {
			case model.CollectionPrefetch:
				f := &waftv1.Fetched{}
				for _, r := range u.Resources {
					p := &waftv1.Prefetch{}
					if err := mcp.Body(r, p); err != nil {
						t.Error(err)
					}
					f.Digests = append(f.Digests, p.GetModule().GetDigest())
				}
				_ = stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: f}})
			case model.CollectionChains:
				for _, r := range u.Resources {
					c := &waftv1.Chain{}
					if err := mcp.Body(r, c); err != nil {
						t.Error(err)
					}
					_ = stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{
						Hash: c.GetHash(), State: waftv1.ChainState_SERVING, Step: "serve", ServingHash: c.GetHash(), Generation: c.GetGeneration(),
					}}})
				}
			}
		}
	}()
}

func follow(t *testing.T, c *api.Client, name string) *waftv1.Rollout {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.Rollouts.WatchRollout(ctx, &waftv1.WatchRolloutRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	var last *waftv1.Rollout
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return last
		}
		if err != nil {
			t.Fatalf("%v; the last was %v", err, last)
		}
		last = r
	}
}

func TestTheWholeWay(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true, Version: "v1.2.3", Names: []string{"registry.example"}})
	wasm := module("one")
	push(t, s.HTTP+"/filters/f:1.0.0", wasm, schema)
	c := s.client(t)
	ctx := t.Context()

	// A release by gRPC; the reference goes by another name of the same distributor, which only it knows.
	port := s.HTTP[strings.LastIndex(s.HTTP, ":")+1:]
	byName := "registry.example:" + port + "/filters/f:1.0.0"
	created, err := c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", byName, "{issuer: a}")), Reason: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if m := created.GetStatus().GetModules(); len(m) != 1 || m[0].GetModule().GetDigest() != digestOf(wasm) || !slices.Equal(m[0].GetEnvoys(), []string{"envoy-1.36", "envoy-1.40"}) {
		t.Errorf("modules %v", m)
	}
	// The same by REST is the same release.
	raw, err := protojson.Marshal(release(t, document("edge", s.HTTP+"/filters/f:1.0.0", "{issuer: a}")))
	if err != nil {
		t.Fatal(err)
	}
	status, body := post(t, "http://"+s.HTTP+"/v1/releases?reason=again", "ann", string(raw))
	if status != http.StatusOK || !strings.Contains(body, created.GetStatus().GetHash()) {
		t.Errorf("REST: %d %s", status, body)
	}

	// What does not fit is refused, naming the field, in both.
	_, err = c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", byName, "{isuer: a}"))})
	var told *model.Error
	if !errors.As(err, &told) || !errors.Is(err, model.ErrInvalid) || !strings.HasPrefix(told.Field, "spec.filters[0].config") {
		t.Errorf("a config that does not fit: %#v", err)
	}
	status, body = post(t, "http://"+s.HTTP+"/v1/releases", "ann", `{"metadata":{"name":"x"},"spec":{"filters":[{"name":"f","config":{"n":9007199254740993}}]}}`)
	if status != http.StatusBadRequest || !strings.Contains(body, "spec.filters[0].config.n") {
		t.Errorf("a number beyond 2^53: %d %s", status, body)
	}
	status, body = post(t, "http://"+s.HTTP+"/v1/releases", "ann", `{"metadata":{"name":"x"},"spek":{}}`)
	if status != http.StatusBadRequest || !strings.Contains(body, "spek") {
		t.Errorf("an unknown field: %d %s", status, body)
	}
	status, body = post(t, "http://"+s.HTTP+"/v1/releases", "", string(raw))
	if status != http.StatusBadRequest || !strings.Contains(body, "actor") {
		t.Errorf("nobody: %d %s", status, body)
	}
	_, err = c.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:9", "{issuer: a}"))})
	if !errors.Is(err, model.ErrNotFound) || !strings.Contains(err.Error(), "/filters/f:9") {
		t.Errorf("a tag that does not exist: %v", err)
	}
	if status, body, _ := get(t, "http://"+s.HTTP+"/v1/releases/nope"); status != http.StatusNotFound || !strings.Contains(body, "nope") {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := get(t, "http://"+s.HTTP+"/v1/releases/edge@"+created.GetStatus().GetHash()); status != http.StatusOK || !strings.Contains(body, `"issuer"`) {
		t.Errorf("%d %s", status, body)
	}

	// A plain MCP client is a node that waits for its first release; an agent reports.
	updates := sink(t, s.GRPC, "plain")
	until(t, updates, model.CollectionChains, func(r []*mcpv1.Resource) bool { return len(r) == 0 })
	agent(t, s, "node-1")
	r, err := c.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "first"},
		Spec:     &waftv1.RolloutSpec{Release: "edge", Waves: []*waftv1.Wave{{Nodes: 1}, {Percent: 100}}},
	}, Reason: "go"})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started: %v", r.GetStatus().GetPhase())
	ended := follow(t, c, "first")
	t.Logf("ended: %s %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())

	// The modules for agents: by digest, verified, in ranges, read only.
	blob := "http://" + s.HTTP + "/v2/waft/modules/blobs/" + digestOf(wasm)
	status, body, header := get(t, blob)
	if status != http.StatusOK || body != string(wasm) || header.Get("Docker-Content-Digest") != digestOf(wasm) {
		t.Errorf("module: %d %d bytes %v", status, len(body), header)
	}
	for path, want := range map[string]int{
		"/v2/": 200, "/v2/waft/modules/blobs/" + digestOf([]byte("x")): 404, "/v2/waft/modules/blobs/x": 400, "/v2/waft/modules/manifests/x": 404,
		"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/": 200, "/nope": 404, "/v1/nope": 404,
	} {
		if status, body, _ := get(t, "http://"+s.HTTP+path); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	if status, body := post(t, "http://"+s.HTTP+"/v1/nodes", "", "{}"); status != http.StatusMethodNotAllowed || !strings.Contains(body, "/openapi.json") {
		t.Errorf("a wrong method: %d %s", status, body)
	}
	if status, _ := post(t, blob, "", ""); status != http.StatusForbidden {
		t.Errorf("POST of a module: %d", status)
	}
	// A copy that the disk damages is fetched again.
	path := data + "/modules/blobs/sha256/" + strings.TrimPrefix(digestOf(wasm), "sha256:")
	if err := os.WriteFile(path, []byte("rot"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := get(t, blob); status != http.StatusOK || body != string(wasm) {
		t.Errorf("after damage: %d %q", status, body)
	}
	status, body, _ = get(t, "http://"+s.HTTP+"/metrics")
	for _, line := range []string{
		`istio_mcp_clients_total{component="source"} 2`, `waft_build_info{`,
		`waft_nodes{presence="connected",state="serving"} 1`, `waft_nodes{presence="connected",state="waiting"} 1`, `waft_rollouts{phase="Done"} 1`,
		`waft_rollout_decision_seconds_count `, `waft_rollout_write_seconds_count `, `etcd_mvcc_put_total `,
	} {
		if status != http.StatusOK || !strings.Contains(body, line) {
			t.Errorf("metrics: %d, without %s: %s", status, line, body)
		}
	}
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if h, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v %v", h, err)
	}
	if v, err := c.Version.GetVersion(ctx, &waftv1.GetVersionRequest{}); err != nil || v.GetVersion() != "v1.2.3" {
		t.Errorf("version: %v %v", v, err)
	}

	// A second one on the same folder is refused, naming folder and holder.
	err = distributor.Run(ctx, distributor.Config{Data: data, Insecure: true, GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0"})
	if !errors.Is(err, model.ErrConflict) || !strings.Contains(err.Error(), data) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second one: %v", err)
	}

	// After a restart everything is there again.
	before, err := c.Audit.ListAudit(ctx, &waftv1.ListAuditRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(before.GetEntries()); n < 2 || before.GetEntries()[n-1].GetActor() != "Zoë 100%" || before.GetEntries()[n-1].GetReason() != "first" {
		t.Errorf("audit %v", before)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	s = start(t, distributor.Config{Data: data, Insecure: true})
	c = s.client(t)
	if again, err := c.Releases.GetRelease(ctx, &waftv1.GetReleaseRequest{Ref: "edge"}); err != nil || again.GetStatus().GetHash() != created.GetStatus().GetHash() {
		t.Errorf("release: %v %v", again, err)
	}
	if again, err := c.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: "first"}); err != nil || again.GetStatus().GetPhase() != ended.GetStatus().GetPhase() {
		t.Errorf("rollout: %v %v", again, err)
	}
	list, err := c.Nodes.ListNodes(ctx, &waftv1.ListNodesRequest{Selector: "env=prod"})
	if err != nil || len(list.GetNodes()) != 2 {
		t.Fatalf("nodes: %v %v", list, err)
	}
	for _, n := range list.GetNodes() {
		if n.GetPresence() != "unknown" || n.GetReports() != (n.GetId() == "node-1") {
			t.Errorf("node %v", n)
		}
	}
	after, err := c.Audit.ListAudit(ctx, &waftv1.ListAuditRequest{})
	if err != nil || len(after.GetEntries()) != len(before.GetEntries()) {
		t.Errorf("audit: %d entries, %d before; %v", len(after.GetEntries()), len(before.GetEntries()), err)
	}
	if status, body, _ := get(t, "http://"+s.HTTP+"/v2/waft/modules/blobs/"+digestOf(wasm)); status != http.StatusOK || body != string(wasm) {
		t.Errorf("module: %d", status)
	}
	if err := exists(t, s.HTTP+"/filters/f:1.0.0"); err != nil {
		t.Errorf("the pushed artifact: %v", err)
	}
	filters := until(t, sink(t, s.GRPC, "node-1"), model.CollectionFilters, some)
	f := &waftv1.Filter{}
	if err := mcp.Body(filters[0], f); err != nil || f.GetModule().GetDigest() != digestOf(wasm) || string(f.GetConfig()) != `{"issuer":"a"}` {
		t.Errorf("filter %v %v", f, err)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  distributor.Config
		says string
	}{
		"no data folder": {distributor.Config{Insecure: true}, "--data"},
		"no certificate": {distributor.Config{Data: "x", TLS: distributor.TLS{Key: "key.pem"}}, "--insecure"},
		"only clients":   {distributor.Config{Data: "x", TLS: distributor.TLS{ClientCA: "ca.pem"}}, "--tls-cert"},
		"both":           {distributor.Config{Data: "x", Insecure: true, TLS: distributor.TLS{Cert: "c"}}, "leave out one"},
		"a missing file": {distributor.Config{Data: "x", TLS: distributor.TLS{Cert: "/nope/cert.pem", Key: "/nope/key.pem"}}, "/nope/cert.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			err := distributor.Run(t.Context(), tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v does not say %q", err, tc.says)
			}
			if _, err := os.Stat("x"); err == nil {
				t.Error("it made the folder")
			}
		})
	}
	t.Run("a port that is taken", func(t *testing.T) {
		s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true})
		err := distributor.Run(t.Context(), distributor.Config{Data: t.TempDir(), Insecure: true, GRPC: s.GRPC, HTTP: "127.0.0.1:0"})
		if !errors.Is(err, model.ErrUnavailable) || !strings.Contains(err.Error(), s.GRPC) {
			t.Errorf("%v", err)
		}
	})
}

// A stop ends what clients hold open and does not wait for them.
func TestStopEndsStreams(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, Drain: patience})
	push(t, s.HTTP+"/filters/f:1", module("one"), schema)
	c := s.client(t)
	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", s.HTTP+"/filters/f:1", "{issuer: a}"))}); err != nil {
		t.Fatal(err)
	}
	agent(t, s, "node-1")
	rollout := `{"apiVersion":"waft.dev/v1","kind":"Rollout","metadata":{"name":"slow"},"spec":{"release":"edge","waves":[{"percent":100,"soak":"1h"}]}}`
	if status, body := post(t, "http://"+s.HTTP+"/v1/rollouts", "ann", rollout); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	resp, err := http.Get("http://" + s.HTTP + "/v1/rollouts/slow:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(resp.Body)
	type line struct {
		Result struct {
			Status struct{ Phase string }
		}
		Error struct {
			Code    int
			Message string
		}
	}
	for {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Result.Status.Phase == "Soaking" {
			break
		}
	}
	watch, err := c.Rollouts.WatchRollout(t.Context(), &waftv1.WatchRolloutRequest{Name: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	healthy, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := healthy.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("who watches its health hears %v, %v", got, err)
	}
	begun := time.Now()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if got, err := healthy.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("of one that stops who watches its health hears %v, %v", got, err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("the stop took %s", took)
	}
	for {
		var l line
		if err := d.Decode(&l); err != nil {
			t.Fatalf("the watch ended without saying why: %v", err)
		}
		if l.Error.Message != "" {
			if !strings.Contains(l.Error.Message, "stopping") {
				t.Errorf("it ended by %+v", l.Error)
			}
			break
		}
	}
	for {
		if _, err := watch.Recv(); err != nil {
			if !errors.Is(err, model.ErrUnavailable) {
				t.Errorf("the watch ended by %v", err)
			}
			break
		}
	}
}
