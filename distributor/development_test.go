package distributor_test

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	own "github.com/waft-project/waft/distributor/authority"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// A distributor that is given no certificates makes them, and lets in the operator, and nodes as what they are.
func TestCertificatesOfItsOwn(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data})
	folder := own.Folder(data)
	ca, err := own.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(address string, files own.Files) *visitor {
		t.Helper()
		cfg, err := api.ClientTLS{CA: ca.CA(), Cert: files.Cert, Key: files.Key}.Config()
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		v := &visitor{conn: conn, web: &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}, address: "https://" + s.HTTP}
		t.Cleanup(func() { conn.Close(); v.web.CloseIdleConnections() })
		return v
	}
	issue := func(kind, name string) own.Files {
		t.Helper()
		files, err := ca.Issue(t.TempDir(), kind, name)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	create := func(v *visitor) error {
		_, err := waftv1.NewReleaseServiceClient(v.conn).CreateRelease(t.Context(), releaseIn("global", "base"))
		return err
	}
	operatorFiles := own.Files{Cert: filepath.Join(folder, "person-operator.pem"), Key: filepath.Join(folder, "person-operator.key")}
	operator, node := visit(s.GRPC, operatorFiles), visit(s.GRPC, issue("node", "edge-1"))
	if err := create(operator); err != nil {
		t.Errorf("the operator: %v", err)
	}
	if got, body := operator.ask(t, http.MethodPost, "/v2/filters/f/blobs/uploads/", "", nil); got != http.StatusAccepted {
		t.Errorf("the operator pushes: %d %s", got, body)
	}
	if err := create(node); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a node: %v", err)
	}
	// Whoever is issued a certificate of the operator's name is no other than the operator; other names have no rights by themselves.
	if err := create(visit(s.GRPC, issue("person", "ann"))); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another person: %v", err)
	}
	if err := create(visit(s.GRPC, issue("node", "operator"))); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a node that is called as the operator: %v", err)
	}
	for id, want := range map[string]codes.Code{"edge-1": codes.OK, "edge-2": codes.PermissionDenied} {
		stream, err := mcpv1.NewResourceSourceClient(node.conn).EstablishResourceStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: id}, Collection: model.CollectionChains}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != want {
			t.Errorf("edge-1 as %s: %v", id, err)
		}
	}
	if resp, err := http.Get("http://" + s.HTTP + "/readyz"); err == nil && resp.StatusCode == http.StatusOK {
		t.Error("HTTP answers without TLS")
	}

	// The next start has the same authority, and what somebody has written into the policy.
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(operatorFiles.Cert)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "access.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("person/operator"), []byte("person/ann")), 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, distributor.Config{Data: data, Names: []string{"waft.example"}})
	after, err := os.ReadFile(operatorFiles.Cert)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("another certificate: %v", err)
	}
	if err := create(visit(s.GRPC, operatorFiles)); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "policy development") {
		t.Errorf("who is not named any more: %v", err)
	}
	if err := create(visit(s.GRPC, issue("person", "ann"))); err != nil {
		t.Errorf("who is named now: %v", err)
	}
	named, err := api.ClientTLS{CA: ca.CA(), ServerName: "waft.example"}.Config()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", s.HTTP, named)
	if err != nil {
		t.Errorf("by the name of --name: %v", err)
	} else {
		conn.Close()
	}
}
