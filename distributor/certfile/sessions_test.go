package certfile

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
)

// A client that comes again resumes its session, as Envoys do, and is known by the certificate that it showed at first. Once its authority has been replaced the session is of no use.
func TestSessionsEndWithTheirAuthority(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			a, dir, log := newAuthority(t), t.TempDir(), slog.New(slog.DiscardHandler)
			cert, key, _ := a.texts()
			pair, err := OpenPair(put(t, filepath.Join(dir, "server.pem"), cert), put(t, filepath.Join(dir, "server.key"), key), log)
			if err != nil {
				t.Fatal(err)
			}
			ca := put(t, filepath.Join(dir, "ca.pem"), a.text())
			clients, err := OpenAuthorities(ca, log)
			if err != nil {
				t.Fatal(err)
			}
			serverTLS := Server(&tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: version, ClientAuth: tls.RequireAndVerifyClientCert}, pair, clients)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ownCert, ownKey, serial := a.texts()
			own, err := tls.X509KeyPair(ownCert, ownKey)
			if err != nil {
				t.Fatal(err)
			}
			clientTLS := &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, RootCAs: clients.Pool(), ServerName: "127.0.0.1",
				ClientSessionCache: tls.NewLRUClientSessionCache(1),
			}
			// come connects, and says what the server knows of the connection.
			come := func() (tls.ConnectionState, error) {
				answer := make(chan error, 1)
				go func() {
					conn, err := tls.Dial("tcp", l.Addr().String(), clientTLS)
					if err == nil {
						_, err = io.ReadAll(conn) // with it come the sessions of TLS 1.3
						_ = conn.Close()
					}
					answer <- err
				}()
				raw, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn := tls.Server(raw, serverTLS)
				_, err = conn.Write([]byte("hello"))
				_ = conn.Close()
				if told := <-answer; err == nil {
					err = told
				}
				return conn.ConnectionState(), err
			}
			first, err := come()
			if err != nil || first.DidResume || first.Version != version {
				t.Fatalf("at first: %v, resumed %v, version %x", err, first.DidResume, first.Version)
			}
			again, err := come()
			if err != nil || !again.DidResume || len(again.PeerCertificates) != 1 || again.PeerCertificates[0].SerialNumber.Cmp(serial) != 0 {
				t.Fatalf("again: %v, resumed %v, as %v", err, again.DidResume, again.PeerCertificates)
			}
			before := clients.Pool()
			put(t, ca, newAuthority(t).text())
			eventually(t, "there is another authority", func() bool { return clients.Pool() != before })
			if late, err := come(); err == nil {
				t.Errorf("with a session of an authority that has gone: resumed %v, as %v", late.DidResume, late.PeerCertificates)
			}
		})
	}
}
