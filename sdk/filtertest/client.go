package filtertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// maxAnswer bounds a response's body, in bytes.
const maxAnswer = 64 << 20

// send sends one request over a connection of its own, header by header as the scenario gives them, and reads the response. It is not
// net/http's client, which would sort, join and add headers. Where the request says so, the client leaves before the response.
func send(ctx context.Context, address string, r Request) (*ObservedResponse, error) {
	if r.Leave > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Leave)
		defer cancel()
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	if _, err := io.WriteString(conn, wireRequest(r)); err != nil {
		return nil, err
	}
	return readResponse(bufio.NewReader(conn), r.Method)
}

func wireRequest(r Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", r.Method, r.Path, r.Authority)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	switch {
	case len(r.Trailers) > 0:
		b.WriteString("transfer-encoding: chunked\r\n\r\n" + wireChunked(r.Body, r.Trailers))
	case r.Body != "":
		fmt.Fprintf(&b, "content-length: %d\r\n\r\n%s", len(r.Body), r.Body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

// wireChunked is a body in one chunk, and trailers behind it.
func wireChunked(body string, trailers wasmhost.Headers) string {
	var b strings.Builder
	if body != "" {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
	}
	b.WriteString("0\r\n")
	for _, h := range trailers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	b.WriteString("\r\n")
	return b.String()
}

func readResponse(from *bufio.Reader, method string) (*ObservedResponse, error) {
	resp, err := http.ReadResponse(from, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &ObservedResponse{
		Status: resp.StatusCode, Headers: headerMap(flatten(resp.Header), ignoredResponse), Body: string(body), Trailers: trailerMap(flatten(resp.Trailer)),
	}, nil
}

// flatten lists headers with lower-case names. Values of one name keep their order.
func flatten(h http.Header) wasmhost.Headers {
	var out wasmhost.Headers
	for name, values := range h {
		for _, v := range values {
			out = append(out, wasmhost.Header{Name: strings.ToLower(name), Value: v})
		}
	}
	return out
}

// wireResponse is a response of the scripted upstream.
func wireResponse(r Reply, method string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.Status, http.StatusText(r.Status))
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	if bodyless(r.Status) {
		b.WriteString("\r\n")
		return b.String()
	}
	if len(r.Trailers) > 0 {
		b.WriteString("transfer-encoding: chunked\r\n\r\n")
		if method != http.MethodHead {
			b.WriteString(wireChunked(r.Body, r.Trailers))
		}
		return b.String()
	}
	b.WriteString("content-length: " + strconv.Itoa(len(r.Body)) + "\r\n\r\n")
	if method != http.MethodHead {
		b.WriteString(r.Body)
	}
	return b.String()
}

// bodyless says that responses of a status never have a body.
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}
