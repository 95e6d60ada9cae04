package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/certfile"
	"github.com/waft-project/waft/distributor/model"
)

// How a client speaks to an etcd of its own processes.
const (
	// etcdDialTimeout bounds one attempt to connect to a member.
	etcdDialTimeout = 2 * time.Second
	// etcdKeepaliveTime is how long a member may be silent before it is asked whether it is there; members refuse to be asked more often than every
	// five seconds. etcdKeepaliveTimeout is how long it may take to answer.
	etcdKeepaliveTime    = 6 * time.Second
	etcdKeepaliveTimeout = 2 * time.Second
	// readTimeout bounds one attempt to read. A member that lost the others is silent for 7 s and then says so.
	readTimeout = 2 * time.Second
	// maxPasswordBytes bounds the file of a password.
	maxPasswordBytes = 4 << 10
)

// External names an etcd that runs in processes of its own.
type External struct {
	// Endpoints are the client URLs of its members, http:// or https://; one without a scheme is http where it is on this machine and no TLS files are named, else
	// https. Without TLS to another machine the log has a warning. At least one.
	Endpoints []string
	// CA holds the authorities that may vouch for the members, empty: the system's; Cert and Key are this client's own certificate, empty: none.
	// PEM files.
	CA, Cert, Key string
	// User and PasswordFile, the file that holds the password, are for an etcd that asks for them. Both or neither.
	User, PasswordFile string
}

// Used says whether an etcd is named.
func (e External) Used() bool { return len(e.Endpoints) > 0 }

// config checks what can be wrong before anybody is asked, and gives the configuration of the client.
func (e External) config(log *slog.Logger) (clientv3.Config, error) {
	const object = "etcd"
	cfg := clientv3.Config{
		DialTimeout: etcdDialTimeout, DialKeepAliveTime: etcdKeepaliveTime, DialKeepAliveTimeout: etcdKeepaliveTimeout,
		MaxCallSendMsgSize: maxRequestBytes, Username: e.User, DialOptions: []grpc.DialOption{grpc.WithUserAgent("waft"), grpc.WithChainUnaryInterceptor(boundReads, connected)},
		Logger: zap.New(slogCore{log: log}),
	}
	files := e.CA != "" || e.Cert != "" || e.Key != ""
	secure := 0
	for _, endpoint := range e.Endpoints {
		bare := !strings.Contains(endpoint, "://")
		if bare {
			endpoint = "https://" + endpoint
		}
		u, err := url.Parse(endpoint)
		if err == nil && u.User != nil {
			return cfg, model.Invalidf(object, "endpoints", "leave it out, and write --etcd-user and --etcd-password-file", "%.255q has a user in it", u.Redacted())
		}
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" {
			return cfg, model.Invalidf(object, "endpoints", "write http://HOST:PORT or https://HOST:PORT (--etcd)", "%.255q is no client URL", endpoint)
		}
		here := model.OnThisMachine(u.Hostname())
		if bare && here && !files {
			u.Scheme = "http"
		}
		if u.Scheme == "https" {
			secure++
		} else if !here {
			log.Warn("etcd is on another machine and is spoken to without TLS: whoever is between may read all that is kept, and change what nodes run; write https:// (--etcd, --etcd-ca)", "endpoint", u.Host)
		}
		cfg.Endpoints = append(cfg.Endpoints, u.Scheme+"://"+u.Host)
	}
	switch {
	case secure != 0 && secure != len(e.Endpoints):
		return cfg, model.Invalidf(object, "endpoints", "give all of them TLS, or none (--etcd)", "some are https and some are http")
	case secure == 0 && files:
		return cfg, model.Invalidf(object, "endpoints", "write https://, or leave out the files (--etcd-ca, --etcd-cert, --etcd-key)", "TLS files are given and the URLs are http")
	case (e.Cert == "") != (e.Key == ""):
		return cfg, model.Invalidf(object, "tls", "name both files (--etcd-cert, --etcd-key)", "a certificate needs its key")
	case (e.User == "") != (e.PasswordFile == ""):
		return cfg, model.Invalidf(object, "user", "name both (--etcd-user, --etcd-password-file)", "a user needs a password, and a password a user")
	}
	if secure > 0 {
		now, err := e.transport(log)
		if err != nil {
			return cfg, err
		}
		cfg.TLS = now() // says that there is TLS; what counts is asked for at each handshake
		cfg.DialOptions = append(cfg.DialOptions, grpc.WithTransportCredentials(certfile.Transport(now)))
	}
	if e.PasswordFile != "" {
		password, err := readPassword(e.PasswordFile)
		if err != nil {
			return cfg, err
		}
		cfg.Password = password
	}
	return cfg, nil
}

// transport is the TLS of a connection, as its files are by then: a member whose certificate is of another authority, and a certificate of this client's own, are taken
// without a restart.
func (e External) transport(log *slog.Logger) (func() *tls.Config, error) {
	var own *certfile.Pair
	var members *certfile.Authorities
	var err error
	if e.Cert != "" {
		if own, err = certfile.OpenPair(e.Cert, e.Key, log); err != nil {
			return nil, err
		}
	}
	if e.CA != "" {
		if members, err = certfile.OpenAuthorities(e.CA, log); err != nil {
			return nil, err
		}
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12}
	return func() *tls.Config { return certfile.Client(base, own, members) }, nil
}

func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the password of etcd: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordBytes+1))
	if err != nil {
		return "", fmt.Errorf("read the password of etcd: %w", err)
	}
	if len(text) > maxPasswordBytes {
		return "", fmt.Errorf("%s has more than %d bytes, and is to hold a password", path, maxPasswordBytes)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s holds no password", path)
	}
	if !utf8.ValidString(password) || strings.ContainsAny(password, "\r\n\x00") { // etcd takes it as a text
		return "", fmt.Errorf("%s is to hold a password on one line, in UTF-8, and nothing else", path)
	}
	return password, nil
}

// boundReads bounds each attempt to read; etcd's client then makes the next one at another member, for as long as the caller waits.
func boundReads(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == etcdserverpb.KV_Range_FullMethodName {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// Connect makes a client of an etcd that runs elsewhere. It connects as it is used, so that an etcd that is away is no error here; where a user is named it asks for
// a token at once, and it is one. A member that does not answer is left out until it does. The caller closes it.
func Connect(e External, log *slog.Logger) (*clientv3.Client, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if !e.Used() {
		return nil, errors.New("store: External.Endpoints is required")
	}
	cfg, err := e.config(log.With("part", "etcd"))
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, failed("etcd", err)
	}
	if len(cfg.Endpoints) > 1 {
		go keepFit(client, cfg, log) // it ends with the client
	}
	return client, nil
}
