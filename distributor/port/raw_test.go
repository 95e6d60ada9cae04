package port_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/port"
)

// raw is a client that writes frames by hand.
type raw struct {
	net.Conn
	t       testing.TB
	framer  *http2.Framer
	decoder *hpack.Decoder
	mu      sync.Mutex // of whoever writes
}

func dial(t testing.TB, address string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &raw{Conn: nc, t: t, framer: http2.NewFramer(nc, nc), decoder: hpack.NewDecoder(4096, nil)}
	c.framer.AllowIllegalWrites = true
	return c
}

// write writes; the server may have had enough, which reading finds.
func (c *raw) write(do func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = do()
}

// begin is the preface and settings.
func (c *raw) begin(settings ...http2.Setting) {
	c.write(func() error { _, err := c.Write([]byte(http2.ClientPreface)); return err })
	c.write(func() error { return c.framer.WriteSettings(settings...) })
}

// open opens the connection's window, and those of streams to come.
func (c *raw) open(by uint32) {
	c.write(func() error {
		return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: by})
	})
	c.write(func() error { return c.framer.WriteWindowUpdate(0, by) })
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0) // so that blocks can be sent to any connection
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return b.Bytes()
}

// calling are the headers of a call.
func calling(method string, more ...string) []byte {
	return block(append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "x", "content-type", "application/grpc", "te", "trailers"}, more...)...)
}

func (c *raw) headers(stream uint32, block []byte, end bool) {
	c.write(func() error {
		return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true, EndStream: end})
	})
}

func (c *raw) call(stream uint32, method string) {
	c.t.Helper()
	c.headers(stream, calling(method), false)
}

func (c *raw) message(stream uint32, end bool, m proto.Message) {
	c.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(func() error {
		return c.framer.WriteData(stream, end, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...))
	})
}

// frame is what the server sent.
type frame struct {
	http2.FrameHeader
	// code is that of a reset or a farewell, and text what the latter says.
	code http2.ErrCode
	text string
	// last is the newest stream that a farewell says was served, and data what a ping has.
	last uint32
	data [8]byte
	// fields are the headers, and block is what they came as.
	fields map[string]string
	block  []byte
}

func (f frame) is(kind string) bool { return f.Type.String() == kind }

// next reads one; acknowledgements are left out, and settings are acknowledged. ok is false at the end.
func (c *raw) next() (frame, bool) {
	for {
		read, err := c.framer.ReadFrame()
		if err != nil {
			if failed, ok := err.(net.Error); ok && failed.Timeout() {
				c.t.Fatal("nothing comes, and the connection goes on")
			}
			return frame{}, false
		}
		f := frame{FrameHeader: read.Header()}
		switch read := read.(type) {
		case *http2.SettingsFrame:
			if !read.IsAck() {
				c.write(c.framer.WriteSettingsAck)
			}
			continue
		case *http2.RSTStreamFrame:
			f.code = read.ErrCode
		case *http2.GoAwayFrame:
			f.code, f.text, f.last = read.ErrCode, string(read.DebugData()), read.LastStreamID
		case *http2.PingFrame:
			f.data = read.Data
		case *http2.HeadersFrame:
			f.fields, f.block = map[string]string{}, bytes.Clone(read.HeaderBlockFragment())
			fields, err := c.decoder.DecodeFull(read.HeaderBlockFragment())
			if err != nil {
				c.t.Fatal(err)
			}
			for _, h := range fields {
				f.fields[h.Name] = h.Value
			}
		}
		return f, true
	}
}

// expect reads until something comes.
func (c *raw) expect(what string, is func(frame) bool) frame {
	c.t.Helper()
	for {
		f, ok := c.next()
		if !ok {
			c.t.Fatalf("the connection ends before %s", what)
		}
		if is(f) {
			return f
		}
	}
}

// expectEnd reads until the connection ends.
func (c *raw) expectEnd() {
	c.t.Helper()
	for {
		if _, ok := c.next(); !ok {
			return
		}
	}
}

