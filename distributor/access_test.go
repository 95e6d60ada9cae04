package distributor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// accessPolicy gives each role to somebody of its name, everywhere; and some roles to teams.
const accessPolicy = `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: viewers, subjects: [{certificate: "cn:viewer"}], roles: [viewer]}
  - {name: publishers, subjects: [{certificate: "cn:publisher"}], roles: [publisher], layers: ["*", "emergency/*"], repositories: ["**"]}
  - {name: operators, subjects: [{certificate: "cn:operator"}], roles: [operator], layers: ["*", "emergency/*"]}
  - {name: approvers, subjects: [{certificate: "cn:approver"}], roles: [approver], layers: ["*", "emergency/*"]}
  - {name: nodes, subjects: [{certificate: "spiffe://example.org/node/{node}"}], roles: [node]}
  - {name: payments, subjects: [{certificate: "cn:paul"}], roles: [publisher, operator, approver], layers: [team/payments], repositories: [payments/**]}
`

// Those who knock. nobody has no certificate, and stranger one that the policy does not mention.
const (
	nobody   = ""
	stranger = "stranger"
	nodeOne  = "spiffe://example.org/node/one"
)

// mayDo is, by hand, what each role may do; the tables of package access are compared with it.
var mayDo = map[string][]access.Action{
	nobody:      {},
	stranger:    {},
	"viewer":    {access.Fetch, access.Read},
	"publisher": {access.Fetch, access.Read, access.Push, access.CreateRelease, access.WriteResource, access.WriteSecret},
	"operator":  {access.Fetch, access.Read, access.MoveRollout, access.DisableFilter, access.FreezeRollouts, access.TendNode, access.Backup, access.RekeySecrets},
	"approver":  {access.Fetch, access.Read, access.ApproveRollout},
	nodeOne:     {access.Fetch, access.Connect},
}

// guarded is a distributor with an access policy.
type guarded struct {
	*server
	// leader is the replica that leads, which may be another one.
	leader           *server
	clients, servers *authority
	file             string
	log              *lockedBuffer
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	return startWith(t, accessPolicy)
}

func startWith(t *testing.T, text string) *guarded {
	t.Helper()
	return startWithin(t, text, nil)
}

// startWithin starts one; add says, for each call, what else is to be configured of a replica, the last of which is the one that is asked. Nil: there is but one distributor.
func startWithin(t *testing.T, text string, add []func(*distributor.Config)) *guarded {
	t.Helper()
	g := &guarded{clients: newAuthority(t, "clients"), servers: newAuthority(t, "servers"), file: filepath.Join(t.TempDir(), "access.yaml"), log: &lockedBuffer{}}
	g.write(t, text)
	policy, err := access.Open(g.file)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := g.servers.issue("waft")
	config := func() distributor.Config {
		return distributor.Config{
			Data: t.TempDir(), TLS: distributor.TLS{Cert: cert, Key: key, ClientCA: g.clients.file}, Access: policy, Log: slog.New(slog.NewTextHandler(g.log, nil)),
		}
	}
	if add == nil {
		g.server = start(t, config())
		g.leader = g.server
	}
	for _, also := range add {
		cfg := config()
		also(&cfg)
		g.server = start(t, cfg)
		if g.leader == nil {
			g.leader = g.server
		}
	}
	return g
}

// atEach runs a test at a distributor that is alone, and at a replica that does not lead: it answers some calls itself, and has the leader answer the others.
func atEach(t *testing.T, test func(t *testing.T, g *guarded)) {
	t.Helper()
	atEachWith(t, accessPolicy, test)
}

// atEachWith does so with another policy.
func atEachWith(t *testing.T, text string, test func(t *testing.T, g *guarded)) {
	t.Helper()
	t.Run("alone", func(t *testing.T) { test(t, startWith(t, text)) })
	t.Run("follower", func(t *testing.T) {
		etcd, key := etcdtest.Start(t, 1), filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		named := func(name string) func(*distributor.Config) {
			return func(cfg *distributor.Config) {
				cfg.Etcd, cfg.Peer, cfg.Replica, cfg.SecretKey = store.External{Endpoints: etcd.Endpoints}, "127.0.0.1:0", name, key
			}
		}
		g := startWithin(t, text, []func(*distributor.Config){named("leader"), named("follower")})
		if _, text := g.visitor(t, "viewer").ask(t, http.MethodGet, "/metrics", "", nil); !strings.Contains(text, "\nwaft_leader 0\n") {
			t.Fatal("the second replica leads")
		}
		test(t, g)
	})
}

