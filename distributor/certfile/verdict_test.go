package certfile

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
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

// dialled are both ends of a connection by TLS 1.3 whose client was taken.
func dialled(t *testing.T) (client net.Conn, raw *net.TCPConn, server *tls.Conn) {
	t.Helper()
	authority := newAuthority(t)
	cert, key, _ := authority.texts()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan *tls.Conn, 1)
	go func() {
		defer close(accepted)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
		if secured.HandshakeContext(t.Context()) == nil {
			accepted <- secured
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(authority.cert)
	client, _, err = Transport(func() *tls.Config { return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13} }).ClientHandshake(t.Context(), "127.0.0.1", conn)
	if err != nil {
		t.Fatal(err)
	}
	server, ok := <-accepted
	if !ok {
		t.Fatal("the server did not take the connection")
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, conn.(*net.TCPConn), server
}

// What a server has sent before it closes is read to its end by whoever reads, although a write fails before: of what had not begun to come by then nothing is lost
// either, and a reader's deadline is its own.
func TestWriteThatFailsTakesNothingFromTheReader(t *testing.T) {
	sent := bytes.Repeat([]byte("why this ends; "), 4096/15)
	send := func(t *testing.T, server *tls.Conn) {
		t.Helper()
		for part := range slices.Chunk(sent, 1000) { // a record each
			if _, err := server.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fail := func(t *testing.T, client net.Conn, raw *net.TCPConn) {
		t.Helper()
		if err := raw.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.Write([]byte("hello")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("the write says: %v", err)
			}
		}
	}
	check := func(t *testing.T, got []byte, err error) {
		t.Helper()
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes are read of %d (%v)", len(got), len(sent), err)
		}
	}
	t.Run("before it reads", func(t *testing.T) {
		client, raw, server := dialled(t)
		send(t, server)
		fail(t, client, raw)
		got, err := io.ReadAll(client)
		check(t, got, err)
	})
	t.Run("between reads", func(t *testing.T) {
		client, raw, server := dialled(t)
		send(t, server)
		got := make([]byte, 10)
		if _, err := io.ReadFull(client, got); err != nil {
			t.Fatal(err)
		}
		fail(t, client, raw)
		rest, err := io.ReadAll(client)
		check(t, append(got, rest...), err)
	})
	t.Run("while it reads", func(t *testing.T) {
		client, raw, server := dialled(t)
		var got []byte
		read := make(chan error, 1)
		go func() {
			var err error
			got, err = io.ReadAll(client)
			read <- err
		}()
		fail(t, client, raw)
		send(t, server)
		err := <-read
		check(t, got, err)
	})
	t.Run("its deadline", func(t *testing.T) {
		client, raw, _ := dialled(t)
		if err := client.SetReadDeadline(time.Now().Add(2 * verdictWait)); err != nil {
			t.Fatal(err)
		}
		fail(t, client, raw)
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the read says: %v", err)
		}
	})
}
