package port

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// frame reads one frame, and does what it says; none where whoever reads was woken. Whoever reads calls it. It does not wait for anything but the frame; an error
// ends the connection.
func (c *conn) frame() error {
	c.source.within = false
	f, err := c.framer.ReadFrame()
	if errors.Is(err, errInterrupted) {
		return nil
	}
	if err != nil {
		return c.broken(err)
	}
	if !c.heard.Load() {
		c.heard.Store(true)
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.RSTStreamFrame:
		return c.reset(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return c.broken(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol})
		}
	case *http2.GoAwayFrame:
		return nil // the client closes it when it likes
	case *http2.PushPromiseFrame:
		return protocolError{http2.ErrCodeProtocol, "clients push nothing"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spend()
}

// broken is what a frame that could not be read means: an end, or that of one stream.
func (c *conn) broken(err error) error {
	if one, ok := errors.AsType[http2.StreamError](err); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if one.StreamID > c.last && one.StreamID%2 == 1 {
			c.last = one.StreamID
		}
		c.refuse(one.StreamID, one.Code)
		return c.spend()
	}
	if all, ok := errors.AsType[http2.ConnectionError](err); ok {
		why := "a frame that cannot be"
		if detail := c.framer.ErrorDetail(); detail != nil {
			why = detail.Error()
		}
		return protocolError{http2.ErrCode(all), why}
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return protocolError{http2.ErrCodeFrameSize, "a frame is too large"}
	}
	return errQuiet
}

// spend counts a frame that carries nothing; mu is held.
func (c *conn) spend() error {
	if !c.budget.spend(time.Now) {
		return protocolError{http2.ErrCodeEnhanceYourCalm, "too many frames that say nothing"}
	}
	return c.calm()
}

// calm is an error where too many answers of the protocol itself wait to be written; mu is held.
func (c *conn) calm() error {
	if len(c.control) > maxControl {
		return protocolError{http2.ErrCodeEnhanceYourCalm, "answers are asked for and not read"}
	}
	return nil
}

// refuse resets a stream, whether there is one or not; mu is held.
func (c *conn) refuse(id uint32, code http2.ErrCode) {
	if s := c.streams[id]; s != nil {
		delete(c.streams, id)
		s.kill(errCanceled)
	}
	c.put(appendReset(nil, id, code))
}

// opened is an error where nobody has opened a stream; mu is held.
func (c *conn) opened(id uint32) error {
	if id > c.last || id%2 == 0 {
		return protocolError{http2.ErrCodeProtocol, "a frame for a stream that is not open"}
	}
	return nil
}

func (c *conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.opened(f.StreamID); err != nil {
		return err
	}
	window, length := int(c.server.cfg.Window), int(f.Length)
	if !c.incoming.came(length) {
		return protocolError{http2.ErrCodeFlowControl, "more than the connection's window"}
	}
	// At once: streams that nobody reads must not keep the others waiting.
	if more := c.incoming.gave(length, window); more > 0 {
		c.put(appendWindowUpdate(nil, 0, more))
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if c.quit.has(f.StreamID) {
			c.put(appendReset(nil, f.StreamID, http2.ErrCodeStreamClosed))
			return c.spend()
		}
		// It was on its way when this side ended the stream, and said so. What is of any length costs the client as much as if there still were one.
		if f.StreamEnded() {
			c.quit.add(f.StreamID)
		}
		if len(f.Data()) == 0 {
			return c.spend()
		}
		return nil
	}
	if s.allCame {
		c.refuse(f.StreamID, http2.ErrCodeStreamClosed)
		return c.spend()
	}
	if !s.incoming.came(length) {
		c.refuse(f.StreamID, http2.ErrCodeFlowControl)
		return c.spend()
	}
	if f.StreamEnded() {
		c.quit.add(f.StreamID)
	}
	data := f.Data()
	if padding := length - len(data); padding > 0 {
		s.took(padding)
	}
	s.arrived(data, f.StreamEnded())
	if len(data) == 0 && !f.StreamEnded() {
		return c.spend()
	}
	return nil
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if !grow(&c.window, int(f.Increment)) {
			return protocolError{http2.ErrCodeFlowControl, "the connection's window is too large"}
		}
		c.unblock()
		return nil
	}
	if err := c.opened(f.StreamID); err != nil {
		return err
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil
	}
	if !grow(&s.window, int(f.Increment)) {
		c.refuse(f.StreamID, http2.ErrCodeFlowControl)
		return c.spend()
	}
	s.cond.Broadcast()
	return nil
}

