package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
)

// A server that asks for a certificate has ended the connection by the time at which the client first writes: the error says what the server has said.
func TestWriteSaysWhyTheServerClosed(t *testing.T) {
	server := newAuthority(t)
	cert, key, _ := server.texts()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(server.cert)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	closed := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			closed <- err
			return
		}
		// Its error is what the client is to be told.
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, NextProtos: []string{"h2"}}).HandshakeContext(t.Context())
		closed <- conn.Close()
	}()

	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.cert)
	conn, _, err := Transport(func() *tls.Config { return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} }).ClientHandshake(t.Context(), "127.0.0.1", raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = conn.Write([]byte("hello"))
	}
	if !strings.Contains(err.Error(), "remote error: tls: ") {
		t.Errorf("the write says: %v", err)
	}
}
