package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
)

// startDynamic starts an Envoy that has no listener of its own, from what `waft bootstrap --dynamic` prints.
func startDynamic(t *testing.T, f *fleet.Fleet, binary, id string, flags ...string) *bareEnvoy {
	t.Helper()
	_, admin, err := fleet.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	b := bootstrapped(t, f, binary, id, admin, append([]string{"--dynamic"}, flags...)...)
	b.start(t)
	return b
}

// origin is a server behind Envoy that says who answered.
func origin(t *testing.T, name string) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Origin", name) }))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certificate is a certificate for a name with its key, in PEM.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// site is what a release of the tests has: two listeners, one of them with TLS, routes to one cluster, its endpoints, and a certificate.
type site struct {
	plain, secure string // ports
	// cluster is its name, port where it is; match is that of the route.
	cluster, port, match string
	cert, key            string
	// stamp is the filter's; empty: no filter, and no slot.
	stamp string
}

func (s site) release(t *testing.T, f *fleet.Fleet, name string) string {
	t.Helper()
	slot, filters := "", ""
	if s.stamp != "" {
		slot = `
          - name: waft
            configDiscovery:
              configSource: {ads: {}, resourceApiVersion: V3, initialFetchTimeout: 0s}
              typeUrls: [type.googleapis.com/envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig]`
		filters = fmt.Sprintf("\n  filters:\n  - {name: stamp, module: %q, config: {value: %q}}", moduleRef(f, "stamp"), s.stamp)
	}
	listener := func(name, port, tls string) string {
		return fmt.Sprintf(`
  - collection: envoy/listeners
    name: %s
    spec:
      "@type": type.googleapis.com/envoy.config.listener.v3.Listener
      address: {socketAddress: {address: 127.0.0.1, portValue: %s}}
      filterChains:
      - filters:
        - name: envoy.filters.network.http_connection_manager
          typedConfig:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            statPrefix: edge
            rds: {routeConfigName: main, configSource: {ads: {}, resourceApiVersion: V3}}
            httpFilters:%s
            - name: envoy.filters.http.router
              typedConfig: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}%s`, name, port, strings.ReplaceAll(slot, "\n", "\n  "), tls)
	}
	text := fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s}
spec:%s
  resources:
  - collection: envoy/clusters
    name: %s
    spec:
      "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
      type: EDS
      connectTimeout: 2s
      edsClusterConfig: {edsConfig: {ads: {}, resourceApiVersion: V3}}
  - collection: envoy/endpoints
    name: %s
    spec:
      "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
      endpoints: [{lbEndpoints: [{endpoint: {address: {socketAddress: {address: 127.0.0.1, portValue: %s}}}}]}]
  - collection: envoy/routes
    name: main
    spec:
      "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
      virtualHosts:
      - {name: all, domains: ["*"], routes: [{match: %s, route: {cluster: %s}}]}
  - collection: envoy/secrets
    name: site-cert
    spec:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
      tlsCertificate: {certificateChain: {inlineString: %q}, privateKey: {filename: %q}}%s%s
