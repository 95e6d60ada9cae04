package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// clientCertificate makes a certificate for a client, which vouches for itself.
func clientCertificate(t *testing.T) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "publisher"}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf
}

// A registry that asks who its client is, as the distributor's own does with --client-ca, is shown the certificate.
func TestMutualTLS(t *testing.T) {
	certificate, authority := clientCertificate(t)
	another, _ := clientCertificate(t)
	server := httptest.NewUnstartedServer(registrytest.Start(t).Handler)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(authority)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	ref, err := registry.ParseReference(strings.TrimPrefix(server.URL, "https://") + "/filters/a:1")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		certificates []tls.Certificate
		ok           bool
	}{"ours": {[]tls.Certificate{certificate}, true}, "none": {nil, false}, "another's": {[]tls.Certificate{another}, false}} {
		client, err := registry.NewClient(registry.Config{RootCAs: roots, Certificates: test.certificates, Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Push(t.Context(), ref, registry.ModuleBytes([]byte("\x00asm\x01\x00\x00\x00")), nil); (err == nil) != test.ok {
			t.Errorf("with the certificate %s: %v", name, err)
		}
	}
}
