package port

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"
)

// Names of headers.
const (
	contentTypeKey    = "content-type"
	grpcType          = "application/grpc"
	encodingKey       = "grpc-encoding"
	acceptEncodingKey = "grpc-accept-encoding"
	timeoutKey        = "grpc-timeout"
	statusKey         = "grpc-status"
	messageKey        = "grpc-message"
	detailsKey        = "grpc-status-details-bin"
	binarySuffix      = "-bin"
	authorityKey      = ":authority"
	hostKey           = "host"
)

// Statuses of HTTP.
const (
	statusOK        = "200"
	badRequest      = "400"
	methodUnallowed = "405"
	unsupportedType = "415"
)

// tableSize is how much of a client's headers is remembered, in bytes: HTTP/2's own size.
const tableSize = 4096

// request is what the headers of a call say.
type request struct {
	method string
	// contentType is that of the answer.
	contentType string
	// encoding is how messages are compressed; empty: they are not.
	encoding string
	timed    bool
	timeout  time.Duration
	md       metadata.MD
	// ctx is the connection's with the metadata, once it has come in.
	ctx context.Context
}

// refusal is why a call is not even begun. Without a status of HTTP it is no request at all, and is reset.
type refusal struct {
	http   string
	status *status.Status
}

func refuse(http string, code codes.Code, format string, a ...any) *refusal {
	return &refusal{http, status.Newf(code, format, a...)}
}

// requestOf reads the headers. It refuses what gRPC's document on HTTP/2 (and its proposal A41, for hosts) says is none of its.
func requestOf(f *http2.MetaHeadersFrame) (request, *refusal) {
	r := request{contentType: grpcType, md: make(metadata.MD, len(f.Fields))}
	var verb, scheme, claimed string
	var is bool
	var malformed *refusal
	for _, h := range f.Fields {
		switch h.Name {
		case ":method":
			verb = h.Value
		case ":path":
			r.method = h.Value
		case ":scheme":
			scheme = h.Value
		case "te":
			if h.Value != "trailers" {
				return r, &refusal{}
			}
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade": // of HTTP/1
			return r, &refusal{}
		case "grpc-message-type", messageKey, statusKey:
		case contentTypeKey:
			claimed = h.Value
			if sub, ok := subtype(h.Value); ok {
				is = true
				if sub != "" {
					r.contentType = grpcType + "+" + sub
				}
			}
			r.md[h.Name] = append(r.md[h.Name], h.Value)
		case encodingKey:
			if r.encoding = h.Value; r.encoding == "identity" {
				r.encoding = ""
			}
		case timeoutKey:
			var err error
			if r.timeout, err = timeoutOf(h.Value); err != nil {
				malformed = refuse(badRequest, codes.Internal, "malformed grpc-timeout: %v", err)
			}
			r.timed = true
		default:
			if h.IsPseudo() && h.Name != authorityKey {
				continue
			}
			value := h.Value
			if strings.HasSuffix(h.Name, binarySuffix) {
				b, err := binaryOf(value)
				if err != nil {
					malformed = refuse(badRequest, codes.Internal, "malformed binary metadata in header %q: %v", h.Name, err)
					continue
				}
				value = string(b)
			}
			r.md[h.Name] = append(r.md[h.Name], value)
		}
	}
	switch {
	case verb == "" || scheme == "" || r.method == "":
		return r, &refusal{}
	case len(r.md[authorityKey]) > 1 || len(r.md[hostKey]) > 1:
		return r, refuse(badRequest, codes.Internal, "a call names %d authorities and %d hosts; at most one of each can be", len(r.md[authorityKey]), len(r.md[hostKey]))
	case !is:
		return r, refuse(unsupportedType, codes.InvalidArgument, "invalid gRPC request content-type %q", claimed)
	case malformed != nil:
		return r, malformed
	}
	if len(r.md[authorityKey]) == 0 && len(r.md[hostKey]) > 0 {
		r.md[authorityKey] = r.md[hostKey]
	}
	delete(r.md, hostKey)
	switch {
	case len(r.md[authorityKey]) == 0:
		return r, refuse(badRequest, codes.Internal, "no host or :authority header present")
	case verb != "POST":
		return r, refuse(methodUnallowed, codes.Internal, "the method of HTTP is %q; that of gRPC is POST", verb)
	case r.timed && r.timeout <= 0:
		return r, refuse(statusOK, codes.DeadlineExceeded, "%v", context.DeadlineExceeded)
	}
	return r, nil
}

