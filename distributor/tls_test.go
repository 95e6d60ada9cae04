package distributor_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// authority makes certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write(name+".pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue gives the files of a certificate for 127.0.0.1 and its key.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	k := a.newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", raw)
}

func TestTLSWithClientCertificates(t *testing.T) {
	servers, clients, strangers := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	serverCert, serverKey := servers.issue("waft")
	clientCert, clientKey := clients.issue("ann")
	strangerCert, strangerKey := strangers.issue("eve")
	s := start(t, distributor.Config{Data: t.TempDir(), TLS: distributor.TLS{Cert: serverCert, Key: serverKey, ClientCA: clients.file}})

	for name, tc := range map[string]struct {
		cfg      api.ClientConfig
		good     bool
		api, web int // HTTP status of /v1/version and /readyz; 0: no connection
	}{
		"a client":                         {api.ClientConfig{TLS: api.ClientTLS{CA: servers.file, Cert: clientCert, Key: clientKey}}, true, 200, 200},
		"no certificate":                   {api.ClientConfig{TLS: api.ClientTLS{CA: servers.file}}, false, 401, 200},
		"a stranger":                       {api.ClientConfig{TLS: api.ClientTLS{CA: servers.file, Cert: strangerCert, Key: strangerKey}}, false, 401, 200}, // it keeps a certificate to itself that the server would not take
		"another authority for the server": {api.ClientConfig{TLS: api.ClientTLS{CA: strangers.file, Cert: clientCert, Key: clientKey}}, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Address = s.GRPC
			c, err := api.Dial(tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Version.GetVersion(t.Context(), &waftv1.GetVersionRequest{})
			if good := err == nil; good != tc.good {
				t.Errorf("gRPC: %v", err)
			}
			if err != nil && !errors.Is(err, model.ErrUnavailable) {
				t.Errorf("%v is not of kind unavailable", err)
			}
			cfg, err := tc.cfg.TLS.Config()
			if err != nil {
				t.Fatal(err)
			}
			web := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
			defer web.CloseIdleConnections()
			for path, want := range map[string]int{"/v1/version": tc.api, "/v2/": tc.api, "/readyz": tc.web} {
				got := 0
				if resp, err := web.Get("https://" + s.HTTP + path); err == nil {
					got = resp.StatusCode
					resp.Body.Close()
				}
				if got != want {
					t.Errorf("%s: %d, want %d", path, got, want)
				}
			}
		})
	}
	// Neither port speaks without TLS.
	if resp, err := http.Get("http://" + s.HTTP + "/readyz"); err == nil && resp.StatusCode == http.StatusOK {
		t.Error("HTTP answers without TLS")
	}
	plain := tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	if conn, err := tls.Dial("tcp", s.HTTP, &plain); err != nil {
		t.Errorf("TLS 1.3: %v", err)
	} else {
		conn.Close()
	}
}

// A certificate and the authorities of clients are replaced while the distributor runs: both ports show and take the new ones, who is connected stays so, and
// the metrics say until when it is good.
func TestCertificatesAreRenewed(t *testing.T) {
	servers, clients, later := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "later")
	serverCert, serverKey := servers.issue("waft")
	clientCert, clientKey := clients.issue("ann")
	laterCert, laterKey := later.issue("bob")
	s := start(t, distributor.Config{Data: t.TempDir(), TLS: distributor.TLS{Cert: serverCert, Key: serverKey, ClientCA: clients.file}})
	ann := api.ClientTLS{CA: servers.file, Cert: clientCert, Key: clientKey}
	bob := api.ClientTLS{CA: servers.file, Cert: laterCert, Key: laterKey}

	// shown is the certificate of the connection that a call goes over.
	shown := func(c *api.Client) ([]byte, error) {
		var p peer.Peer
		if _, err := c.Version.GetVersion(t.Context(), &waftv1.GetVersionRequest{}, grpc.Peer(&p)); err != nil {
			return nil, err
		}
		return p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Raw, nil
	}
	dial := func(files api.ClientTLS) *api.Client {
		c, err := api.Dial(api.ClientConfig{Address: s.GRPC, TLS: files})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	connected := dial(ann)
	before, err := shown(connected)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shown(dial(bob)); err == nil {
		t.Fatal("a client of an authority that is not known is served")
	}

	servers.issue("waft") // into the same files
	pem, err := os.ReadFile(later.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(clients.file, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	var after []byte
	eventually(t, "gRPC shows the new certificate to a client of the new authority", func() bool {
		after, err = shown(dial(bob))
		return err == nil && !bytes.Equal(after, before)
	})
	cfg, err := bob.Config()
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
	answer, err := web.Get("https://" + s.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil || !bytes.Equal(answer.TLS.PeerCertificates[0].Raw, after) {
		t.Errorf("HTTP shows another certificate than gRPC: %v", err)
	}
	for _, name := range []string{"tls-cert", "client-ca"} {
		if !strings.Contains(string(text), `waft_certificate_not_after_seconds{certificate="`+name+`"} 1.`) {
			t.Errorf("the metrics do not say when %s ends", name)
		}
	}
	if still, err := shown(connected); err != nil || !bytes.Equal(still, before) {
		t.Errorf("who was connected is not any more: %v", err)
	}
	if _, err := shown(dial(ann)); err == nil {
		t.Error("a client of the authority before is served")
	}
}
