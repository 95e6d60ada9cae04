package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// waiter is a filter whose handlers wait.
type waiter struct {
	request  func(ctx context.Context, r *sdk.Request) sdk.Action
	response func(ctx context.Context, r *sdk.Response) sdk.Action
	done     func(s *sdk.Stream)
}

func (w *waiter) NewHandler() sdk.Handler { return w }

func (w *waiter) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	if w.request == nil {
		return sdk.Continue
	}
	return w.request(ctx, r)
}

func (w *waiter) OnResponseHeaders(ctx context.Context, r *sdk.Response) sdk.Action {
	if w.response == nil {
		return sdk.Continue
	}
	return w.response(ctx, r)
}

func (w *waiter) OnStreamDone(s *sdk.Stream) {
	if w.done != nil {
		w.done(s)
	}
}

// echo is a cluster that answers with what it was asked, and each path of its own way.
func echo(r sdk.FetchRequest) (*sdk.FetchResponse, error) {
	switch r.Path {
	case "/broken":
		return nil, errors.New("broken")
	case "/silent":
		return nil, nil
	case "/denied":
		return &sdk.FetchResponse{Status: 403}, nil
	}
	return &sdk.FetchResponse{
		Status:   200,
		Headers:  sdktest.Headers("x-echo", r.Method+" "+r.Authority+r.Path),
		Body:     r.Body,
		Trailers: r.Trailers,
	}, nil
}

func TestFetch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		request sdk.FetchRequest
		want    string
		err     error
	}{
		{"defaults", sdk.FetchRequest{Cluster: "echo"}, "200 GET echo/ \"\" []", nil},
		{"everything", sdk.FetchRequest{Cluster: "echo", Method: "PUT", Path: "/a?b", Authority: "h", Body: []byte("\xff"), Trailers: sdktest.Headers("x-t", "1")}, "200 PUT h/a?b \"\\xff\" [{x-t 1}]", nil},
		{"a status is no error", sdk.FetchRequest{Cluster: "echo", Path: "/denied"}, "403  \"\" []", nil},
		{"the connection breaks", sdk.FetchRequest{Cluster: "echo", Path: "/broken"}, "", sdk.ErrFetchFailed},
		{"no such cluster", sdk.FetchRequest{Cluster: "none"}, "", sdk.ErrBadArgument},
		{"no cluster", sdk.FetchRequest{}, "", sdk.ErrBadArgument},
		{"time is over", sdk.FetchRequest{Cluster: "echo", Path: "/silent", Timeout: time.Second}, "", context.DeadlineExceeded},
		{"time is over by default", sdk.FetchRequest{Cluster: "echo", Path: "/silent"}, "", context.DeadlineExceeded},
		{"too large", sdk.FetchRequest{Cluster: "echo", Body: []byte("four"), Limit: 3}, "", sdk.ErrTooLarge},
		{"just not too large", sdk.FetchRequest{Cluster: "echo", Body: []byte("four"), Limit: 4}, "200 GET echo/ \"four\" []", nil},
		{"a second header smuggled in", sdk.FetchRequest{Cluster: "echo", Path: "/\r\nx: y"}, "", sdk.ErrBadArgument},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got string
			var err error
			f := run(t, &waiter{request: func(ctx context.Context, r *sdk.Request) sdk.Action {
				response, failure := r.Fetch(ctx, test.request)
				if err = failure; err == nil {
					got = fmt.Sprintf("%d %s %q %v", response.Status, response.Header("X-Echo"), response.Body, response.Trailers)
				}
				r.Headers().Set("x-after", r.Method())
				return sdk.Continue
			}}, sdktest.Cluster("echo", echo))
			result := f.Do(sdktest.Request{Method: "POST", Body: "body"})
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %s, %v; want %s, %v", got, err, test.want, test.err)
			}
			if result.Upstream == nil || result.Upstream.Get("x-after") != "POST" || result.Upstream.Body != "body" {
				t.Errorf("the request that waited arrived as %+v", result.Upstream)
			}
		})
	}
}

func fetchPath(ctx context.Context, path string) (int, error) {
	response, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "echo", Path: path, Timeout: 10 * time.Second})
	if err != nil {
		return 0, err
	}
	return response.Status, nil
}

