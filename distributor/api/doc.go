// Package api is the distributor's API: protobuf messages in, calls of package service, protobuf messages out; over gRPC,
// and as REST by grpc-gateway with an OpenAPI document. It also holds the client that the command line uses, and the
// reader of the YAML documents that people write.
//
// The flow of a request: a gRPC method (or a REST route, which becomes a gRPC call inside the process) takes the actor
// from the metadata and the reason from the request, turns the message into the service's types (convert*.go), calls the
// service, and turns the answer or the error back. errors.go has the one table from kinds of error to codes.
//
// Invariants:
//   - Nothing is decided here: what is valid, and what a change does, is for service to say. This package refuses only
//     what cannot be expressed in the service's types.
//   - Numbers of a configuration that JSON readers disagree about are refused, never rounded.
//   - Each error that leaves carries its kind, object, field and next step as details, so that Client gives back the
//     same *model.Error.
//
// The package imports service and model, and its generated code; never mcp or xds.
package api
