package sdk

import (
	"errors"
	"strconv"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Reply is an answer that a filter gives itself, in place of the upstream's.
type Reply struct {
	// Status is the HTTP status, from 200 to 599. Zero is 500, so that a forgotten status never lets anybody in.
	Status int
	// Headers are added to the answer. Envoy adds content-length, and content-type text/plain unless it is given here. One
	// that [Headers.Set] would refuse is left out, with a line in the log.
	Headers []Header
	// Body may be empty.
	Body []byte
	// Details stand in the access log as the response code details. Envoy replaces white space in it with underscores.
	Details string
	// GRPCStatus is the gRPC status for a gRPC request; zero derives it from Status.
	GRPCStatus int
}

// The bounds of the HTTP status of a Reply.
const (
	minReplyStatus = 200
	maxReplyStatus = 599
)

// reply answers the stream's request. Where the host cannot, or the status makes no sense, the request must not pass: the
// stream is reset.
func (s *Stream) reply(r Reply) Action {
	if s.state != streamOpen || s.gone || s.vm.running != nil && s.vm.running.abandoned() {
		return stop
	}
	if !s.own() {
		s.Log().Error("reply " + r.Details + ": " + ErrOtherStream.Error())
		return stop
	}
	s.state = streamAnswered
	if err := s.answer(r); err != nil {
		s.Log().Error(err.Error())
		s.reset()
	}
	return stop
}

// answer sends a local response, or resets the stream when response headers have gone downstream already.
func (s *Stream) answer(r Reply) error {
	if r.Status == 0 {
		r.Status = 500
	}
	if r.Status < minReplyStatus || r.Status > maxReplyStatus {
		return errors.New("reply with status " + strconv.Itoa(r.Status) + ": it must be from " + strconv.Itoa(minReplyStatus) + " to " +
			strconv.Itoa(maxReplyStatus) + "; the stream is reset")
	}
	if s.responded {
		s.reset()
		return nil
	}
	grpc := abi.NoGRPCStatus
	if r.GRPCStatus != 0 {
		grpc = int32(r.GRPCStatus)
	}
	status := s.host.SendLocalResponse(uint32(r.Status), r.Details, r.Body, s.replyHeaders(r.Headers), grpc)
	return hostError(status, "send local response", r.Details)
}

// replyHeaders serialises the headers that can be sent. The answer goes out without the others, since it may be a refusal.
func (s *Stream) replyHeaders(headers []Header) []byte {
	if len(headers) == 0 {
		return nil
	}
	good := headers
	for i, h := range headers {
		if reason := headerFault(h.Name, h.Value); reason != "" {
			s.Log().Error("reply header " + strconv.Quote(h.Name) + " is left out: " + reason)
			if len(good) == len(headers) {
				good = headers[:i:i]
			}
		} else if len(good) < len(headers) {
			good = append(good, h)
		}
	}
	return abi.AppendPairs(make([]byte, 0, abi.PairsSize(good)), good)
}

// reset ends the stream without an answer.
func (s *Stream) reset() {
	which := abi.RequestStream
	switch {
	case s.network:
		which = abi.DownstreamStream
	case s.responded:
		which = abi.ResponseStream
	}
	if err := hostError(s.host.CloseStream(which), "close stream", ""); err != nil {
		s.Log().Error(err.Error())
	}
}
