package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

const (
	// DefaultFetchTimeout is the time limit of a callout that names none.
	DefaultFetchTimeout = 5 * time.Second
	// DefaultFetchLimit is the most bytes of an answer's body, of a callout that names no limit: 1 MiB.
	DefaultFetchLimit = 1 << 20
)

// ErrFetchFailed is the error of a callout to which there was no whole answer: the connection was refused, or it broke.
var ErrFetchFailed = errors.New("no answer from the cluster")

// FetchRequest is an HTTP request that a filter sends itself, to a cluster of Envoy's configuration.
type FetchRequest struct {
	// Cluster is the name of the cluster.
	Cluster string
	// Method is GET where it is empty.
	Method string
	// Path is path and query; / where it is empty.
	Path string
	// Authority is the host; the cluster's name where it is empty.
	Authority string
	// Headers are sent after the pseudo-headers. Envoy adds content-length and what its cluster says.
	Headers []Header
	Body    []byte
	// Trailers stand behind the body. Envoy, up to 1.40, takes them and does not send them.
	Trailers []Header
	// Timeout is how long Envoy waits for the whole answer, in whole milliseconds; [DefaultFetchTimeout] where it is zero.
	// The deadline of the context holds as well.
	Timeout time.Duration
	// Limit is the most bytes of the answer's body; [DefaultFetchLimit] where it is zero. A longer one is [ErrTooLarge].
	Limit int
}

// FetchResponse is the answer to a [FetchRequest], whole. It is the caller's.
type FetchResponse struct {
	// Status is the HTTP status.
	Status int
	// Headers hold the pseudo-header :status too.
	Headers  []Header
	Body     []byte
	Trailers []Header
}

// Header is the first value of a header, empty when it is absent.
func (r *FetchResponse) Header(name string) string {
	value, _ := headerIn(r.Headers, name)
	return value
}

// Fetch sends a request and waits for its answer; see [Fetch].
func (r *Request) Fetch(ctx context.Context, request FetchRequest) (*FetchResponse, error) {
	return Fetch(ctx, request)
}

// Fetch sends a request and waits for its answer; see [Fetch].
func (r *Response) Fetch(ctx context.Context, request FetchRequest) (*FetchResponse, error) {
	return Fetch(ctx, request)
}

// Fetch sends a request and waits for its answer. The stream waits with it, and the worker goes on with other streams; to
// send several at once, use [All] or [First]. ctx is the one that the handler was given, or comes from it.
//
// An answer with any status is no error, if it is the cluster's. The errors: [ErrNoTask] outside of code that can wait; a [*HostError] with
// [ErrBadArgument] for a cluster that Envoy does not have, and [ErrInternalFailure] for one without a healthy host;
// [ErrFetchFailed] when the connection was refused or broke; [context.DeadlineExceeded] when the time is over; [context.Canceled] when the
// client went away: the handler should return then, and nothing that it does to the stream has an effect; [ErrTooLarge].
func Fetch(ctx context.Context, request FetchRequest) (*FetchResponse, error) {
	t, err := running(ctx)
	if err != nil {
		return nil, err
	}
	limit, err := t.timeLeft(ctx, request.Timeout, DefaultFetchTimeout)
	if err != nil {
		return nil, err
	}
	v := t.vm
	pseudo := [...]Header{
		{Name: ":method", Value: or(request.Method, "GET")},
		{Name: ":path", Value: or(request.Path, "/")},
		{Name: ":authority", Value: or(request.Authority, request.Cluster)},
	}
	headers, err := v.calloutHeaders(v.calloutRoom[:0], pseudo[:], request.Headers)
	if err != nil {
		return nil, err
	}
	trailers, err := v.calloutHeaders(headers[len(headers):], request.Trailers, nil)
	if err != nil {
		return nil, err
	}
	v.enter(t.id)
	token, status := v.host.HTTPCall(request.Cluster, headers, request.Body, trailers, limit.milliseconds)
	if status != abi.OK {
		return nil, hostError(status, "fetch from cluster", request.Cluster)
	}
	f := &fetch{task: t, token: token, limit: request.Limit}
	if f.limit <= 0 {
		f.limit = DefaultFetchLimit
	}
	v.callees.put(token, f)
	defer v.callees.forget(token, f)
	for !f.over {
		if err := t.may(ctx); err != nil {
			return nil, err
		}
		t.park(ctx)
	}
	if f.err != nil {
		return nil, wrap("fetch from cluster "+request.Cluster, f.err)
	}
	if err := f.response.own(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			expire(ctx, limit)
		}
		return nil, wrap("fetch from cluster "+request.Cluster, err)
	}
	return &f.response, nil
}

// What Envoy's router answers in the place of a cluster, as the guest sees it.
const (
	unreachableStatus = 503
	unreachableText   = "upstream connect error or disconnect/reset before headers"
	timeoutStatus     = 504
	timeoutText       = "upstream request timeout"
	// serviceTimeHeader is on every answer of a cluster, and on none of Envoy's own.
	serviceTimeHeader = "x-envoy-upstream-service-time"
)

// own is the error that an answer stands for if it is Envoy's own.
func (r *FetchResponse) own() error {
	if r.Status != unreachableStatus && r.Status != timeoutStatus {
		return nil
	}
	_, answered := headerIn(r.Headers, serviceTimeHeader)
	switch {
	case answered:
	case r.Status == timeoutStatus && string(r.Body) == timeoutText:
		return context.DeadlineExceeded
	case r.Status == unreachableStatus && strings.HasPrefix(string(r.Body), unreachableText):
		return fmt.Errorf("%w: %s", ErrFetchFailed, r.Body)
	}
	return nil
}

// fetch is an HTTP callout under way.
type fetch struct {
	noGRPC
	task     *task
	token    uint32
	limit    int
	over     bool
	response FetchResponse
	err      error
}

// httpResponse takes the answer over: it can be read during the callback only.
func (f *fetch) httpResponse(headers, size, trailers uint32) {
	f.over = true
	v := f.task.vm
	v.callees.forget(f.token, f)
	defer v.wake(f.task)
	if headers == 0 {
		f.err = ErrFetchFailed
		return
	}
	f.response.Headers = v.answerHeaders(abi.CalloutHeaders)
	f.response.Status = parseStatus(f.response.Header(":status"))
	if f.response.Body, f.err = v.answerBytes(abi.CalloutBody, size, f.limit); f.err == nil && trailers > 0 {
		f.response.Trailers = v.answerHeaders(abi.CalloutTrailers)
	}
}

// noGRPC is the half of a callee that an HTTP callout does not have.
type noGRPC struct{}

func (noGRPC) grpcInitialMetadata()  {}
func (noGRPC) grpcMessage(uint32)    {}
func (noGRPC) grpcTrailingMetadata() {}
func (noGRPC) grpcClose(uint32)      {}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
