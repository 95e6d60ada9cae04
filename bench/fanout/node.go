package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// node is a client with a connection of its own and one stream on it. It speaks HTTP/2 by hand: a client of grpc-go has five goroutines and 64 KB of
// buffers, and ten thousand of them on the cores of the server would be what is measured. One goroutine runs it.
type node struct {
	fleet *fleet
	index int
	mu    sync.Mutex // guards conn where another goroutine ends it
	conn  net.Conn
	// header is of the frame that is read.
	header [frameHeader]byte
	// told are the header blocks so far, to say why a stream ended.
	told []byte
}

// Of HTTP/2 and gRPC.
const (
	frameHeader   = 9
	messageHeader = 5
	streamID      = 1
	// window is what a node lets a server send ahead: as good as all, like Envoy's 256 MiB.
	window = 1<<31 - 1
	// firstWindow is what HTTP/2 gives a connection at first.
	firstWindow = 1<<16 - 1
	// maxResponse bounds a response, in bytes.
	maxResponse = 64 << 20
	// maxFrame is the largest frame that is taken.
	maxFrame = 16 << 10
)

// greeting is all that a node sends before it hears anything: preface, settings, headers and first request.
func greeting(d dialect, name string) []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	var headers bytes.Buffer
	encoder := hpack.NewEncoder(&headers)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", d.method}, {":authority", serverName}, {"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // into memory
	}
	_ = errors.Join( // likewise
		f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}),
		f.WriteWindowUpdate(0, window-firstWindow),
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID, BlockFragment: headers.Bytes(), EndHeaders: true}),
	)
	return append(b.Bytes(), dataFrame(d.ask(name))...)
}

// dataFrame is a message as it is sent.
func dataFrame(m []byte) []byte {
	b := make([]byte, frameHeader+messageHeader, frameHeader+messageHeader+len(m))
	putHeader(b, http2.FrameData, 0, streamID, messageHeader+len(m))
	binary.BigEndian.PutUint32(b[frameHeader+1:], uint32(len(m)))
	return append(b, m...)
}

func putHeader(b []byte, kind http2.FrameType, flags http2.Flags, stream uint32, length int) {
	b[0], b[1], b[2], b[3], b[4] = byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags)
	binary.BigEndian.PutUint32(b[5:], stream)
}

// connect opens the connection, and sends the greeting.
func (n *node) connect(ctx context.Context) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: n.fleet.source(n.index)}, KeepAlive: -1}
	raw, err := dialer.DialContext(ctx, "tcp", n.fleet.address)
	if err != nil {
		return err
	}
	secured := tls.Client(raw, n.fleet.security(n.index))
	if err := secured.HandshakeContext(ctx); err != nil {
		return errors.Join(err, raw.Close())
	}
	if secured.ConnectionState().DidResume {
		n.fleet.resumed.Add(1)
	}
	n.mu.Lock()
	n.conn, n.told = secured, nil
	n.mu.Unlock()
	_, err = secured.Write(greeting(n.fleet.dialect, nodeName(n.index)))
	return err
}

// close ends the connection without a farewell, as that of a node that is killed.
func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		_ = n.conn.(*tls.Conn).NetConn().Close()
	}
}

// nodeName is a node's id.
func nodeName(index int) string { return fmt.Sprintf("node-%05d", index) }

// serve answers what comes until the connection ends.
func (n *node) serve() error {
	for {
		if _, err := io.ReadFull(n.conn, n.header[:]); err != nil {
			return n.because(err)
		}
		length := int(n.header[0])<<16 | int(n.header[1])<<8 | int(n.header[2])
		if length > maxFrame {
			return fmt.Errorf("a frame has %d bytes", length)
		}
		kind, flags := http2.FrameType(n.header[3]), http2.Flags(n.header[4])
		var err error
		if kind == http2.FrameData {
			err = n.data(length)
		} else {
			err = n.control(kind, flags, length)
		}
		if err != nil {
			return err
		}
	}
}

// control takes a frame that is no data.
func (n *node) control(kind http2.FrameType, flags http2.Flags, length int) error {
	payload := make([]byte, length)
	if _, err := io.ReadFull(n.conn, payload); err != nil {
		return n.because(err)
	}
	switch {
	case kind == http2.FrameSettings && !flags.Has(http2.FlagSettingsAck):
		return n.write(http2.FrameSettings, http2.FlagSettingsAck, nil)
	case kind == http2.FramePing && !flags.Has(http2.FlagPingAck):
		return n.write(http2.FramePing, http2.FlagPingAck, payload)
	case kind == http2.FrameHeaders:
		if n.told = append(n.told, payload...); flags.Has(http2.FlagHeadersEndStream) {
			return n.because(errors.New("the stream has ended"))
		}
	case kind == http2.FrameRSTStream:
		return n.because(errors.New("the stream was reset"))
	case kind == http2.FrameGoAway:
		return fmt.Errorf("the server goes away: %q", payload)
	}
	return nil
}

func (n *node) write(kind http2.FrameType, flags http2.Flags, payload []byte) error {
	b := make([]byte, frameHeader, frameHeader+len(payload))
	putHeader(b, kind, flags, 0, len(payload))
	_, err := n.conn.Write(append(b, payload...))
	return err
}

// because adds what the server said of the end of the stream.
func (n *node) because(err error) error {
	fields, decoding := hpack.NewDecoder(4096, nil).DecodeFull(n.told)
	if decoding != nil {
		return err
	}
	for _, f := range fields {
		if f.Name == "grpc-status" || f.Name == "grpc-message" {
			err = fmt.Errorf("%w; %s: %s", err, f.Name, f.Value)
		}
	}
	return err
}

// data reads a message that begins with a frame of this length, answers it, and notes when.
func (n *node) data(length int) error {
	if length < messageHeader {
		return fmt.Errorf("a message begins with a frame of %d bytes", length)
	}
	var prefix [messageHeader]byte
	if _, err := io.ReadFull(n.conn, prefix[:]); err != nil {
		return n.because(err)
	}
	size := int(binary.BigEndian.Uint32(prefix[1:]))
	if prefix[0] != 0 || size > maxResponse {
		return fmt.Errorf("a response has %d bytes and flags %d", size, prefix[0])
	}
	buffer := n.fleet.buffers.Get().(*[]byte)
	defer n.fleet.buffers.Put(buffer)
	if cap(*buffer) < size {
		*buffer = make([]byte, size)
	}
	m := (*buffer)[:size]
	for at, left := 0, length-messageHeader; ; {
		if at+left > size {
			return errors.New("a frame holds more than one message")
		}
		if _, err := io.ReadFull(n.conn, m[at:at+left]); err != nil {
			return n.because(err)
		}
		if at += left; at == size {
			break
		}
		// Only data can come between, and what is of the connection.
		for {
			if _, err := io.ReadFull(n.conn, n.header[:]); err != nil {
				return n.because(err)
			}
			left = int(n.header[0])<<16 | int(n.header[1])<<8 | int(n.header[2])
			if kind := http2.FrameType(n.header[3]); kind != http2.FrameData {
				if err := n.control(kind, http2.Flags(n.header[4]), left); err != nil {
					return err
				}
				continue
			}
			break
		}
	}
	r, err := n.fleet.dialect.read(m)
	if err != nil {
		return err
	}
	if _, err := n.conn.Write(dataFrame(n.fleet.dialect.accept(r))); err != nil {
		return err
	}
	n.fleet.accepted(n.index, r.change, time.Now())
	return nil
}
