package registrytest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault answers a request in the place of next, or spoils next's answer.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Faulty is a registry that can be told to fail. It may be used by any number of goroutines.
type Faulty struct {
	next http.Handler

	mu       sync.Mutex
	fault    Fault
	matches  func(*http.Request) bool
	requests []string
}

// NewFaulty puts a Faulty before a registry. It lets everything through until Break is called.
func NewFaulty(next http.Handler) *Faulty { return &Faulty{next: next} }

// Break has requests that match answered by the fault, from now on. Nil matches all of them.
func (f *Faulty) Break(matches func(*http.Request) bool, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.matches, f.fault = matches, fault
}

// Mend ends the fault.
func (f *Faulty) Mend() { f.Break(nil, nil) }

// Requests lists the requests so far, as METHOD PATH.
func (f *Faulty) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.requests...)
}

// Forget empties the list of requests.
func (f *Faulty) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = nil
}

// ServeHTTP serves the registry, with its fault.
func (f *Faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	fault := f.fault
	if f.matches != nil && !f.matches(r) {
		fault = nil
	}
	f.mu.Unlock()
	if fault != nil {
		fault(w, r, f.next)
		return
	}
	f.next.ServeHTTP(w, r)
}

// Path matches requests whose method is the given one and whose path holds part.
func Path(method, part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
}

// Answer answers with a status and an error document of the distribution specification.
func Answer(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"errors":[{"code":"BROKEN","message":"broken on purpose"}]}`)) // the client may have gone
	}
}

// HalfBody promises the whole body and breaks the connection in its middle.
func HalfBody(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	copyHead(w, rec, rec.Body.Len())
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2]) // the client may have gone
	panic(http.ErrAbortHandler)
}

// WrongBytes answers with one bit of the body flipped.
func WrongBytes(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	body := rec.Body.Bytes()
	if len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	copyHead(w, rec, len(body))
	_, _ = w.Write(body) // the client may have gone
}

// ShortBody answers with half of the body, and says that this is all.
func ShortBody(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	body := rec.Body.Bytes()[:rec.Body.Len()/2]
	copyHead(w, rec, len(body))
	_, _ = w.Write(body) // the client may have gone
}

// Endless answers with the body and never ends: chunked, without a length.
func Endless(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	copyHead(w, rec, -1)
	if r.Method == http.MethodHead {
		return
	}
	for {
		if _, err := w.Write(rec.Body.Bytes()); err != nil || r.Context().Err() != nil || rec.Body.Len() == 0 {
			return
		}
	}
}

// Stall answers with half of the body and then sends nothing until the client goes. An answer without a body is sent as it
// is: the client has all of it, and would never go.
func Stall(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	copyHead(w, rec, rec.Body.Len())
	if r.Method == http.MethodHead || rec.Body.Len() == 0 {
		return
	}
	_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2]) // the client may have gone
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// Drip answers with a byte now and then, often enough not to stall, and never comes to the end.
func Drip(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	copyHead(w, rec, rec.Body.Len())
	if r.Method == http.MethodHead {
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, b := range rec.Body.Bytes() {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_, _ = w.Write([]byte{b}) // the client may have gone
			w.(http.Flusher).Flush()
		}
	}
}

// Reset breaks the connection by a TCP reset, without an answer.
func Reset(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closing then resets
	}
	_ = conn.Close() // there is nobody to tell
}

func record(next http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

// copyHead writes a recorded answer's head with another length; without one when it is negative.
func copyHead(w http.ResponseWriter, rec *httptest.ResponseRecorder, length int) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.Header().Del("Content-Length")
	if length >= 0 {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	w.WriteHeader(rec.Code)
}