func TestReplyAfterAwait(t *testing.T) {
	t.Parallel()
	f := run(t, &waiter{
		request: func(ctx context.Context, r *sdk.Request) sdk.Action {
			status, err := fetchPath(ctx, r.Path())
			if err != nil {
				return r.Reply(sdk.Reply{Status: 503})
			}
			if status != 200 {
				return r.Reply(sdk.Reply{Status: status})
			}
			return sdk.Continue
		},
		response: func(ctx context.Context, r *sdk.Response) sdk.Action {
			if status, _ := fetchPath(ctx, "/denied"); status == 403 && r.Status() == 500 {
				return r.Reply(sdk.Reply{Status: 502})
			}
			r.Headers().Set("x-waited", "1")
			return sdk.Continue
		},
	}, sdktest.Cluster("echo", echo))
	for _, test := range []struct {
		path     string
		upstream int
		status   int
	}{{"/", 200, 200}, {"/", 500, 502}, {"/denied", 200, 403}, {"/broken", 200, 503}, {"/silent", 200, 503}} {
		got := f.Do(sdktest.Request{Path: test.path, Upstream: sdktest.Response{Status: test.upstream}})
		if got.Response.Status() != test.status || (got.Upstream == nil) != (test.path != "/") {
			t.Errorf("%s: status %d, upstream %v; want %d", test.path, got.Response.Status(), got.Upstream, test.status)
		}
		if test.status == 200 && got.Response.Get("x-waited") != "1" {
			t.Errorf("%s: the response did not wait: %v", test.path, got.Response)
		}
	}
}

func TestAllAndFirst(t *testing.T) {
	t.Parallel()
	all := func(paths ...string) func(context.Context) string {
		return func(ctx context.Context) string {
			statuses := make([]int, len(paths))
			var calls []func(context.Context) error
			for i, path := range paths {
				calls = append(calls, func(ctx context.Context) (err error) {
					statuses[i], err = fetchPath(ctx, path)
					return err
				})
			}
			err := sdk.All(ctx, calls...)
			return fmt.Sprint(statuses, err)
		}
	}
	first := func(paths ...string) func(context.Context) string {
		return func(ctx context.Context) string {
			var calls []func(context.Context) (int, error)
			for _, path := range paths {
				calls = append(calls, func(ctx context.Context) (int, error) { return fetchPath(ctx, path) })
			}
			status, err := sdk.First(ctx, calls...)
			return fmt.Sprint(status, err)
		}
	}
	broken := "fetch from cluster echo: no answer from the cluster"
	tests := []struct {
		name string
		call func(ctx context.Context) string
		want string
		took time.Duration
	}{
		{"all", all("/", "/denied", "/"), "[200 403 200] <nil>", 0},
		{"all of none", all(), "[] <nil>", 0},
		{"all, one fails", all("/", "/broken"), "[200 0] " + broken, 0},
		{"all, one is slow", all("/", "/silent"), "[200 0] fetch from cluster echo: context deadline exceeded", 10 * time.Second},
		{"first", first("/silent", "/broken", "/denied"), "403 <nil>", 0},
		{"first of none", first(), "0 <nil>", 0},
		{"first, all fail", first("/broken", "/broken"), "0 " + broken + "\n" + broken, 0},
		{"a limit over all", func(ctx context.Context) string {
			ctx, cancel := sdk.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return all("/", "/silent")(ctx)
		}, "[200 0] context deadline exceeded", 2 * time.Second},
		{"nested", func(ctx context.Context) string {
			var inner string
			err := sdk.All(ctx, func(ctx context.Context) error { inner = first("/silent", "/")(ctx); return nil }, func(ctx context.Context) error { return sdk.Sleep(ctx, time.Second) })
			return fmt.Sprint(inner, " ", err)
		}, "200 <nil> <nil>", time.Second},
		{"one after the other", func(ctx context.Context) string {
			a, _ := fetchPath(ctx, "/")
			sdk.Sleep(ctx, 3*time.Second)
			b, _ := fetchPath(ctx, "/denied")
			return fmt.Sprint(a, b)
		}, "200 403", 3 * time.Second},
		{"a context of the standard library", func(ctx context.Context) string {
			ctx, cancel := context.WithCancel(ctx)
			a, err := fetchPath(ctx, "/")
			cancel()
			_, late := fetchPath(ctx, "/")
			return fmt.Sprint(a, err, late)
		}, "200 <nil> context canceled", 0},
		{"another's context", func(ctx context.Context) string {
			_, err := fetchPath(context.Background(), "/")
			return err.Error()
		}, sdk.ErrNoTask.Error(), 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got string
			var took time.Duration
			f := run(t, &waiter{request: func(ctx context.Context, r *sdk.Request) sdk.Action {
				start := r.Stream().Now()
				got = test.call(ctx)
				took = r.Stream().Now().Sub(start)
				return sdk.Continue
			}}, sdktest.Cluster("echo", echo))
			if result := f.Do(sdktest.Request{}); result.Upstream == nil {
				t.Error("the request did not go on")
			}
			if want := strings.TrimSuffix(test.want, " "); got != want || took != test.took {
				t.Errorf("got %q after %v, want %q after %v", got, took, want, test.took)
			}
		})
	}
}

