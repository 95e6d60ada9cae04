package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// MetadataActor is the metadata key, and the REST header, that names who makes a change. Its value is percent-encoded
// where it is not printable ASCII, see EncodeActor.
const MetadataActor = "waft-actor"

// EncodeActor is an actor as a value of metadata, which takes printable ASCII only.
func EncodeActor(actor string) string { return url.PathEscape(actor) }

// ClientConfig says where a distributor is and how to reach it.
type ClientConfig struct {
	// Address is HOST:PORT of the distributor's gRPC port. Required.
	Address string
	// TLS names the files to use. Its zero value means TLS with the system's authorities.
	TLS ClientTLS
	// Insecure switches TLS off. It excludes TLS.
	Insecure bool
	// Actor is sent with each call; the distributor writes it into the audit log.
	Actor string
	// Token is a bearer token that says who calls, where the distributor's access policy names its issuer. Empty: none is sent. It excludes Insecure.
	Token string
	// Options are added to the connection's, last.
	Options []grpc.DialOption
}

// ClientTLS names PEM files.
type ClientTLS struct {
	// CA holds the authorities that may vouch for the distributor. Empty: the system's.
	CA string
	// Cert and Key are the client's own certificate. Empty: none. Both or neither.
	Cert, Key string
	// ServerName is the name to expect in the distributor's certificate. Empty: the host that is dialled.
	ServerName string
}

// Config reads the files. The error names the file.
func (t ClientTLS) Config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("a client certificate needs both its certificate file and its key file")
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate %s and its key %s: %w", t.Cert, t.Key, err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// Client calls a distributor. Errors of its calls are *model.Error, with kind, object, field and next step as the
// distributor gave them. It may be used concurrently.
type Client struct {
	Releases  waftv1.ReleaseServiceClient
	Resources waftv1.ResourceServiceClient
	Types     waftv1.TypeServiceClient
	Rollouts  waftv1.RolloutServiceClient
	Nodes     waftv1.NodeServiceClient
	Filters   waftv1.FilterServiceClient
	Freezes   waftv1.FreezeServiceClient
	Artifacts waftv1.ArtifactServiceClient
	Secrets   waftv1.SecretServiceClient
	Audit     waftv1.AuditServiceClient
	Version   waftv1.VersionServiceClient
	Reports   waftv1.ReportServiceClient
	Backups   waftv1.BackupServiceClient

	conn *grpc.ClientConn
}

// Dial makes a client. It connects with the first call, not before; a distributor that is not there shows as an error of
// that call.
func Dial(cfg ClientConfig) (*Client, error) {
	if cfg.Address == "" {
		return nil, model.Invalidf("", "address", "name the distributor as HOST:PORT", "no address")
	}
	creds := insecure.NewCredentials()
	if cfg.Insecure {
		if cfg.TLS != (ClientTLS{}) {
			return nil, model.Invalidf("", "", "leave out one of them", "TLS files are given and TLS is switched off")
		}
		if cfg.Token != "" {
			return nil, model.Invalidf("", "", "leave out one of them", "a bearer token is given and TLS is switched off, so that anybody could read it on its way")
		}
	} else {
		t, err := cfg.TLS.Config()
		if err != nil {
			return nil, &model.Error{Kind: model.ErrInvalid, Message: err.Error(), Cause: err}
		}
		creds = credentials.NewTLS(t)
	}
	e := &errorReader{address: cfg.Address, actor: cfg.Actor, token: cfg.Token}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxAnswerBytes), grpc.MaxCallSendMsgSize(MaxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ClientKeepaliveTime, Timeout: KeepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: DialTimeout}),
		grpc.WithChainUnaryInterceptor(e.unary),
		grpc.WithChainStreamInterceptor(e.stream),
	}, cfg.Options...)
	conn, err := grpc.NewClient(cfg.Address, options...)
	if err != nil {
		return nil, model.Invalidf("", "address", "name the distributor as HOST:PORT", "%q: %v", cfg.Address, err)
	}
	return &Client{
		Releases:  waftv1.NewReleaseServiceClient(conn),
		Resources: waftv1.NewResourceServiceClient(conn),
		Types:     waftv1.NewTypeServiceClient(conn),
		Rollouts:  waftv1.NewRolloutServiceClient(conn),
		Nodes:     waftv1.NewNodeServiceClient(conn),
		Filters:   waftv1.NewFilterServiceClient(conn),
		Freezes:   waftv1.NewFreezeServiceClient(conn),
		Artifacts: waftv1.NewArtifactServiceClient(conn),
		Secrets:   waftv1.NewSecretServiceClient(conn),
		Audit:     waftv1.NewAuditServiceClient(conn),
		Version:   waftv1.NewVersionServiceClient(conn),
		Reports:   waftv1.NewReportServiceClient(conn),
		Backups:   waftv1.NewBackupServiceClient(conn),
		conn:      conn,
	}, nil
}

// Close ends the connection and the calls that are under way.
func (c *Client) Close() error { return c.conn.Close() }

// errorReader adds the actor and the token to each call and turns its error back into what the distributor said.
type errorReader struct{ address, actor, token string }

func (e *errorReader) outgoing(ctx context.Context) context.Context {
	if e.actor != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, MetadataActor, EncodeActor(e.actor))
	}
	if e.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+e.token)
	}
	return ctx
}

func (e *errorReader) read(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	st, ok := status.FromError(err)
	if ok && st.Code() == codes.Unavailable && len(st.Details()) == 0 {
		return &model.Error{
			Kind: model.ErrUnavailable, Object: e.address, Message: "the distributor does not answer: " + st.Message(),
			Next: "check that `waft serve` runs there and that the address and the TLS options fit it",
		}
	}
	return FromStatus(err)
}

func (e *errorReader) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return e.read(invoke(e.outgoing(ctx), method, req, reply, cc, opts...))
}

func (e *errorReader) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(e.outgoing(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, e.read(err)
	}
	return readingStream{s, e}, nil
}

type readingStream struct {
	grpc.ClientStream
	e *errorReader
}

func (s readingStream) RecvMsg(m any) error { return s.e.read(s.ClientStream.RecvMsg(m)) }
func (s readingStream) SendMsg(m any) error { return s.e.read(s.ClientStream.SendMsg(m)) }
func (s readingStream) CloseSend() error    { return s.e.read(s.ClientStream.CloseSend()) }