// enter makes the context, and asks the door.
func (r *request) enter(base context.Context, door tap.ServerInHandle) error {
	r.ctx = metadata.NewIncomingContext(base, r.md)
	if door == nil {
		return nil
	}
	ctx, err := door(r.ctx, &tap.Info{FullMethodName: r.method, Header: r.md})
	if err == nil {
		r.ctx = ctx
	}
	return err
}

// subtype is what a content type of gRPC says of its messages.
func subtype(contentType string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), grpcType)
	if !ok {
		return "", false
	}
	if rest == "" {
		return "", true
	}
	return rest[1:], rest[0] == '+' || rest[0] == ';'
}

// units are those of timeouts.
var units = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}

// maxTimeoutDigits is gRPC's.
const maxTimeoutDigits = 8

func timeoutOf(s string) (time.Duration, error) {
	if len(s) < 2 || len(s) > maxTimeoutDigits+1 {
		return 0, fmt.Errorf("%q has no number of 1 to %d digits and a unit", s, maxTimeoutDigits)
	}
	unit, ok := units[s[len(s)-1]]
	if !ok {
		return 0, fmt.Errorf("%q ends in no unit of time", s)
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil {
		return 0, err
	}
	if n > uint64(math.MaxInt64/unit) {
		return math.MaxInt64, nil
	}
	return time.Duration(n) * unit, nil
}

// binaryOf reads base64, with or without its padding.
func binaryOf(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

// blocks are what headers are encoded with. They remember nothing from one block to the next, and so are everybody's.
var blocks = sync.Pool{New: func() any {
	b := &block{}
	b.encoder = hpack.NewEncoder(&b.buffer)
	return b
}}

// block is one block of headers that is made.
type block struct {
	buffer  bytes.Buffer
	encoder *hpack.Encoder
	// size is what HTTP/2 counts of it, in bytes.
	size int
}

// newBlock begins a block with the size of its table: none. A client that says that it keeps a smaller one must hear so in the block that follows (RFC 7541,
// section 4.2), and which that is nobody need know.
func newBlock() *block {
	b := blocks.Get().(*block)
	b.encoder.SetMaxDynamicTableSize(0)
	b.size = 0
	return b
}

// done gives the bytes, and the block back.
func (b *block) done() []byte {
	out := bytes.Clone(b.buffer.Bytes())
	b.buffer.Reset()
	blocks.Put(b)
	return out
}

func (b *block) add(name, value string) {
	f := hpack.HeaderField{Name: name, Value: value}
	b.size += int(f.Size())
	_ = b.encoder.WriteField(f) // into memory
}

// begin is how every answer begins.
func (b *block) begin(http, contentType string) {
	b.add(":status", http)
	b.add(contentTypeKey, contentType)
}

// metadata adds what a handler says, but not what is the protocol's own.
func (b *block) metadata(md metadata.MD) {
	for name, values := range md {
		if reserved(name) {
			continue
		}
		for _, v := range values {
			if strings.HasSuffix(name, binarySuffix) {
				v = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			b.add(name, v)
		}
	}
}

func reserved(name string) bool {
	switch name {
	case contentTypeKey, "user-agent", "grpc-message-type", encodingKey, messageKey, statusKey, detailsKey, timeoutKey, "te":
		return true
	}
	return strings.HasPrefix(name, ":")
}

// status adds how a call has ended.
func (b *block) status(s *status.Status) {
	b.add(statusKey, strconv.Itoa(int(s.Code())))
	b.add(messageKey, escaped(s.Message()))
	if p := s.Proto(); p != nil && len(p.Details) > 0 {
		if raw, err := proto.Marshal(p); err == nil { // as grpc-go: a status that cannot be encoded is told without its details
			b.add(detailsKey, base64.RawStdEncoding.EncodeToString(raw))
		}
	}
}

// block is the whole answer of a refusal.
func (r *refusal) block(contentType string) []byte {
	b := newBlock()
	b.begin(r.http, contentType)
	b.status(r.status)
	return b.done()
}

// escaped is a message of a status as a header may have it: what is no printable ASCII, by percent signs.
func escaped(s string) string {
	plain := func(c byte) bool { return c >= ' ' && c <= '~' && c != '%' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	var out strings.Builder
	for _, c := range []byte(s) {
		if plain(c) {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// statusOf is an error of a handler as a status.
func statusOf(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if s, ok := status.FromError(err); ok {
		return s
	}
	return status.FromContextError(err)
}

var errNoMessage = status.Error(codes.Internal, "cardinality violation: received no request message from non-client-streaming RPC")
