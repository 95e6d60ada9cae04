package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// This file is an HTTP/2 end that sends frames one by one and writes down what it gets, as a client or as a server. net/http hides
// too much: where a stream ends, metadata, resets.

// frameMetadata is Envoy's extension to HTTP/2 (docs: "HTTP/2 METADATA frames").
const (
	frameMetadata        = http2.FrameType(0x4d)
	flagEndMetadata      = http2.Flags(0x4)
	windowSize           = 1 << 24
	ioTimeout            = 10 * time.Second
	firstClientStream    = 1
	settingAllowMetadata = http2.SettingID(0x4d44)
)

// h2conn is one connection.
type h2conn struct {
	conn   net.Conn
	client bool
	accept func(*h2stream) // a server's: called at the headers of each new stream

	write   sync.Mutex
	buffer  *bufio.Writer
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder

	mu      sync.Mutex
	streams map[uint32]*h2stream
	nextID  uint32
	closed  bool
}

// h2stream is one request.
type h2stream struct {
	conn *h2conn
	id   uint32

	headers []hpack.HeaderField // of a server's stream: the request's

	mu      sync.Mutex
	events  []event
	done    bool // the other end has said its last
	sentEnd bool // a server's: it has
	metaBuf []byte
}

// newH2 begins a connection: preface and settings.
func newH2(conn net.Conn, client bool, accept func(*h2stream)) (*h2conn, error) {
	c := &h2conn{conn: conn, client: client, accept: accept, streams: map[uint32]*h2stream{}, nextID: firstClientStream}
	c.buffer = bufio.NewWriter(conn)
	c.framer = http2.NewFramer(c.buffer, conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.write.Lock()
	defer c.write.Unlock()
	if err := conn.SetWriteDeadline(time.Now().Add(ioTimeout)); err != nil {
		return nil, err
	}
	if client {
		if _, err := io.WriteString(c.buffer, http2.ClientPreface); err != nil {
			return nil, err
		}
	} else {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(conn, preface); err != nil {
			return nil, err
		}
	}
	settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: windowSize}, {ID: settingAllowMetadata, Val: 1}}
	if err := c.framer.WriteSettings(settings...); err != nil {
		return nil, err
	}
	if err := c.framer.WriteWindowUpdate(0, windowSize); err != nil {
		return nil, err
	}
	if err := c.buffer.Flush(); err != nil {
		return nil, err
	}
	go c.read()
	return c, nil
}

func (c *h2conn) close() { _ = c.conn.Close() }

// read takes frames until the connection ends.
func (c *h2conn) read() {
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			if _, stream := err.(http2.StreamError); stream {
				continue
			}
			break
		}
		c.take(f)
	}
	c.mu.Lock()
	c.closed = true
	streams := c.streams
	c.streams = map[uint32]*h2stream{}
	c.mu.Unlock()
	for _, s := range streams {
		s.ended(event{kind: evReset})
	}
	c.close()
}

func (c *h2conn) take(f http2.Frame) {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.send(func() error { return c.framer.WriteSettingsAck() })
		}
		return
	case *http2.PingFrame:
		if !f.IsAck() {
			c.send(func() error { return c.framer.WritePing(true, f.Data) })
		}
		return
	}
	if id == 0 {
		return
	}
	c.mu.Lock()
	s := c.streams[id]
	if s == nil && !c.client {
		s = &h2stream{conn: c, id: id}
		c.streams[id] = s
	}
	c.mu.Unlock()
	if s == nil {
		return
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		var list []string
		for _, h := range f.Fields {
			list = append(list, h.Name, h.Value)
		}
		first := s.headers == nil && !c.client
		if first {
			s.headers = f.Fields
		}
		s.add(event{kind: evHeaders, headers: list, end: f.StreamEnded()})
		if first && c.accept != nil {
			c.accept(s)
		}
	case *http2.DataFrame:
		s.add(event{kind: evData, data: string(f.Data()), end: f.StreamEnded()})
		if n := uint32(len(f.Data())); n > 0 {
			c.send(func() error {
				if err := c.framer.WriteWindowUpdate(0, n); err != nil {
					return err
				}
				return c.framer.WriteWindowUpdate(id, n)
			})
		}
	case *http2.RSTStreamFrame:
		s.ended(event{kind: evReset})
	case *http2.UnknownFrame:
		if f.Type != frameMetadata {
			return
		}
		s.metaBuf = append(s.metaBuf, f.Payload()...)
		if f.Flags&flagEndMetadata == 0 {
			return
		}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(s.metaBuf)
		s.metaBuf = nil
		if err != nil {
			return
		}
		var list []string
		for _, h := range fields {
			list = append(list, h.Name, h.Value)
		}
		s.add(event{kind: evMetadata, headers: list})
	}
}

// send writes one frame or more. A connection that is gone takes nothing; the other end's events tell.
func (c *h2conn) send(f func() error) {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	if err := f(); err == nil {
		_ = c.buffer.Flush()
	}
}

// open begins a request.
func (c *h2conn) open() *h2stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &h2stream{conn: c, id: c.nextID}
	c.nextID += 2
	c.streams[s.id] = s
	return s
}

func (s *h2stream) add(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		s.events = append(s.events, e)
	}
	s.done = s.done || e.end
}

func (s *h2stream) ended(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// After the end of the response a reset is only the client's tidying up.
	if !s.done && !s.sentEnd {
		s.events = append(s.events, e)
	}
	s.done = true
}

// take gives what has come since the last call.
func (s *h2stream) take() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

// ends notes that a server sends its last frame.
func (s *h2stream) ends(end bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sentEnd = s.sentEnd || end && !s.conn.client
}

func (s *h2stream) sendHeaders(headers []string, end bool) {
	s.ends(end)
	s.conn.send(func() error {
		return s.conn.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: s.conn.encode(headers), EndStream: end, EndHeaders: true})
	})
}

func (s *h2stream) sendData(data string, end bool) {
	s.ends(end)
	s.conn.send(func() error { return s.conn.framer.WriteData(s.id, end, []byte(data)) })
}

func (s *h2stream) sendMetadata(headers []string) {
	s.conn.send(func() error {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for i := 0; i < len(headers); i += 2 {
			// Metadata has no table of its own: literals that are not indexed.
			if err := e.WriteField(hpack.HeaderField{Name: headers[i], Value: headers[i+1], Sensitive: true}); err != nil {
				return err
			}
		}
		return s.conn.framer.WriteRawFrame(frameMetadata, flagEndMetadata, s.id, block.Bytes())
	})
}

func (s *h2stream) reset() {
	s.conn.send(func() error { return s.conn.framer.WriteRSTStream(s.id, http2.ErrCodeCancel) })
}

// encode makes a block of headers. It is called with the write lock.
func (c *h2conn) encode(headers []string) []byte {
	c.encoded.Reset()
	for i := 0; i < len(headers); i += 2 {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: headers[i], Value: headers[i+1]}); err != nil {
			panic(fmt.Sprintf("conformance: encode %q: %v", headers[i], err)) // a bytes.Buffer takes everything
		}
	}
	return c.encoded.Bytes()
}
