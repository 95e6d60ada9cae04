// Package grpccall makes gRPC calls from filters with generated protobuf messages, over [sdk.CallGRPC] and [sdk.OpenGRPC].
//
//	client := grpccall.Client{Cluster: "greeter", Service: "helloworld.Greeter"}
//	reply := new(pb.HelloReply)
//	err := client.Call(ctx, "SayHello", &pb.HelloRequest{Name: "ann"}, reply)
//
// It stands apart from package sdk, since google.golang.org/protobuf adds about 3.7 MB to a module of 3 MB; with it, a module asks no more of
// its host than any other. It imports sdk and protobuf only, and never grpc-go, which needs sockets.
package grpccall
