package certfile

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/waft-project/waft/distributor/proxied"
)

// Server has a server's TLS show the certificate, and ask clients for one of the authorities (nil: for none), as the files are at each handshake.
// What else base says stays; it must not be changed afterwards.
func Server(base *tls.Config, pair *Pair, clients *Authorities) *tls.Config {
	base = base.Clone()
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Certificate(), nil }
	if clients == nil {
		return base
	}
	base.ClientCAs = clients.Pool()
	outer := base.Clone()
	// The keys of session tickets are those of outer, for as long as it stands.
	var shared atomic.Pointer[tls.Config] // each connection keeps its own otherwise, and there are thousands
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool := clients.Pool()
		if now := shared.Load(); now != nil && now.ClientCAs == pool {
			return now, nil
		}
		now := base.Clone()
		now.ClientCAs = pool
		shared.Store(now)
		return now, nil
	}
	return outer
}

// Client is the TLS for one connection to a server that one of the authorities vouches for (nil: those of the system), to which the certificate is shown (nil:
// none), as the files are now.
func Client(base *tls.Config, pair *Pair, servers *Authorities) *tls.Config {
	now := base.Clone()
	if servers != nil {
		now.RootCAs = servers.Pool()
	}
	if pair != nil {
		now.Certificates = []tls.Certificate{*pair.Certificate()}
	}
	return now
}

// Transport is gRPC's TLS of a client with a configuration that is asked for at each handshake.
func Transport(now func() *tls.Config) credentials.TransportCredentials {
	return transport{credentials.NewTLS(now()), now}
}

type transport struct {
	credentials.TransportCredentials
	now func() *tls.Config
}

func (t transport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := credentials.NewTLS(t.now()).ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	return newJudged(secured), info, nil
}

func (t transport) Clone() credentials.TransportCredentials {
	return transport{t.TransportCredentials.Clone(), t.now}
}

// dialTimeout bounds a connection with its handshake.
const dialTimeout = 30 * time.Second

// DialTLS is that of an http.Transport with a configuration that is asked for at each handshake. It offers no protocol but HTTP/1.1. The proxy that the environment names
// is used, so the transport has none of its own.
func DialTLS(now func() *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := proxied.Dial(ctx, new(net.Dialer), address)
		if err != nil {
			return nil, err
		}
		config := now().Clone()
		if config.ServerName == "" {
			if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
				_ = conn.Close()
				return nil, err
			}
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
}
