package sdk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// chunks handles bodies chunk by chunk.
type chunks struct {
	hooks
	on  func(b *sdk.Body) sdk.Action
	log []string
}

func (c *chunks) NewHandler() sdk.Handler { return c }

func (c *chunks) handle(what string, b *sdk.Body, end bool) sdk.Action {
	data, err := b.Bytes()
	c.log = append(c.log, fmt.Sprintf("%s %q %d %v %v %v", what, data, b.Len(), b.End(), end, err))
	if c.on != nil {
		return c.on(b)
	}
	return sdk.Continue
}

func (c *chunks) OnRequestBody(r *sdk.Request, b *sdk.Body) sdk.Action {
	return c.handle("request", b, r.End())
}

func (c *chunks) OnResponseBody(r *sdk.Response, b *sdk.Body) sdk.Action {
	return c.handle("response", b, r.End())
}

func (c *chunks) OnRequestTrailers(r *sdk.Request) sdk.Action {
	c.log = append(c.log, "request trailers "+fmt.Sprint(r.Trailers().Pairs()))
	if err := r.Trailers().Set("x-t", "set"); err != nil {
		c.log = append(c.log, err.Error())
	}
	return sdk.Continue
}

func (c *chunks) OnResponseTrailers(r *sdk.Response) sdk.Action {
	c.log = append(c.log, "response trailers "+fmt.Sprint(r.Trailers().Pairs()))
	return sdk.Continue
}

func TestBodyInChunks(t *testing.T) {
	t.Parallel()
	c := &chunks{}
	got := run(t, c).Do(sdktest.Request{
		Chunks: []string{"ab", "", "c"}, Trailers: sdktest.Headers("x-t", "1"),
		Upstream: sdktest.Response{Chunks: []string{"\xff\x00", ""}},
	})
	want := `request "ab" 2 false false <nil>
request "" 0 false false <nil>
request "c" 1 false false <nil>
request trailers [{x-t 1}] <nil>
response "\xff\x00" 2 false false <nil>
response "" 0 true true <nil>`
	if log := strings.Join(c.log, "\n"); log != want {
		t.Errorf("events\n%s\nwant\n%s", log, want)
	}
	if got.Upstream.Body != "abc" || got.Upstream.Trailers[0].Value != "set" || got.Response.Body != "\xff\x00" {
		t.Errorf("passed %q, %q, %q", got.Upstream.Body, got.Upstream.Trailers, got.Response.Body)
	}
}

func TestBodyChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		on   func(b *sdk.Body) error
		want string
	}{
		{"replace", func(b *sdk.Body) error { return b.Replace([]byte("new")) }, "new|new"},
		{"replace by nothing", func(b *sdk.Body) error { return b.Replace(nil) }, "|"},
		{"append", func(b *sdk.Body) error { return b.Append([]byte("+")) }, "one+|two+"},
		{"append nothing", func(b *sdk.Body) error { return b.Append(nil) }, "one|two"},
		{"prepend", func(b *sdk.Body) error { return b.Prepend([]byte("+")) }, "+one|+two"},
		{"one after the other", func(b *sdk.Body) error {
			for _, err := range []error{b.Replace(nil), b.Replace([]byte("m")), b.Append([]byte(">")), b.Prepend([]byte("<"))} {
				if err != nil {
					return err
				}
			}
			if data, err := b.Bytes(); string(data) != "<m>" || err != nil || b.Len() != 3 {
				return fmt.Errorf("it reads %q, %d, %v", data, b.Len(), err)
			}
			return nil
		}, "<m>|<m>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := run(t, &chunks{on: func(b *sdk.Body) sdk.Action {
				if err := test.on(b); err != nil {
					t.Error(err)
				}
				return sdk.Continue
			}}).Do(sdktest.Request{Body: "one", Upstream: sdktest.Response{Body: "two"}})
			if passed := got.Upstream.Body + "|" + got.Response.Body; passed != test.want {
				t.Errorf("passed %q, want %q", passed, test.want)
			}
		})
	}
}

// whole handles bodies as a whole.
type whole struct {
	hooks
	limit    int
	request  func(r *sdk.Request, b *sdk.Body) sdk.Action
	response func(r *sdk.Response, b *sdk.Body) sdk.Action
}

