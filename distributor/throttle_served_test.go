package distributor_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/access"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// exhausted asks until it is refused for having asked too often; a second's worth comes back in a second, so that once may be too few.
func exhausted(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for range 100 {
		if ask() {
			return
		}
	}
	t.Errorf("%s: it is never refused", what)
}

// Whoever has asked too often is refused by every method and route, by gRPC and HTTP alike, but for those of health; it is told when to come again, and counted.
func TestThrottledEverywhere(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, RequestsPerSecond: 1})
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	v := &visitor{conn: conn, web: http.DefaultClient, address: "http://" + s.HTTP}
	c := s.client(t)
	var trailer metadata.MD
	exhausted(t, "GetVersion", func() bool {
		_, err = waftv1.NewVersionServiceClient(conn).GetVersion(t.Context(), &waftv1.GetVersionRequest{}, grpc.Trailer(&trailer))
		return status.Code(err) == codes.ResourceExhausted
	})
	after, convErr := strconv.Atoi(strings.Join(trailer.Get("grpc-retry-pushback-ms"), ""))
	if convErr != nil || after < 1 || after > 1000 || !strings.Contains(err.Error(), "--requests-per-second") {
		t.Errorf("it is told %v, %v", trailer, err)
	}
	if _, err := c.Releases.ListReleases(t.Context(), &waftv1.ListReleasesRequest{}); !errors.Is(err, model.ErrExhausted) {
		t.Errorf("the client of the API gives %v", err)
	}
	for method := range access.Methods() {
		streams := strings.HasSuffix(method, "/Report") || strings.Contains(method, "Stream") || strings.Contains(method, "Aggregated") || strings.Contains(method, "Watch") || strings.HasSuffix(method, "/Backup")
		if access.OfMethod(method) == access.Probe {
			if code := v.call(t, method, true); code == codes.ResourceExhausted {
				t.Errorf("%s is refused", method)
			}
			continue
		}
		exhausted(t, method, func() bool { return v.call(t, method, streams) == codes.ResourceExhausted })
	}
	digest := digestOf([]byte("x"))
	for path, form := range map[string]string{
		"/v1/nodes": `"code":8`, "/v2/": "TOOMANYREQUESTS", "/v2/a/manifests/latest": "TOOMANYREQUESTS", "/v2/waft/modules/blobs/" + digest: "TOOMANYREQUESTS",
		"/trust/artifacts/" + digest: "too fast", "/metrics": "too fast",
	} {
		exhausted(t, path, func() bool {
			code, body, header := get(t, v.address+path)
			if code != http.StatusTooManyRequests {
				return false
			}
			if header.Get("Retry-After") != "1" || !strings.Contains(body, form) {
				t.Errorf("%s says %q, to come again in %q s", path, body, header.Get("Retry-After"))
			}
			return true
		})
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		for range 50 {
			if code, body, _ := get(t, v.address+path); code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, code, body)
			}
		}
	}
	var metrics string
	for code := 0; code != http.StatusOK; {
		code, metrics, _ = get(t, v.address+"/metrics")
	}
	for _, port := range []string{"grpc", "http"} {
		if !regexp.MustCompile(fmt.Sprintf(`waft_throttled_requests_total{limit="requests",port="%s"} [1-9]`, port)).MatchString(metrics) {
			t.Errorf("the refusals of %s are not counted", port)
		}
	}
}

// Whoever shows a certificate and is refused again and again, for whatever reason, is not heard for ever, and pays for it itself: the others at its address are heard.
func TestThrottledWhereItIsRefused(t *testing.T) {
	g := startThrottled(t)
	const create, version = "/waft.v1.ReleaseService/CreateRelease", "/waft.v1.VersionService/GetVersion"
	nonsense := http.Header{"Authorization": {"Bearer nonsense"}}
	for what, tc := range map[string]struct {
		client  string
		refused func(v *visitor) (spent bool)
	}{
		"a push": {"viewer", func(v *visitor) bool {
			code, _ := v.ask(t, http.MethodPost, "/v2/filters/authz/blobs/uploads/", "", nil)
			return code == http.StatusTooManyRequests
		}},
		"a release": {"approver", func(v *visitor) bool { return v.call(t, create, false) == codes.ResourceExhausted }},
		"a bad token over HTTP": {nodeOne, func(v *visitor) bool {
			code, _ := v.ask(t, http.MethodGet, "/v1/nodes", "", nonsense)
			return code == http.StatusTooManyRequests
		}},
		"a bad token over gRPC": {"publisher", func(v *visitor) bool {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer nonsense")
			return status.Code(v.conn.Invoke(ctx, version, &waftv1.GetVersionRequest{}, &waftv1.GetVersionResponse{})) == codes.ResourceExhausted
		}},
		"a name that the policy does not have": {stranger, func(v *visitor) bool { return v.call(t, version, false) == codes.ResourceExhausted }},
	} {
		v := g.visitor(t, tc.client)
		exhausted(t, what, func() bool { return tc.refused(v) })
	}
	// All of those were refused more often than an address may be; whoever shows nothing is told what is amiss still.
	other := g.visitor(t, nobody)
	for range 3 {
		if code, body := other.ask(t, http.MethodGet, "/v1/nodes", "", nil); code != http.StatusUnauthorized {
			t.Errorf("a client without a certificate at that address: %d %s", code, body)
		}
		if code := other.call(t, version, false); code != codes.Unauthenticated {
			t.Errorf("a client without a certificate at that address, over gRPC: %v", code)
		}
	}
	if code := g.visitor(t, "operator").call(t, version, false); code != codes.OK {
		t.Errorf("another client: %v", code)
	}
	// Nor is who shows nothing heard for ever.
	exhausted(t, "no certificate", func() bool { return other.call(t, version, false) == codes.ResourceExhausted })
}

