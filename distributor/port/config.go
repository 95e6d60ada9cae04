package port

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec where none is given
	"google.golang.org/grpc/tap"
)

// Config is what a server is told. The zero value of a field is what its comment says.
type Config struct {
	// Credentials shake hands with clients; nil: nobody asks who they are.
	Credentials credentials.TransportCredentials
	// Codec is that of all messages, whatever the content type says; nil: protobuf. A protobuf message that it has decoded has none of the bytes that
	// it was given, which are written over; whatever else it decodes into may keep them.
	Codec encoding.CodecV2
	// Unary and Stream stand around handlers, the first outermost.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Unknown answers calls of methods that nobody has registered; nil: they are refused.
	Unknown grpc.StreamHandler
	// Door is asked about each call before any of its messages is read, by whoever reads the connection, whom it must not keep; nil: all come in.
	Door tap.ServerInHandle

	// MaxReceive bounds a message that comes, and MaxSend one that goes, in bytes, decompressed; 0: 4 MiB, and no bound.
	MaxReceive, MaxSend int
	// MaxHeader bounds the headers of a call, in bytes as HTTP/2 counts them; 0: 64 KiB.
	MaxHeader uint32
	// MaxStreams bounds the calls of one connection that are under way, and, apart from those, the handlers that run: a call begins when one has ended of those
	// that were given up; 0: 100.
	MaxStreams uint32
	// Window is what a client may send ahead of a stream's reader, and of all of them together on the way here, in bytes; below 65,535: that.
	Window uint32

	// Handshake bounds how long a connection may take until its first settings are there; 0: 2 minutes.
	Handshake time.Duration
	// Silence is how long a connection may be silent before it is asked whether it is there, and Answer how long it may take to say so; 0: 2 hours, and 20 s.
	Silence, Answer time.Duration
	// MinPing is the most often that a client may ask; 0: 5 minutes.
	MinPing time.Duration
	// Age is how long a connection lasts, give or take a tenth by chance, before its client is asked to make another one, and Grace how long its calls may
	// go on then; 0: for ever.
	Age, Grace time.Duration
	// Patience is how long a client may leave a message, or a part of a large one, unread before its connection is ended; 0: for ever.
	Patience time.Duration

	// Log says what went wrong with connections, at level debug; nil: nobody does.
	Log *slog.Logger
}

const (
	defaultMaxReceive = 4 << 20
	defaultMaxHeader  = 64 << 10
	defaultMaxStreams = 100
	defaultHandshake  = 2 * time.Minute
	defaultSilence    = 2 * time.Hour
	defaultAnswer     = 20 * time.Second
	defaultMinPing    = 5 * time.Minute

	// ageJitter is the share of Age by which it differs from one connection to the next, either way.
	ageJitter = 0.1
	// maxStrikes is how often a client may ask too soon before its connection is ended.
	maxStrikes = 2
	// leaving is how long a client that was told to go may still open streams because it has not heard of it: until it answers a ping, or this long.
	leaving = 5 * time.Second
	// farewell bounds how long the last frames of a connection may take to be written, and then how long its client may take to read them.
	farewell = time.Second
	// maxAfter bounds what is read of a client, beyond its window, after the last frame that it is sent, in bytes.
	maxAfter = 64 << 10
	// vacancy is how long nobody may read a connection whose receiver has gone off with a message: mostly it is back at once, but where a whole fleet is told
	// something each waits for its turn. lonely is that where there is no other call that could wait for it.
	vacancy, lonely = 20 * time.Millisecond, 250 * time.Millisecond
	// maxControl bounds the answers of the protocol itself that wait to be written, in bytes: a client that asks for them and reads none is no client.
	maxControl = 32 << 10

	// maxSpare is the largest memory that a stream keeps for its next message, in bytes: what a node says again and again is smaller.
	maxSpare = 512

	// patientPart is how much of a message a client may take all its time to read, in bytes: one that takes 4 KB a second is slow, and no more.
	patientPart = 128 << 10

	// maxFrame is the largest payload of a frame that is read or written, in bytes: the least that HTTP/2 lets anybody choose.
	maxFrame = 16 << 10
	// frameHeader and messageHeader are what stands before a frame, and before a message of gRPC, in bytes.
	frameHeader   = 9
	messageHeader = 5
	// part is how much of a message goes into one frame: with its header, it fills a record of TLS.
	part = maxFrame - frameHeader
	// firstWindow and maxWindow are HTTP/2's, in bytes.
	firstWindow = 1<<16 - 1
	maxWindow   = math.MaxInt32
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Handshake, defaultHandshake)
	set(&c.Silence, defaultSilence)
	set(&c.Answer, defaultAnswer)
	set(&c.MinPing, defaultMinPing)
	set(&c.Grace, math.MaxInt64)
	if c.Codec == nil {
		c.Codec = encoding.GetCodecV2("proto")
	}
	if c.MaxReceive <= 0 {
		c.MaxReceive = defaultMaxReceive
	}
	if c.MaxSend <= 0 {
		c.MaxSend = math.MaxInt32
	}
	if c.MaxHeader == 0 {
		c.MaxHeader = defaultMaxHeader
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = defaultMaxStreams
	}
	c.Window = min(max(c.Window, firstWindow), maxWindow)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// The bounds of the time between two looks at all connections.
const (
	minLook = 5 * time.Millisecond
	maxLook = 5 * time.Second
)

// look is the time between two: a quarter of what is shortest of what it decides.
func (c Config) look() time.Duration {
	every := maxLook
	for _, d := range [...]time.Duration{c.Silence, c.Answer, c.Age, c.Grace, c.Patience} {
		if d > 0 {
			every = min(every, d/4)
		}
	}
	return max(every, minLook)
}

// unary and stream are the interceptors as one; nil: there is none.
func (c Config) unary() grpc.UnaryServerInterceptor {
	return chained(c.Unary, func(outer, inner grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
		return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			return outer(ctx, req, info, func(ctx context.Context, req any) (any, error) { return inner(ctx, req, info, handle) })
		}
	})
}

func (c Config) stream() grpc.StreamServerInterceptor {
	return chained(c.Stream, func(outer, inner grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
		return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			return outer(srv, s, info, func(srv any, s grpc.ServerStream) error { return inner(srv, s, info, handle) })
		}
	})
}

// chained joins a list from its end.
func chained[I any](all []I, join func(outer, inner I) I) I {
	var whole I
	for i := len(all) - 1; i >= 0; i-- {
		if i == len(all)-1 {
			whole = all[i]
		} else {
			whole = join(all[i], whole)
		}
	}
	return whole
}
