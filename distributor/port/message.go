package port

import "google.golang.org/grpc/mem"

// message is one that is sent: what gRPC writes before it, and its bytes.
type message struct {
	header [messageHeader]byte
	data   mem.BufferSlice
	size   int
}

// place is how far a message has been sent.
type place struct {
	// header bytes of it, then whole buffers, then bytes of the next.
	header, buffers, bytes int
}

// cut appends the next n bytes of a message to b.
func (m *message) cut(b []byte, at *place, n int) []byte {
	if at.header < messageHeader {
		taken := min(messageHeader-at.header, n)
		b = append(b, m.header[at.header:at.header+taken]...)
		at.header += taken
		n -= taken
	}
	for n > 0 {
		data := m.data[at.buffers].ReadOnlyData()[at.bytes:]
		if len(data) > n {
			at.bytes += n
			return append(b, data[:n]...)
		}
		b = append(b, data...)
		n -= len(data)
		at.buffers, at.bytes = at.buffers+1, 0
	}
	return b
}
