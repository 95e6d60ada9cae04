package registrytest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/waft-project/waft/registry"
)

// ReferrersAPI puts the referrers API before a registry that lacks it, as newer registries have it.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers
type ReferrersAPI struct {
	next http.Handler

	mu   sync.Mutex
	list map[string][]referrer // by REPOSITORY@DIGEST of the subject
}

type referrer struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// NewReferrersAPI is a ReferrersAPI before a registry.
func NewReferrersAPI(next http.Handler) *ReferrersAPI {
	return &ReferrersAPI{next: next, list: map[string][]referrer{}}
}

// ServeHTTP serves the registry and the API.
func (s *ReferrersAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	if repository, subject, ok := strings.Cut(path, "/referrers/"); ok && r.Method == http.MethodGet {
		s.answer(w, repository, subject, r.URL.Query().Get("artifactType"))
		return
	}
	if repository, _, ok := strings.Cut(path, "/manifests/"); ok && r.Method == http.MethodPut {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var m struct {
			MediaType    string
			ArtifactType string
			Config       struct{ MediaType string }
			Subject      *struct{ Digest string }
			Annotations  map[string]string
		}
		if json.Unmarshal(body, &m) == nil && m.Subject != nil {
			w.Header().Set("OCI-Subject", m.Subject.Digest)
			if m.ArtifactType == "" {
				m.ArtifactType = m.Config.MediaType
			}
			s.add(repository+"@"+m.Subject.Digest, referrer{m.MediaType, string(registry.DigestOf(body)), int64(len(body)), m.ArtifactType, m.Annotations})
		}
	}
	s.next.ServeHTTP(w, r)
}

func (s *ReferrersAPI) add(subject string, d referrer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.list[subject] {
		if have.Digest == d.Digest {
			return
		}
	}
	s.list[subject] = append(s.list[subject], d)
}

func (s *ReferrersAPI) answer(w http.ResponseWriter, repository, subject, artifactType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	manifests := []referrer{}
	for _, d := range s.list[repository+"@"+subject] {
		if artifactType == "" || d.ArtifactType == artifactType {
			manifests = append(manifests, d)
		}
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
	})
}
