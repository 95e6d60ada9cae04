package wasmhost

import "context"

// filterStatus is what a filter says after a callback, in Envoy's terms.
type filterStatus int

const (
	filterContinue filterStatus = iota
	filterStopIteration
	filterStopAllBuffer
	filterStopAll
	filterStopBuffer
	filterStopWatermark
	filterStopNoBuffer
)

// What guests return. For headers, Pause means to stop everything unless the plugin allows otherwise.
const (
	returnContinue          = 0
	returnPause             = 1
	returnHeadersStopBuffer = 3
	returnHeadersStopAll    = 4
	returnBodyStopWatermark = 2
	returnBodyStopNoBuffer  = 3
	returnTrailersStop      = 1
)

// headersStatus reads what a headers callback returned.
func headersStatus(r uint32, stopIteration bool) filterStatus {
	switch {
	case r >= returnHeadersStopAll:
		return filterStopAll
	case r == returnHeadersStopBuffer:
		return filterStopAllBuffer
	case r == returnPause && stopIteration:
		return filterStopIteration
	case r == returnPause:
		return filterStopAll
	}
	return filterContinue
}

// bodyStatus reads what a body callback returned.
func bodyStatus(r uint32) filterStatus {
	switch r {
	case returnContinue:
		return filterContinue
	case returnPause:
		return filterStopBuffer
	case returnBodyStopWatermark:
		return filterStopWatermark
	}
	return filterStopNoBuffer
}

// skip says that the guest is not called: there is no filter, it does not know the stream, or the stream has failed.
func (s *Stream) skip(d *direction) bool {
	return s.ctx == nil || !s.ctx.created || d.index == response && s.ctx.failSent
}

// failed says whether the VM has crashed. The first time, the stream is answered with 503.
func (s *Stream) failed(ctx context.Context) bool {
	if s.ctx.in.failure == nil {
		return false
	}
	if !s.ctx.failSent {
		s.ctx.failSent = true
		s.reply(ctx, localReply{code: 503, grpc: 14, details: "wasm_fail_stream"})
	}
	return true
}

// ended does what follows every callback of a stream: the crash is answered, the deferred actions are done, a pause is noted.
// Actions run before the pause takes effect, as in Envoy: a stream that is continued and paused in one callback stays paused.
func (s *Stream) ended(ctx context.Context, name string, status, onFailure filterStatus) filterStatus {
	in := s.ctx.in
	if in.stopIteration {
		status = onFailure
	}
	if s.failed(ctx) {
		status = onFailure
	}
	in.finish()
	if status != filterContinue {
		s.pauses = append(s.pauses, Pause{Callback: name})
	}
	return status
}

// guestHeaders runs the headers callback of a direction.
func (s *Stream) guestHeaders(ctx context.Context, d *direction, end bool) filterStatus {
	if s.ctx != nil && d.index == request {
		s.ctx.create(ctx)
		s.begun = true
	}
	if s.skip(d) {
		return filterContinue
	}
	c := s.ctx
	c.headers[d.index], c.end = d.headers, end
	status := filterContinue
	if s.failed(ctx) {
		status = filterStopAll
	} else if f, name := c.in.fn.headers(d.index); f != nil {
		args := [3]uint64{uint64(c.id), uint64(len(d.headers.list)), boolArg(end)}
		n := 3
		if c.in.module.info.abi == "0.1.0" {
			n = 2
		}
		r := c.in.call(ctx, c, name, f, args[:n]...)
		status = s.ended(ctx, name, headersStatus(uint32(r), s.plugin.cfg.AllowOnHeadersStopIteration), filterStopAll)
	}
	if status == filterContinue {
		c.headers[d.index] = nil
	}
	return status
}

// guestData runs the body callback of a direction for one piece. If the callback paused before, the piece joins the stream's buffer,
// which the guest then sees as the body.
func (s *Stream) guestData(ctx context.Context, d *direction, data *[]byte, end bool) filterStatus {
	if s.skip(d) {
		return filterContinue
	}
	c := s.ctx
	if c.buffering[d.index] {
		s.hold(ctx, d, *data, true)
		*data = nil
		if s.stopped(d) {
			return filterStopBuffer
		}
	}
	c.body[d.index], c.end = data, end
	seen, _ := c.buffer(BufferType(d.index)) // Envoy asks for it like the guest would, which BufferCallData shows
	status := filterContinue
	if s.failed(ctx) {
		status = filterStopNoBuffer
	} else if f, name := c.in.fn.body(d.index); f != nil {
		r := c.in.call(ctx, c, name, f, uint64(c.id), uint64(len(seen.bytes)), boolArg(end))
		status = s.ended(ctx, name, bodyStatus(uint32(r)), filterStopNoBuffer)
	}
	c.buffering[d.index] = status == filterStopBuffer
	if status == filterContinue {
		c.body[d.index] = nil
	}
	return status
}

// guestTrailers runs the trailers callback of a direction.
func (s *Stream) guestTrailers(ctx context.Context, d *direction) filterStatus {
	if s.skip(d) {
		return filterContinue
	}
	c := s.ctx
	c.trailers[d.index] = d.trailers
	status := filterContinue
	if s.failed(ctx) {
		status = filterStopIteration
	} else if f, name := c.in.fn.trailers(d.index); f != nil {
		r := c.in.call(ctx, c, name, f, uint64(c.id), uint64(len(d.trailers.list)))
		status = filterContinue
		if uint32(r) >= returnTrailersStop {
			status = filterStopIteration
		}
		status = s.ended(ctx, name, status, filterStopIteration)
	}
	if status == filterContinue {
		c.trailers[d.index] = nil
	}
	return status
}

func boolArg(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
