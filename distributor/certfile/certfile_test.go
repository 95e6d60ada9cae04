package certfile

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(nil)
	return a
}

var serial int64

// issue makes a certificate for 127.0.0.1; parent nil makes an authority.
func (a *authority) issue(parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signer, by := key, template
	if parent != nil {
		signer, by = parent.key, parent.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// texts are a new certificate and its key.
func (a *authority) texts() (cert, key []byte, serial *big.Int) {
	a.t.Helper()
	c, k := a.issue(a)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", c.Raw), pemOf("PRIVATE KEY", der), c.SerialNumber
}

func (a *authority) text() []byte { return pemOf("CERTIFICATE", a.cert.Raw) }

// put replaces a file, as those do that renew certificates.
func put(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually asks until it holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after 30s: %s", what)
		}
	}
}

// said is a log that may be read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), text)
}

// A pair is taken when it is whole; until then, and when it is broken or gone, the one from before is shown, and that is said once.
func TestPair(t *testing.T) {
	a, dir, log := newAuthority(t), t.TempDir(), &said{}
	cert, key, first := a.texts()
	certFile, keyFile := put(t, filepath.Join(dir, "cert.pem"), cert), put(t, filepath.Join(dir, "key.pem"), key)
	pair, err := OpenPair(certFile, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	shown := func() *big.Int { return pair.Certificate().Leaf.SerialNumber }
	stays := func(what string, serial *big.Int, complaints int) {
		t.Helper()
		eventually(t, what, func() bool {
			if shown().Cmp(serial) != 0 {
				t.Fatalf("%s: %v is shown instead of %v", what, shown(), serial)
			}
			return log.count("cannot be used") == complaints
		})
	}
	becomes := func(what string, serial *big.Int) {
		t.Helper()
		eventually(t, what, func() bool { return shown().Cmp(serial) == 0 })
	}
	if shown().Cmp(first) != 0 {
		t.Fatal(shown())
	}
	cert, key, second := a.texts()
	put(t, certFile, cert)
	stays("one file of two is written", first, 1)
	put(t, keyFile, key)
	becomes("both are", second)

	put(t, certFile, []byte("nonsense"))
	stays("it is no certificate", second, 2)
	put(t, certFile, cert)
	becomes("it is one again", second)
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	stays("the key is gone", second, 3)
	cert, key, third := a.texts()
	put(t, certFile, cert)
	put(t, keyFile, key)
	becomes("there is another", third)
	if from, until := pair.Life(); until.Sub(from).Round(time.Hour) != 2*time.Hour {
		t.Errorf("it is good from %v until %v", from, until)
	}
	if n := log.count("cannot be used"); n != 3 {
		t.Errorf("complaints: %d\n%s", n, log.text.String())
	}
	if _, err := OpenPair(certFile, certFile, slog.Default()); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("a certificate for a key: %v", err)
	}
	if _, err := OpenAuthorities(keyFile, slog.Default()); err == nil || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("a key for an authority: %v", err)
	}
}

// A server and a client whose certificates and authorities are all replaced while they run: a stream that stands goes on, and new connections are made with what
// is there by then. Who has the old ones alone is turned away.
func TestBothEndsAreRenewed(t *testing.T) {
	a, dir, log := newAuthority(t), t.TempDir(), slog.New(slog.DiscardHandler)
	type end struct{ cert, key, ca string }
	files := map[string]end{}
	renew := func(name string, own, other *authority) *big.Int {
		cert, key, serial := own.texts()
		files[name] = end{
			put(t, filepath.Join(dir, name+".pem"), cert), put(t, filepath.Join(dir, name+".key"), key), put(t, filepath.Join(dir, name+".ca"), other.text()),
		}
		return serial
	}
	open := func(name string) (*Pair, *Authorities) {
		pair, err := OpenPair(files[name].cert, files[name].key, log)
		if err != nil {
			t.Fatal(err)
		}
		authorities, err := OpenAuthorities(files[name].ca, log)
		if err != nil {
			t.Fatal(err)
		}
		return pair, authorities
	}
	renew("server", a, a)
	renew("client", a, a)
	serverPair, clients := open("server")
	clientPair, servers := open("client")
	base := &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert}
	serverTLS := Server(base, serverPair, clients)
	clientTLS := func() *tls.Config {
		return Client(&tls.Config{MinVersion: tls.VersionTLS12}, clientPair, servers)
	}
	stale := clientTLS()

	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	calls := listen()
	server := grpc.NewServer(grpc.Creds(Transport(func() *tls.Config { return serverTLS })))
	checks := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, checks)
	go func() { _ = server.Serve(calls) }()
	t.Cleanup(server.Stop)
	web := listen()
	go func() {
		_ = http.Serve(tls.NewListener(web, serverTLS), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	}()

	dial := func() grpc_health_v1.HealthClient {
		conn, err := grpc.NewClient(calls.Addr().String(), grpc.WithTransportCredentials(Transport(clientTLS)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return grpc_health_v1.NewHealthClient(conn)
	}
	stream, err := dial().Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	asks := func() (*big.Int, error) {
		client := &http.Client{Transport: &http.Transport{DialTLSContext: DialTLS(clientTLS), DisableKeepAlives: true}}
		answer, err := client.Get("https://" + web.Addr().String())
		if err != nil {
			return nil, err
		}
		_ = answer.Body.Close()
		conn, err := DialTLS(clientTLS)(t.Context(), "tcp", web.Addr().String())
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber, nil
	}
	if _, err := asks(); err != nil {
		t.Fatal(err)
	}

	b := newAuthority(t)
	serial := renew("server", b, b)
	renew("client", b, b)
	eventually(t, "new connections have new certificates on both ends", func() bool {
		got, err := asks()
		return err == nil && got.Cmp(serial) == 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := dial().Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("a call over a new connection: %v", err)
	}
	checks.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if got, err := stream.Recv(); err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the stream from before: %v, %v", got, err)
	}
	stale.RootCAs.AddCert(b.cert)
	conn, err := tls.Dial("tcp", web.Addr().String(), stale)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3 says it after the handshake
		_ = conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client with the certificate of the authority before: %v", err)
	}
}

func TestWarning(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		life, left time.Duration
		want       bool
	}{
		"a year, half of it left":        {365 * day, 180 * day, false},
		"a year, fifteen days left":      {365 * day, 15 * day, false},
		"a year, thirteen days left":     {365 * day, 13 * day, true},
		"an hour, half of it left":       {time.Hour, 30 * time.Minute, false},
		"an hour, ten minutes left":      {time.Hour, 10 * time.Minute, true},
		"eight days, three of them left": {8 * day, 3 * day, false},
		"it has ended":                   {365 * day, -day, true},
	} {
		if got := warning(now.Add(test.left-test.life), now.Add(test.left), now); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
