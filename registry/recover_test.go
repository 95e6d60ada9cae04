package registry_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// patient is a client's configuration with retries, and a clock that takes no time.
func patient(t *testing.T, e registrytest.Endpoint) (registry.Config, *registrytest.Clock) {
	t.Helper()
	clock := registrytest.NewClock()
	cfg := e.Config(t)
	cfg.Retries, cfg.Clock = 3, clock
	cfg.Random = func() float64 { return 0 }
	return cfg, clock
}

func wantFile(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("have %d bytes, want %d: %v", len(got), len(want), err)
	}
}

// cutAfter lets n bytes of each body through and then breaks the connection, and counts what was sent.
func cutAfter(n int, sent *atomic.Int64) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: n, sent: sent}, r)
	}
}

type cutter struct {
	http.ResponseWriter
	left int
	sent *atomic.Int64
}

func (c *cutter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.sent.Add(int64(n))
	if c.left -= n; c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// A download that is cut off again and again goes on where it was, and no byte is sent twice.
func TestDownloadResumes(t *testing.T) {
	for _, honours := range []bool{true, false} {
		name := map[bool]string{true: "the registry knows Range", false: "it does not"}[honours]
		t.Run(name, func(t *testing.T) {
			e, faulty, a, wasm := published(t)
			cfg, _ := patient(t, e)
			var sent atomic.Int64
			cut := cutAfter(100_000, &sent)
			requests := 0
			faulty.Break(registrytest.Path("GET", string(a.Module.Digest)), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				requests++
				if !honours {
					r.Header.Del("Range")
					if requests == 3 {
						next.ServeHTTP(w, r)
						return
					}
				}
				cut(w, r, next)
			})
			path, err := registrytest.NewClient(t, cfg).FetchModule(t.Context(), a.Reference, a.Module.Digest, a.Module.Size)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, wasm)
			if honours && sent.Load() != int64(len(wasm)) || requests != 3 {
				t.Errorf("%d bytes of %d were sent in %d requests", sent.Load(), len(wasm), requests)
			}
		})
	}
}

// What a download has left is there for the next one, of another process as well; damage in it is found.
func TestDownloadGoesOnLater(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(path string) error
		again  int64 // bytes that are sent once more
	}{
		{"sound", func(string) error { return nil }, 200_000},
		{"a flipped bit", func(p string) error { return flipBit(p, 50_000) }, 500_000},
		{"too long", func(p string) error { return os.Truncate(p, 400_000) }, 300_000},
		{"gone", os.Remove, 300_000},
		{"another process has it", func(p string) error { return nil }, 300_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, faulty, a, wasm := published(t)
			cfg := e.Config(t) // without retries
			var sent atomic.Int64
			faulty.Break(registrytest.Path("GET", string(a.Module.Digest)), cutAfter(100_000, &sent))
			c := registrytest.NewClient(t, cfg)
			_, err := c.FetchModule(t.Context(), a.Reference, a.Module.Digest, a.Module.Size)
			checkKind(t, err, registry.ErrUnavailable)

			left := filepath.Join(cfg.Cache.Dir(), "partial", a.Module.Digest.Hex())
			if info, err := os.Stat(left); err != nil || info.Size() != 100_000 {
				t.Fatalf("what is left: %v, %v", info, err)
			}
			if err := tc.damage(left); err != nil {
				t.Fatal(err)
			}
			if tc.name == "another process has it" {
				defer registry.LockFile(t, left)()
			}
			sent.Store(0)
			faulty.Break(registrytest.Path("GET", string(a.Module.Digest)), cutAfter(1<<30, &sent))
			cache, err := registry.OpenCache(cfg.Cache.Dir())
			if err != nil {
				t.Fatal(err)
			}
			cfg.Cache = cache
			path, err := registrytest.NewClient(t, cfg).FetchModule(t.Context(), a.Reference, a.Module.Digest, a.Module.Size)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, wasm)
			if sent.Load() != tc.again {
				t.Errorf("%d bytes were sent, want %d", sent.Load(), tc.again)
			}
			if _, err := os.Stat(left); err == nil && tc.name != "another process has it" {
				t.Error("it is still there")
			}
		})
	}
}

