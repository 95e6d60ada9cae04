package api

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/waft-project/waft/distributor/model"
)

// ErrorDomain is the domain of the ErrorInfo in each error of the API.
const ErrorDomain = "waft.dev"

// kinds is the one table from kinds of error to what leaves the process: the gRPC code (REST follows from it, by
// grpc-gateway's table) and the reason in ErrorInfo. The first kind that fits wins.
var kinds = [...]struct {
	kind   error
	code   codes.Code
	reason string
}{
	{model.ErrInvalid, codes.InvalidArgument, "INVALID"},
	{model.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{model.ErrExists, codes.AlreadyExists, "EXISTS"},
	{model.ErrConflict, codes.Aborted, "CONFLICT"},
	{model.ErrPrecondition, codes.FailedPrecondition, "PRECONDITION"},
	{model.ErrUnauthenticated, codes.Unauthenticated, "UNAUTHENTICATED"},
	{model.ErrDenied, codes.PermissionDenied, "DENIED"},
	{model.ErrExhausted, codes.ResourceExhausted, "EXHAUSTED"},
	{model.ErrUnavailable, codes.Unavailable, "UNAVAILABLE"},
	{context.Canceled, codes.Canceled, "CANCELED"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
}

// Keys of ErrorInfo.metadata.
const (
	infoObject  = "object"
	infoMessage = "message"
)

// ToStatus is an error of the service as a gRPC status with details: ErrorInfo (reason, object, message), BadRequest
// (field) and Help (what to do next). An error that is a status already stays as it is; nil is nil; one without a kind
// is Internal.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return err
	}
	code, reason := codes.Internal, "INTERNAL"
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			code, reason = k.code, k.reason
			break
		}
	}
	text := err.Error()
	st := status.New(code, clip(text, maxErrorText))
	info := &errdetails.ErrorInfo{Reason: reason, Domain: ErrorDomain, Metadata: map[string]string{}}
	details := []protoadapt.MessageV1{info}
	bad, help := &errdetails.BadRequest{}, &errdetails.Help{}
	for _, e := range problems(err) {
		// Only an error that was not wrapped or joined can be put together again from its parts.
		if e.Error() == text {
			info.Metadata[infoObject] = clip(e.Object, maxErrorText)
			info.Metadata[infoMessage] = clip(e.Message, maxErrorText)
		}
		if e.Field != "" {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: e.Field, Description: clip(e.Message, maxErrorText/maxProblems)})
		}
		if e.Next != "" {
			help.Links = append(help.Links, &errdetails.Help_Link{Description: e.Next})
		}
	}
	if len(bad.FieldViolations) > 0 {
		details = append(details, bad)
	}
	if len(help.Links) > 0 {
		details = append(details, help)
	}
	withDetails, detailErr := st.WithDetails(details...)
	if detailErr != nil {
		return st.Err()
	}
	return withDetails.Err()
}

// problems are the errors for a person in a chain of errors: one, or each of those that were joined, and at most
// maxProblems.
func problems(err error) (out []*model.Error) {
	switch e := err.(type) {
	case *model.Error:
		return []*model.Error{e}
	case interface{ Unwrap() error }:
		return problems(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if out = append(out, problems(one)...); len(out) >= maxProblems {
				return out[:maxProblems]
			}
		}
	}
	return out
}

// maxProblems bounds the details of an error: they travel in a header, which has a limit.
const maxProblems = 8

// maxErrorText bounds the text of an error, in bytes, for the same reason.
const maxErrorText = 2 << 10

// FromStatus is the way back: the error of a call as the *model.Error that it was on the other side. An error that no
// distributor made keeps its text and gets the kind of its code; nil is nil. io.EOF and errors that are no status are
// returned as they are.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := &model.Error{Kind: err, Message: st.Message()}
	for _, k := range kinds {
		if k.code == st.Code() {
			e.Kind = k.kind
			break
		}
	}
	var field, next string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == ErrorDomain && d.GetMetadata()[infoMessage] != "" {
				e.Object, e.Message = d.GetMetadata()[infoObject], d.GetMetadata()[infoMessage]
			}
		case *errdetails.BadRequest:
			if v := d.GetFieldViolations(); len(v) > 0 {
				field = v[0].GetField()
			}
		case *errdetails.Help:
			if l := d.GetLinks(); len(l) > 0 {
				next = l[0].GetDescription()
			}
		}
	}
	if e.Message != st.Message() {
		// Otherwise the text has them in it already.
		e.Field, e.Next = field, next
	}
	return e
}

// clip cuts a text to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	const more = "…"
	n -= len(more)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + more
}
