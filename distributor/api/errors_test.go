package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/model"
)

func TestErrorsCrossTheWireWhole(t *testing.T) {
	whole := &model.Error{Kind: model.ErrInvalid, Object: "release/a", Field: "spec.filters[0].config.issuer", Message: "is missing", Next: "add it"}
	for name, tc := range map[string]struct {
		err  error
		code codes.Code
	}{
		"invalid":      {whole, codes.InvalidArgument},
		"not found":    {&model.Error{Kind: model.ErrNotFound, Object: "rollout/x", Message: "no such rollout"}, codes.NotFound},
		"exists":       {&model.Error{Kind: model.ErrExists, Message: "m"}, codes.AlreadyExists},
		"conflict":     {&model.Error{Kind: model.ErrConflict, Message: "m", Next: "n"}, codes.Aborted},
		"precondition": {&model.Error{Kind: model.ErrPrecondition, Message: "m"}, codes.FailedPrecondition},
		"unavailable":  {&model.Error{Kind: model.ErrUnavailable, Message: "m", Cause: io.ErrUnexpectedEOF}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			out := ToStatus(tc.err)
			if got := status.Code(out); got != tc.code {
				t.Errorf("code %s, want %s", got, tc.code)
			}
			if got := status.Convert(out).Message(); got != tc.err.Error() {
				t.Errorf("status %q, want %q", got, tc.err)
			}
			back := FromStatus(out)
			if back.Error() != tc.err.Error() {
				t.Errorf("back %q, want %q", back, tc.err)
			}
			var want, got *model.Error
			errors.As(tc.err, &want)
			if !errors.As(back, &got) || !errors.Is(got, want.Kind) || got.Object != want.Object || got.Field != want.Field || got.Message != want.Message || got.Next != want.Next {
				t.Errorf("back %#v, want %#v", got, want)
			}
		})
	}
}

func TestErrorsWithoutParts(t *testing.T) {
	one := model.Invalidf("release/a", "metadata.name", "", "is empty")
	two := model.Invalidf("release/a", "metadata.layer", "shorten it", "is long")
	for name, tc := range map[string]struct {
		err    error
		code   codes.Code
		kind   error
		fields []string
	}{
		"joined":       {errors.Join(one, two), codes.InvalidArgument, model.ErrInvalid, []string{"metadata.name", "metadata.layer"}},
		"wrapped":      {fmt.Errorf("while x: %w", one), codes.InvalidArgument, model.ErrInvalid, []string{"metadata.name"}},
		"a kind alone": {fmt.Errorf("read y: %w", model.ErrNotFound), codes.NotFound, model.ErrNotFound, nil},
		"canceled":     {context.Canceled, codes.Canceled, context.Canceled, nil},
		"deadline":     {fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, context.DeadlineExceeded, nil},
		"no kind":      {errors.New("a bug"), codes.Internal, nil, nil},
		"a status":     {status.Error(codes.ResourceExhausted, "full"), codes.ResourceExhausted, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out := ToStatus(tc.err)
			if got := status.Code(out); got != tc.code {
				t.Errorf("code %s, want %s", got, tc.code)
			}
			var fields []string
			for _, d := range status.Convert(out).Details() {
				if b, ok := d.(*errdetails.BadRequest); ok {
					for _, v := range b.GetFieldViolations() {
						fields = append(fields, v.GetField())
					}
				}
			}
			if d := cmp.Diff(tc.fields, fields); d != "" {
				t.Error(d)
			}
			back := FromStatus(out)
			if want := status.Convert(out).Message(); back.Error() != want {
				t.Errorf("back %q, want %q", back, want)
			}
			if tc.kind != nil && !errors.Is(back, tc.kind) {
				t.Errorf("back is no %v", tc.kind)
			}
		})
	}
	if ToStatus(nil) != nil || FromStatus(nil) != nil {
		t.Error("nil is no error")
	}
	if FromStatus(io.EOF) != io.EOF {
		t.Error("the end of a stream is no error of the API")
	}
	var many error
	for range 200 {
		many = errors.Join(many, model.Invalidf("o", "f", "n", "%s", strings.Repeat("é", 100)))
	}
	st := status.Convert(ToStatus(many))
	if n := len(st.Message()); n > maxErrorText {
		t.Errorf("a text of %d bytes", n)
	}
	if n := len(st.Proto().String()); n > 8<<10 {
		t.Errorf("%d bytes in all: more than a header takes", n)
	}
}

func TestDurationText(t *testing.T) {
	for want, text := range map[string]string{"": "0s", "30s": "30s", "2m": "120s", "1h": "60m", "1h5m": "65m", "1h0m1s": "3601s", "100ms": "0.1s", "10m": "600s"} {
		d := mustDuration(t, text)
		if got := durationText(d); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
