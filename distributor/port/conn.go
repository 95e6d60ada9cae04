package port

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// conn is one connection.
type conn struct {
	server *Server
	// raw is what was accepted, and nc what the credentials have made of it.
	raw, nc net.Conn
	// base is what the contexts of calls begin with. It is never done: a connection ends its calls one by one.
	base context.Context
	// framer is of whoever reads, and source what it reads from.
	framer *http2.Framer
	source source
	// begun is when it was accepted, and age how long it lasts from then; 0: for ever.
	begun time.Time
	age   time.Duration

	// heard: something was read since the watch last looked.
	heard atomic.Bool
	// writing is when whoever writes began to, less what the part of a message took that has been written before, in nanoseconds since 1970; 0: nobody does.
	writing atomic.Int64

	// out is held by whoever writes.
	out sync.Mutex

	// mu guards all that follows.
	mu      sync.Mutex
	streams map[uint32]*stream
	// last is the newest stream that the client has opened, and quit are those that it has ended itself, lately.
	last uint32
	quit lately
	// running counts the handlers, and queue are the streams that wait for one.
	running int
	queue   []*stream
	// serves: its client's first settings are there. ended: nothing is read or written any more, but a farewell.
	serves, ended bool

	// reading: somebody reads, or is about to.
	reading bool
	// reader is the receiver that reads; nil: none does. interrupted: it was woken, and its reading has a deadline that is over; hastened: one by which the frame
	// is to be whole that it was in the midst of.
	reader                *stream
	interrupted, hastened bool
	// waiting counts the receivers that would read.
	waiting int
	// vacant has somebody read after a while of nobody; nil: it has not been needed yet.
	vacant *time.Timer

	// incoming is what the client may send, and window what it takes; initial is that of a new stream.
	incoming        credit
	window, initial int
	// maxHeader is the most that the client takes of headers, in bytes as HTTP/2 counts them.
	maxHeader uint64
	// blocked counts the senders that wait for a window.
	blocked int
	// control are the protocol's own answers that nobody has written yet, and flushing: somebody is about to.
	control  []byte
	flushing bool
	budget   budget

	// listened is when something was last read, as the watch knows, and asked when a ping was sent since; zero: none.
	listened, asked time.Time
	// pinged is when the client last asked, strikes how often it did so too soon, and answered: it was sent something of a call since.
	pinged   time.Time
	strikes  int
	answered bool
	// leaves: the client was told to go, at told; final: it opens no streams any more. closes is when its calls are ended; zero: they may go on.
	leaves bool
	told   time.Time
	closes time.Time
	final  bool
}

// errQuiet ends a connection of which there is nothing to say.
var errQuiet = errors.New("the client has gone")

func newConn(s *Server, raw net.Conn) *conn {
	now := time.Now()
	c := &conn{server: s, raw: raw, nc: raw, begun: now, listened: now, initial: firstWindow, window: firstWindow, maxHeader: math.MaxInt64}
	c.incoming.left = int(s.cfg.Window)
	if s.cfg.Age > 0 {
		c.age = time.Duration(float64(s.cfg.Age) * (1 + ageJitter*(2*rand.Float64()-1)))
	}
	return c
}

// open shakes hands, and has the connection read.
func (c *conn) open() {
	if err := c.greet(); err != nil {
		c.server.cfg.Log.Debug("a connection has not begun", "from", c.raw.RemoteAddr().String(), "error", err)
		c.end(errQuiet)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.serves, c.reading = true, true
		go c.read() // with a stack of its own, that no handshake has made large
	}
}

// Where there is no TLS, which buffers by itself, that many bytes are read at once.
const readBuffer = 2 << 10

// greet is all until the client's first settings.
func (c *conn) greet() error {
	cfg := &c.server.cfg
	if err := c.raw.SetDeadline(time.Now().Add(cfg.Handshake)); err != nil {
		return err
	}
	who := &peer.Peer{Addr: c.raw.RemoteAddr(), LocalAddr: c.raw.LocalAddr()}
	var from io.Reader
	if cfg.Credentials != nil {
		nc, info, err := cfg.Credentials.ServerHandshake(c.raw)
		if err != nil {
			return err
		}
		who.AuthInfo = info
		c.mu.Lock()
		c.nc = nc
		c.mu.Unlock()
	}
	if _, secured := who.AuthInfo.(credentials.TLSInfo); secured {
		from = c.nc
	} else {
		from = bufio.NewReaderSize(c.nc, readBuffer)
	}
	c.base = peer.NewContext(context.Background(), who)
	if err := c.introduce(); err != nil {
		return err
	}
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(from, preface[:]); err != nil {
		return err
	}
	if string(preface[:]) != http2.ClientPreface {
		return errors.New("it does not begin as HTTP/2 does")
	}
	c.source = source{conn: c, from: from}
	c.framer = http2.NewFramer(nil, &c.source)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.SetReuseFrames()
	c.framer.MaxHeaderListSize = cfg.MaxHeader
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	first, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := first.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return fmt.Errorf("it begins with a frame %s", first.Header().Type)
	}
	if err := c.settings(settings); err != nil {
		return err
	}
	return c.raw.SetDeadline(time.Time{})
}