`, name, filters, s.cluster, s.cluster, s.port, s.match, s.cluster, s.cert, write(t, f, name+".key", s.key), listener("edge", s.plain, ""), listener("secure", s.secure, `
        transportSocket:
          name: envoy.transport_sockets.tls
          typedConfig:
            "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
            commonTlsContext:
              tlsCertificateSdsSecretConfigs: [{name: site-cert, sdsConfig: {ads: {}, resourceApiVersion: V3}}]`))
	var created struct{ Status struct{ Hash string } }
	if err := f.JSON(t.Context(), &created, "release", "create", "-f", write(t, f, name+".yaml", text), "--reason", "test"); err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.Status.Hash
}

// shownName is the name in the certificate that a port shows.
func shownName(ctx context.Context, port string) (string, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // its name is what is looked at
	conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func awaitCertificate(t *testing.T, port, name string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), "the certificate "+name, adsLimit, func(ctx context.Context) error {
		got, err := shownName(ctx, port)
		if err != nil || got != name {
			return fleet.NotYetf("it is %q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// cameFrom is a client that must be answered by one of these origins.
func cameFrom(names ...string) fleet.Visitor {
	return fleet.Visitor{Name: "a client", Path: "/", Status: 200, Check: func(a fleet.Answer) error {
		got := a.Header.Get("X-Origin")
		for _, name := range names {
			if got == name {
				return nil
			}
		}
		return fmt.Errorf("the answer is from %q instead of one of %q", got, names)
	}}
}

// clustersOf are those that an Envoy has, of these.
func clustersOf(ctx context.Context, b *bareEnvoy, names ...string) (string, error) {
	var has []string
	for _, name := range names {
		stats, err := b.Admin.Stats(ctx, "cluster."+name+".membership_total")
		if err != nil {
			return "", err
		}
		if stats.Values["cluster."+name+".membership_total"] > 0 {
			has = append(has, name)
		}
	}
	return strings.Join(has, " "), nil
}

// Two Envoys without agents get all of what they are from releases: listeners with and without TLS, routes, a cluster with its endpoints, a certificate, and filters. They are
// moved, in waves and under load, to a release in which the route goes to another cluster and the first is gone; no request fails. What Envoy rejects is taken back in the
// first wave.
func TestEnvoyThatIsGivenEverything(t *testing.T) {
	for kind, flags := range map[string][]string{"ads": nil, "delta": {"--delta"}} {
		t.Run(kind, func(t *testing.T) {
			if kind == "ads" {
				onlyInFull(t)
			}
			f := startFleet(t, 0)
			publish(t, f, "./e2e/filters/stamp")
			testDynamic(t, f, envoyBinary, "1", "2", flags...)
		})
	}
}

// An Envoy that has no slot for filters takes releases without.
func TestOlderEnvoyThatIsGivenEverything(t *testing.T) {
	onlyInFull(t)
	oldest, err := envoy.FindVersion(envoy.Number{Major: 1, Minor: 36, Patch: 4})
	if errors.Is(err, envoy.ErrNotFound) {
		t.Skip("Envoy 1.36.4 is not here; `make envoys` fetches it")
	}
	if err != nil {
		t.Fatal(err)
	}
	testDynamic(t, startFleet(t, 0), oldest.Path, "", "", "--delta")
}

// testDynamic is the whole of it; stamps are those of the filters, empty for an Envoy that has no slot.
func testDynamic(t *testing.T, f *fleet.Fleet, binary, stampOne, stampTwo string, flags ...string) {
	plain, secure, err := fleet.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return p }
	one := site{plain: port(plain), secure: port(secure), cluster: "old", port: origin(t, "old"), match: `{prefix: "/"}`, stamp: stampOne}
	one.cert, one.key = certificate(t, "one.example")
	two := one
	two.cluster, two.port, two.stamp = "new", origin(t, "new"), stampTwo
	two.cert, two.key = certificate(t, "two.example")
	bad := two
	bad.match = `{safeRegex: {regex: "("}}`

	// Both listen on the same ports, as Envoys on one machine can: the kernel chooses which one answers.
	var envoys []*bareEnvoy
	for _, id := range []string{"d1", "d2"} {
		b := startDynamic(t, f, binary, id, flags...)
		envoys = append(envoys, b)
		awaitNode(t, f, id, "to connect", func(n bareNode) bool { return n.Presence == "connected" })
		if state, err := b.Admin.Stats(t.Context(), "listener_manager.total_listeners_active"); err != nil || state.Values["listener_manager.total_listeners_active"] > 1 {
			t.Errorf("before its first release it has listeners: %v, %v", state.Values, err)
		}
	}
	loaded := func(n bareNode) bool { return n.Ledger.State == "LOADED" && n.Serving == n.Chain && n.Chain != "" }
	rollOut(t, f, "first", one.release(t, f, "one"), `[{percent: 100}]`)
	for _, b := range envoys {
		awaitNode(t, f, b.ID, "to have all of it", loaded)
	}
	awaitCertificate(t, one.secure, "one.example")
	if a, err := fleet.Ask(t.Context(), plain, cameFrom("old")); err != nil || a.Header.Get("X-Stamp") != stampOne {
		t.Errorf("the answer is %+v, %v", a, err)
	}

	load := fleet.StartLoad(t.Context(), map[string]string{"edge": plain}, []fleet.Visitor{cameFrom("old", "new")})
	defer load.Stop()
	rollOut(t, f, "second", two.release(t, f, "two"), `[{nodes: 1, soak: 1s}, {percent: 100}]`)
	for _, b := range envoys {
		awaitNode(t, f, b.ID, "to have all of the second", loaded)
		err := fleet.WaitFor(t.Context(), "the old cluster of "+b.ID+" to be removed", adsLimit, func(ctx context.Context) error {
			if has, err := clustersOf(ctx, b, "old", "new"); err != nil || has != "new" {
				return fleet.NotYetf("it has %q, %v", has, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	awaitCertificate(t, one.secure, "two.example")
	if a, err := fleet.Ask(t.Context(), plain, cameFrom("new")); err != nil || a.Header.Get("X-Stamp") != stampTwo {
		t.Errorf("the answer is %+v, %v", a, err)
	}

	startRollout(t, f, "third", bad.release(t, f, "bad"), `[{nodes: 1}, {percent: 100}]`)
	ended := awaitRollout(t, f, "third", "to be rolled back", phaseIs("RolledBack"))
	if text := fmt.Sprint(ended); !strings.Contains(text, "envoy/routes:main") || !strings.Contains(text, "missing )") {
		t.Errorf("Envoy's words are nowhere: %+v", ended)
	}
	for _, b := range envoys {
		awaitNode(t, f, b.ID, "to have all of the second again", loaded)
	}
	load.Stop()
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed meanwhile: %q", failures)
	}
	if _, err := fleet.Ask(t.Context(), plain, cameFrom("new")); err != nil {
		t.Error(err)
	}

	// One that starts anew has all of it again.
	b := envoys[0]
	if err := b.process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, f, b.ID, "to be gone", func(n bareNode) bool { return n.Presence != "connected" })
	b.start(t)
	awaitNode(t, f, b.ID, "to have all of it again", func(n bareNode) bool { return n.Presence == "connected" && loaded(n) })
}
