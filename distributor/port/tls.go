package port

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// ALPN is the protocol that a configuration for TLS must offer.
const ALPN = "h2"

// TLS gives credentials that shake hands by a configuration as it is: credentials.NewTLS makes two copies of it for each connection, which the connection keeps.
// It must offer ALPN, and so must what its GetConfigForClient gives. It is for servers.
func TLS(cfg *tls.Config) credentials.TransportCredentials { return secured{cfg} }

type secured struct{ cfg *tls.Config }

var errNoHTTP2 = errors.New("the client does not offer HTTP/2 (ALPN h2)")

// ServerHandshake is credentials.TransportCredentials'.
func (s secured) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c := tls.Server(raw, s.cfg)
	if err := c.Handshake(); err != nil {
		return nil, nil, err
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol != ALPN {
		return nil, nil, errNoHTTP2
	}
	return c, credentials.TLSInfo{State: state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ClientHandshake is credentials.TransportCredentials'.
func (secured) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

// Info is credentials.TransportCredentials'.
func (secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone is credentials.TransportCredentials'.
func (s secured) Clone() credentials.TransportCredentials { return s }

// OverrideServerName is credentials.TransportCredentials', of clients.
func (secured) OverrideServerName(string) error { return nil }
