package distributor

import (
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	registryapi "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/gorilla/mux"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// route asks about each request of a route, by its pattern, before next serves it.
func (p *permissions) route(pattern string, next http.Handler) http.Handler {
	if p == nil {
		return next
	}
	of := access.OfRoute(pattern)
	if of == access.Probe {
		return next
	}
	routes := registryapi.RouterWithPrefix("")
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id, err := p.requesting(r)
		action, object := of, access.Object{}
		switch of {
		case access.ByMethod:
			if err == nil && !id.Known() {
				err = p.file.Policy().Admits(id, access.Read, time.Now()) // nothing there is for strangers, and their bodies are not read
			}
			if err == nil {
				// The server inside decides, since it knows what the route becomes, and answers in the words of the API.
				r, done := p.tickets.issue(r, id)
				defer done()
				next.ServeHTTP(rw, r.WithContext(withIdentity(r.Context(), id)))
				return
			}
		case access.ByRegistry:
			action, object = ofRegistry(routes, r)
		}
		asked := request{call: r.Method + " " + r.URL.Path, from: r.RemoteAddr}
		if err == nil {
			err = p.decide(id, action, object, asked)
		} else {
			err = p.logged(id, action, asked, err)
		}
		if err != nil {
			refuse(rw, r, err)
			return
		}
		r = r.WithContext(withIdentity(r.Context(), id))
		if node := r.Header.Get(envoy.NodeHeader); node != "" && p.file.Policy().Decide(id, access.Connect, access.Object{Node: node}, time.Now()) != nil {
			r = r.Clone(r.Context()) // the module is served, and nobody is told that this node has it
			r.Header.Del(envoy.NodeHeader)
		}
		next.ServeHTTP(rw, r)
	})
}

// ofRegistry is what a request to /v2/ is. Its path is read by the same rules as the registry itself reads it by, so that what was allowed for one
// repository is not done to another.
func ofRegistry(routes *mux.Router, r *http.Request) (access.Action, access.Object) {
	route, repository := access.RegistryOther, ""
	var match mux.RouteMatch
	switch {
	case strings.HasPrefix(path.Clean(r.URL.Path)+"/", apiPrefix+modulesName+"/"):
		route = access.RegistryModules
	case readOnly(r.URL.Path):
		route = access.RegistryFetched
	case routes.Match(r, &match) && match.Route != nil:
		repository = match.Vars["name"]
		switch match.Route.GetName() {
		case registryapi.RouteNameBase:
			route = access.RegistryBase
		case registryapi.RouteNameCatalog:
			route = access.RegistryCatalog
		case registryapi.RouteNameManifest, registryapi.RouteNameTags, registryapi.RouteNameBlob:
			route = access.RegistryRepository
		case registryapi.RouteNameBlobUpload, registryapi.RouteNameBlobUploadChunk:
			route = access.RegistryUpload
		}
	}
	return access.OfRegistry(route, r.Method), access.Object{Repository: repository}
}

// challenge says how to show who one is.
func challenge(path string) string {
	if strings.HasPrefix(path, apiPrefix) {
		return `Basic realm="waft", charset="UTF-8"`
	}
	return `Bearer realm="waft"`
}

// refuse answers a request that is refused: in the words of a registry where it is one's, so that its clients show them.
func refuse(rw http.ResponseWriter, r *http.Request, err error) {
	status, code := http.StatusForbidden, "DENIED"
	if errors.Is(err, model.ErrUnauthenticated) {
		status, code = http.StatusUnauthorized, "UNAUTHORIZED"
		// Registry clients send what they have by this scheme, and only once they are asked (OCI distribution, RFC 7617).
		rw.Header().Set("WWW-Authenticate", challenge(r.URL.Path))
	}
	if errors.Is(err, model.ErrUnavailable) {
		status, code = http.StatusServiceUnavailable, "UNAVAILABLE"
	}
	if errors.Is(err, model.ErrExhausted) {
		status, code = http.StatusTooManyRequests, "TOOMANYREQUESTS"
		after := time.Second
		if told, ok := errors.AsType[*throttled](err); ok {
			after = told.after
		}
		rw.Header().Set("Retry-After", strconv.Itoa(seconds(after)))
	}
	switch {
	case strings.HasPrefix(r.URL.Path, apiPrefix):
		ociError(rw, status, code, err.Error())
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		// As the server inside would have said it.
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		text, _ := protojson.Marshal(grpcstatus.Convert(api.ToStatus(err)).Proto()) // a status always has a form
		_, _ = rw.Write(text)                                                       // a client that has gone needs no answer
	default:
		http.Error(rw, err.Error(), status)
	}
}
