package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// TrustDomain is that of the SPIFFE ids that an Authority issues. It is nobody's on any network.
const TrustDomain = "waft.localhost"

// How long certificates are good.
const (
	authorityYears = 10
	// issuedFor is how long those of servers, people and nodes are, and renewBefore how long before its end a server's is made anew.
	issuedFor   = 365 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how far a clock may be behind that of the machine that issues.
	clockSkew = 5 * time.Minute
)

// Errors.
var (
	// ErrNone means that there is no authority in the folder.
	ErrNone = errors.New("there is no authority here; start `waft serve` without TLS flags once, with the same --data")
	// ErrExists means that a certificate is there already.
	ErrExists = errors.New("is there already")
	// ErrName means that a name cannot be part of a SPIFFE id.
	ErrName = errors.New("is no name for a certificate: use letters, digits, dots, - and _ (SPIFFE-ID, section 2.2), at most 128")
)

// Authority is a certificate authority in a folder. Its methods may be used concurrently, but for those that write the same files.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Files are a certificate and its key, in PEM.
type Files struct{ Cert, Key string }

// Folder is where the authority of a distributor is, in its data folder.
func Folder(data string) string { return filepath.Join(data, "tls") }

// Open reads the authority in a folder, or ErrNone.
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	pair, err := tls.LoadX509KeyPair(a.files("ca").Cert, a.files("ca").Key)
	if errors.Is(err, fs.ErrNotExist) {
		if _, stat := os.Stat(a.files("ca").Cert); errors.Is(stat, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", dir, ErrNone)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the authority in %s: its key is not one that waft has made", dir)
	}
	a.cert, a.key = pair.Leaf, key
	return a, nil
}

// OpenOrMake is Open, and makes an authority where there is none. One process at a time may call it for a folder.
func OpenOrMake(dir string) (_ *Authority, made bool, _ error) {
	a, err := Open(dir)
	if !errors.Is(err, ErrNone) {
		return a, false, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, fmt.Errorf("make the folder of the authority: %w", err)
	}
	a = &Authority{dir: dir}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "waft development authority"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if err := a.issue(a.files("ca"), template, time.Now().AddDate(authorityYears, 0, 0)); err != nil {
		return nil, false, err
	}
	a, err = Open(dir)
	return a, err == nil, err
}

// CA is the file with the authority's certificate.
func (a *Authority) CA() string { return a.files("ca").Cert }

func (a *Authority) files(name string) Files {
	return Files{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key")}
}

// Server gives a certificate for a server of these hosts, names or addresses, which it may also show to sinks that it dials: that of an earlier start where
// it is still good and has them all.
func (a *Authority) Server(hosts []string) (Files, error) {
	files := a.files("server")
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "waft serve"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	slices.Sort(hosts)
	for _, host := range slices.Compact(hosts) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if pair, err := tls.LoadX509KeyPair(files.Cert, files.Key); err == nil && a.stillGood(pair.Leaf, hosts) {
		return files, nil
	}
	return files, a.issue(files, template, time.Now().Add(issuedFor))
}

// stillGood says whether a server's certificate is of this authority, has the names, and does not end soon.
func (a *Authority) stillGood(c *x509.Certificate, hosts []string) bool {
	return c.CheckSignatureFrom(a.cert) == nil && time.Now().Before(c.NotAfter.Add(-renewBefore)) &&
		!slices.ContainsFunc(hosts, func(host string) bool { return c.VerifyHostname(host) != nil })
}

// Person gives the certificate of a person or program, spiffe://waft.localhost/person/NAME, in the authority's folder, and makes it where it is not there.
func (a *Authority) Person(name string) (Files, error) {
	files := a.files("person-" + name)
	if pair, err := tls.LoadX509KeyPair(files.Cert, files.Key); err == nil && a.stillGood(pair.Leaf, nil) {
		return files, nil
	}
	return files, a.client(files, "person", name)
}

// Issue makes a certificate of a person or of a node (kind "person" or "node") in a folder, as NAME.pem and NAME.key. What is there already is ErrExists.
func (a *Authority) Issue(dir, kind, name string) (Files, error) {
	files := Files{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	if !nameForm.MatchString(name) {
		return Files{}, fmt.Errorf("%.200q %w", name, ErrName)
	}
	for _, path := range []string{files.Cert, files.Key} {
		if _, err := os.Lstat(path); err == nil {
			return Files{}, fmt.Errorf("%s %w", path, ErrExists)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Files{}, err
	}
	return files, a.client(files, kind, name)
}

// nameForm is what a segment of a SPIFFE id may be, without those that lead elsewhere.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)

// ID is the SPIFFE id of a person or of a node.
func ID(kind, name string) string { return "spiffe://" + TrustDomain + "/" + kind + "/" + name }

func (a *Authority) client(files Files, kind, name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%.200q %w", name, ErrName)
	}
	id, err := url.Parse(ID(kind, name))
	if err != nil {
		return err
	}
	return a.issue(files, &x509.Certificate{
		URIs: []*url.URL{id}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, time.Now().Add(issuedFor))
}

// issue writes a certificate and its key. An authority without a certificate signs its own.
func (a *Authority) issue(files Files, template *x509.Certificate, until time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return err
	}
	template.BasicConstraintsValid = true
	template.NotBefore, template.NotAfter = time.Now().Add(-clockSkew), until
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	} else if until.After(parent.NotAfter) {
		template.NotAfter = parent.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := write(files.Key, "PRIVATE KEY", secret); err != nil {
		return err
	}
	return write(files.Cert, "CERTIFICATE", der)
}

// write writes a file whole or not at all, readable by its owner only.
func write(path, kind string, der []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))+"-*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