func flipBit(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b[:], at)
	return err
}

// A registry that asks for rest gets it, within bounds.
func TestRetryAfterIsHonoured(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after string
		slept time.Duration
		kind  error
	}{
		{"three seconds", "3", 3 * time.Second, nil},
		{"an hour", "3600", 0, registry.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, faulty, _, _ := published(t)
			cfg, clock := patient(t, e)
			asked := 0
			faulty.Break(registrytest.Path("GET", "/manifests/"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if asked++; asked == 1 {
					w.Header().Set("Retry-After", tc.after)
					registrytest.Answer(429)(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			})
			c := registrytest.NewClient(t, cfg)
			_, err := c.Resolve(t.Context(), e.Reference(t, "filters/authz:1"))
			if tc.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
			} else {
				checkKind(t, err, tc.kind)
				_, err = c.Resolve(t.Context(), e.Reference(t, "filters/authz:1"))
				checkKind(t, err, tc.kind)
				if asked != 1 || !strings.Contains(err.Error(), "left alone until") {
					t.Errorf("it asked for rest and was asked %d times: %v", asked, err)
				}
			}
			var slept time.Duration
			for _, d := range clock.Slept() {
				slept += d
			}
			if slept != tc.slept {
				t.Errorf("slept %s, want %s", slept, tc.slept)
			}
		})
	}
}

// A dead registry costs a few requests, then none; when it is back, nothing of that is left.
func TestBreakerSparesADeadRegistry(t *testing.T) {
	e, faulty, _, wasm := published(t)
	cfg, clock := patient(t, e)
	c := registrytest.NewClient(t, cfg)
	ref := e.Reference(t, "filters/authz:1")
	faulty.Forget()
	faulty.Break(nil, registrytest.Reset)
	for range 50 {
		_, err := c.Resolve(t.Context(), ref)
		checkKind(t, err, registry.ErrUnavailable)
	}
	if n := len(faulty.Requests()); n > 10 {
		t.Errorf("a dead registry was asked %d times", n)
	}
	_, err := c.Resolve(t.Context(), ref)
	if !strings.Contains(err.Error(), "left alone until") {
		t.Errorf("it does not say until when: %v", err)
	}
	faulty.Mend()
	clock.Advance(10 * time.Second)
	_, path, err := c.Pull(t.Context(), ref, nil)
	if err != nil {
		t.Fatalf("it is back: %v", err)
	}
	wantFile(t, path, wasm)
}

