package distributor

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
)

// modulesPrefix is where agents get modules: a repository of the registry's API that holds the verified copies, is read
// by digest and written by nobody.
const modulesPrefix = "/v2/waft/modules/"

// ServeHTTP answers GET and HEAD of /v2/waft/modules/blobs/sha256:HEX, ranges included. Each blob is verified when it is
// opened, so that a damaged disk is found here and not at a node.
func (m *modules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		ociError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this repository is read only; push to another one")
		return
	}
	text, ok := strings.CutPrefix(r.URL.Path, modulesPrefix+"blobs/")
	if !ok {
		ociError(w, http.StatusNotFound, "NAME_UNKNOWN", "this repository has blobs only: "+modulesPrefix+"blobs/sha256:HEX")
		return
	}
	digest, err := registry.ParseDigest(text)
	if err != nil {
		ociError(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	f, _, err := m.open(r.Context(), digest)
	switch {
	case errors.Is(err, registry.ErrNotCached):
		ociError(w, http.StatusNotFound, "BLOB_UNKNOWN", "no release of this distributor names "+text)
		return
	case errors.Is(err, model.ErrNotFound):
		ociError(w, http.StatusNotFound, "BLOB_UNKNOWN", err.Error())
		return
	case err != nil:
		m.log.Error("a module cannot be served", "module", text, "error", err)
		ociError(w, http.StatusServiceUnavailable, "UNAVAILABLE", err.Error())
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", text)
	h.Set("ETag", `"`+text+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// ociError answers in the form of the distribution specification.
func ociError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that has gone needs no answer
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}
