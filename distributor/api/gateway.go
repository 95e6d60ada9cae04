package api

import (
	"context"
	_ "embed" // the OpenAPI document
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

//go:embed openapi/waft.swagger.json
var openAPI []byte

// NewGateway is the REST form of the API: routes under /v1/, which become calls over conn, a connection to a server of
// this API inside the process. The calls end when ctx does. annotate, where it is not nil, gives metadata for the call that a request becomes; no client can set
// the like by its headers.
func NewGateway(ctx context.Context, conn *grpc.ClientConn, annotate func(context.Context, *http.Request) metadata.MD) (http.Handler, error) {
	if annotate == nil {
		annotate = func(context.Context, *http.Request) metadata.MD { return nil }
	}
	mux := runtime.NewServeMux(
		runtime.WithMetadata(annotate),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &strictJSON{runtime.JSONPb{
			// What is not set is left out, as in the documents that people write.
			MarshalOptions: protojson.MarshalOptions{EmitUnpopulated: false},
		}}),
		runtime.WithIncomingHeaderMatcher(func(key string) (string, bool) {
			if key == textproto.CanonicalMIMEHeaderKey(MetadataActor) {
				return MetadataActor, true
			}
			return runtime.DefaultHeaderMatcher(key)
		}),
		runtime.WithRoutingErrorHandler(noRoute),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		waftv1.RegisterReleaseServiceHandler,
		waftv1.RegisterRolloutServiceHandler,
		waftv1.RegisterNodeServiceHandler,
		waftv1.RegisterFilterServiceHandler,
		waftv1.RegisterFreezeServiceHandler,
		waftv1.RegisterArtifactServiceHandler,
		waftv1.RegisterResourceServiceHandler,
		waftv1.RegisterTypeServiceHandler,
		waftv1.RegisterSecretServiceHandler,
		waftv1.RegisterAuditServiceHandler,
		waftv1.RegisterVersionServiceHandler,
	} {
		if err := register(ctx, mux, conn); err != nil {
			return nil, err
		}
	}
	return http.MaxBytesHandler(mux, MaxMessageBytes), nil
}

// noRoute answers a request that fits no route, in the form of every other error. grpc-gateway by itself would make 501 of
// a wrong method.
func noRoute(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	code := codes.InvalidArgument
	switch httpStatus {
	case http.StatusNotFound:
		code = codes.NotFound
	case http.StatusMethodNotAllowed:
		code = codes.Unimplemented
	}
	text := fmt.Sprintf("%s %s: %s; see /openapi.json for the routes", r.Method, r.URL.Path, strings.ToLower(http.StatusText(httpStatus)))
	runtime.HTTPError(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: httpStatus, Err: status.Error(code, clip(text, maxErrorText))})
}

// ServeOpenAPI answers with the OpenAPI document (version 2, JSON).
func ServeOpenAPI(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // a client that has gone needs no answer
}

// strictJSON reads request bodies as strictly as documents are read: no unknown fields, no member twice, no integer that
// would be rounded.
type strictJSON struct{ runtime.JSONPb }

// NewDecoder reads one JSON text to the end of r.
func (m *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(into any) error {
		raw, err := io.ReadAll(io.LimitReader(r, MaxMessageBytes+1))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return fmt.Errorf("the body has more than %d bytes, which is the limit", tooLarge.Limit)
		}
		if err != nil {
			return err
		}
		if len(raw) == 0 {
			return io.EOF
		}
		if _, err := model.Canonical(raw); err != nil {
			return err
		}
		return m.Unmarshal(raw, into)
	})
}