// unblock wakes the senders that wait for a window; mu is held.
func (c *conn) unblock() {
	if c.blocked == 0 {
		return
	}
	for _, s := range c.streams {
		if s.blocked > 0 {
			s.cond.Broadcast()
		}
	}
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			code := http2.ErrCodeProtocol
			if told, ok := errors.AsType[http2.ConnectionError](err); ok {
				code = http2.ErrCode(told)
			}
			return protocolError{code, "a setting that cannot be"}
		}
		switch s.ID {
		case http2.SettingMaxHeaderListSize:
			c.maxHeader = uint64(s.Val)
			return nil
		case http2.SettingInitialWindowSize:
		default:
			return nil // this side pushes nothing, has no table of headers, and writes the smallest frames
		}
		by := int(s.Val) - c.initial
		c.initial = int(s.Val)
		for _, one := range c.streams {
			if !grow(&one.window, by) {
				return protocolError{http2.ErrCodeFlowControl, "a stream's window is too large"}
			}
		}
		c.unblock()
		return nil
	}); err != nil {
		return err
	}
	c.put(appendFrame(nil, http2.FrameSettings, http2.FlagSettingsAck, 0, 0))
	return c.spend()
}

func (c *conn) ping(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.IsAck() {
		if f.Data == goAwayPing {
			c.lastCall()
			if c.drained() {
				return errDrained
			}
		}
		return nil
	}
	c.put(appendPing(nil, true, f.Data))
	now := time.Now()
	soon := now.Sub(c.pinged) < c.server.cfg.MinPing
	c.pinged = now
	if c.answered { // clients measure by a ping how long what they are sent is on its way: as often as they are sent something, and as fast
		c.answered, c.strikes = false, 0
		return c.calm()
	}
	if soon {
		if c.strikes++; c.strikes > maxStrikes {
			return protocolError{http2.ErrCodeEnhanceYourCalm, "too_many_pings"} // in the words that clients of gRPC know
		}
	}
	return c.spend()
}

func (c *conn) reset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.opened(f.StreamID); err != nil {
		return err
	}
	c.quit.add(f.StreamID)
	if s := c.streams[f.StreamID]; s != nil {
		delete(c.streams, f.StreamID)
		s.kill(errCanceled)
	}
	return c.spend()
}

// headers begin a call, or end what a client sends.
func (c *conn) headers(f *http2.MetaHeadersFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := f.StreamID
	if id%2 == 0 {
		return protocolError{http2.ErrCodeProtocol, "a client's streams have odd numbers"}
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		c.last = max(c.last, id)
		c.refuse(id, http2.ErrCodeProtocol)
		return c.spend()
	}
	if s := c.streams[id]; s != nil {
		switch {
		case s.allCame:
			c.refuse(id, http2.ErrCodeStreamClosed)
			return c.spend()
		case !f.StreamEnded():
			c.refuse(id, http2.ErrCodeProtocol)
			return c.spend()
		}
		c.quit.add(id)
		s.arrived(nil, true)
		return nil
	}
	if id <= c.last {
		return protocolError{http2.ErrCodeStreamClosed, "headers for a stream that has ended"}
	}
	c.last = id
	if f.StreamEnded() {
		c.quit.add(id)
	}
	if c.final {
		return nil // the client was told that it is not served
	}
	if len(c.streams) >= int(c.server.cfg.MaxStreams) {
		c.refuse(id, http2.ErrCodeRefusedStream)
		return c.spend()
	}
	if f.Truncated {
		c.refuse(id, http2.ErrCodeFrameSize)
		return c.spend()
	}
	c.mu.Unlock()
	r, refused := requestOf(f)
	if refused == nil {
		refused = c.admitted(&r)
	}
	c.mu.Lock()
	if c.ended {
		return errQuiet
	}
	if refused != nil && refused.http == "" {
		c.refuse(id, http2.ErrCodeProtocol)
		return c.spend()
	}
	if refused != nil {
		b := appendHeaders(nil, id, refused.block(r.contentType), true)
		if !f.StreamEnded() {
			b = appendReset(b, id, http2.ErrCodeNo)
		}
		c.put(b)
		return c.spend()
	}
	s := newStream(c, id, r)
	if f.StreamEnded() {
		s.allCame = true
	}
	if c.streams == nil {
		c.streams = make(map[uint32]*stream, 1)
	}
	c.streams[id] = s
	s.queued = true
	c.queue = append(c.queue, s)
	c.next()
	return nil
}

// next has the oldest call begin that waits for that, where there may be one more handler: a client may give up calls and make others, and does not know when
// the handlers of the former have ended. mu is held.
func (c *conn) next() {
	if len(c.queue) == 0 || c.running >= int(c.server.cfg.MaxStreams) {
		return
	}
	s := c.queue[0]
	s.unqueue()
	c.running++
	c.server.handlers.Add(1)
	go s.serve()
}

// admitted asks the door.
func (c *conn) admitted(r *request) *refusal {
	if err := r.enter(c.base, c.server.cfg.Door); err != nil {
		told, ok := status.FromError(err)
		if !ok {
			told = status.New(codes.PermissionDenied, err.Error())
		}
		return &refusal{http: statusOK, status: told}
	}
	return nil
}
