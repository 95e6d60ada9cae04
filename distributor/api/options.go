package api

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/encoded"
)

// ServerOptions are the limits of a gRPC server that serves the API (and other services beside it), and the interceptors
// that turn errors into statuses and a panic into an error of the call that panicked.
func ServerOptions(log *slog.Logger) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageBytes),
		grpc.MaxHeaderListSize(MaxHeaderBytes),
		grpc.MaxConcurrentStreams(MaxStreams),
		grpc.ConnectionTimeout(HandshakeTimeout),
		grpc.StaticStreamWindowSize(WindowBytes), grpc.StaticConnWindowSize(WindowBytes),
		grpc.ReadBufferSize(ReadBufferBytes),
		grpc.ForceServerCodecV2(encoded.Codec{}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: KeepaliveTime, Timeout: KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: MinKeepaliveTime, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(UnaryErrors(log)),
		grpc.ChainStreamInterceptor(StreamErrors(log)),
	}
}

// UnaryErrors turns errors of handlers into statuses, and a panic into an error of the call that panicked.
func UnaryErrors(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (_ any, err error) {
		defer caught(log, info.FullMethod, &err)
		resp, err := handle(ctx, req)
		return resp, ToStatus(err)
	}
}

// StreamErrors is UnaryErrors for streams.
func StreamErrors(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
		defer caught(log, info.FullMethod, &err)
		return ToStatus(handle(srv, stream))
	}
}

// caught turns a panic into an error. One request that finds a bug must not end every node's stream.
func caught(log *slog.Logger, method string, err *error) {
	if p := recover(); p != nil {
		log.Error("a call panicked; please report this", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "%s failed by a bug of the distributor, see its log", method)
	}
}
