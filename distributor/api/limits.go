package api

import "time"

const (
	// MaxMessageBytes bounds one message to the gRPC API, and a REST body. A release with modules inline is the largest there is.
	MaxMessageBytes = 8 << 20
	// MaxAnswerBytes bounds one message from it: a rollout of MaxNodes nodes at its largest.
	MaxAnswerBytes = 64 << 20
	// maxListBytes is what a page of a list is kept to, by giving fewer items than were asked for; one item may be more.
	maxListBytes = 3 << 20
	// MaxDocumentBytes bounds a YAML or JSON document.
	MaxDocumentBytes = 1 << 20
	// MaxDocumentDepth bounds how deep a document nests.
	MaxDocumentDepth = 64
	// MaxDocumentNodes bounds how many values a document holds after its aliases are replaced by what they stand for.
	MaxDocumentNodes = 100_000

	// MaxHeaderBytes bounds the headers of one call.
	MaxHeaderBytes = 64 << 10
	// HandshakeTimeout bounds how long a new connection may take until its first call may come.
	HandshakeTimeout = 10 * time.Second
	// ReadBufferBytes is what each connection has to read into: what a node says is short, and there are thousands of them.
	ReadBufferBytes = 2 << 10
	// MaxStreams bounds the streams of one connection. A node needs two; the rest is for tools.
	MaxStreams = 1000
	// WindowBytes is what the server takes of a stream, and of a connection, before it has been read. It is fixed: gRPC finds a window of its own by a
	// ping for every message that comes alone, as the reports of nodes do, and that is more work than the report.
	WindowBytes = 256 << 10
	// KeepaliveTime is how long a connection may be silent before the other side is asked, by HTTP/2, whether it is there, and KeepaliveTimeout how long it
	// may take to answer. Machines and ways that are gone are found by TCP, sooner and for nothing; this finds what TCP cannot see: a process that hangs,
	// and what is behind a proxy.
	KeepaliveTime    = 5 * time.Minute
	KeepaliveTimeout = 10 * time.Second
	// ClientKeepaliveTime is KeepaliveTime of clients of the API: there are few, and people wait for them.
	ClientKeepaliveTime = 20 * time.Second
	// MinKeepaliveTime is the most often that a client may ask.
	MinKeepaliveTime = 5 * time.Second

	// DialTimeout bounds one attempt of a client to connect.
	DialTimeout = 5 * time.Second
)