// write replaces the policy's file, whole.
func (g *guarded) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(g.file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(g.file+".new", g.file); err != nil {
		t.Fatal(err)
	}
}

// visitor is somebody at both ports.
type visitor struct {
	conn    *grpc.ClientConn
	web     *http.Client
	address string
}

func (g *guarded) visitor(t *testing.T, name string) *visitor {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(g.servers.cert)
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	if name != nobody {
		cfg.Certificates = []tls.Certificate{g.clients.client(name)}
	}
	conn, err := grpc.NewClient(g.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{conn: conn, web: &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}, address: "https://" + g.HTTP}
	t.Cleanup(func() { conn.Close(); v.web.CloseIdleConnections() })
	return v
}

// client is a certificate with a name: a URI where it is one, else a common name.
func (a *authority) client(name string) tls.Certificate {
	key := a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(3), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		template.URIs = []*url.URL{u}
		template.Subject = pkix.Name{CommonName: "operator"} // which does not count beside it
	} else {
		template.Subject = pkix.Name{CommonName: name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// call makes any gRPC call with an empty message, and gives the code of its first answer.
func (v *visitor) call(t *testing.T, method string, streams bool) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !streams {
		return status.Code(v.conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	stream, err := v.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return status.Code(err)
	}
	_ = stream.SendMsg(&emptypb.Empty{}) // RecvMsg says what became of it
	_ = stream.CloseSend()
	err = stream.RecvMsg(&emptypb.Empty{})
	if err == io.EOF {
		err = nil
	}
	return status.Code(err)
}

// ask makes an HTTP request and gives its status and body.
func (v *visitor) ask(t *testing.T, method, path, body string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, v.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := v.web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// registered are the methods that the distributor serves, by its own reflection; the value says whether one streams.
func registered(t *testing.T, v *visitor) map[string]bool {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(v.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	methods := map[string]bool{}
	for _, s := range answer.GetListServicesResponse().GetService() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.GetName()))
		if err != nil {
			t.Fatal(err)
		}
		list := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range list.Len() {
			m := list.Get(i)
			methods["/"+s.GetName()+"/"+string(m.Name())] = m.IsStreamingClient() || m.IsStreamingServer()
		}
	}
	if len(methods) < 20 {
		t.Fatalf("only %d methods: %v", len(methods), methods)
	}
	return methods
}

// notThere are methods of others' services that a distributor says it does not have; who may not is told that first.
var notThere = map[string]bool{"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources": true}

// Every gRPC method has a row in the table, every row has a method, and everybody may do exactly what is theirs.
func TestAccessOfEveryMethod(t *testing.T) { atEach(t, accessOfEveryMethod) }

func accessOfEveryMethod(t *testing.T, g *guarded) {
	methods := registered(t, g.visitor(t, "viewer"))
	for method := range access.Methods() {
		if _, there := methods[method]; !there {
			t.Errorf("%s has a row and is not served", method)
		}
	}
	for who, may := range mayDo {
		t.Run(who, func(t *testing.T) {
			v := g.visitor(t, who)
			for method, streams := range methods {
				action := access.OfMethod(method)
				if action == "" {
					t.Errorf("%s is served and has no row", method)
				}
				code := v.call(t, method, streams)
				allowed := action == access.Probe || slices.Contains(may, action)
				refusal := codes.PermissionDenied
				if who == nobody {
					refusal = codes.Unauthenticated
				}
				if refused := code == refusal; refused == allowed || !refused && (code == codes.Unauthenticated || code == codes.PermissionDenied || code == codes.Unimplemented && !notThere[method]) {
					t.Errorf("%s: %v, allowed is %v", method, code, allowed)
				}
			}
		})
	}
}

// Every route of REST is what the method is that it becomes, and every other path of the HTTP port has a row.
func TestAccessOfEveryRoute(t *testing.T) { atEach(t, accessOfEveryRoute) }

func accessOfEveryRoute(t *testing.T, g *guarded) {
	_, text := g.visitor(t, "viewer").ask(t, http.MethodGet, "/openapi.json", "", nil)
	var doc struct {
		Paths map[string]map[string]struct{ OperationID string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	byName := map[string]access.Action{}
	for method, action := range access.Methods() {
		byName[method[strings.LastIndex(method, "/")+1:]] = action
	}
	type request struct{ method, path string }
	requests := map[request]access.Action{}
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			path := strings.NewReplacer("{ref}", "x", "{name}", "x", "{id}", "x", "{filter}", "x").Replace(path)
			requests[request{strings.ToUpper(method), path}] = byName[operation.OperationID]
		}
	}
	if len(requests) < 20 {
		t.Fatalf("only %d routes: %v", len(requests), requests)
	}
	digest := digestOf([]byte("x"))
	maps.Copy(requests, map[request]access.Action{
		{"GET", "/"}: access.Read, {"GET", "/openapi.json"}: access.Read, {"GET", "/metrics"}: access.Read,
		{"GET", "/healthz"}: access.Probe, {"GET", "/readyz"}: access.Probe,
		{"GET", "/trust/artifacts/" + digest}:                   access.Fetch,
		{"GET", "/v2/"}:                                         access.Fetch,
		{"GET", "/v2/waft/modules/blobs/" + digest}:             access.Fetch,
		{"HEAD", "/v2/waft/modules/blobs/" + digest}:            access.Fetch,
		{"PUT", "/v2/waft/modules/blobs/" + digest}:             "",
		{"POST", "/v2/waft/modules/blobs/uploads/"}:             "",
		{"GET", "/v2/waft/fetched/r.example/f/blobs/" + digest}: access.Read,
		{"PUT", "/v2/waft/fetched/r.example/f/manifests/a"}:     "",
		{"GET", "/v2/_catalog"}:                                 access.Read,
		{"GET", "/v2/a/tags/list"}:                              access.Read,
		{"GET", "/v2/a/manifests/latest"}:                       access.Read,
		{"PUT", "/v2/a/manifests/latest"}:                       access.Push,
		{"DELETE", "/v2/a/manifests/" + digest}:                 access.Push,
		{"GET", "/v2/a/blobs/" + digest}:                        access.Read,
		{"DELETE", "/v2/a/blobs/" + digest}:                     access.Push,
		{"POST", "/v2/a/blobs/uploads/"}:                        access.Push,
		{"GET", "/v2/a/blobs/uploads/x"}:                        access.Push,
		{"PATCH", "/v2/a/blobs/uploads/x"}:                      access.Push,
		{"PUT", "/v2/a/blobs/uploads/x"}:                        access.Push,
		{"GET", "/v2/a/referrers/" + digest}:                    access.Read,
		{"POST", "/v2/a/referrers/" + digest}:                   "",
	})
	for who, may := range mayDo {
		t.Run(who, func(t *testing.T) {
			v := g.visitor(t, who)
			for r, action := range requests {
				got, body := v.ask(t, r.method, r.path, "{}", nil)
				want := http.StatusOK // or anything but a refusal
				switch {
				case action == access.Probe || slices.Contains(may, action):
				case who == nobody && action != "":
					want = http.StatusUnauthorized
				default:
					want = http.StatusForbidden
				}
				refused := got == http.StatusForbidden || got == http.StatusUnauthorized
				if want == http.StatusOK && refused || want != http.StatusOK && got != want {
					t.Errorf("%s %s: %d %s; want %d", r.method, r.path, got, body, want)
				}
			}
		})
	}
}

func releaseIn(layer, name string) *waftv1.CreateReleaseRequest {
	return &waftv1.CreateReleaseRequest{Release: &waftv1.Release{Metadata: &waftv1.ReleaseMetadata{Name: name, Layer: layer}, Spec: &waftv1.ReleaseSpec{}}}
}

// A team writes its own layer and its own repositories, and no other.
func TestAccessOfTeams(t *testing.T) { atEach(t, accessOfTeams) }

func accessOfTeams(t *testing.T, g *guarded) {
	paul, operator, publisher, approver := g.visitor(t, "paul"), g.visitor(t, "operator"), g.visitor(t, "publisher"), g.visitor(t, "approver")
	// Whoever they say that they are does not count.
	ctx := metadata.AppendToOutgoingContext(t.Context(), api.MetadataActor, "mallory")
	create := func(v *visitor, layer, name string) error {
		_, err := waftv1.NewReleaseServiceClient(v.conn).CreateRelease(ctx, releaseIn(layer, name))
		return err
	}
	want := func(what string, err error, code codes.Code, says string) {
		t.Helper()
		if status.Code(err) != code || code != codes.OK && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %v with %q", what, err, code, says)
		}
	}
	const noPublisher = `cn:paul may not create a release in the layer "global": it lacks the role publisher there, and has it for the layers team/payments`
	want("own layer", create(paul, "team/payments", "own"), codes.OK, "")
	want("the default layer", create(paul, "", "base"), codes.PermissionDenied, noPublisher)
	want("another team's", create(paul, "team/other", "base"), codes.PermissionDenied, "its bindings publishers give that")
	want("an emergency", create(paul, "emergency/f", "base"), codes.PermissionDenied, "emergency/f")
	want("the global layer", create(publisher, "global", "base"), codes.OK, "")
	want("a name of the global layer", create(paul, "team/payments", "base"), codes.PermissionDenied, `the name is that of a release of the layer "global"; cn:paul may not create a release in the layer "global"`)

	// A node, so that rollouts have somebody to wait for.
	stream, err := mcpv1.NewResourceSourceClient(g.visitor(t, nodeOne).conn).EstablishResourceStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	asks := func(id string) *mcpv1.RequestResources {
		return &mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: id, Annotations: map[string]string{"env": "prod"}}, Collection: model.CollectionChains}
	}
	if err := stream.Send(asks("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	startRollout := func(v *visitor, name, release string) error {
		_, err := waftv1.NewRolloutServiceClient(v.conn).StartRollout(ctx, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name},
			Spec: &waftv1.RolloutSpec{Release: release, Target: &waftv1.Target{Selector: "env=prod", IncludeUnreported: true},
				Waves: []*waftv1.Wave{{Percent: 100, Soak: "1h"}}},
		}})
		return err
	}
	want("a rollout of another layer", startRollout(paul, "base-1", "base"), codes.PermissionDenied, `may not start or steer a rollout in the layer "global"`)
	want("a rollout by who is no operator", startRollout(publisher, "base-1", "base"), codes.PermissionDenied, "operator")
	want("a rollout", startRollout(operator, "base-1", "base"), codes.OK, "")
	type act = func(waftv1.RolloutServiceClient) error
	action := func(name string, do func(waftv1.RolloutServiceClient, context.Context, *waftv1.RolloutActionRequest, ...grpc.CallOption) (*waftv1.Rollout, error)) act {
		return func(c waftv1.RolloutServiceClient) error {
			_, err := do(c, ctx, &waftv1.RolloutActionRequest{Name: name, Reason: "a test"})
			return err
		}
	}
	undo := func(c waftv1.RolloutServiceClient) error {
		_, err := c.UndoRollout(ctx, &waftv1.UndoRolloutRequest{Name: "base-1"})
		return err
	}
	for what, do := range map[string]act{
		"pause": action("base-1", waftv1.RolloutServiceClient.PauseRollout), "resume": action("base-1", waftv1.RolloutServiceClient.ResumeRollout),
		"promote": action("base-1", waftv1.RolloutServiceClient.PromoteRollout), "abort": action("base-1", waftv1.RolloutServiceClient.AbortRollout),
		"approve": action("base-1", waftv1.RolloutServiceClient.ApproveRollout), "undo": undo,
	} {
		want(what+" another layer's", do(waftv1.NewRolloutServiceClient(paul.conn)), codes.PermissionDenied, `in the layer "global"`)
	}
	want("pause", action("base-1", waftv1.RolloutServiceClient.PauseRollout)(waftv1.NewRolloutServiceClient(operator.conn)), codes.OK, "")
	want("abort", action("base-1", waftv1.RolloutServiceClient.AbortRollout)(waftv1.NewRolloutServiceClient(operator.conn)), codes.OK, "")

	// Nobody approves what they have started.
	want("own rollout", startRollout(paul, "own-1", "own"), codes.OK, "")
	approve := action("own-1", waftv1.RolloutServiceClient.ApproveRollout)
	want("own approval", approve(waftv1.NewRolloutServiceClient(paul.conn)), codes.PermissionDenied, "has started it, and an approval is somebody else's")
	want("another's approval", approve(waftv1.NewRolloutServiceClient(approver.conn)), codes.FailedPrecondition, "") // it asks for none, which is for the rollout to say

	// An emergency takes the layer emergency/FILTER, and two roles where a guard goes.
	disable := func(v *visitor, pass bool) error {
		_, err := waftv1.NewFilterServiceClient(v.conn).DisableFilter(ctx, &waftv1.DisableFilterRequest{Filter: "f", Everywhere: true, Reason: "a test", LetUnauthorizedRequestsPass: pass})
		return err
	}
	want("an emergency by a team", disable(paul, false), codes.PermissionDenied, `may not disable or enable a filter in the layer "emergency/f"`)
	want("an emergency", disable(operator, false), codes.NotFound, "")
	want("a door", disable(operator, true), codes.PermissionDenied, "may not let unauthorized requests pass")

	// The registry.
	for path, want := range map[string]int{
		"/v2/payments/f/blobs/uploads/":                                                  http.StatusAccepted,
		"/v2/other/f/blobs/uploads/":                                                     http.StatusForbidden,
		"/v2/payments/blobs/uploads/":                                                    http.StatusForbidden,
		"/v2/payments/f/blobs/uploads/../../../../other/f/blobs/uploads/":                http.StatusForbidden,
		"/v2/payments/%2e%2e/other/f/blobs/uploads/":                                     http.StatusForbidden,
		"/v2/other/f/blobs/uploads/?mount=" + digestOf([]byte("x")) + "&from=payments/f": http.StatusForbidden,
	} {
		if got, body := paul.ask(t, http.MethodPost, path, "", nil); got != want {
			t.Errorf("POST %s: %d %s; want %d", path, got, body, want)
		}
	}

	// What was done is in the audit log under the name that was proved, and what was refused is in the log.
	_, text := g.visitor(t, "viewer").ask(t, http.MethodGet, "/v1/audit", "", nil)
	if strings.Contains(text, "mallory") || !strings.Contains(text, `"actor":"cn:paul"`) {
		t.Errorf("the audit log has %s", text)
	}
	for _, line := range []string{
		`level=WARN msg=denied part=access who=cn:paul action="create a release" call="release.create release/base"`,
		`level=WARN msg=denied part=access who=cn:paul action=push call="POST /v2/other/f/blobs/uploads/" from=127.0.0.1:`,
		`who=cn:publisher action="start or steer a rollout" call=/waft.v1.RolloutService/StartRollout from=127.0.0.1:`,
	} {
		if !strings.Contains(g.log.String(), line) {
			t.Errorf("the log lacks %s:\n%s", line, g.log)
		}
	}
}

