package filtertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// piece is one thing that a client or an upstream sends.
type piece struct {
	headers, trailers wasmhost.Headers
	body              []byte
	end               bool
}

func (p piece) String() string {
	switch {
	case p.headers != nil:
		return fmt.Sprintf("headers %q end=%v", p.headers, p.end)
	case p.trailers != nil:
		return fmt.Sprintf("trailers %q", p.trailers)
	}
	return fmt.Sprintf("body %.100q (%d bytes) end=%v", p.body, len(p.body), p.end)
}

// fuzzStreamState is a stream, and what is still to come to it.
type fuzzStreamState struct {
	fuzzItem
	stream  *wasmhost.Stream
	pending [2][]piece // of the request and the response
}

func (s *fuzzStreamState) String() string { return fmt.Sprintf("stream %d", s.id) }
func (s *fuzzStreamState) misuse() error  { return s.stream.Misuse() }

// close is the last that is done with the stream.
func (s *fuzzStreamState) close(ctx context.Context) error {
	err := s.stream.Close(ctx)
	s.stream.Release()
	return err
}

// open begins a stream or a connection, as the file's scenarios are.
func (r *fuzzRun) open(ctx context.Context) error {
	r.opened++
	item := fuzzItem{run: r, id: r.opened}
	if r.file.TCP() {
		return r.connect(ctx, item)
	}
	s := &fuzzStreamState{fuzzItem: item}
	s.stream = r.plugin.NewStream(context.Background(), wasmhost.StreamInfo{ClusterName: upstreamCluster, VirtualHost: virtualHost})
	base := r.words.requests[r.rng.IntN(len(r.words.requests))]
	request := r.profile.NewRequest(r.pick(base.Method, methods), r.path(base.Path), base.Authority, r.mixed(base.Headers), nil)
	s.pending[0] = r.message(request.Headers, r.body(base.Body))
	reply := r.words.replies[r.rng.IntN(len(r.words.replies))]
	status := reply.Status
	if r.one(5) {
		status = statuses[r.rng.IntN(len(statuses))]
	}
	response := wasmhost.NewHeaders(":status", strconv.Itoa(status))
	s.pending[1] = r.message(append(response, r.mixed(reply.Headers)...), r.body(reply.Body))
	r.streams = append(r.streams, s)
	return nil
}

// message cuts a message into pieces.
func (r *fuzzRun) message(headers wasmhost.Headers, body []byte) []piece {
	pieces := []piece{{headers: headers}}
	for len(body) > 0 {
		n := 1 + r.rng.IntN(len(body))
		pieces = append(pieces, piece{body: body[:n]})
		if body = body[n:]; r.one(10) {
			pieces = append(pieces, piece{body: []byte{}})
		}
	}
	switch last := &pieces[len(pieces)-1]; {
	case r.one(8):
		pieces = append(pieces, piece{trailers: append(wasmhost.NewHeaders("x-trailer", "1"), r.mixed(nil)...)})
	case r.one(4):
		// The end comes alone, as it does from HTTP/1.
		pieces = append(pieces, piece{body: []byte{}, end: true})
	default:
		last.end = true
	}
	return pieces
}

// more says whether something can be sent now: the request, and once that has reached the upstream, the response.
func (s *fuzzStreamState) more() bool {
	if s.over() {
		return false
	}
	return len(s.pending[0]) > 0 || s.stream.Upstream().Complete && len(s.pending[1]) > 0
}

// over says whether the stream has come to its end, or can be sent no more: it was answered, or reset.
func (s *fuzzStreamState) over() bool {
	local, _ := s.stream.LocalReply()
	return s.stream.Reset() || s.stream.Downstream().Complete || local
}

// stuck says whether the stream waits for the filter.
func (s *fuzzStreamState) stuck() bool {
	return !s.stream.Reset() && !s.stream.Downstream().Complete && !s.more()
}

// where says what the filter holds.
func (s *fuzzStreamState) where() string {
	request, response := s.stream.Paused()
	return fmt.Sprintf("the filter holds the request: %v, the response: %v", request, response)
}

// advance sends the next piece.
func (s *fuzzStreamState) advance(ctx context.Context) error {
	from := 0
	if len(s.pending[0]) == 0 {
		from = 1
	}
	p := s.pending[from][0]
	s.pending[from] = s.pending[from][1:]
	s.run.note("%s: %s %s", s, [2]string{"request", "response"}[from], p)
	type feed struct {
		headers  func(context.Context, wasmhost.Headers, bool) error
		body     func(context.Context, []byte, bool) error
		trailers func(context.Context, wasmhost.Headers) error
	}
	to := [2]feed{
		{s.stream.RequestHeaders, s.stream.RequestBody, s.stream.RequestTrailers},
		{s.stream.ResponseHeaders, s.stream.ResponseBody, s.stream.ResponseTrailers},
	}[from]
	switch {
	case p.headers != nil:
		return to.headers(ctx, p.headers.Clone(), p.end)
	case p.trailers != nil:
		return to.trailers(ctx, p.trailers)
	}
	return to.body(ctx, p.body, p.end)
}

// maxFuzzDelay is the longest that a cluster takes to answer. Callouts time out before that, by default.
const maxFuzzDelay = 8 * time.Second

// delay is a time that an answer takes: none as often as some.
func (r *fuzzRun) delay() time.Duration {
	if r.one(2) {
		return 0
	}
	return time.Duration(r.rng.Int64N(int64(maxFuzzDelay)))
}

