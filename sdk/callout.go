package sdk

import (
	"context"
	"errors"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// ErrTooLarge is the error for an answer that is larger than what the caller takes.
var ErrTooLarge = errors.New("the answer is larger than its limit")

// callee is who gets the callbacks of a callout. It is an interface so that a module without callouts does not link them.
type callee interface {
	httpResponse(headers, size, trailers uint32)
	grpcInitialMetadata()
	grpcMessage(size uint32)
	grpcTrailingMetadata()
	grpcClose(code uint32)
}

// tell makes a callback of a callout on who made it. One whose stream is gone, or that was given up, has nobody.
func (v *vm) tell(id, token uint32, callback func(c callee)) {
	v.context = id
	if c := v.callees.get(token); c != nil {
		callback(c)
	}
	v.drive()
}

// HTTPCallResponse is the callback proxy_on_http_call_response.
func (v *vm) HTTPCallResponse(id, token, headers, size, trailers uint32) {
	v.tell(id, token, func(c callee) { c.httpResponse(headers, size, trailers) })
}

// GRPCReceiveInitialMetadata is the callback proxy_on_grpc_receive_initial_metadata.
func (v *vm) GRPCReceiveInitialMetadata(id, token, _ uint32) {
	v.tell(id, token, callee.grpcInitialMetadata)
}

// GRPCReceive is the callback proxy_on_grpc_receive.
func (v *vm) GRPCReceive(id, token, size uint32) {
	v.tell(id, token, func(c callee) { c.grpcMessage(size) })
}

// GRPCReceiveTrailingMetadata is the callback proxy_on_grpc_receive_trailing_metadata.
func (v *vm) GRPCReceiveTrailingMetadata(id, token, _ uint32) {
	v.tell(id, token, callee.grpcTrailingMetadata)
}

// GRPCClose is the callback proxy_on_grpc_close.
func (v *vm) GRPCClose(id, token, code uint32) {
	v.tell(id, token, func(c callee) { c.grpcClose(code) })
}

// answerHeaders copies a map that the callback of a callout brings.
func (v *vm) answerHeaders(m abi.MapType) []Header {
	data, status := v.host.HeaderPairs(m)
	if status != abi.OK {
		return nil
	}
	pairs, err := abi.ParsePairs(nil, string(data))
	if err != nil {
		return nil
	}
	return pairs
}

// answerBytes copies a buffer that the callback of a callout brings.
func (v *vm) answerBytes(buffer abi.BufferType, size uint32, limit int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	if int64(size) > int64(limit) {
		return nil, ErrTooLarge
	}
	data, status := v.host.GetBuffer(buffer, 0, int(size))
	if status != abi.OK {
		return nil, hostError(status, "read the answer of a callout", "")
	}
	return append([]byte(nil), data...), nil
}

// timeLimit is how long a callout may take.
type timeLimit struct {
	milliseconds uint32
	// shared: it is what the context had left, so that nothing is left of that when it is over.
	shared bool
}

// timeLeft is the limit of a callout: the caller's own, or the default, and no more than ctx has left. It looks at the clock only where
// ctx has a deadline.
func (t *task) timeLeft(ctx context.Context, wanted, otherwise time.Duration) (limit timeLimit, err error) {
	if err := t.may(ctx); err != nil {
		return limit, err
	}
	if wanted <= 0 {
		wanted = otherwise
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := deadline.Sub(t.vm.now())
		if left <= 0 {
			return limit, context.DeadlineExceeded
		}
		limit.shared = left <= wanted
		wanted = min(wanted, left)
	}
	limit.milliseconds = uint32((min(wanted, maxTick) + minTick - 1) / minTick)
	return limit, nil
}

// calloutHeaders appends the headers of a callout, which stand in two lists, to dst in their serialised form. Each must be one that can be
// sent. None are no bytes.
func (v *vm) calloutHeaders(dst []byte, first, second []Header) ([]byte, error) {
	if err := v.checkCallout(first); err != nil {
		return nil, err
	}
	if err := v.checkCallout(second); err != nil {
		return nil, err
	}
	if len(first)+len(second) == 0 {
		return dst, nil
	}
	return abi.AppendPairLists(dst, first, second), nil
}

func (v *vm) checkCallout(headers []Header) error {
	for i := range headers {
		h := &headers[i]
		if known(&v.sound.names, h.Name) && known(&v.sound.values, h.Value) || v.inspect(h.Name, h.Value) {
			continue
		}
		return &HostError{Call: "send header", Subject: h.Name + " of a callout: " + headerFault(h.Name, h.Value), Status: ErrBadArgument}
	}
	return nil
}

// calloutRoom is how many bytes of a callout's headers and trailers need no allocation. The host has copied them when its call returns.
const calloutRoom = 1 << 10

// headerIn is the first value of a header.
func headerIn(headers []Header, name string) (string, bool) {
	for i := range headers {
		if equalName(headers[i].Name, name) {
			return headers[i].Value, true
		}
	}
	return "", false
}
