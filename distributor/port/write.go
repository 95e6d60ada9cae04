package port

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// buffers are what is written from: a frame with what goes along.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, maxFrame+512); return &b }}

// write writes, and gives the buffer back; out is held. A failure ends the connection. so is for how long what belongs together has been written already:
// patience is with all of it; it grows.
func (c *conn) write(b *[]byte, from []byte, so *time.Duration) error {
	begun := time.Now()
	c.writing.Store(begun.Add(-*so).UnixNano())
	_, err := c.nc.Write(from)
	c.writing.Store(0)
	*so += time.Since(begun)
	if cap(from) <= 2*maxFrame {
		*b = from[:0]
		buffers.Put(b)
	}
	if err != nil {
		c.end(errQuiet)
	}
	return err
}

// put has an answer of the protocol itself written, soon; mu is held.
func (c *conn) put(frame []byte) {
	if c.ended {
		return
	}
	c.control = append(c.control, frame...)
	if !c.flushing {
		c.flushing = true
		go c.flush()
	}
}

// flush writes what nobody else has taken along.
func (c *conn) flush() {
	c.out.Lock()
	defer c.out.Unlock()
	c.mu.Lock()
	c.flushing = false
	if c.ended || len(c.control) == 0 { // where it has ended, its last words come after what waits
		c.mu.Unlock()
		return
	}
	b := buffers.Get().(*[]byte)
	from := c.takeControl((*b)[:0])
	c.mu.Unlock()
	_ = c.write(b, from, new(time.Duration)) // the connection has ended then
}

// takeControl appends what waits to be written; mu is held.
func (c *conn) takeControl(b []byte) []byte {
	if len(c.control) > 0 {
		b = append(b, c.control...)
		c.control = nil
	}
	return b
}

func appendFrame(b []byte, kind http2.FrameType, flags http2.Flags, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSettings(b []byte, all ...http2.Setting) []byte {
	b = appendFrame(b, http2.FrameSettings, 0, 0, 6*len(all))
	for _, s := range all {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	return b
}

func appendWindowUpdate(b []byte, stream, by uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameWindowUpdate, 0, stream, 4), by)
}

func appendReset(b []byte, stream uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameRSTStream, 0, stream, 4), uint32(code))
}

func appendPing(b []byte, ack bool, data [8]byte) []byte {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	return append(appendFrame(b, http2.FramePing, flags, 0, len(data)), data[:]...)
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, why string) []byte {
	b = appendFrame(b, http2.FrameGoAway, 0, 0, 8+len(why))
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), uint32(code))
	return append(b, why...)
}

// appendHeaders appends a block of headers, in as many frames as it takes.
func appendHeaders(b []byte, stream uint32, block []byte, end bool) []byte {
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(block), maxFrame)
		if n == len(block) {
			flags |= http2.FlagHeadersEndHeaders // which is the same bit for both kinds
		}
		b = append(appendFrame(b, kind, flags, stream, n), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		kind, flags = http2.FrameContinuation, 0
	}
}
