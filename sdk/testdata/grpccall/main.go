// Command grpccall is a filter for the tests of package grpccall: it calls a service with protobuf messages.
package main

import (
	"context"
	"errors"
	"io"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/grpccall"
)

func init() {
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return filter{}, nil })
}

func main() {}

type filter struct{}

func (f filter) NewHandler() sdk.Handler { return f }

// OnRequestHeaders adds what the calls brought.
func (filter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	client := grpccall.Client{Cluster: "service", Service: "test.Greeter"}
	result := ""
	switch r.Path() {
	case "/call":
		answer := new(durationpb.Duration)
		if err := client.Call(ctx, "Wait", wrapperspb.String("ann"), answer); err != nil {
			result = word(err)
		} else {
			result = answer.AsDuration().String()
		}
	case "/stream":
		client.Cluster = "echo"
		result = stream(ctx, client)
	}
	if err := r.Headers().Set("x-result", result); err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

func stream(ctx context.Context, client grpccall.Client) string {
	s, err := grpccall.Open[*wrapperspb.StringValue, *wrapperspb.StringValue](ctx, client, "Chat")
	if err != nil {
		return word(err)
	}
	defer s.Close()
	got := ""
	for i, text := range []string{"one", "two"} {
		if err := s.Send(wrapperspb.String(text), i == 1); err != nil {
			return word(err)
		}
		answer, err := s.Receive(ctx)
		if err != nil {
			return word(err)
		}
		got += answer.GetValue() + ","
	}
	_, err = s.Receive(ctx)
	return got + word(err)
}

// word is an error in a form that is the same everywhere.
func word(err error) string {
	var status *sdk.GRPCError
	switch {
	case errors.As(err, &status):
		return "status " + strconv.Itoa(int(status.Code))
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return "no message"
}