func (w *whole) NewHandler() sdk.Handler { return w }
func (w *whole) RequestBodyLimit() int   { return w.limit }
func (w *whole) ResponseBodyLimit() int  { return w.limit }
func (w *whole) OnBufferedRequestBody(r *sdk.Request, b *sdk.Body) sdk.Action {
	return w.request(r, b)
}
func (w *whole) OnBufferedResponseBody(r *sdk.Response, b *sdk.Body) sdk.Action {
	return w.response(r, b)
}

func TestBufferedBody(t *testing.T) {
	t.Parallel()
	trailers := sdktest.Headers("x-t", "1")
	tests := []struct {
		name     string
		limit    int
		request  sdktest.Request
		seen     string
		upstream string // "none" when it must not arrive
		status   int
		body     string
		reset    bool
	}{
		{"one chunk", 10, sdktest.Request{Body: "abc", Upstream: sdktest.Response{Body: "xyz"}}, "abc|xyz", "ABC", 200, "XYZ", false},
		{"many chunks", 10, sdktest.Request{Chunks: []string{"a", "b", "", "c"}, Upstream: sdktest.Response{Chunks: []string{"x", "yz"}}}, "abc|xyz", "ABC", 200, "XYZ", false},
		{"trailers end it", 10, sdktest.Request{Chunks: []string{"a", "b"}, Trailers: trailers, Upstream: sdktest.Response{Body: "x", Trailers: trailers}}, "ab|x", "AB", 200, "X", false},
		{"no body, no call", 10, sdktest.Request{Upstream: sdktest.Response{Status: 204}}, "|", "", 204, "", false},
		{"exactly the limit", 3, sdktest.Request{Body: "abc", Upstream: sdktest.Response{Body: "xyz"}}, "abc|xyz", "ABC", 200, "XYZ", false},
		{"a request over the limit", 3, sdktest.Request{Chunks: []string{"ab", "cd"}}, "|", "none", 413, "", false},
		{"a response over the limit", 3, sdktest.Request{Upstream: sdktest.Response{Chunks: []string{"ab", "cd"}}}, "|", "", 200, "", true},
		{"the default limit", 0, sdktest.Request{Body: strings.Repeat("a", sdk.DefaultBodyLimit+1)}, "|", "none", 413, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var sent, answered string
			upper := func(b *sdk.Body, seen *string) sdk.Action {
				data, err := b.Bytes()
				if err != nil || !b.End() {
					t.Errorf("end %v, error %v", b.End(), err)
				}
				*seen += string(data)
				if err := b.Replace([]byte(strings.ToUpper(string(data)))); err != nil {
					t.Error(err)
				}
				return sdk.Continue
			}
			got := run(t, &whole{
				limit:    test.limit,
				request:  func(_ *sdk.Request, b *sdk.Body) sdk.Action { return upper(b, &sent) },
				response: func(_ *sdk.Response, b *sdk.Body) sdk.Action { return upper(b, &answered) },
			}).Do(test.request)
			if seen := sent + "|" + answered; seen != test.seen {
				t.Errorf("the handler saw %q, want %q", seen, test.seen)
			}
			if (got.Upstream == nil) != (test.upstream == "none") || (got.Upstream != nil && got.Upstream.Body != test.upstream) {
				t.Errorf("upstream %+v, want %q", got.Upstream, test.upstream)
			}
			if got.Response.Status() != test.status || got.Response.Body != test.body || got.Reset != test.reset {
				t.Errorf("response %d %q, reset %v", got.Response.Status(), got.Response.Body, got.Reset)
			}
		})
	}
}

func TestReplyToABody(t *testing.T) {
	t.Parallel()
	got := run(t, &whole{
		request: func(r *sdk.Request, _ *sdk.Body) sdk.Action { return r.Reply(sdk.Reply{Status: 422}) },
	}).Do(sdktest.Request{Chunks: []string{"a", "b"}, Trailers: sdktest.Headers("x-t", "1")})
	if got.Upstream != nil || got.Response.Status() != 422 {
		t.Errorf("upstream %v, status %d", got.Upstream, got.Response.Status())
	}
	got = run(t, &whole{
		response: func(r *sdk.Response, _ *sdk.Body) sdk.Action { return r.Reply(sdk.Reply{Status: 502}) },
	}).Do(sdktest.Request{})
	if !got.Reset || got.Response.Body != "" {
		t.Errorf("reset %v, body %q: the status is gone when the body comes", got.Reset, got.Response.Body)
	}
}

