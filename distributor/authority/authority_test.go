package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/distributor/authority"
)

func read(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func makeAuthority(t *testing.T) (*authority.Authority, string) {
	t.Helper()
	dir := authority.Folder(t.TempDir())
	if _, err := authority.Open(dir); !errors.Is(err, authority.ErrNone) {
		t.Fatalf("a folder that is not there: %v", err)
	}
	a, made, err := authority.OpenOrMake(dir)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	return a, dir
}

// The certificates are good for what they are for, and for nothing else.
func TestCertificates(t *testing.T) {
	a, dir := makeAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(read(t, a.CA()))
	server, err := a.Server([]string{"localhost", "127.0.0.1", "waft.example"})
	if err != nil {
		t.Fatal(err)
	}
	person, err := a.Person("operator")
	if err != nil {
		t.Fatal(err)
	}
	node, err := a.Issue(t.TempDir(), "node", "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		files authority.Files
		usage x509.ExtKeyUsage
		host  string
		good  bool
	}{
		{server, x509.ExtKeyUsageServerAuth, "waft.example", true},
		{server, x509.ExtKeyUsageServerAuth, "127.0.0.1", true},
		{server, x509.ExtKeyUsageServerAuth, "other.example", false},
		{server, x509.ExtKeyUsageClientAuth, "", true}, // to sinks that it dials
		{server, x509.ExtKeyUsageCodeSigning, "", false},
		{person, x509.ExtKeyUsageClientAuth, "", true},
		{person, x509.ExtKeyUsageServerAuth, "", false},
		{node, x509.ExtKeyUsageClientAuth, "", true},
		{node, x509.ExtKeyUsageServerAuth, "", false},
	} {
		if _, err := tls.LoadX509KeyPair(tc.files.Cert, tc.files.Key); err != nil {
			t.Error(err)
		}
		_, err := read(t, tc.files.Cert).Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.host, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
		if (err == nil) != tc.good {
			t.Errorf("%s for %v %s: %v", tc.files.Cert, tc.usage, tc.host, err)
		}
	}
	for path, want := range map[string]string{person.Cert: "spiffe://waft.localhost/person/operator", node.Cert: "spiffe://waft.localhost/node/edge-1"} {
		if c := read(t, path); len(c.URIs) != 1 || c.URIs[0].String() != want || c.IsCA {
			t.Errorf("%s is of %v, want %s", path, c.URIs, want)
		}
	}
	// A certificate of the authority's cannot issue others.
	if c := read(t, a.CA()); !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero {
		t.Errorf("%+v", c)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A later start goes on with what is there.
func TestOpenAgain(t *testing.T) {
	a, dir := makeAuthority(t)
	ca := read(t, a.CA())
	first, err := a.Server([]string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	was := read(t, first.Cert)
	a, made, err := authority.OpenOrMake(dir)
	if err != nil || made || !read(t, a.CA()).Equal(ca) {
		t.Fatalf("another authority: %v, %v", made, err)
	}
	if _, err := a.Server([]string{"localhost"}); err != nil || !read(t, first.Cert).Equal(was) {
		t.Errorf("another certificate for the same names: %v", err)
	}
	if _, err := a.Server([]string{"localhost", "waft.example"}); err != nil || read(t, first.Cert).VerifyHostname("waft.example") != nil {
		t.Errorf("a certificate without the new name: %v", err)
	}
	// One whose key is lost is not made anew behind the back of those who trust it.
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.OpenOrMake(dir); err == nil || !read(t, a.CA()).Equal(ca) {
		t.Errorf("without its key: %v", err)
	}
}

func TestIssueRefuses(t *testing.T) {
	a, _ := makeAuthority(t)
	dir := t.TempDir()
	for _, name := range []string{"", ".", "..", "../operator", "a/b", "a b", "ä", "{node}", "a%2fb", "a?b"} {
		if _, err := a.Issue(dir, "node", name); !errors.Is(err, authority.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := a.Issue(dir, "node", "edge-1"); err != nil {
		t.Error(err)
	}
	if _, err := a.Issue(dir, "node", "edge-1"); !errors.Is(err, authority.ErrExists) {
		t.Errorf("once more: %v", err)
	}
}
