package distributor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// modulesName is the repository of the registry's API from which agents get modules, by the digests of their bytes: those that
// came out of this distributor's own registry, too, and those that stand packed in their images.
const modulesName = "waft/modules"

// apiPrefix is where the registry's API begins.
const apiPrefix = "/v2/"

// readOnly says whether a path of the registry's API belongs to what this distributor has fetched, and not to the repositories
// that are pushed to it. path is unescaped: whoever writes %2F for a slash means the same.
func readOnly(name string) bool {
	name = strings.TrimPrefix(path.Clean(name), apiPrefix) + "/"
	return strings.HasPrefix(name, modulesName+"/") || strings.HasPrefix(name, fetchedPrefix)
}

// ServeHTTP answers GET and HEAD of verified copies, by digest, ranges included:
//
//	/v2/waft/modules/blobs/sha256:HEX                               a module
//	/v2/waft/fetched/HOST/REPOSITORY/manifests/sha256:HEX           an image that was fetched from HOST/REPOSITORY
//	/v2/waft/fetched/HOST/REPOSITORY/blobs/sha256:HEX               what belongs to it
//
// Each is verified when it is opened, so that a damaged disk is found here and not at a node. No tag is resolved: what one names
// is for the registry to say that it came from.
func (m *modules) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		ociError(w, http.StatusForbidden, "DENIED",
			"what begins with waft/modules or waft/fetched is what this distributor has fetched: it is read by digest and written by nobody; push to a repository of another name")
		return
	}
	// NAME/KIND/OBJECT, and a name may have any number of parts.
	parts := strings.Split(strings.TrimPrefix(path.Clean(r.URL.Path), apiPrefix), "/")
	last := len(parts) - 1
	name, kind, text := strings.Join(parts[:max(last-1, 0)], "/"), parts[max(last-1, 0)], parts[last]
	if kind != kindManifests && kind != kindBlobs {
		ociError(w, http.StatusNotFound, "UNSUPPORTED", "here are only "+name+"/manifests/sha256:HEX and "+name+"/blobs/sha256:HEX")
		return
	}
	digest, err := registry.ParseDigest(text)
	switch {
	case err != nil && kind == kindManifests:
		ociError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "tags are not resolved here; name the image by its digest, as in "+name+"@sha256:HEX")
		return
	case err != nil:
		ociError(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	var f *os.File
	var size int64
	mediaType := "application/octet-stream"
	if name == modulesName {
		if kind == kindManifests {
			ociError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "here are modules only: "+modulesName+"/blobs/sha256:HEX")
			return
		}
		f, size, err = m.open(r.Context(), digest)
	} else {
		var h held
		if f, h, err = m.openFetched(r.Context(), name, object{kind, digest}); kind == kindManifests {
			mediaType = h.MediaType
		}
	}
	if err != nil {
		m.notServed(w, kind, name, text, err)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Docker-Content-Digest", text)
	h.Set("ETag", `"`+text+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	node := r.Header.Get(envoy.NodeHeader)
	if node == "" || name != modulesName || m.served == nil {
		http.ServeContent(w, r, "", time.Time{}, f)
		return
	}
	// The node is to close the connection when it has read all of the answer: that megabytes were written says only that the kernel has them.
	h.Set("Connection", "close")
	sent := &countingWriter{ResponseWriter: w}
	http.ServeContent(sent, r, "", time.Time{}, f)
	if sent.bytes == 0 || sent.bytes != size || http.NewResponseController(w).Flush() != nil {
		return
	}
	read := false
	select {
	case <-r.Context().Done():
		read = tookAll(r) && !byReplica(r) // another replica closes when it has read all of it, and may still be sending
	case <-time.After(closeTimeout): // who stands between may not
	}
	m.served(node, text, read)
}

// closeTimeout is how long a node may take to close a connection over which it was sent a module. It counts from when the kernel has the last of it, and
// Envoy compiles one module before it reads the next.
const closeTimeout = time.Minute

// countingWriter counts the body of an answer.
type countingWriter struct {
	http.ResponseWriter
	bytes int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom is what the operating system may do by itself.
func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.bytes += n
	return n, err
}

// notServed answers why something is not served.
func (m *modules) notServed(w http.ResponseWriter, kind, name, digest string, err error) {
	unknown := "BLOB_UNKNOWN"
	if kind == kindManifests {
		unknown = "MANIFEST_UNKNOWN"
	}
	switch {
	case errors.Is(err, errNoName):
		ociError(w, http.StatusNotFound, "NAME_UNKNOWN", name+": "+err.Error())
	case errors.Is(err, errNoObject):
		ociError(w, http.StatusNotFound, unknown, name+"@"+digest+": "+err.Error())
	case errors.Is(err, registry.ErrNotCached) && name == modulesName:
		ociError(w, http.StatusNotFound, unknown, "no release of this distributor names "+digest)
	case errors.Is(err, model.ErrNotFound):
		ociError(w, http.StatusNotFound, unknown, err.Error())
	default:
		m.log.Error("what was fetched cannot be served", "name", name, "digest", digest, "error", err)
		ociError(w, http.StatusServiceUnavailable, "UNAVAILABLE", err.Error())
	}
}

// ociError answers in the form of the distribution specification.
func ociError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that has gone needs no answer
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}
