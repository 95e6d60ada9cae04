package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// requestError tells an error of a request that got no answer.
func requestError(ctx context.Context, op, subject, host string, err error) error {
	if told := knownError(ctx, op, subject, host, err); told != nil {
		return told
	}
	// What is left comes from the authentication: no credential, or a token service that is not to be trusted with one.
	return &Error{Op: op, Subject: subject, Kind: ErrUnauthorized, Err: err, Detail: causeText(err), Next: "log in with `docker login " + host + "`"}
}

// transferError tells an error of a body that was cut off.
func transferError(ctx context.Context, op, subject, host string, err error) error {
	if told := knownError(ctx, op, subject, host, err); told != nil {
		return told
	}
	return unavailable(op, subject, causeText(err), err)
}

// orasError tells an error of oras-go, which may be about an answer.
func (c *Client) orasError(ctx context.Context, op string, ref Reference, err error) error {
	subject, host := ref.String(), ref.Registry
	if told := knownError(ctx, op, subject, host, err); told != nil {
		return told
	}
	e := &Error{Op: op, Subject: subject, Kind: ErrRefused, Err: err, Detail: causeText(err), Next: "see the registry's log"}
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		e.Kind, e.Next = ErrUnauthorized, "log in with `docker login "+host+"`"
	case errors.Is(err, errdef.ErrNotFound):
		e.Kind, e.Next = ErrNotFound, "check the repository, and the tag or the digest"
	case errors.Is(err, errdef.ErrSizeExceedsLimit), errors.Is(err, errdef.ErrTooManyPages):
		e.Kind, e.Next = ErrTooLarge, "check that the reference names a filter"
	case errors.Is(err, content.ErrMismatchedDigest):
		e.Kind, e.Next = ErrDigestMismatch, "the registry or something before it changed the bytes: publish the artifact again"
	case isJSONError(err):
		e.Kind, e.Next = ErrInvalidManifest, "see what stands there, and remove it: it is no list of manifests"
	}
	return e
}

// isJSONError says whether something was read that is not the JSON it should be.
func isJSONError(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

// knownError tells the errors that mean the same wherever they come from; nil for any other.
func knownError(ctx context.Context, op, subject, host string, err error) error {
	e := &Error{Op: op, Subject: subject, Err: err}
	var (
		own       *Error
		status    *errcode.ErrorResponse
		certErr   *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		dns       *net.DNSError
		urlErr    *url.Error
		netErr    net.Error
		open      *openError
	)
	switch {
	case errors.As(err, &own):
		return err
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled):
		return fmt.Errorf("%s %s: %w", op, subject, context.Cause(ctx)) // the caller's own doing: no kind
	case errors.As(err, &open):
		return &Error{Op: op, Subject: subject, Kind: ErrUnavailable, Detail: causeText(open), Next: "try again then, and check the host and the network", Err: err}
	case errors.As(err, &status):
		text := http.StatusText(status.StatusCode)
		if len(status.Errors) > 0 {
			text = status.Errors.Error()
		}
		return codeError(op, subject, host, status.StatusCode, text, err)
	case errors.Is(err, ErrUntrusted):
		e.Kind, e.Detail, e.Next = ErrUntrusted, causeText(err), "name that host among those that may be spoken to without TLS, if that is meant"
	case errors.As(err, &certErr), errors.As(err, &authority):
		e.Kind, e.Detail, e.Next = ErrUntrusted, causeText(err), "give the authority that signed the certificate of "+host
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Kind, e.Detail, e.Next = ErrUntrusted, host+" speaks plain HTTP", "name it among those that may be spoken to without TLS, if that is meant"
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Kind, e.Detail, e.Next = ErrUnavailable, "no such host: "+dns.Name, "check the host's name"
	case errors.As(err, &urlErr):
		return unavailable(op, subject, causeText(urlErr.Err), err)
	case errors.As(err, &netErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, errStalled):
		return unavailable(op, subject, causeText(err), err)
	default:
		return nil
	}
	return e
}

func unavailable(op, subject, detail string, err error) error {
	return &Error{Op: op, Subject: subject, Kind: ErrUnavailable, Detail: detail, Next: "check the host and the network, and try again", Err: err}
}

// statusError tells an answer that is not the one asked for. It reads a part of the body.
func statusError(op, subject, host string, resp *http.Response) error {
	const maxErrorBytes = 8 << 10
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // what there is of it only adds words
	text := registryWords(body)
	if text == "" {
		text = http.StatusText(resp.StatusCode)
	}
	return codeError(op, subject, host, resp.StatusCode, text, nil)
}

// codeError maps HTTP statuses to kinds; it is the only place that does.
func codeError(op, subject, host string, code int, text string, err error) error {
	e := &Error{Op: op, Subject: subject, Err: err, Detail: fmt.Sprintf("%s answered %d", host, code)}
	if text != "" {
		e.Detail += " (" + clip(text) + ")"
	}
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Kind, e.Next = ErrUnauthorized, "log in with `docker login "+host+"`, show a client certificate where it asks for one, or ask for the right to it"
	case code == http.StatusNotFound:
		e.Kind, e.Next = ErrNotFound, "check the repository, and the tag or the digest"
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		e.Kind, e.Next = ErrUnavailable, "try again later"
	default:
		e.Kind, e.Next = ErrRefused, "see the registry's log"
	}
	return e
}

func sizeMismatch(op, subject string, want, have int64) error {
	return &Error{Op: op, Subject: subject, Kind: ErrSizeMismatch, Detail: fmt.Sprintf("want %d bytes, have %d", want, have),
		Next: "the registry or something before it changed the bytes: publish the artifact again"}
}

func digestMismatch(op, subject string, want, have Digest) error {
	return &Error{Op: op, Subject: subject, Kind: ErrDigestMismatch, Detail: fmt.Sprintf("want %s, have %s", want, have),
		Next: "the registry or something before it changed the bytes: do not use them, and publish the artifact again"}
}

func tooLarge(op, subject string, limit, have int64) error {
	detail := fmt.Sprintf("over the limit of %d bytes", limit)
	if have > limit {
		detail = fmt.Sprintf("%d bytes, over the limit of %d", have, limit)
	}
	return &Error{Op: op, Subject: subject, Kind: ErrTooLarge, Detail: detail, Next: "check that the reference names a filter"}
}

// causeText is the text of an error from below, on one line.
func causeText(err error) string { return clip(err.Error()) }
