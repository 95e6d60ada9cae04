package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// DefaultRetries is how often a request is made again when the registry answers 408, 429 or 5xx or resets the connection.
const DefaultRetries = 2

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
	// Transport makes the requests. Nil: a transport with this package's timeouts, RootCAs, and the proxy that the
	// environment names. Where it is given, RootCAs is not used.
	Transport http.RoundTripper
	// Credentials gives the credential for a registry (HOST or HOST:PORT). Nil: Docker's configuration file and the
	// credential helpers that it names.
	Credentials func(ctx context.Context, host string) (Credential, error)
	// MaxModuleBytes is the largest module that is taken. 0: DefaultMaxModuleBytes.
	MaxModuleBytes int64
	// StallTimeout is how long a body may send nothing. 0: DefaultStallTimeout.
	StallTimeout time.Duration
	// Retries is how often a failed request is made again. 0: DefaultRetries; negative: never.
	Retries int
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

// Client reaches registries. It may be used by any number of goroutines and holds no state but idle connections and
// tokens, kept in memory.
type Client struct {
	cache     *Cache
	http      *auth.Client
	plainHTTP []string
	maxModule int64
	stall     time.Duration
}

// NewClient makes a Client. It reads Docker's configuration file, if Config.Credentials is nil, and touches no network.
func NewClient(cfg Config) (*Client, error) {
	c := &Client{cache: cfg.Cache, plainHTTP: slices.Clone(cfg.PlainHTTP), maxModule: cfg.MaxModuleBytes, stall: cfg.StallTimeout}
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
		base = newTransport(cfg.RootCAs)
	}
	retries := cfg.Retries
	if retries == 0 {
		retries = DefaultRetries
	}
	policy := &retry.GenericPolicy{
		Retryable: retry.DefaultPredicate, Backoff: retry.DefaultBackoff,
		MinWait: 100 * time.Millisecond, MaxWait: 3 * time.Second, MaxRetry: max(retries, 0),
	}
	c.http = &auth.Client{
		Client: &http.Client{
			Transport:     &retry.Transport{Base: base, Policy: func() retry.Policy { return policy }},
			CheckRedirect: c.checkRedirect,
		},
		Credential: credential,
		Cache:      auth.NewCache(),
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

func newTransport(roots *x509.CertPool) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = DialTimeout
	t.ResponseHeaderTimeout = HeaderTimeout
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
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