// long decides itself about bodies over its limit.
type long struct {
	whole
	action func(reply func(sdk.Reply) sdk.Action) sdk.Action
	heads  []string
}

func (l *long) NewHandler() sdk.Handler { return l }

func (l *long) OnLongRequestBody(r *sdk.Request, head *sdk.Body) sdk.Action {
	return l.decide(head, r.Reply)
}

func (l *long) OnLongResponseBody(r *sdk.Response, head *sdk.Body) sdk.Action {
	return l.decide(head, r.Reply)
}

func (l *long) decide(head *sdk.Body, reply func(sdk.Reply) sdk.Action) sdk.Action {
	data, err := head.Bytes()
	l.heads = append(l.heads, fmt.Sprintf("%s %v", data, err))
	return l.action(reply)
}

func TestLongBody(t *testing.T) {
	t.Parallel()
	pass := func(func(sdk.Reply) sdk.Action) sdk.Action { return sdk.Continue }
	deny := func(reply func(sdk.Reply) sdk.Action) sdk.Action { return reply(sdk.Reply{Status: 418}) }
	failing := func(func(sdk.Reply) sdk.Action) sdk.Action { panic("lost") }
	request := sdktest.Request{Chunks: []string{"ab", "cd", "ef"}}
	response := sdktest.Request{Upstream: sdktest.Response{Chunks: []string{"ab", "cd", "ef"}, Trailers: sdktest.Headers("x-t", "1")}}
	trailers := sdktest.Request{Chunks: []string{"ab", "cd", "ef"}, Trailers: sdktest.Headers("x-t", "1")}
	tests := []struct {
		name     string
		limit    int
		action   func(func(sdk.Reply) sdk.Action) sdk.Action
		request  sdktest.Request
		heads    string
		upstream string // "none" when it must not arrive
		status   int
		body     string
		reset    bool
	}{
		{"a request passes", 3, pass, request, "abcd <nil>", "abcdef", 200, "ok", false},
		{"a request with trailers passes", 3, pass, trailers, "abcd <nil>", "abcdef", 200, "ok", false},
		{"a request is denied", 3, deny, request, "abcd <nil>", "none", 418, "", false},
		{"a panic is no pass", 3, failing, request, "abcd <nil>", "none", 500, "", false},
		{"a response passes", 3, pass, response, "abcd <nil>", "", 200, "abcdef", false},
		{"a response is denied", 3, deny, response, "abcd <nil>", "", 200, "", true},
		{"a request that nobody wants", sdk.PassBody, deny, request, "", "abcdef", 200, "ok", false},
		{"a response that nobody wants", sdk.PassBody, deny, response, "", "", 200, "abcdef", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := &long{whole: whole{limit: test.limit}, action: test.action}
			l.request = func(*sdk.Request, *sdk.Body) sdk.Action { t.Error("the whole request body"); return sdk.Continue }
			l.response = func(_ *sdk.Response, b *sdk.Body) sdk.Action {
				if data, err := b.Bytes(); string(data) != "ok" {
					t.Errorf("the whole response body: %q, %v", data, err)
				}
				return sdk.Continue
			}
			got := run(t, l).Do(test.request)
			upstream := "none"
			if got.Upstream != nil {
				upstream = got.Upstream.Body
			}
			if upstream != test.upstream || got.Response.Status() != test.status || got.Reset != test.reset || (!got.Local && got.Response.Body != test.body) {
				t.Errorf("upstream %q, status %d, body %q, reset %v", upstream, got.Response.Status(), got.Response.Body, got.Reset)
			}
			if heads := strings.Join(l.heads, "|"); heads != test.heads {
				t.Errorf("heads %q, want %q", heads, test.heads)
			}
		})
	}
}
