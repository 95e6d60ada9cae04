package port

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/inbox"
)

// stream is one call: grpc.ServerStream. One goroutine may receive while another sends.
type stream struct {
	conn   *conn
	id     uint32
	method string
	ctx    context.Context
	cancel context.CancelFunc
	// deadline ends the call; nil: it has none.
	deadline    *time.Timer
	contentType string
	encoding    string
	// compressor is that of both directions; nil: messages are sent as they are.
	compressor encoding.Compressor
	// reads: its receiver may read for the connection. It waits in there until a frame comes, so that one with a deadline, or with one message, does not.
	reads bool

	// What follows is conn.mu's, and so is the cond: whatever changes here, and somebody may wait for, wakes it.
	cond sync.Cond
	// incoming is what the client may send, and window what it takes.
	incoming credit
	window   int
	// in is what has come and nobody has received, and need how much of it its receiver waits for. lent is the memory of the message that is decoded, and spare that of
	// one that has been, for the next.
	in          []byte
	need        int
	lent, spare []byte
	// large is a message of which a part has been taken already; nil: there is none.
	large *large
	// woken: its receiver is to return without a message, once.
	woken bool
	// allCame: the client sends no more.
	allCame bool
	// err: the call is over for its handler, too.
	err error
	// queued: it waits for a handler.
	queued bool
	// waits: its receiver waits, and would read.
	waits bool
	// blocked counts senders that wait for a window, and since is from when on one has waited with the same part of a message; zero: none has.
	blocked int
	since   time.Time
	// header and trailer are what the handler says; sent: the headers have been, and done: the trailers.
	header, trailer metadata.MD
	sent, done      bool
}

// large is a message that is taken piece by piece.
type large struct {
	message    mem.BufferSlice
	left       int
	compressed bool
}

func newStream(c *conn, id uint32, r request) *stream {
	s := &stream{conn: c, id: id, method: r.method, contentType: r.contentType, encoding: r.encoding, window: c.initial}
	s.incoming.left = int(c.server.cfg.Window)
	s.cond.L = &c.mu
	ctx := grpc.NewContextWithServerTransportStream(r.ctx, (*transport)(s))
	if r.timed {
		s.ctx, s.cancel = context.WithTimeout(ctx, r.timeout)
		s.deadline = time.AfterFunc(r.timeout, s.expire)
	} else {
		s.ctx, s.cancel = context.WithCancel(ctx)
	}
	return s
}

// expire ends the call at its deadline.
func (s *stream) expire() {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	s.kill(status.FromContextError(context.DeadlineExceeded).Err())
	c.put(appendReset(nil, s.id, http2.ErrCodeCancel))
}

// kill ends the call for its handler; mu is held, and it is of the connection no longer.
func (s *stream) kill(err error) {
	if s.err == nil {
		s.err = err
	}
	s.in, s.lent, s.spare = nil, nil, nil
	s.unqueue()
	if s.deadline != nil {
		s.deadline.Stop()
	}
	s.cancel()
	s.cond.Broadcast()
}

// unqueue takes it from those that wait for a handler; mu is held.
func (s *stream) unqueue() {
	if !s.queued {
		return
	}
	c := s.conn
	s.queued = false
	if c.queue = slices.DeleteFunc(c.queue, func(one *stream) bool { return one == s }); len(c.queue) == 0 {
		c.queue = nil
	}
}

// finish ends the call, with a status where it was not told yet.
func (s *stream) finish(told *status.Status) {
	c := s.conn
	if told != nil {
		_ = s.send(nil, told) // who is not there hears nothing
	}
	c.mu.Lock()
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
	}
	s.kill(errCanceled)
	c.running--
	c.next()
	c.wanted() // its receiver has been whom the connection waited for
	done := c.drained()
	c.mu.Unlock()
	if done {
		c.end(errDrained)
	}
	c.server.handlers.Done()
}

// arrived takes what has come; mu is held.
func (s *stream) arrived(data []byte, last bool) {
	if s.in == nil {
		s.in, s.spare = s.spare, nil
	}
	s.in = append(s.in, data...)
	s.allCame = s.allCame || last
	if s.ready() {
		s.cond.Broadcast()
	}
}