// startThrottled serves whom the tests' access policy knows, each a request in a second and two streams.
func startThrottled(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{clients: newAuthority(t, "clients"), servers: newAuthority(t, "servers"), file: filepath.Join(t.TempDir(), "access.yaml"), log: &lockedBuffer{}}
	g.write(t, accessPolicy)
	policy, err := access.Open(g.file)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := g.servers.issue("waft")
	g.server = start(t, distributor.Config{
		Data: t.TempDir(), TLS: distributor.TLS{Cert: cert, Key: key, ClientCA: g.clients.file}, Access: policy, RequestsPerSecond: 1, StreamsPerClient: 2,
		Log: slog.New(slog.NewTextHandler(g.log, nil)),
	})
	return g
}

// Clients are told apart by who they are, so that one that asks too often keeps nobody else from asking, from the same address.
func TestThrottledByIdentity(t *testing.T) {
	t.Run("alone", func(t *testing.T) { throttledByIdentity(t, startThrottled(t)) })
	t.Run("follower", func(t *testing.T) {
		etcd := etcdtest.Start(t, 1)
		named := func(name string, requests, streams int) func(*distributor.Config) {
			return func(cfg *distributor.Config) {
				cfg.Etcd, cfg.Peer, cfg.Replica = store.External{Endpoints: etcd.Endpoints}, "127.0.0.1:0", name
				cfg.RequestsPerSecond, cfg.StreamsPerClient = requests, streams
			}
		}
		// The one that leads takes whatever comes, so what is refused the follower has refused.
		throttledByIdentity(t, startWithin(t, accessPolicy, []func(*distributor.Config){named("leader", -1, -1), named("follower", 1, 2)}))
	})
}

func throttledByIdentity(t *testing.T, g *guarded) {
	const version = "/waft.v1.VersionService/GetVersion"
	mad, other := g.visitor(t, "viewer"), g.visitor(t, "operator")
	exhausted(t, "the mad one", func() bool { return mad.call(t, version, false) == codes.ResourceExhausted })
	exhausted(t, "the mad one, by HTTP", func() bool {
		code, _ := mad.ask(t, http.MethodGet, "/v1/nodes", "", nil)
		return code == http.StatusTooManyRequests
	})
	if code := other.call(t, version, false); code != codes.OK {
		t.Errorf("another one: %v", code)
	}
	if code, body := other.ask(t, http.MethodGet, "/v1/nodes", "", nil); code != http.StatusOK {
		t.Errorf("another one, by HTTP: %d %s", code, body)
	}
	// Nor does a stranger who is refused again and again, with tokens that do not count, at the same address.
	stranger := g.visitor(t, nobody)
	header := http.Header{"Authorization": {"Bearer nonsense"}}
	exhausted(t, "a stranger with tokens", func() bool {
		code, _ := stranger.ask(t, http.MethodGet, "/v1/nodes", "", header)
		return code == http.StatusTooManyRequests
	})
	if code := other.call(t, version, false); code != codes.OK {
		t.Errorf("another one, beside a stranger: %v", code)
	}

	// Streams are bounded, too: those that are open, and how often one is opened.
	node := g.visitor(t, nodeOne)
	report := func() error {
		stream, err := waftv1.NewReportServiceClient(node.conn).Report(t.Context())
		if err != nil {
			return err
		}
		if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{Node: "one", EnvoyVersion: "1.40.0", AgentVersion: "t"}}}); err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	if err := report(); err != nil {
		t.Fatal(err)
	}
	exhausted(t, "streams that are opened again and again", func() bool { return status.Code(report()) == codes.ResourceExhausted })
}

// Who is one node has as many streams as a node may ever need, far fewer than who may be a whole fleet.
func TestStreamsOfANode(t *testing.T) {
	g := startGuarded(t)
	open := func(who string, streams int) <-chan error {
		t.Helper()
		reports := waftv1.NewReportServiceClient(g.visitor(t, who).conn)
		ended := make(chan error, streams)
		for range streams {
			stream, err := reports.Report(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, err := stream.Recv(); ended <- err }()
		}
		return ended
	}
	ended, others := open(nodeOne, distributor.StreamsPerNode+1), open("spiffe://example.org/node/two", distributor.StreamsPerNode)
	if err := <-ended; status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "the most that one node may have") {
		t.Errorf("it is told %v", err)
	}
	select {
	case err := <-ended:
		t.Errorf("another one of its streams ended: %v", err)
	case err := <-others:
		t.Errorf("one of another node's streams ended: %v", err)
	default:
	}
}
