package registrytest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Rounds makes writers of one manifest compete in the worst way there is, the same each time and however slow the machine: it
// holds back each write until all writers that still have to write have read what is there and written, then lets the writes
// through one after the other, and only then answers any of them. So in each round all but the last are written over.
type Rounds struct {
	next    http.Handler
	suffix  string
	mu      sync.Mutex
	writers int // of this round
	waiting []*heldWrite
}

type heldWrite struct {
	request *http.Request
	answer  *httptest.ResponseRecorder
	done    chan struct{}
}

// NewRounds puts a Rounds before a registry, for that many writers of the manifest at the tag.
func NewRounds(next http.Handler, tag string, writers int) *Rounds {
	return &Rounds{next: next, suffix: "/manifests/" + tag, writers: writers}
}

// ServeHTTP serves the registry.
func (s *Rounds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, s.suffix) {
		s.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	held := &heldWrite{request: r, done: make(chan struct{})}
	s.hold(held)
	select {
	case <-held.done:
		copyHead(w, held.answer, held.answer.Body.Len())
		_, _ = w.Write(held.answer.Body.Bytes()) // the client may have gone
	case <-r.Context().Done():
	}
}

// hold adds a write to the round, and ends the round when it was the last one.
func (s *Rounds) hold(write *heldWrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, write)
	if len(s.waiting) < s.writers {
		return
	}
	for _, each := range s.waiting {
		each.answer = record(s.next, each.request)
		close(each.done)
	}
	s.writers--
	s.waiting = nil
}