func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	var log []string
	f := run(t, &waiter{
		request: func(ctx context.Context, r *sdk.Request) sdk.Action {
			defer func() { log = append(log, "unwound") }()
			err := sdk.All(ctx,
				func(ctx context.Context) error { _, err := fetchPath(ctx, "/silent"); return err },
				func(ctx context.Context) error { return sdk.Sleep(ctx, time.Hour) })
			log = append(log, fmt.Sprint(err, " ", ctx.Err()))
			_, again := fetchPath(ctx, "/")
			log = append(log, fmt.Sprint(again))
			return r.Reply(sdk.Reply{Status: 500})
		},
		done: func(s *sdk.Stream) { log = append(log, fmt.Sprint("done ", s.Answered())) },
	}, sdktest.Cluster("echo", echo))
	for range 3 {
		log = nil
		got := f.Do(sdktest.Request{Leaves: true})
		want := []string{"context canceled\ncontext canceled context canceled", "context canceled", "unwound", "done false"}
		if !slices.Equal(log, want) || got.Upstream != nil || got.Local {
			t.Errorf("log %q, want %q; result %+v", log, want, got)
		}
	}
}

func TestPanicWhileAwaiting(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		call func(ctx context.Context)
	}{
		{"after a wait", func(ctx context.Context) { fetchPath(ctx, "/"); panic("boom") }},
		{"before a wait", func(context.Context) { panic("boom") }},
		{"in All", func(ctx context.Context) {
			sdk.All(ctx, func(ctx context.Context) error { fetchPath(ctx, "/"); panic("boom") }, func(ctx context.Context) error { return sdk.Sleep(ctx, time.Hour) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := run(t, &waiter{request: func(ctx context.Context, _ *sdk.Request) sdk.Action { test.call(ctx); return sdk.Continue }}, sdktest.Cluster("echo", echo))
			for range 2 {
				if got := f.Do(sdktest.Request{}); got.Response.Status() != 500 || got.Upstream != nil || !got.Logged("boom") || !got.Logged("await_test.go") {
					t.Errorf("got %+v, %q", got.Response, got.Logs)
				}
			}
			if n := f.Metric("waft.panics.filter"); n != 2 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}

func TestBackground(t *testing.T) {
	t.Parallel()
	var log []string
	at := func(p *sdk.Plugin, what string) {
		log = append(log, fmt.Sprintf("%s %s", p.Now().UTC().Format("04:05"), what))
	}
	f := sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		p.Every(2*time.Second, func(ctx context.Context) {
			status, err := fetchPath(ctx, "/")
			at(p, fmt.Sprint("every ", status, err))
			if len(log) > 4 {
				panic("boom")
			}
		})
		p.After(3*time.Second, func(context.Context) { at(p, "after") })
		if _, err := p.Receive("jobs", func(ctx context.Context, item []byte) {
			sdk.Sleep(ctx, time.Second)
			at(p, "job "+string(item))
		}); err != nil {
			return nil, err
		}
		p.Go(func(ctx context.Context) { at(p, "go"); panic("bang") })
		return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
	}, "", sdktest.Cluster("echo", echo))
	f.Push("jobs", []byte("a"))
	f.Push("jobs", nil)
	f.Advance(6500 * time.Millisecond)
	want := []string{"00:00 go", "00:01 job a", "00:02 every 200 <nil>", "00:02 job ", "00:03 after", "00:04 every 200 <nil>", "00:06 every 200 <nil>"}
	slices.Sort(log)
	if !slices.Equal(log, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	if n := f.Metric("waft.panics.filter"); n != 3 {
		t.Errorf("%d panics counted, want 3: %q", n, f.Logs())
	}
}

func TestSharedData(t *testing.T) {
	t.Parallel()
	var f *sdktest.Filter
	rounds := 0
	f = run(t, &waiter{request: func(_ context.Context, r *sdk.Request) sdk.Action {
		d := r.Stream().SharedData()
		if _, _, err := d.Get("k"); !errors.Is(err, sdk.ErrNotFound) {
			t.Errorf("an absent key: %v", err)
		}
		err := d.Update("k", func(value []byte) ([]byte, error) {
			if rounds++; rounds <= 2 {
				f.SharedData("k", []byte(fmt.Sprint("other", rounds)))
			}
			return append(value, '+'), nil
		})
		value, version, _ := d.Get("k")
		if err != nil || string(value) != "other2+" || rounds != 3 {
			t.Errorf("%q after %d rounds, %v", value, rounds, err)
		}
		if err := d.CompareAndSet("k", nil, version+1); !errors.Is(err, sdk.ErrCASMismatch) {
			t.Errorf("a wrong version: %v", err)
		}
		if err := d.CompareAndSet("k", nil, 0); !errors.Is(err, sdk.ErrCASMismatch) {
			t.Errorf("a key that is there, as new: %v", err)
		}
		if err := d.CompareAndSet("k", nil, version); err != nil {
			t.Errorf("the right version: %v", err)
		}
		if value, _, err := d.Get("k"); value == nil || len(value) != 0 || err != nil {
			t.Errorf("an empty value: %v, %v", value, err)
		}
		err = d.Update("busy", func([]byte) ([]byte, error) { f.SharedData("busy", nil); return nil, nil })
		if !errors.Is(err, sdk.ErrCASMismatch) {
			t.Errorf("others always faster: %v", err)
		}
		stop := errors.New("stop")
		if err := d.Update("k", func([]byte) ([]byte, error) { return nil, stop }); !errors.Is(err, stop) {
			t.Errorf("change refused: %v", err)
		}
		return sdk.Continue
	}})
	f.Do(sdktest.Request{})
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	answer := func(r sdk.GRPCRequest) ([]byte, error) {
		switch r.Method {
		case "Fail":
			return nil, &sdk.GRPCError{Code: 7, Message: "no"}
		case "Silent":
			return nil, nil
		}
		return append([]byte(r.Service+" "), r.Message...), nil
	}
	f := run(t, &waiter{request: func(ctx context.Context, r *sdk.Request) sdk.Action {
		got, err := sdk.CallGRPC(ctx, sdk.GRPCRequest{Cluster: "g", Service: "a.B", Method: r.Path()[1:], Message: []byte("\x00")})
		if err == nil {
			r.Headers().Set("x-got", fmt.Sprintf("%q", got.Message))
		} else {
			r.Headers().Set("x-got", err.Error())
		}
		return sdk.Continue
	}}, sdktest.GRPCCluster("g", answer))
	for path, want := range map[string]string{
		"/Say":    `"a.B \x00"`,
		"/Fail":   "call a.B/Fail of cluster g: grpc status 7: no",
		"/Silent": "call a.B/Silent of cluster g: context deadline exceeded",
	} {
		if got := f.Do(sdktest.Request{Path: path}); got.Upstream == nil || got.Upstream.Get("x-got") != want {
			t.Errorf("%s: %+v, want %s", path, got.Upstream, want)
		}
	}
}

// line is a filter of connections that wants whole lines.
type line struct {
	log  []string
	seen func(ctx context.Context) error
}

func (l *line) NewConnection() sdk.ConnectionHandler { return l }

func (l *line) OnNewConnection(ctx context.Context, c *sdk.Connection) sdk.Action {
	if err := l.seen(ctx); err != nil {
		return c.Close()
	}
	return sdk.Continue
}

func (l *line) OnDownstreamData(c *sdk.Connection, data *sdk.Body) sdk.Action {
	bytes, err := data.Bytes()
	switch {
	case err != nil || strings.Contains(string(bytes), "panic"):
		panic("boom")
	case strings.HasPrefix(string(bytes), "bad"):
		return c.Close()
	case !strings.HasSuffix(string(bytes), "\n") && !data.End():
		return sdk.NeedMore
	}
	data.Prepend([]byte("> "))
	return sdk.Continue
}

func (l *line) OnUpstreamData(_ *sdk.Connection, data *sdk.Body) sdk.Action {
	data.Append([]byte("!"))
	return sdk.Continue
}

func (l *line) OnDownstreamClose(_ *sdk.Connection, by sdk.Peer) {
	l.log = append(l.log, fmt.Sprint("closed by ", by))
}

func (l *line) OnConnectionDone(*sdk.Connection) { l.log = append(l.log, "done") }

func TestConnection(t *testing.T) {
	t.Parallel()
	refuse := false
	l := &line{seen: func(ctx context.Context) error {
		status, err := fetchPath(ctx, "/")
		if refuse || err != nil || status != 200 {
			return errors.New("refused")
		}
		return nil
	}}
	f := sdktest.NewNetwork(t, func(*sdk.Plugin, *struct{}) (sdk.NetworkFilter, error) { return l, nil }, "", sdktest.Cluster("echo", echo))
	c := f.Connect(nil)
	c.Send("he", false)
	c.Send("llo\n", false)
	c.Answer("hi", false)
	c.Send("", true)
	c.Close()
	if c.Upstream != "> hello\n> " || c.Downstream != "hi!" || c.Closed() {
		t.Errorf("upstream %q, downstream %q, closed %v", c.Upstream, c.Downstream, c.Closed())
	}
	for _, data := range []string{"bad\n", "panic\n"} {
		c = f.Connect(nil)
		c.Send(data, false)
		if c.Close(); !c.Closed() || c.Upstream != "" {
			t.Errorf("%q: closed %v, upstream %q", data, c.Closed(), c.Upstream)
		}
	}
	refuse = true
	if c = f.Connect(nil); !c.Closed() {
		t.Error("a connection that is refused is open")
	}
	c.Close()
	want := []string{"closed by 2", "done", "closed by 1", "done", "closed by 1", "done", "closed by 1", "done"}
	if !slices.Equal(l.log, want) {
		t.Errorf("log %q, want %q", l.log, want)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, wait := range []bool{false, true} {
		var log []string
		f := sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
			p.Go(func(ctx context.Context) { log = append(log, fmt.Sprint("background ", sdk.Sleep(ctx, time.Hour))) })
			p.OnShutdown(func(ctx context.Context) {
				if wait {
					sdk.Sleep(ctx, time.Second)
				}
				log = append(log, "report")
			})
			p.OnShutdown(func(context.Context) { panic("boom") })
			return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
		}, "")
		at := f.Close()
		if want := []string{"report", "background context canceled"}; !slices.Equal(log, want) {
			t.Errorf("log %q, want %q", log, want)
		}
		if took := at.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); (took == time.Second) != wait {
			t.Errorf("closed after %v", took)
		}
	}
}

func TestReplaceHeaders(t *testing.T) {
	t.Parallel()
	f := run(t, &waiter{request: func(_ context.Context, r *sdk.Request) sdk.Action {
		before, err := r.Headers().Size()
		pairs, _ := r.Headers().Pairs()
		if err := r.Headers().Replace(append(pairs, sdk.Header{Name: "x-\r\n"})); !errors.Is(err, sdk.ErrBadArgument) || !strings.Contains(err.Error(), "token") {
			t.Errorf("a bad name: %v", err)
		}
		if err := r.Headers().Replace(append(pairs, sdk.Header{Name: "x-new", Value: "\xff"}, sdk.Header{Name: "x-new"})); err != nil {
			t.Error(err)
		}
		after, _ := r.Headers().Size()
		if err != nil || after-before != len("x-new")+1+len("x-new") {
			t.Errorf("size %d, then %d, %v", before, after, err)
		}
		return sdk.Continue
	}})
	got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-a", "1")})
	if got.Upstream == nil || !slices.Equal(got.Upstream.Values("x-new"), []string{"\xff", ""}) || got.Upstream.Get("x-a") != "1" {
		t.Errorf("got %+v", got.Upstream)
	}
}