func TestMirrors(t *testing.T) {
	wasm := registrytest.Wasm(300_000, 1)
	module := registry.ModuleBytes(wasm)
	module.Manifest = []byte(`{"name":"authz"}`)
	type world struct {
		cfg            registry.Config
		ref            registry.Reference
		origin, mirror *registrytest.Faulty
		mirrorHost     string
	}
	start := func(t *testing.T, prefix string, tags bool) world {
		inner := registrytest.Start(t)
		w := world{origin: registrytest.NewFaulty(inner.Handler)}
		e := registrytest.Serve(t, w.origin)
		m := registrytest.Start(t)
		w.mirror = registrytest.NewFaulty(m.Handler)
		me := registrytest.Serve(t, w.mirror)
		w.cfg = e.Config(t)
		w.cfg.PlainHTTP = append(w.cfg.PlainHTTP, me.Host)
		w.mirrorHost = me.Host
		w.ref = e.Reference(t, "filters/authz:1")
		w.cfg.Mirrors = map[string][]registry.Mirror{e.Host: {{Host: me.Host, Prefix: prefix, Tags: tags}}}
		for _, to := range []struct {
			e    registrytest.Endpoint
			path string
		}{{e, "filters/authz:1"}, {me, strings.TrimPrefix(prefix+"/filters/authz:1", "/")}} {
			if _, err := to.e.Client(t).Push(t.Context(), to.e.Reference(t, to.path), module, nil); err != nil {
				t.Fatal(err)
			}
		}
		w.origin.Forget()
		w.mirror.Forget()
		return w
	}
	pull := func(t *testing.T, w world) {
		t.Helper()
		_, path, err := registrytest.NewClient(t, w.cfg).Pull(t.Context(), w.ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, wasm)
	}
	asked := func(f *registrytest.Faulty, part string) (n int) {
		for _, r := range f.Requests() {
			if strings.Contains(r, part) {
				n++
			}
		}
		return n
	}

	t.Run("bytes from the mirror, the tag from the registry", func(t *testing.T) {
		w := start(t, "", false)
		pull(t, w)
		if asked(w.origin, "/blobs/") != 0 || asked(w.origin, "/manifests/1") != 1 || asked(w.mirror, "/manifests/1") != 0 || asked(w.mirror, "/blobs/") == 0 {
			t.Errorf("the registry was asked %q, the mirror %q", w.origin.Requests(), w.mirror.Requests())
		}
	})
	t.Run("tags from the mirror where it is said, under a prefix", func(t *testing.T) {
		w := start(t, "proxy/example", true)
		w.origin.Break(nil, registrytest.Reset)
		pull(t, w)
		if asked(w.mirror, "/v2/proxy/example/filters/authz/manifests/1") != 1 || len(w.origin.Requests()) != 0 {
			t.Errorf("the registry was asked %q, the mirror %q", w.origin.Requests(), w.mirror.Requests())
		}
	})
	for name, fault := range map[string]registrytest.Fault{
		"a mirror that is away": registrytest.Reset, "a mirror without it": registrytest.Answer(404), "a mirror that wants credentials": registrytest.Answer(401),
		"a mirror that gives other bytes": registrytest.WrongBytes, "a mirror that gives half": registrytest.ShortBody,
		"a mirror that breaks off": registrytest.HalfBody, "a mirror that gives too much": registrytest.Endless,
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, "", true)
			w.cfg.Retries, w.cfg.Clock = 1, registrytest.NewClock()
			w.mirror.Break(nil, fault)
			pull(t, w)
			if asked(w.mirror, "/") == 0 {
				t.Error("the mirror was not asked")
			}
		})
	}
	t.Run("a mirror that drips", func(t *testing.T) {
		w := start(t, "", true)
		w.cfg.Retries, w.cfg.Clock, w.cfg.StallTimeout = 1, registrytest.NewClock(), 200*time.Millisecond
		var drops atomic.Int64
		w.mirror.Break(registrytest.Path("GET", "/blobs/"), func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			registrytest.Drip(dripping{rw, &drops}, r, next)
		})
		pull(t, w)
		// The manifest and the module, each asked of the mirror once or twice, and then of the registry from where it had come to.
		if asked(w.mirror, "/blobs/") == 0 || asked(w.origin, "/blobs/") == 0 {
			t.Errorf("the registry was asked %q, the mirror %q", w.origin.Requests(), w.mirror.Requests())
		}
		// A drop in 5 ms is 40 until it is found out. A busy machine gives fewer.
		if n := drops.Load(); n > 400 {
			t.Errorf("%d drops were taken", n)
		}
	})
	t.Run("a dead mirror costs nothing", func(t *testing.T) {
		w := start(t, "", true)
		w.mirror.Break(nil, registrytest.Reset)
		w.cfg.Clock = registrytest.NewClock() // it stands, however busy the machine: it is never time to try the mirror again
		c := registrytest.NewClient(t, w.cfg)
		for range 20 {
			if _, err := c.Resolve(t.Context(), w.ref); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.mirror.Requests()); n > 5 {
			t.Errorf("the dead mirror was asked %d times", n)
		}
	})
	t.Run("a registry that is away", func(t *testing.T) {
		w := start(t, "", false)
		a, err := registrytest.NewClient(t, w.cfg).Resolve(t.Context(), w.ref)
		if err != nil {
			t.Fatal(err)
		}
		w.origin.Break(nil, registrytest.Reset)
		w.ref = a.Reference
		pull(t, w) // by its digest it comes from the mirror
		w.mirror.Break(nil, registrytest.Answer(404))
		_, err = registrytest.NewClient(t, w.cfg).Resolve(t.Context(), w.ref)
		checkKind(t, err, registry.ErrUnavailable)
		if !strings.Contains(err.Error(), w.mirrorHost+": not found") {
			t.Errorf("it does not say what the mirror said: %v", err)
		}
	})
	t.Run("a wrong name", func(t *testing.T) {
		_, err := registry.NewClient(registry.Config{Mirrors: map[string][]registry.Mirror{"a.example": {{Host: "b.example/x"}}}})
		checkKind(t, err, registry.ErrInvalidReference)
	})
}