// Nobody is let in by what he says of himself, by REST or by gRPC: not by what only the HTTP port tells the gRPC server inside, nor by what only another replica tells.
func TestAccessCannotBeForged(t *testing.T) { atEach(t, accessCannotBeForged) }

func accessCannotBeForged(t *testing.T, g *guarded) {
	body := `{"metadata": {"name": "base"}, "spec": {}}`
	forged := http.Header{"Grpc-Metadata-Waft-Ticket": {"x", ""}, "Waft-Ticket": {"x"}, "Waft-Actor": {"cn:publisher"}, "Grpc-Metadata-Waft-Actor": {"cn:publisher"}}
	const told = `{"replica":"leader","identity":{"Name":"cn:publisher","Certificate":["cn:publisher"]}}`
	forged["Grpc-Metadata-Waft-Relayed-Bin"], forged["Waft-Relayed-Bin"] = []string{base64.StdEncoding.EncodeToString([]byte(told))}, []string{base64.StdEncoding.EncodeToString([]byte(told))}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "waft-relayed-bin", told, "waft-ticket", "x")
	for who, want := range map[string]codes.Code{nobody: codes.Unauthenticated, "viewer": codes.PermissionDenied} {
		if _, err := waftv1.NewReleaseServiceClient(g.visitor(t, who).conn).CreateRelease(ctx, releaseIn("global", "base")); status.Code(err) != want {
			t.Errorf("%s by gRPC: %v; want %v", who, err, want)
		}
	}
	for who, want := range map[string]int{nobody: http.StatusUnauthorized, "viewer": http.StatusForbidden, "publisher": http.StatusOK} {
		if got, text := g.visitor(t, who).ask(t, http.MethodPost, "/v1/releases", body, forged); got != want {
			t.Errorf("%s: %d %s; want %d", who, got, text, want)
		}
	}
	if _, text := g.visitor(t, "viewer").ask(t, http.MethodGet, "/v1/releases/base", "", nil); !strings.Contains(text, "cn:publisher") {
		t.Errorf("who has made it is not said: %s", text)
	}
}