// answer is every cluster, for HTTP.
func (r *fuzzRun) answer(_ context.Context, request wasmhost.Request) (wasmhost.Response, error) {
	path, _ := request.Headers.Get(":path")
	switch r.rng.IntN(8) {
	case 0:
		r.note("a callout to %s breaks", path)
		return wasmhost.Response{}, wasmhost.ErrCalloutReset
	case 1:
		r.note("a callout to %s cannot be connected", path)
		return wasmhost.Response{}, errors.New("refused")
	case 2:
		r.note("a callout to %s gets no answer", path)
		return wasmhost.Response{}, wasmhost.ErrNoAnswer
	}
	reply := r.words.replies[r.rng.IntN(len(r.words.replies))]
	status := reply.Status
	if r.one(4) {
		status = statuses[r.rng.IntN(len(statuses))]
	}
	response := r.profile.NewResponse("GET", status, r.mixed(reply.Headers), r.body(reply.Body))
	response.Delay = r.delay()
	r.note("a callout to %s gets %q %.100q after %s", path, response.Headers, response.Body, response.Delay)
	return response, nil
}

// call is every cluster, for gRPC.
func (r *fuzzRun) call(_ context.Context, c *wasmhost.GRPCCall) {
	c.Wait(r.delay())
	if r.one(8) {
		r.note("a gRPC call of %s is reset", c.Method)
		c.Reset()
		return
	}
	n := r.rng.IntN(3)
	if !c.Streaming {
		n = 1
	}
	for range n {
		c.Send(r.body(""))
		c.Wait(r.delay())
	}
	status := uint32(0)
	if r.one(3) {
		status = uint32(r.rng.IntN(17))
	}
	r.note("a gRPC call of %s gets %d messages and status %d", c.Method, n, status)
	c.Close(status, "", nil)
}

var (
	methods  = []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "X"}
	statuses = []int{200, 204, 301, 304, 400, 401, 403, 404, 429, 500, 503}
)

// pick is usually the first, else one of the others.
func (r *fuzzRun) pick(usual string, others []string) string {
	if r.one(4) {
		return others[r.rng.IntN(len(others))]
	}
	return usual
}

// path is a path, sometimes damaged. It never has what HTTP cannot carry.
func (r *fuzzRun) path(usual string) string {
	switch r.rng.IntN(6) {
	case 0:
		return "/" + r.sendable(r.word())
	case 1:
		return usual + "?" + r.sendable(r.word())
	case 2:
		return "/%zz/../%00//" + r.sendable(r.word())
	}
	return usual
}

// mixed is a list of headers made from another one: some gone, some twice, some with another value, some new.
func (r *fuzzRun) mixed(usual wasmhost.Headers) wasmhost.Headers {
	var out wasmhost.Headers
	for _, h := range usual {
		switch r.rng.IntN(8) {
		case 0:
			continue
		case 1:
			out = append(out, h)
		case 2:
			h.Value = r.value()
		case 3:
			h.Value = string(mutate(r.rng, []byte(h.Value)))
		}
		h.Value = clean(h.Value)
		out = append(out, h)
	}
	for range r.rng.IntN(4) {
		out = append(out, wasmhost.Header{Name: r.words.names[r.rng.IntN(len(r.words.names))], Value: clean(r.value())})
	}
	return out
}

// value is a header's value: a word of the scenarios, nothing, something long, or bytes that are no text.
func (r *fuzzRun) value() string {
	switch r.rng.IntN(6) {
	case 0:
		return ""
	case 1:
		return string(filled(r.rng, 1+r.rng.IntN(4096)))
	case 2:
		return string(noise(r.rng, 1+r.rng.IntN(40)))
	}
	return r.word()
}

func (r *fuzzRun) word() string { return r.words.values[r.rng.IntN(len(r.words.values))] }

// sendable leaves out of a word what HTTP cannot carry in a path.
func (r *fuzzRun) sendable(word string) string {
	out := []byte(word)
	for i, c := range out {
		if c <= ' ' || c == '#' || c == 0x7f {
			out[i] = '+'
		}
	}
	return string(out)
}

// maxFuzzBody is the longest body, in bytes.
const maxFuzzBody = 100 << 10

// body is a body: the usual one, damaged, none, noise, or something long.
func (r *fuzzRun) body(usual string) []byte {
	switch r.rng.IntN(8) {
	case 0:
		return nil
	case 1:
		return noise(r.rng, 1+r.rng.IntN(200))
	case 2:
		return filled(r.rng, 1+r.rng.IntN(maxFuzzBody))
	case 3:
		return []byte(r.word())
	case 4:
		return mutate(r.rng, []byte(usual))
	}
	return []byte(usual)
}

// mutate changes, takes away or puts in some bytes.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + rng.IntN(3) {
		at := rng.IntN(len(b) + 1)
		switch rng.IntN(3) {
		case 0:
			b = append(b[:at], append(noise(rng, 1+rng.IntN(4)), b[at:]...)...)
		case 1:
			b = append(b[:at], b[min(len(b), at+1+rng.IntN(4)):]...)
		default:
			if at < len(b) {
				b[at] = byte(rng.UintN(256))
			}
		}
	}
	return b
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.UintN(256))
	}
	return b
}

func filled(rng *rand.Rand, n int) []byte {
	b, c := make([]byte, n), byte('a'+rng.IntN(26))
	for i := range b {
		b[i] = c
	}
	return b
}

// clean takes out of a header's value what no codec lets through.
func clean(value string) string {
	b := []byte(value)
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = '_'
		}
	}
	return string(b)
}
