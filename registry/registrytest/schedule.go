package registrytest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// NamedFault is a fault with a name for logs.
type NamedFault struct {
	Name  string
	Fault Fault
}

// AllFaults are all the ways to fail, in a fixed order. elsewhere is the host of a registry that has what this one has and
// that the client may speak to; untrusted is one that it may not.
func AllFaults(elsewhere, untrusted string) []NamedFault {
	faults := []NamedFault{
		{"half a body", HalfBody},
		{"wrong bytes", WrongBytes},
		{"short body", ShortBody},
		{"endless body", Endless},
		{"stall", Stall},
		{"reset", Reset},
		{"slow body", Slow},
		{"no HTTP", NoHTTP},
		{"closed in the head", ClosedInHead},
		{"length too small", WrongLength(-7)},
		{"length too large", WrongLength(7)},
		{"wrong type", WrongType},
		{"wrong digest in the head", WrongDigestHeader},
		{"wrong range", WrongRange},
		{"no ranges", NoRange},
		{"a page for people", LoginPage},
		{"empty body", EmptyBody},
		{"no retry before 1 s", RetryAfter(http.StatusTooManyRequests, "1")},
		{"no retry before an hour", RetryAfter(http.StatusTooManyRequests, "3600")},
		{"503, retry after 2 s", RetryAfter(http.StatusServiceUnavailable, "2")},
		{"500 that stalls", StalledAnswer(http.StatusInternalServerError)},
		{"404 that stalls", StalledAnswer(http.StatusNotFound)},
		{"redirect", Redirect(elsewhere)},
		{"redirect to a stranger", Redirect(untrusted)},
		{"redirect without end", RedirectToSelf},
	}
	for _, status := range []int{400, 401, 403, 404, 408, 429, 500, 502, 503, 504} {
		faults = append(faults, NamedFault{strconv.Itoa(status), Answer(status)})
	}
	return faults
}

// Schedule spoils requests by a plan that depends on its seed and on nothing else: the n-th request of a method
// for a path meets the same fault each time, whatever other requests come between. After a number of faults it lets everything through. It is a Fault's maker for Faulty.Break; it may be used by
// any number of goroutines. Where requests come beside each other, as those of a push, which of them are the last to be spoiled may differ.
type Schedule struct {
	seed   uint64
	faults []NamedFault
	// share is how many requests of a hundred are spoiled.
	share int

	mu       sync.Mutex
	left     int
	requests uint64
	asked    map[string]uint64 // by method and path
	log      []string
}

// NewSchedule makes a schedule of at most left faults out of the given ones. How dense they are depends on the seed, too.
func NewSchedule(seed uint64, faults []NamedFault, left int) *Schedule {
	r := rand.New(rand.NewPCG(seed, 0))
	return &Schedule{seed: seed, faults: faults, left: left, asked: map[string]uint64{}, share: 20 + r.IntN(75)}
}

// Fault is the schedule as a fault.
func (s *Schedule) Fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	name, fault := s.draw(r)
	if name == "" {
		next.ServeHTTP(w, r)
		return
	}
	fault(w, r, next)
}

func (s *Schedule) draw(r *http.Request) (string, Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	path := r.URL.Path
	if before, _, ok := strings.Cut(path, "/blobs/uploads/"); ok {
		path = before + "/blobs/uploads/…" // the name of an upload is the registry's own choice
	}
	what := r.Method + " " + path
	s.asked[what]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(what)) // never fails
	random := rand.New(rand.NewPCG(s.seed, h.Sum64()+s.asked[what]))
	spoiled := random.IntN(100) < s.share
	which := s.faults[random.IntN(len(s.faults))]
	line := fmt.Sprintf("%d %s", s.requests, what)
	if rng := r.Header.Get("Range"); rng != "" {
		line += " (" + rng + ")"
	}
	if s.left == 0 || !spoiled {
		s.log = append(s.log, line)
		return "", nil
	}
	s.left--
	s.log = append(s.log, line+": "+which.Name)
	return which.Name, which.Fault
}

// Left is how many faults are still to come.
func (s *Schedule) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Log lists the requests so far, and what each of them met.
func (s *Schedule) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.log...)
}

// RetryAfter answers with a status, and asks to be left alone until then.
func RetryAfter(status int, after string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Retry-After", after)
		Answer(status)(w, r, next)
	}
}

// StalledAnswer answers with a status and half of the words that go with it, and then sends nothing until the client goes.
func StalledAnswer(status int) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		Stall(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Answer(status)(w, r, nil) }))
	}
}

// Redirect sends the client to another host.
func Redirect(host string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://"+host+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// RedirectToSelf sends the client around in a circle.
func RedirectToSelf(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	http.Redirect(w, r, r.URL.RequestURI(), http.StatusTemporaryRedirect)
}

// Slow answers rightly, a little at a time.
func Slow(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	body := rec.Body.Bytes()
	copyHead(w, rec, len(body))
	const parts = 10
	for i := range parts {
		_, _ = w.Write(body[len(body)*i/parts : len(body)*(i+1)/parts]) // the client may have gone
		w.(http.Flusher).Flush()
		select {
		case <-time.After(time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}

// NoHTTP answers with what is no HTTP.
func NoHTTP(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	raw(w, "SSH-2.0-OpenSSH_9.6\r\n")
}

// ClosedInHead closes the connection in the middle of the answer's head.
func ClosedInHead(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Ty")
}

func raw(w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write([]byte(text)) // the client may have gone
	_ = conn.Close()                // there is nobody to tell
}

// WrongLength answers with a Content-Length that is off by so many bytes, and with the whole body as far as that lets it.
func WrongLength(by int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := record(next, r)
		n := max(rec.Body.Len()+by, 0)
		copyHead(w, rec, n)
		_, _ = w.Write(rec.Body.Bytes()[:min(n, rec.Body.Len())]) // the client may have gone
		if n > rec.Body.Len() {
			panic(http.ErrAbortHandler)
		}
	}
}

// WrongType answers rightly, and calls it something else.
func WrongType(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	rec.Header().Set("Content-Type", "text/plain; charset=utf-8")
	copyHead(w, rec, rec.Body.Len())
	_, _ = w.Write(rec.Body.Bytes()) // the client may have gone
}

// WrongDigestHeader answers rightly, with the digest of something else in the head.
func WrongDigestHeader(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := record(next, r)
	const other = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // of nothing
	if rec.Code == http.StatusOK {
		rec.Header().Set("Docker-Content-Digest", other)
	}
	copyHead(w, rec, rec.Body.Len())
	_, _ = w.Write(rec.Body.Bytes()) // the client may have gone
}

// WrongRange answers with another part than it was asked for, and with a part when it was asked for the whole.
func WrongRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r = r.Clone(r.Context())
	r.Header.Set("Range", "bytes=1-")
	next.ServeHTTP(w, r)
}

// NoRange answers with the whole, whatever part it was asked for.
func NoRange(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	next.ServeHTTP(w, r)
}

// LoginPage answers as a portal does that wants a person to log in.
func LoginPage(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!doctype html><title>Welcome to our network</title>")) // the client may have gone
}

// EmptyBody answers that all is well, and with nothing.
func EmptyBody(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.Header().Set("Content-Length", "0")
}
