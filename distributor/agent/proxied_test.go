package agent

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/proxied/proxiedtest"
)

// Where HTTPS_PROXY names a proxy for the distributor, both ways to it go through that, streams and modules.
func TestTheDistributorIsReachedThroughAProxy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	waftv1.RegisterReportServiceServer(server, waftv1.UnimplementedReportServiceServer{})
	go func() { _ = server.Serve(listener) }() // Stop ends it
	defer server.Stop()
	proxy := proxiedtest.Start(t, listener.Addr().String())
	t.Setenv("HTTPS_PROXY", "http://"+proxy.Address)

	conn, err := dial(Config{Server: "distributor.invalid:7070", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stream, err := waftv1.NewReportServiceClient(conn).Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("the distributor says %v", err)
	}
	if asked, _ := proxy.Asked(); len(asked) != 1 || asked[0] != "CONNECT distributor.invalid:7070" {
		t.Errorf("the proxy was asked for %q", asked)
	}

	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	proxy = proxiedtest.Start(t, web.Listener.Addr().String())
	t.Setenv("HTTPS_PROXY", "http://"+proxy.Address)
	roots := web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	client := &http.Client{Transport: &http.Transport{DialTLSContext: certfile.DialTLS(func() *tls.Config { return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12} })}}
	answer, err := client.Get("https://example.com:7071/v2/")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if asked, _ := proxy.Asked(); answer.StatusCode != http.StatusNotFound || len(asked) != 1 || !strings.HasSuffix(asked[0], "example.com:7071") {
		t.Errorf("%s, and the proxy was asked for %q", answer.Status, asked)
	}
}
