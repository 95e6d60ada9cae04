package distributor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// sinkServer runs a sink that waits to be dialled, and gives its address and what it receives.
func sinkServer(t *testing.T, node string, transport credentials.TransportCredentials) (string, <-chan mcp.Update) {
	t.Helper()
	updates := make(chan mcp.Update, 100)
	s, err := mcp.NewSinkServer(mcp.SinkConfig{
		Node: node, Labels: map[string]string{"zone": "dmz"}, Collections: []string{model.CollectionFilters, model.CollectionChains},
		Apply: func(_ context.Context, u mcp.Update) error {
			updates <- u
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(transport), grpc.MaxRecvMsgSize(mcp.MaxResourcesBytes))
	s.Register(server)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String(), updates
}

// serverTLS is what a sink serves with: its certificate, and whose certificates its source may have.
func serverTLS(t *testing.T, cert, key string, sources *authority) credentials.TransportCredentials {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(sources.file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
}

func TestSinksAreDialled(t *testing.T) {
	servers, nodes, strangers := newAuthority(t, "servers"), newAuthority(t, "nodes"), newAuthority(t, "strangers")
	serverCert, serverKey := servers.issue("waft")
	nodeCert, nodeKey := nodes.issue("edge-1")
	strangerCert, strangerKey := strangers.issue("eve")

	good, updates := sinkServer(t, "edge-1", serverTLS(t, nodeCert, nodeKey, servers))
	// One that nobody vouches for, one that does not know this distributor's authority, and one with another's id.
	stranger, strange := sinkServer(t, "edge-2", serverTLS(t, strangerCert, strangerKey, servers))
	shy, shown := sinkServer(t, "edge-3", serverTLS(t, nodeCert, nodeKey, strangers))
	liar, lied := sinkServer(t, "edge-1", serverTLS(t, nodeCert, nodeKey, servers))
	s := start(t, distributor.Config{
		Data: t.TempDir(), TLS: distributor.TLS{Cert: serverCert, Key: serverKey}, SinkCA: nodes.file,
		Sinks: []distributor.SinkAddress{{Node: "edge-2", Address: stranger}, {Node: "edge-3", Address: shy}, {Node: "edge-4", Address: liar}, {Node: "edge-1", Address: good}},
	})
	for range 2 {
		select {
		case u := <-updates:
			if len(u.Resources) != 0 || !u.Incremental {
				t.Errorf("%+v", u)
			}
		case <-time.After(patience):
			t.Fatal("the sink was not served")
		}
	}
	waitForRedials(t, s, servers, 9)
	for name, c := range map[string]<-chan mcp.Update{"a stranger": strange, "one that does not take this distributor": shown, "one with another's id": lied} {
		if len(c) != 0 {
			t.Errorf("%s was sent %+v", name, <-c)
		}
	}
}

// waitForRedials returns when the distributor has dialled so many times again.
func waitForRedials(t *testing.T, s *server, ca *authority, times int) {
	t.Helper()
	cfg, err := api.ClientTLS{CA: ca.file}.Config()
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
	defer web.CloseIdleConnections()
	for deadline := time.Now().Add(patience); ; {
		resp, err := web.Get("https://" + s.HTTP + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if n := 0; strings.HasPrefix(line, `istio_mcp_reconnections{component="source"}`) {
				if _, err := fmt.Sscanf(line, `istio_mcp_reconnections{component="source"} %d`, &n); err == nil && n >= times {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("they are not dialled again")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

func TestSinksAreDialledWithoutTLS(t *testing.T) {
	address, updates := sinkServer(t, "edge-1", insecure.NewCredentials())
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, Sinks: []distributor.SinkAddress{{Node: "edge-1", Address: address}}})
	select {
	case <-updates:
	case <-time.After(patience):
		t.Fatal("the sink was not served")
	}
	node, err := s.client(t).Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "edge-1"})
	if err != nil || node.GetLabels()["zone"] != "dmz" || node.GetReports() {
		t.Errorf("%v, %v", node, err)
	}
}

// Of several replicas the one that leads dials the sinks; when it stops, the next one does, and gives them what is rolled out then.
func TestSinksAreDialledByWhoLeads(t *testing.T) {
	address, updates := sinkServer(t, "edge-1", insecure.NewCredentials())
	etcd := etcdtest.Start(t, 1)
	replica := func(name string) *server {
		t.Helper()
		return start(t, distributor.Config{
			Data: t.TempDir(), Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: "127.0.0.1:0", Replica: name,
			Sinks: []distributor.SinkAddress{{Node: "edge-1", Address: address}},
		})
	}
	connected := func(c *api.Client) func() bool {
		return func() bool {
			node, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: "edge-1"})
			return err == nil && node.GetPresence() == "connected"
		}
	}
	first, second := replica("first"), replica("second")
	eventually(t, "the sink is served", connected(first.client(t)))
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	c := second.client(t)
	eventually(t, "the replica that leads now serves the sink", connected(c))

	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{
		Release: release(t, "apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: empty}\nspec: {filters: []}\n"), Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Reason: "go", Rollout: &waftv1.Rollout{
		Metadata: &waftv1.RolloutMetadata{Name: "first"},
		Spec:     &waftv1.RolloutSpec{Release: "empty", Waves: []*waftv1.Wave{{Percent: 100}}, Target: &waftv1.Target{Selector: "zone=dmz", IncludeUnreported: true}},
	}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rollout asks a person, since nobody reports", func() bool {
		r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: "first"})
		return err == nil && r.GetStatus().GetPhase() == string(model.RolloutPaused)
	})
	if _, err := c.Rollouts.PromoteRollout(t.Context(), &waftv1.RolloutActionRequest{Name: "first", Reason: "go"}); err != nil {
		t.Fatal(err)
	}
	until(t, updates, model.CollectionChains, some)
}

func TestSinkAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"edge-1=sink.example:7072": "", "edge-1=[::1]:7072": "",
		"sink.example:7072": "names no node", "=sink.example:7072": "a node's id has", "edge-1=": "is not HOST:PORT", "edge-1=sink.example": "is not HOST:PORT",
		"edge-1=:7072": "is not HOST:PORT", "edge 1=sink.example:7072": `holds ' '`,
	} {
		got, err := distributor.ParseSinkAddress(text)
		switch {
		case want == "" && (err != nil || got.Node+"="+got.Address != text):
			t.Errorf("%s: %v, %v", text, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", text, err)
		}
	}
	err := distributor.Run(t.Context(), distributor.Config{Data: t.TempDir(), Insecure: true, Sinks: []distributor.SinkAddress{{Node: "a", Address: "h:1"}, {Node: "a", Address: "h:2"}}})
	if err == nil || !strings.Contains(err.Error(), "is to be dialled at h:1 and at h:2") {
		t.Error(err)
	}
}