// ready says whether a receiver that waits has what it waits for; mu is held.
func (s *stream) ready() bool { return s.err != nil || s.woken || s.allCame || len(s.in) >= s.need }

// took has the client send more, in place of what was taken; mu is held.
func (s *stream) took(n int) {
	if more := s.incoming.gave(n, int(s.conn.server.cfg.Window)); more > 0 && !s.allCame {
		s.conn.put(appendWindowUpdate(nil, s.id, more))
	}
}

// await waits until so much has come; role says whether the caller reads for the connection. io.EOF: less will come. inbox.ErrWoken: it was woken first. mu is held.
func (s *stream) await(n int, role *bool) error {
	c := s.conn
	s.need = n
	for {
		switch {
		case s.err != nil:
			return s.err
		case s.rouse():
			return inbox.ErrWoken
		case len(s.in) >= n:
			return nil
		case s.allCame:
			return io.EOF
		case *role || s.reads && c.take():
			*role, c.reader = true, s
			c.mu.Unlock()
			if err := c.frame(); err != nil {
				c.end(err) // this stream, too, where it has not ended already
			}
			c.mu.Lock()
		default:
			if s.reads {
				s.waits = true
				c.waiting++
			}
			s.cond.Wait()
			if s.reads {
				s.waits = false
				c.waiting--
			}
		}
	}
}

// next is the next message as it came. io.EOF: there are no more. After inbox.ErrWoken it goes on where it was.
func (s *stream) next() (message mem.BufferSlice, compressed bool, err error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	role := false
	defer func() {
		if role {
			c.give(s)
		}
	}()
	// A message is taken in large pieces as it comes: what a client only says that it will send has no memory.
	piece := int(c.server.cfg.Window) / 2
	if s.large == nil {
		if err := s.await(messageHeader, &role); err != nil {
			if errors.Is(err, io.EOF) && len(s.in) > 0 {
				err = errCut
			}
			return nil, false, err
		}
		flag, size := s.in[0], int(binary.BigEndian.Uint32(s.in[1:]))
		if flag > 1 {
			return nil, false, status.Errorf(codes.Internal, "grpc: received unexpected payload format %d", flag)
		}
		if size > c.server.cfg.MaxReceive {
			return nil, false, tooLarge(size, c.server.cfg.MaxReceive)
		}
		if whole := messageHeader + size; whole <= piece {
			if err := s.awaitRest(whole, &role); err != nil {
				return nil, false, err
			}
			s.lent = s.cut(whole)
			return mem.BufferSlice{mem.SliceBuffer(s.lent[messageHeader:])}, flag == 1, nil
		}
		s.cut(messageHeader)
		s.large = &large{left: size, compressed: flag == 1}
	}
	l := s.large
	for l.left > 0 {
		if err := s.awaitRest(min(l.left, piece), &role); err != nil {
			return nil, false, err
		}
		b := s.cut(min(l.left, len(s.in)))
		l.message = append(l.message, mem.SliceBuffer(b))
		l.left -= len(b)
	}
	s.large = nil
	return l.message, l.compressed, nil
}

func (s *stream) awaitRest(n int, role *bool) error {
	err := s.await(n, role)
	if errors.Is(err, io.EOF) {
		return errCut
	}
	return err
}

// cut takes so many bytes of what has come; mu is held. They are the caller's.
func (s *stream) cut(n int) []byte {
	s.took(n)
	if n == len(s.in) {
		b := s.in
		s.in = nil
		return b
	}
	b := bytes.Clone(s.in[:n])
	s.in = s.in[n:]
	return b
}

var errCut = status.Error(codes.Internal, io.ErrUnexpectedEOF.Error())

func tooLarge(size, most int) error {
	return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", size, most)
}

// Context is grpc.ServerStream's.
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg is grpc.ServerStream's.
func (s *stream) RecvMsg(m any) error {
	data, compressed, err := s.next()
	if err != nil {
		return err
	}
	if compressed {
		if data, err = s.decompress(data); err != nil {
			return err
		}
	}
	defer data.Free()
	if err := s.conn.server.cfg.Codec.Unmarshal(data, m); err != nil {
		return status.Errorf(codes.Internal, "grpc: error unmarshalling request: %v", err)
	}
	if _, copies := m.(proto.Message); copies && !compressed {
		s.reuse()
	}
	return nil
}