// A node is sent its own collections, and reports of itself, whatever it says of itself; and no longer than the policy says.
func TestAccessOfNodes(t *testing.T) { atEach(t, accessOfNodes) }

func accessOfNodes(t *testing.T, g *guarded) {
	v := g.visitor(t, nodeOne)
	asks := func(id string) *mcpv1.RequestResources {
		return &mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: id}, Collection: model.CollectionChains}
	}
	open := func(messages ...*mcpv1.RequestResources) grpc.BidiStreamingClient[mcpv1.RequestResources, mcpv1.Resources] {
		t.Helper()
		stream, err := mcpv1.NewResourceSourceClient(v.conn).EstablishResourceStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		return stream
	}
	denied := func(what string, err error) {
		t.Helper()
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `may not be the node "two"`) || !strings.Contains(err.Error(), "has it for the node one") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := open(asks("two")).Recv()
	denied("another's collections", err)
	report := func(id string) (reportStream, error) {
		stream, err := waftv1.NewReportServiceClient(v.conn).Report(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(hello(id)); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		return stream, err
	}
	_, err = report("two")
	denied("another's reports", err)
	// By xDS as well, where the node is an Envoy type that only that package knows: its wire form is what is sent here.
	ads, err := v.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources")
	if err != nil {
		t.Fatal(err)
	}
	named := &emptypb.Empty{}
	named.ProtoReflect().SetUnknown(protoreflect.RawFields("\x12\x05\x0a\x03two")) // node (2): id (1): two
	if err := ads.SendMsg(named); err != nil {
		t.Fatal(err)
	}
	denied("another's collections by xDS", ads.RecvMsg(&emptypb.Empty{}))
	// What names nobody by the rules of its dialect gets no further either: no session begins.
	ads, err = v.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources")
	if err != nil {
		t.Fatal(err)
	}
	named.ProtoReflect().SetUnknown(protoreflect.RawFields("\x12\x05\x0a\x03two\x22\x07unknown")) // and type_url (4)
	if err := ads.SendMsg(named); err != nil {
		t.Fatal(err)
	}
	if err := ads.RecvMsg(&emptypb.Empty{}); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "can be permitted") {
		t.Errorf("a kind that no dialect has: %v", err)
	}
	if _, text := g.visitor(t, "viewer").ask(t, http.MethodGet, "/v1/nodes", "", nil); strings.Contains(text, "two") {
		t.Errorf("the node is known: %s", text)
	}

	stream := open(asks("one"))
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(asks("two")); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	denied("another's collections later", err)

	// Both streams end with the first message after the node has lost its role.
	stream = open(asks("one"))
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	reports, err := report("one")
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, strings.ReplaceAll(accessPolicy, "spiffe://example.org/node/{node}", "spiffe://example.org/edge/{node}"))
	late := time.After(patience)
	for !strings.Contains(g.log.String(), "the access policy has changed") {
		select {
		case <-late:
			t.Fatalf("the policy's change is not seen:\n%s", g.log)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := stream.Send(asks("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("collections for who is no node any more: %v", err)
	}
	if err := reports.Send(&waftv1.ReportRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := reports.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("reports of who is no node any more: %v", err)
	}
}

// A policy by which nobody could prove who they are is none.
func TestAccessNeedsAuthorities(t *testing.T) {
	g := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(g, []byte(accessPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Open(g)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]distributor.Config{
		"no TLS":     {Insecure: true},
		"no clients": {TLS: distributor.TLS{Cert: "cert.pem", Key: "key.pem"}},
	} {
		cfg.Data, cfg.Access = t.TempDir(), policy
		if err := distributor.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "--client-ca") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