// introduce sends this side's settings.
func (c *conn) introduce() error {
	cfg := &c.server.cfg
	b := appendSettings(nil,
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: cfg.MaxStreams},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: cfg.MaxHeader},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: cfg.Window})
	if more := cfg.Window - firstWindow; more > 0 {
		b = appendWindowUpdate(b, 0, more)
	}
	_, err := c.nc.Write(b)
	return err
}

// protocolError ends a connection with a code that the client is told.
type protocolError struct {
	code http2.ErrCode
	why  string
}

func (e protocolError) Error() string { return fmt.Sprintf("%s: %s", e.code, e.why) }

// end ends the connection, for a reason that the log, and by a protocolError the client, is told. Where the client may still read it takes its time, but not
// when the server stops.
func (c *conn) end(why error) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		if errors.Is(why, errStopped) {
			_ = c.raw.Close()
		}
		return
	}
	c.ended = true
	for id, s := range c.streams {
		delete(c.streams, id)
		s.kill(errCanceled)
	}
	if c.vacant != nil {
		c.vacant.Stop()
	}
	last := c.last
	c.mu.Unlock()
	if said, ok := errors.AsType[protocolError](why); ok {
		c.server.cfg.Log.Debug("a connection is ended", "from", c.raw.RemoteAddr().String(), "error", said)
		go c.part(appendGoAway(nil, last, said.code, said.why)) // whoever reads must not wait
		return
	}
	if errors.Is(why, errDrained) {
		go c.part(nil)
		return
	}
	_ = c.raw.Close()
	c.server.forget(c)
}

// halved is a connection of which one side says that it writes no more.
type halved interface{ CloseWrite() error }

// part writes what waits and the last words, says that no more comes, and closes the connection when the client has read it, which it says by closing its own
// end: a kernel that is sent anything for a connection that is closed throws away what the client has not read yet.
func (c *conn) part(words []byte) {
	defer c.server.forget(c)
	defer c.raw.Close()
	_ = c.raw.SetWriteDeadline(time.Now().Add(farewell)) // also for who writes now
	c.out.Lock()
	c.mu.Lock()
	b := append(c.takeControl(nil), words...)
	c.mu.Unlock()
	_, err := c.nc.Write(b)
	if tls, ok := c.nc.(halved); ok && err == nil && c.server.cfg.Credentials != nil {
		_ = tls.CloseWrite() // who is not there hears nothing
	}
	c.out.Unlock()
	if err != nil {
		return
	}
	raw, ok := c.raw.(halved)
	if !ok || raw.CloseWrite() != nil {
		return
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(farewell)) // also for who reads now
	_, _ = io.CopyN(io.Discard, c.raw, int64(c.server.cfg.Window)+maxAfter)
}

// errCanceled is what a call ends with whose connection, or whose client, has gone.
var errCanceled = status.Error(codes.Canceled, context.Canceled.Error())

// errDrained ends a connection that has no calls any more.
var errDrained = errors.New("all calls have ended")

// drain tells the client to go: its calls go on until then, or without end where that is zero.
func (c *conn) drain(until time.Time) {
	c.mu.Lock()
	if !c.serves && !c.ended {
		c.mu.Unlock()
		c.end(errStopped)
		return
	}
	c.drainLocked(until)
	done := c.drained()
	c.mu.Unlock()
	if done {
		c.end(errDrained)
	}
}

// goAwayPing is the ping by whose answer it is known that the client has heard that it is to go.
var goAwayPing = [8]byte{'g', 'o', ' ', 'a', 'w', 'a', 'y', '.'}

func (c *conn) drainLocked(until time.Time) {
	if c.ended {
		return
	}
	if !until.IsZero() && (c.closes.IsZero() || until.Before(c.closes)) {
		c.closes = until
	}
	if c.leaves {
		return
	}
	c.leaves, c.told = true, time.Now()
	c.put(appendPing(appendGoAway(nil, maxWindow, http2.ErrCodeNo, "go away"), false, goAwayPing))
}

// lastCall takes no streams any more; mu is held.
func (c *conn) lastCall() {
	if c.leaves && !c.final {
		c.final = true
		c.put(appendGoAway(nil, c.last, http2.ErrCodeNo, "go away"))
	}
}

// drained says whether the last call of a client that is to go has ended; mu is held.
func (c *conn) drained() bool { return c.final && c.running == 0 && len(c.streams) == 0 && !c.ended }