// reuse takes the memory of a message that was decoded, if it is small, for the next.
func (s *stream) reuse() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if cap(s.lent) <= maxSpare && s.in == nil && s.err == nil {
		s.spare = s.lent[:0]
	}
	s.lent = nil
}

func (s *stream) decompress(data mem.BufferSlice) (mem.BufferSlice, error) {
	if s.compressor == nil {
		return nil, status.Error(codes.Internal, "grpc: compressed flag set with identity or empty encoding")
	}
	most := s.conn.server.cfg.MaxReceive
	r, err := s.compressor.Decompress(data.Reader())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "grpc: failed to decompress the message: %v", err)
	}
	out, err := mem.ReadAll(io.LimitReader(r, int64(most)+1), mem.DefaultBufferPool())
	if err != nil {
		out.Free()
		return nil, status.Errorf(codes.Internal, "grpc: failed to read decompressed data: %v", err)
	}
	if out.Len() > most {
		out.Free()
		return nil, status.Errorf(codes.ResourceExhausted, "grpc: received message after decompression larger than max %d", most)
	}
	return out, nil
}

// SendMsg is grpc.ServerStream's.
func (s *stream) SendMsg(m any) error {
	out, err := s.encode(m)
	if err != nil {
		return err
	}
	defer out.data.Free()
	return s.send(&out, nil)
}

