package grpccall

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/sdk"
)

// Client calls the methods of one service. It keeps nothing, may be copied and used for any number of calls.
type Client struct {
	// Cluster is the name of a cluster of Envoy's configuration that speaks HTTP/2.
	Cluster string
	// Service is the full name of the service, as "helloworld.Greeter".
	Service string
	// Metadata is sent with each call. The value of a key that ends in -bin is bytes.
	Metadata []sdk.Header
	// Timeout is the limit of a unary call; zero means [sdk.DefaultGRPCTimeout]. The deadline of the context holds as well.
	Timeout time.Duration
	// Limit is the most bytes of a message that is received; zero means [sdk.DefaultGRPCLimit].
	Limit int
}

// Call makes a unary call and waits for its answer, which it puts into out. The errors are those of [sdk.CallGRPC], a
// [*sdk.GRPCError] for a status that is not OK among them, and those of protobuf for messages that cannot be written or read; out is
// then not to be used.
func (c Client) Call(ctx context.Context, method string, in, out proto.Message) error {
	message, err := proto.Marshal(in)
	if err != nil {
		return c.failed("write the request of", method, err)
	}
	answer, err := sdk.CallGRPC(ctx, c.request(method, message))
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(answer.Message, out); err != nil {
		return c.failed("read the answer of", method, err)
	}
	return nil
}

func (c Client) request(method string, message []byte) sdk.GRPCRequest {
	return sdk.GRPCRequest{
		Cluster: c.Cluster, Service: c.Service, Method: method, Metadata: c.Metadata, Message: message, Timeout: c.Timeout, Limit: c.Limit,
	}
}

func (c Client) failed(doing, method string, err error) error {
	return fmt.Errorf("%s %s/%s of cluster %s: %w", doing, c.Service, method, c.Cluster, err)
}

// Stream is a stream of messages in both directions: In goes to the service, Out comes from it. Both are pointers to generated messages. See
// [sdk.GRPCStream] for who may use it and how long.
type Stream[In, Out proto.Message] struct {
	stream *sdk.GRPCStream
	client Client
	method string
}

// Open opens a stream. That the cluster cannot be reached shows at the first Receive.
//
//	chat, err := grpccall.Open[*pb.Question, *pb.Answer](ctx, client, "Chat")
func Open[In, Out proto.Message](ctx context.Context, c Client, method string) (*Stream[In, Out], error) {
	stream, err := sdk.OpenGRPC(ctx, c.request(method, nil))
	if err != nil {
		return nil, err
	}
	return &Stream[In, Out]{stream, c, method}, nil
}

// Send sends a message. With last, it is the last one: the service sees the end of this side behind it. After the end of the stream it is
// io.EOF; Receive says why it ended.
func (s *Stream[In, Out]) Send(in In, last bool) error {
	message, err := proto.Marshal(in)
	if err != nil {
		return s.client.failed("write a message to", s.method, err)
	}
	return s.stream.Send(message, last)
}

// Receive waits for a message. It is io.EOF when the service has ended the stream with OK; see [sdk.GRPCStream.Receive] for other errors.
func (s *Stream[In, Out]) Receive(ctx context.Context) (Out, error) {
	var none Out
	message, err := s.stream.Receive(ctx)
	if err != nil {
		return none, err
	}
	out := none.ProtoReflect().New().Interface().(Out)
	if err := proto.Unmarshal(message, out); err != nil {
		s.Close()
		return none, s.client.failed("read a message of", s.method, err)
	}
	return out, nil
}

// Metadata and Trailers are what the service sent before and behind its messages, nil before they come.
func (s *Stream[In, Out]) Metadata() []sdk.Header { return s.stream.Metadata() }

// Trailers are what the service sent last.
func (s *Stream[In, Out]) Trailers() []sdk.Header { return s.stream.Trailers() }

// Close ends the stream, if it has not ended. A stream that is not read to its end is closed.
func (s *Stream[In, Out]) Close() { s.stream.Close() }
