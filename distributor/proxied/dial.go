// Package proxied dials the distributor through the proxy that the environment names for it, where it names one, as curl and gRPC's own dialler do: HTTPS_PROXY, or
// https_proxy, is the proxy's URL, and NO_PROXY, or no_proxy, are hosts that are dialled without. The distributor's name is given to the proxy, and not looked up here:
// whoever needs a proxy may have no names of the other side. Hosts named localhost, and addresses of this machine, are never asked of a proxy.
//
// It imports nothing of the project.
package proxied

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpproxy"
)

const (
	// answerLimit is how long a proxy may take to connect, where the caller has no shorter time.
	answerLimit = 30 * time.Second
	// maxAnswerBytes bounds what a proxy says before the connection is the caller's.
	maxAnswerBytes = 64 << 10
)

// Ports of proxies whose URL names none.
const (
	plainPort = "80"
	tlsPort   = "443"
)

// Dial connects to address, host:port, with the dialler: to the address itself, or to the proxy that the environment names for it, which is asked to connect (CONNECT). An
// error names the proxy, if there is one, and never the password in its URL.
func Dial(ctx context.Context, dialer *net.Dialer, address string) (net.Conn, error) {
	proxy, err := named(address)
	if err != nil {
		return nil, fmt.Errorf("the proxy that HTTPS_PROXY names for %s: %w; it is a URL, http://HOST:PORT", address, err)
	}
	if proxy == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := through(ctx, dialer, proxy, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s through the proxy %s, which HTTPS_PROXY names: %w; NO_PROXY names hosts to be connected to without", address, proxy.Redacted(), err)
	}
	return conn, nil
}

// Named says whether the environment names a proxy for an address, host:port, be it one that cannot be used.
func Named(address string) bool {
	proxy, err := named(address)
	return proxy != nil || err != nil
}

func named(address string) (*url.URL, error) {
	return httpproxy.FromEnvironment().ProxyFunc()(&url.URL{Scheme: "https", Host: address})
}

// through asks a proxy to connect.
func through(ctx context.Context, dialer *net.Dialer, proxy *url.URL, address string) (_ net.Conn, err error) {
	port := plainPort
	switch proxy.Scheme {
	case "http":
	case "https":
		port = tlsPort
	default:
		return nil, fmt.Errorf("a proxy of scheme %q is not known; http and https are", proxy.Scheme)
	}
	if own := proxy.Port(); own != "" {
		port = own
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, err
	}
	// What is read and written below ends with ctx.
	plain := conn
	ended := context.AfterFunc(ctx, func() { _ = plain.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !ended() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = conn.Close()
		}
	}()
	if proxy.Scheme == "https" {
		secured := tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secured
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: conn, N: maxAnswerBytes}
	reader := bufio.NewReader(bounded)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("it answered " + response.Status)
	}
	if reader.Buffered() == 0 {
		return conn, nil
	}
	// The other end has spoken already.
	early, err := reader.Peek(reader.Buffered())
	return &spoken{Conn: conn, early: early}, err
}

// spoken is a connection of which something was read before the caller had it.
type spoken struct {
	net.Conn
	early []byte
}

func (s *spoken) Read(p []byte) (int, error) {
	if len(s.early) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.early)
	s.early = s.early[n:]
	return n, nil
}