// Places are asked in the order in which they are configured, the registry's own among them at its place, and none after the first
// that has what is wanted.
func TestMirrorsInOrder(t *testing.T) {
	wasm := registrytest.Wasm(100_000, 1)
	digest := registry.DigestOf(wasm)
	const registries = 3
	var faulty [registries]*registrytest.Faulty
	var places [registries]registrytest.Endpoint
	for i := range registries {
		inner := registrytest.Start(t)
		if _, err := inner.Client(t).Push(t.Context(), inner.Reference(t, "filters/authz:1"), registry.ModuleBytes(wasm), nil); err != nil {
			t.Fatal(err)
		}
		faulty[i] = registrytest.NewFaulty(inner.Handler)
		places[i] = registrytest.Serve(t, faulty[i])
	}
	const origin = 0
	mirror := func(i int) registry.Mirror { return registry.Mirror{Host: places[i].Host} }
	for _, tc := range []struct {
		name    string
		mirrors []registry.Mirror
		broken  []int
		asked   []int
	}{
		{"the first has it", []registry.Mirror{mirror(1), mirror(2)}, nil, []int{1}},
		{"the second has it", []registry.Mirror{mirror(1), mirror(2)}, []int{1}, []int{1, 2}},
		{"another order", []registry.Mirror{mirror(2), mirror(1)}, []int{2}, []int{2, 1}},
		{"the registry is last", []registry.Mirror{mirror(1), mirror(2)}, []int{1, 2}, []int{1, 2, origin}},
		{"the registry is among them", []registry.Mirror{mirror(1), mirror(origin), mirror(2)}, []int{1}, []int{1, origin}},
		{"the registry is the first of them", []registry.Mirror{mirror(origin), mirror(1)}, []int{origin}, []int{origin, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []int
			for i, f := range faulty {
				f.Break(nil, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					mu.Lock()
					asked = append(asked, i)
					mu.Unlock()
					if slices.Contains(tc.broken, i) {
						registrytest.Answer(500)(w, r, next)
						return
					}
					next.ServeHTTP(w, r)
				})
			}
			cfg := places[origin].Config(t)
			cfg.PlainHTTP = []string{"127.0.0.1"}
			cfg.Mirrors = map[string][]registry.Mirror{places[origin].Host: tc.mirrors}
			path, err := registrytest.NewClient(t, cfg).FetchModule(t.Context(), places[origin].Reference(t, "filters/authz"), digest, int64(len(wasm)))
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, path, wasm)
			if !slices.Equal(asked, tc.asked) {
				t.Errorf("asked %v, want %v", asked, tc.asked)
			}
		})
	}
}

// dripping counts what is written.
type dripping struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (d dripping) Write(p []byte) (int, error) {
	d.n.Add(int64(len(p)))
	return d.ResponseWriter.Write(p)
}

func (d dripping) Flush() { d.ResponseWriter.(http.Flusher).Flush() }

func TestParseMirror(t *testing.T) {
	for text, want := range map[string]registry.Mirror{
		"a.example=b.example":           {Host: "b.example"},
		"a.example:5000=b.example:80/x": {Host: "b.example:80", Prefix: "x"},
		"a.example=b.example,tags":      {Host: "b.example", Tags: true},
		"a.example=b.example/x/y,tags":  {Host: "b.example", Prefix: "x/y", Tags: true},
	} {
		host, got, err := registry.ParseMirror(text)
		if err != nil || got != want || !strings.HasPrefix(text, host+"=") {
			t.Errorf("%s: %s, %+v, %v", text, host, got, err)
		}
	}
	for _, text := range []string{"", "a.example", "=b.example", "a.example=", "a.example=b.example/X", "a.example=b.example,x", "a.example=http://b.example", "a=b.example"} {
		_, _, err := registry.ParseMirror(text)
		checkKind(t, err, registry.ErrInvalidReference)
	}
}

func writeTestFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