// What HTTP/2 forbids ends the stream or the connection, with the code that it has for that.
func TestWhatHTTP2Forbids(t *testing.T) {
	const method = "/grpc.testing.TestService/FullDuplexCall"
	s := serve(t, port.Config{MaxStreams: 2})
	for name, tc := range map[string]struct {
		do   func(*raw)
		want http2.ErrCode
		// stream: only the stream ends.
		stream bool
	}{
		"data for a stream that is not open": {do: func(c *raw) { c.write(func() error { return c.framer.WriteData(1, false, nil) }) }, want: http2.ErrCodeProtocol},
		"a window for one":                   {do: func(c *raw) { c.write(func() error { return c.framer.WriteWindowUpdate(3, 1) }) }, want: http2.ErrCodeProtocol},
		"a reset of one":                     {do: func(c *raw) { c.write(func() error { return c.framer.WriteRSTStream(3, 0) }) }, want: http2.ErrCodeProtocol},
		"an even stream":                     {do: func(c *raw) { c.call(2, method) }, want: http2.ErrCodeProtocol},
		"an older stream":                    {do: func(c *raw) { c.call(5, method); c.call(3, method) }, want: http2.ErrCodeStreamClosed},
		"a push": {do: func(c *raw) {
			c.write(func() error { return c.framer.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 4)) })
		}, want: http2.ErrCodeProtocol},
		"a window that is too large": {do: func(c *raw) { c.write(func() error { return c.framer.WriteWindowUpdate(0, 1<<31-1) }) }, want: http2.ErrCodeFlowControl},
		"an initial window that is too large": {do: func(c *raw) {
			c.write(func() error {
				return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
			})
		}, want: http2.ErrCodeFlowControl},
		"a frame that is too large": {do: func(c *raw) {
			c.call(1, method)
			c.write(func() error { return c.framer.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16<<10+1)) })
		}, want: http2.ErrCodeFrameSize},
		"headers that are none": {do: func(c *raw) { c.headers(1, []byte{0xff, 0xff, 0xff, 0xff}, true) }, want: http2.ErrCodeCompression},
		"a stream's window, too far": {do: func(c *raw) {
			c.call(1, method)
			c.write(func() error { return c.framer.WriteWindowUpdate(1, 1<<31-1) })
		}, want: http2.ErrCodeFlowControl, stream: true},
		"data after the last": {do: func(c *raw) {
			c.headers(1, calling("/grpc.testing.TestService/UnaryCall"), false)
			c.message(1, true, simple("wait"))
			c.write(func() error { return c.framer.WriteData(1, false, nil) })
		}, want: http2.ErrCodeStreamClosed, stream: true},
		"headers in the middle": {do: func(c *raw) { c.call(1, method); c.call(1, method) }, want: http2.ErrCodeProtocol, stream: true},
		"a header of HTTP/1":    {do: func(c *raw) { c.headers(1, calling(method, "connection", "close"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"TE that is none":       {do: func(c *raw) { c.headers(1, calling(method, "te", "gzip"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"no path":               {do: func(c *raw) { c.headers(1, block(":method", "POST", ":scheme", "http", ":authority", "x"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"no scheme":             {do: func(c *raw) { c.headers(1, block(":method", "POST", ":path", method, ":authority", "x"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"no method":             {do: func(c *raw) { c.headers(1, block(":scheme", "http", ":path", method, ":authority", "x"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"one stream too many": {do: func(c *raw) {
			c.call(1, method)
			c.call(3, method)
			c.call(5, method)
			c.write(func() error { return c.framer.WriteRSTStream(1, 0) })
		}, want: http2.ErrCodeRefusedStream, stream: true},
		"upper case": {do: func(c *raw) { c.headers(1, calling(method, "X-Upper", "x"), false) }, want: http2.ErrCodeProtocol, stream: true},
		"more than its window": {do: func(c *raw) {
			c.call(1, "/grpc.testing.TestService/UnaryCall")
			c.message(1, false, simple("wait"))
			for range 5 {
				c.write(func() error { return c.framer.WriteData(1, false, make([]byte, 16<<10)) })
			}
		}, want: http2.ErrCodeFlowControl, stream: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s.address)
			c.t = t
			c.begin()
			tc.do(c)
			if tc.stream {
				c.expect("a reset", func(f frame) bool { return f.is("RST_STREAM") && f.code == tc.want })
				c.headers(101, calling("/grpc.testing.TestService/UnaryCall"), false)
				c.message(101, true, simple("x"))
				c.expect("an answer to another call", func(f frame) bool {
					return f.StreamID == 101 && f.is("HEADERS") && f.Flags.Has(http2.FlagHeadersEndStream)
				})
				return
			}
			c.expect("a farewell", func(f frame) bool { return f.is("GOAWAY") && f.code == tc.want })
			c.expectEnd()
		})
	}
}

// What is no call of gRPC is answered as gRPC says.
func TestWhatIsNoCall(t *testing.T) {
	s := serve(t, port.Config{})
	const method = "/grpc.testing.TestService/UnaryCall"
	for name, tc := range map[string]struct {
		block              []byte
		http, code, saying string
	}{
		"GET":              {block(":method", "GET", ":scheme", "http", ":path", method, ":authority", "x", "content-type", "application/grpc"), "405", "13", "GET"},
		"another type":     {block(":method", "POST", ":scheme", "http", ":path", method, ":authority", "x", "content-type", "text/html"), "415", "3", "text/html"},
		"no type":          {block(":method", "POST", ":scheme", "http", ":path", method, ":authority", "x"), "415", "3", ""},
		"nobody's":         {block(":method", "POST", ":scheme", "http", ":path", method, "content-type", "application/grpc"), "400", "13", "authority"},
		"two hosts":        {calling(method, "host", "x", "host", "y"), "400", "13", "hosts"},
		"a bad timeout":    {calling(method, "grpc-timeout", "soon"), "400", "13", "grpc-timeout"},
		"no time":          {calling(method, "grpc-timeout", "0S"), "200", "4", "deadline"},
		"bad base64":       {calling(method, "x-bin", "?"), "400", "13", "x-bin"},
		"a path":           {calling("nothing"), "200", "12", "malformed"},
		"an encoding":      {calling(method, "grpc-encoding", "none-such"), "200", "12", "none-such"},
		"another's subset": {calling("/x/Y"), "200", "12", "unknown service x"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.address)
			c.begin()
			c.headers(1, tc.block, true)
			f := c.expect("an answer", func(f frame) bool { return f.is("HEADERS") })
			if f.fields[":status"] != tc.http || f.fields["grpc-status"] != tc.code || !strings.Contains(f.fields["grpc-message"], tc.saying) || !f.Flags.Has(http2.FlagHeadersEndStream) {
				t.Errorf("%v", f.fields)
			}
		})
	}
	t.Run("a host for an authority, and a subtype", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.headers(1, block(":method", "POST", ":scheme", "http", ":path", method, "host", "x", "content-type", "application/grpc+proto"), false)
		c.message(1, true, simple("x"))
		if f := c.expect("an answer", func(f frame) bool { return f.is("HEADERS") }); f.fields["content-type"] != "application/grpc+proto" {
			t.Errorf("%v", f.fields)
		}
	})
	t.Run("a call without a message", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.headers(1, calling(method), true)
		if f := c.expect("an answer", func(f frame) bool { return f.is("HEADERS") }); f.fields["grpc-status"] != "13" {
			t.Errorf("%v", f.fields)
		}
	})
	t.Run("half a message", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.call(1, method)
		c.write(func() error { return c.framer.WriteData(1, true, []byte{0, 0, 0, 0, 9, 1}) })
		if f := c.expect("an answer", func(f frame) bool { return f.is("HEADERS") }); f.fields["grpc-status"] != "13" {
			t.Errorf("%v", f.fields)
		}
	})
}

// A deadline holds although the client does not keep it.
func TestDeadlinesOfClientsThatForget(t *testing.T) {
	s := serve(t, port.Config{})
	c := dial(t, s.address)
	c.begin()
	c.headers(1, calling("/grpc.testing.TestService/FullDuplexCall", "grpc-timeout", "50m"), false)
	c.expect("a reset", func(f frame) bool { return f.is("RST_STREAM") && f.StreamID == 1 && f.code == http2.ErrCodeCancel })
	if err := await(t, s.echo.ended); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("receiving ended with %v", err)
	}
	await(t, await(t, s.echo.seen).Done())
}

// A client that has the server work and says nothing is told to be calm.
func TestFloods(t *testing.T) {
	// Each is more than a budget, and so is what is given back while they are written, many times over.
	const many = 20_000
	s := serve(t, port.Config{Door: nil, Unknown: func(any, grpc.ServerStream) error { return nil }})
	for name, send := range map[string]func(c *raw, i uint32){
		"resets": func(c *raw, i uint32) {
			c.call(2*i+1, "/x/Y")
			c.write(func() error { return c.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel) })
		},
		"settings": func(c *raw, _ uint32) { c.write(func() error { return c.framer.WriteSettings() }) },
		"priorities": func(c *raw, _ uint32) {
			c.write(func() error { return c.framer.WritePriority(1, http2.PriorityParam{}) })
		},
		"unknown": func(c *raw, _ uint32) { c.write(func() error { return c.framer.WriteRawFrame(99, 0, 0, nil) }) },
		"no data": func(c *raw, i uint32) {
			if i == 0 {
				c.call(1, "/grpc.testing.TestService/FullDuplexCall")
			}
			c.write(func() error { return c.framer.WriteData(1, false, nil) })
		},
		"refusals": func(c *raw, i uint32) {
			c.headers(2*i+1, block(":method", "GET", ":scheme", "http", ":path", "/"), true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.address)
			c.begin()
			go func() {
				for i := range uint32(many) {
					send(c, i)
				}
			}()
			calm := false
			for {
				f, ok := c.next()
				if !ok {
					break
				}
				calm = calm || f.is("GOAWAY") && f.code == http2.ErrCodeEnhanceYourCalm
			}
			if !calm {
				t.Log("the farewell was lost, as it may be where the client goes on writing")
			}
		})
	}
	t.Run("a header that does not end", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.write(func() error {
			return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: calling("/x/Y")})
		})
		go func() {
			for i := range many {
				c.write(func() error {
					return c.framer.WriteContinuation(1, false, block("x-"+strconv.Itoa(i), strings.Repeat("x", 1000)))
				})
			}
		}()
		c.expectEnd()
	})
}

// FuzzBytes has a stranger send what it likes: the server goes on serving others, and what the stranger began ends.
func FuzzBytes(f *testing.F) {
	var good bytes.Buffer
	framer := http2.NewFramer(&good, nil)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: calling("/grpc.testing.TestService/FullDuplexCall"), EndHeaders: true})
	_ = framer.WriteData(1, false, []byte{0, 0, 0, 0, 1, 0, 1})
	_ = framer.WriteWindowUpdate(0, 100)
	_ = framer.WritePing(false, [8]byte{})
	_ = framer.WriteRSTStream(1, 0)
	f.Add(good.Bytes())
	f.Add(good.Bytes()[9:])
	f.Add([]byte{})
	s := serve(f, port.Config{Window: 256 << 10})
	client := s.client(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := dial(t, s.address)
		go func() {
			_, _ = c.Write(append([]byte(http2.ClientPreface), b...))
			_ = c.Conn.(*net.TCPConn).CloseWrite()
		}()
		c.expectEnd()
		if _, err := client.UnaryCall(t.Context(), simple("x")); err != nil {
			t.Error(err)
		}
	})
}
