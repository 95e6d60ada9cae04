package sdk_test

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestReply(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		reply  sdk.Reply
		status int
		reset  bool
		body   string
		want   []sdk.Header
		absent string
	}{
		{"the zero reply never lets in", sdk.Reply{}, 500, false, "", sdktest.Headers("content-length", "0"), "content-type"},
		{"whole", sdk.Reply{Status: 403, Headers: sdktest.Headers("X-Why", "no", "x-why", "never"), Body: []byte("no"), Details: "d"}, 403, false, "no",
			sdktest.Headers("x-why", "no, never", "content-type", "text/plain"), ""},
		{"a content type of its own", sdk.Reply{Status: 200, Headers: sdktest.Headers("content-type", "application/json"), Body: []byte("{}")}, 200, false, "{}",
			sdktest.Headers("content-type", "application/json"), ""},
		{"no UTF-8", sdk.Reply{Status: 599, Body: []byte("\xff\x00")}, 599, false, "\xff\x00", nil, ""},
		{"headers that cannot be sent are left out", sdk.Reply{Status: 401, Headers: sdktest.Headers("x-a", "1", "x-bad", "a\r\nb", "x-b", "2", "bad name", "", "x-c", "3")}, 401, false, "",
			sdktest.Headers("x-a", "1", "x-b", "2", "x-c", "3"), "x-bad"},
		{"a status that is none", sdk.Reply{Status: 99}, 0, true, "", nil, ""},
		{"a status of no answer", sdk.Reply{Status: 101}, 0, true, "", nil, ""},
	}
	for _, test := range tests {
		for event, h := range map[string]*hooks{
			"request":  {request: func(r *sdk.Request) sdk.Action { return r.Reply(test.reply) }},
			"response": {response: func(r *sdk.Response) sdk.Action { return r.Reply(test.reply) }},
		} {
			t.Run(test.name+"/"+event, func(t *testing.T) {
				t.Parallel()
				got := run(t, h).Do(sdktest.Request{Upstream: sdktest.Response{Status: 201, Body: "upstream"}})
				if got.Reset != test.reset || got.Response.Status() != test.status || got.Response.Body != test.body {
					t.Errorf("reset %v, %d %q; want %v, %d %q", got.Reset, got.Response.Status(), got.Response.Body, test.reset, test.status, test.body)
				}
				if (got.Upstream == nil) != (event == "request") {
					t.Errorf("upstream: %v", got.Upstream)
				}
				for _, h := range test.want {
					if got.Response.Get(h.Name) != h.Value {
						t.Errorf("%s = %q, want %q", h.Name, got.Response.Get(h.Name), h.Value)
					}
				}
				if test.absent != "" && got.Response.Has(test.absent) {
					t.Errorf("%s is there", test.absent)
				}
				if test.reply.Details != got.Details {
					t.Errorf("details %q", got.Details)
				}
			})
		}
	}
}

// TestAfterReply wants a handler that answered to hear nothing but the end, and a second answer to count for nothing.
func TestAfterReply(t *testing.T) {
	t.Parallel()
	var events []string
	h := &hooks{
		request: func(r *sdk.Request) sdk.Action {
			r.Reply(sdk.Reply{Status: 401})
			r.Reply(sdk.Reply{Status: 200})
			return sdk.Continue // a handler that forgets to return what Reply returned
		},
		response: func(*sdk.Response) sdk.Action { events = append(events, "response"); return sdk.Continue },
		done: func(s *sdk.Stream) {
			events = append(events, "done")
			if !s.Answered() {
				t.Error("the stream is not answered")
			}
		},
	}
	got := run(t, h).Do(sdktest.Request{Body: "x"})
	if got.Upstream != nil || got.Response.Status() != 401 {
		t.Errorf("upstream %v, status %d", got.Upstream, got.Response.Status())
	}
	if !slices.Equal(events, []string{"done"}) {
		t.Errorf("events %v", events)
	}
}
