package api

import (
	"context"
	"errors"

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
	st := status.New(code, err.Error())
	info := &errdetails.ErrorInfo{Reason: reason, Domain: ErrorDomain, Metadata: map[string]string{}}
	details := []protoadapt.MessageV1{info}
	var e *model.Error
	if errors.As(err, &e) {
		// Only an error that was not wrapped can be put together again from its parts.
		if e.Error() == err.Error() {
			info.Metadata[infoObject] = e.Object
			info.Metadata[infoMessage] = e.Message
		}
		if e.Field != "" {
			details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: e.Field, Description: e.Message},
			}})
		}
		if e.Next != "" {
			details = append(details, &errdetails.Help{Links: []*errdetails.Help_Link{{Description: e.Next}}})
		}
	}
	withDetails, detailErr := st.WithDetails(details...)
	if detailErr != nil {
		return st.Err()
	}
	return withDetails.Err()
}

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
