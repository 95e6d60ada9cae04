package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Config says how a Client reaches registries. The zero value speaks TLS with the system's roots, takes credentials from
// Docker's configuration, and cannot pull, since it has no Cache.
type Config struct {
	// Cache is where pulled modules are kept. Pull and FetchModule need one.
	Cache *Cache
	// PlainHTTP names the registries that are spoken to without TLS: HOST:PORT, or HOST for every port of it. No host is
	// spoken to without TLS unless it is named here, localhost included.
	PlainHTTP []string
	// RootCAs are the authorities that may sign registries' certificates. Nil: the system's.
	RootCAs *x509.CertPool
	// Certificates are shown to a registry that asks who the client is (mutual TLS); the first that fits. Nil: none.
	Certificates []tls.Certificate
	// Mirrors are, for a registry (HOST or HOST:PORT, as it stands in references), the places that are asked before it, in
	// order. Pushes go to the registry itself, and so do questions that no digest can verify, unless a mirror has Tags.
	Mirrors map[string][]Mirror
	// Proxy is the URL of the proxy that requests go through. Empty: what the environment says ($HTTPS_PROXY, $HTTP_PROXY,
	// $NO_PROXY).
	Proxy string
	// Transport makes the requests. Nil: a transport with this package's timeouts, RootCAs, Certificates, and Proxy. Where it is
	// given, those three are not used.
	Transport http.RoundTripper
	// Credentials gives the credential for a registry (HOST or HOST:PORT). Nil: Docker's configuration file and the
	// credential helpers that it names.
	Credentials func(ctx context.Context, host string) (Credential, error)
	// MaxModuleBytes is the largest module that is taken. 0: DefaultMaxModuleBytes.
	MaxModuleBytes int64
	// StallTimeout is how long a body may send nothing. 0: DefaultStallTimeout.
	StallTimeout time.Duration
	// Retries is how often a failed request is made again, and how often a download that was cut off goes on without
	// having come further. 0: DefaultRetries; negative: never. Whatever it is, a registry that fails again and again is left
	// alone for a while, up to ten seconds: requests to it fail at once, and say so.
	Retries int
	// Clock is what the time is. Nil: the machine's.
	Clock Clock
	// Random gives numbers from 0 up to 1, for the jitter of waits, to any number of goroutines. Nil: math/rand/v2's.
	Random func() float64
	// UserAgent is sent with each request. Empty: "waft-registry".
	UserAgent string
}

// Credential is what a registry asks for. The zero value is anonymous.
type Credential struct {
	// Username and Password are for basic authentication, and for fetching a token.
	Username, Password string
	// IdentityToken is an OAuth2 refresh token, as `docker login` stores it.
	IdentityToken string
	// AccessToken is a bearer token to send as it is.
	AccessToken string
}

// Client reaches registries. It may be used by any number of goroutines and holds no state but idle connections, tokens,
// and which registries fail at the moment, all of it in memory.
type Client struct {
	cache     *Cache
	http      *auth.Client
	plainHTTP []string
	mirrors   map[string][]Mirror
	maxModule int64
	stall     time.Duration
	clock     Clock
	backoff   backoff
}

// NewClient makes a Client. It reads Docker's configuration file, if Config.Credentials is nil, and touches no network.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{
		cache: cfg.Cache, plainHTTP: slices.Clone(cfg.PlainHTTP), mirrors: map[string][]Mirror{},
		maxModule: cfg.MaxModuleBytes, stall: cfg.StallTimeout, clock: cfg.Clock,
	}
	if c.maxModule == 0 {
		c.maxModule = DefaultMaxModuleBytes
	}
	if c.stall == 0 {
		c.stall = DefaultStallTimeout
	}
	credential, err := credentialFunc(cfg)
	if err != nil {
		return nil, err
	}
	base := cfg.Transport
	if base == nil {
		t := newTransport(cfg.RootCAs, cfg.Certificates)
		if cfg.Proxy != "" {
			u, err := url.Parse(cfg.Proxy)
			if err != nil || u.Host == "" {
				return nil, fmt.Errorf("proxy %s: not a URL; write http://HOST:PORT", quote(cfg.Proxy))
			}
			t.Proxy = http.ProxyURL(u)
		}
		base = t
	}
	if c.clock == nil {
		c.clock = machineClock{}
	}
	c.backoff = backoff{retries: max(cfg.Retries, 0), random: cfg.Random}
	if cfg.Retries == 0 {
		c.backoff.retries = DefaultRetries
	}
	if c.backoff.random == nil {
		c.backoff.random = rand.Float64
	}
	for host, mirrors := range cfg.Mirrors {
		for _, m := range mirrors {
			if err := m.valid(); err != nil {
				return nil, &Error{Op: "mirror", Subject: quote(host), Kind: ErrInvalidReference, Detail: err.Error(), Next: "name a mirror by HOST or HOST:PORT", Err: err}
			}
		}
		c.mirrors[host] = slices.Clone(mirrors)
	}
	// A request goes down this stack; each attempt of it passes the breakers.
	breaking := &breakerTransport{next: &stallTransport{next: base, timeout: c.stall}, b: &breakers{clock: c.clock, random: c.backoff.random, hosts: map[string]*circuit{}}}
	trying := &retryTransport{next: breaking, backoff: c.backoff, clock: c.clock}
	c.http = &auth.Client{
		Client:     &http.Client{Transport: &tokenTransport{next: trying}, CheckRedirect: c.checkRedirect},
		Credential: credential,
		Cache:      newTokens(c.clock),
		ClientID:   "waft",
	}
	userAgent := cfg.UserAgent
	if userAgent == "" {
		userAgent = "waft-registry"
	}
	c.http.SetUserAgent(userAgent)
	return c, nil
}

// Cache is the cache that the client was made with, or nil.
func (c *Client) Cache() *Cache { return c.cache }

func newTransport(roots *x509.CertPool, certificates []tls.Certificate) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = DialTimeout
	t.ResponseHeaderTimeout = HeaderTimeout
	t.TLSClientConfig = &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12}
	// Digests are of the bytes as they travel.
	t.DisableCompression = true
	return t
}

func credentialFunc(cfg Config) (auth.CredentialFunc, error) {
	if cfg.Credentials == nil {
		store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("read Docker's configuration for credentials: %w; mend the file, or point DOCKER_CONFIG to another folder", err)
		}
		return credentials.Credential(store), nil
	}
	return func(ctx context.Context, host string) (auth.Credential, error) {
		cred, err := cfg.Credentials(ctx, host)
		if err != nil {
			return auth.EmptyCredential, err
		}
		return auth.Credential{Username: cred.Username, Password: cred.Password, RefreshToken: cred.IdentityToken, AccessToken: cred.AccessToken}, nil
	}, nil
}

// isPlainHTTP says whether the host (HOST or HOST:PORT) was named as one to speak to without TLS.
func (c *Client) isPlainHTTP(host string) bool {
	bare := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		bare = h
	}
	return slices.Contains(c.plainHTTP, host) || slices.Contains(c.plainHTTP, bare)
}

const maxRedirects = 10

// checkRedirect keeps a registry from sending a request over plain HTTP that was not meant for it. auth.Client drops the
// credentials before a request that leaves the registry.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && !c.isPlainHTTP(req.URL.Host) {
		return fmt.Errorf("%w: redirected to plain HTTP at %s", ErrUntrusted, req.URL.Host)
	}
	return nil
}