func (s *stream) encode(m any) (message, error) {
	data, err := s.conn.server.cfg.Codec.Marshal(m)
	if err != nil {
		return message{}, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	out := message{data: data}
	if s.compressor != nil {
		if out.data, err = s.compress(data); err != nil {
			return message{}, err
		}
		out.header[0] = 1
	}
	out.size = out.data.Len()
	if most := s.conn.server.cfg.MaxSend; out.size > most {
		out.data.Free()
		return message{}, status.Errorf(codes.ResourceExhausted, "trying to send message larger than max (%d vs. %d)", out.size, most)
	}
	binary.BigEndian.PutUint32(out.header[1:], uint32(out.size))
	return out, nil
}

func (s *stream) compress(data mem.BufferSlice) (mem.BufferSlice, error) {
	defer data.Free()
	var out mem.BufferSlice
	w, err := s.compressor.Compress(mem.NewWriter(&out, mem.DefaultBufferPool()))
	if err == nil {
		for _, b := range data {
			if _, err = w.Write(b.ReadOnlyData()); err != nil {
				break
			}
		}
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		out.Free()
		return nil, status.Errorf(codes.Internal, "grpc: error while compressing: %v", err)
	}
	return out, nil
}

// over says why nothing can be sent any more; mu is held.
func (s *stream) over() error {
	switch {
	case s.err != nil:
		return s.err
	case s.done:
		return status.Error(codes.Internal, "the call has ended: its handler has returned")
	case s.conn.ended:
		return errCanceled
	}
	return nil
}

// send writes a message (nil: none), and how the call has ended (nil: it goes on), with the headers before them where they have not been sent. It returns when
// all is written. It looks before each frame whether its call has ended, and not while one is written, its own or that of another call before it: each takes as
// long as the client takes to read it, and Config.Patience at most.
func (s *stream) send(m *message, told *status.Status) error {
	c := s.conn
	left, at := 0, place{}
	if m != nil {
		left = messageHeader + m.size
	}
	single, reached := left == 0, left
	var written time.Duration // of this part of the message
	for {
		c.out.Lock()
		pooled := buffers.Get().(*[]byte)
		c.mu.Lock()
		if err := s.over(); err != nil {
			c.mu.Unlock()
			c.out.Unlock()
			buffers.Put(pooled)
			return err
		}
		parted := false
		n := min(left, part, max(s.window, 0), max(c.window, 0))
		if n == 0 && left > 0 && s.sent {
			c.out.Unlock()
			buffers.Put(pooled)
			err := s.awaitWindow()
			c.mu.Unlock()
			if err != nil {
				return err
			}
			continue
		}
		ends := left == n && told != nil
		// Where there is nothing else to say, how it has ended is said in the headers.
		alone := ends && single && !s.sent && len(s.header) == 0
		var header, trailer []byte
		var headerSize, trailerSize int
		if !s.sent && !alone {
			header, headerSize = s.headers()
		}
		if ends {
			trailer, trailerSize = s.trailers(told, alone)
		}
		if size := max(headerSize, trailerSize); uint64(size) > c.maxHeader {
			err := status.Errorf(codes.Internal, "the headers or trailers have %d bytes; the client takes %d", size, c.maxHeader)
			s.err = err
			c.refuse(s.id, http2.ErrCodeInternal)
			c.mu.Unlock()
			c.out.Unlock()
			buffers.Put(pooled)
			return err
		}
		b := c.takeControl((*pooled)[:0])
		s.window -= n
		c.window -= n
		left -= n
		if left == 0 || reached-left >= patientPart {
			reached, s.since, parted = left, time.Time{}, true
		}
		if header != nil {
			b = appendHeaders(b, s.id, header, false)
		}
		s.sent, s.done, c.answered = true, ends, true
		if ends { // before the client knows that it may make another call
			delete(c.streams, s.id)
		}
		resets := ends && !s.allCame
		c.mu.Unlock()
		if n > 0 {
			b = m.cut(appendFrame(b, http2.FrameData, 0, s.id, n), &at, n)
		}
		if ends {
			b = appendHeaders(b, s.id, trailer, true)
		}
		if resets { // the client need not send what nobody receives
			b = appendReset(b, s.id, http2.ErrCodeNo)
		}
		err := c.write(pooled, b, &written)
		if parted {
			written = 0
		}
		c.out.Unlock()
		if err != nil {
			return errCanceled
		}
		if left == 0 {
			return nil
		}
	}
}

// awaitWindow waits until something may be sent; mu is held.
func (s *stream) awaitWindow() error {
	c := s.conn
	if s.since.IsZero() {
		s.since = time.Now()
	}
	s.blocked++
	c.blocked++
	c.wanted()
	defer func() {
		s.blocked--
		c.blocked--
	}()
	for s.window <= 0 || c.window <= 0 {
		if err := s.over(); err != nil {
			return err
		}
		s.cond.Wait()
	}
	return nil
}

// headers are those before the first message, with their size as HTTP/2 counts it; mu is held.
func (s *stream) headers() ([]byte, int) {
	b := newBlock()
	b.begin(statusOK, s.contentType)
	if s.compressor != nil {
		b.add(encodingKey, s.compressor.Name())
	}
	b.metadata(s.header)
	size := b.size
	return b.done(), size
}

// trailers are those after the last, likewise.
func (s *stream) trailers(told *status.Status, alone bool) ([]byte, int) {
	b := newBlock()
	if alone {
		b.begin(statusOK, s.contentType)
	}
	b.status(told)
	b.metadata(s.trailer)
	size := b.size
	return b.done(), size
}

// SetHeader is grpc.ServerStream's.
func (s *stream) SetHeader(md metadata.MD) error {
	if md.Len() == 0 {
		return nil // also when it is too late for anything else
	}
	return s.setHeader(md)
}

func (s *stream) setHeader(md metadata.MD) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.sent {
		return status.Error(codes.Internal, "the headers have been sent already")
	}
	s.header = metadata.Join(s.header, md)
	return nil
}

// SendHeader is grpc.ServerStream's.
func (s *stream) SendHeader(md metadata.MD) error {
	if err := s.setHeader(md); err != nil {
		return err
	}
	return s.send(nil, nil)
}

// SetTrailer is grpc.ServerStream's.
func (s *stream) SetTrailer(md metadata.MD) {
	if len(md) == 0 {
		return
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
}

// transport is a stream as grpc.SetHeader and the like find it in a context: grpc.ServerTransportStream.
type transport stream

// Method is grpc.ServerTransportStream's.
func (t *transport) Method() string { return t.method }

// SetHeader is grpc.ServerTransportStream's.
func (t *transport) SetHeader(md metadata.MD) error { return (*stream)(t).SetHeader(md) }

// SendHeader is grpc.ServerTransportStream's.
func (t *transport) SendHeader(md metadata.MD) error { return (*stream)(t).SendHeader(md) }

// SetTrailer is grpc.ServerTransportStream's.
func (t *transport) SetTrailer(md metadata.MD) error {
	(*stream)(t).SetTrailer(md)
	return nil
}
