// Package port is a gRPC server for a port that thousands of clients are connected to and say little. It serves what protoc-gen-go-grpc registers, over
// HTTP/2 by golang.org/x/net's framer and hpack, with the credentials, codecs, interceptors and metadata of grpc-go; RATIONALE.md says why it is not
// grpc-go's server.
//
// A connection has no goroutine to write: whoever sends writes, under a lock, and what the reader has to answer (acknowledgements, windows) goes along, or is
// written by a goroutine that ends with it. And it has none of its own to read while a stream of it waits for a message: that stream's receiver reads for all,
// and hands the role on when it has its message. A receiver can be woken without a message. So a node with one stream costs the goroutine of its handler, where
// that has an inbox (distributor/inbox), and nothing beside it.
//
//	config.go   what a server is told, and the limits that are nobody's to choose
//	server.go   listeners, connections, the end
//	conn.go     one connection: its beginning, its end, its streams
//	role.go     who reads
//	wake.go     how a receiver returns without a message
//	frames.go   what is done with a frame that was read
//	tls.go      credentials that cost a connection no copy of their configuration
//	write.go    how frames are written
//	windows.go  how many bytes either side may send
//	headers.go  requests' headers, and the headers and trailers of answers
//	stream.go   one call, as handlers see it
//	dispatch.go which handler a call is for
//	watch.go    what time brings: keepalive, age, patience with clients that do not read
//	budget.go   frames that cost work and say nothing
//
// Locks: conn.out (somebody writes) is taken before conn.mu (all else of a connection), and never while that is held. Server.mu is not held together with either.
//
// The package imports distributor/inbox, for what a receiver that can be woken is, and nothing else of the project.
package port
