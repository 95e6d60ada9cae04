package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		config  string
		headers []sdk.Header
		path    string
		props   map[string]any
		want    []sdk.Header // values joined by "|"; empty value: the header is absent
	}{
		{"add to none", `{"op":"add","name":"X-A","value":"1"}`, nil, "", nil, sdktest.Headers("x-a", "1")},
		{"add to one", `{"op":"add","name":"x-a","value":"1"}`, sdktest.Headers("x-a", "0"), "", nil, sdktest.Headers("x-a", "0")},
		{"add to an empty one", `{"op":"add","name":"x-a","value":"1"},{"op":"append","name":"x-a","value":"2"}`, sdktest.Headers("x-a", ""), "", nil, sdktest.Headers("x-a", "|2")},
		{"set replaces all values", `{"op":"set","name":"x-a","value":"1"}`, sdktest.Headers("x-a", "0", "x-b", "b", "x-a", "00"), "", nil, sdktest.Headers("x-a", "1", "x-b", "b")},
		{"append", `{"op":"append","name":"x-a","value":"1"}`, sdktest.Headers("x-a", "0"), "", nil, sdktest.Headers("x-a", "0|1")},
		{"append to none", `{"op":"append","name":"x-a","value":"1"}`, nil, "", nil, sdktest.Headers("x-a", "1")},
		{"remove", `{"op":"remove","name":"x-A"}`, sdktest.Headers("x-a", "0", "x-a", "1"), "", nil, sdktest.Headers("x-a", "")},
		{"remove what is absent", `{"op":"remove","name":"x-a"}`, nil, "", nil, sdktest.Headers("x-a", "")},
		{"rename", `{"op":"rename","name":"x-a","to":"X-B"}`, sdktest.Headers("x-a", "0", "x-b", "old", "x-a", "1"), "", nil, sdktest.Headers("x-a", "", "x-b", "0|1")},
		{"rename what is absent", `{"op":"rename","name":"x-a","to":"x-b"}`, sdktest.Headers("x-b", "old"), "", nil, sdktest.Headers("x-b", "old")},
		{"in order", `{"op":"set","name":"x-a","value":"1"},{"op":"rename","name":"x-a","to":"x-b"},{"op":"append","name":"x-b","value":"%REQ(x-b)%2"}`, nil, "", nil, sdktest.Headers("x-a", "", "x-b", "1|12")},
		{"set with an empty value removes", `{"op":"set","name":"x-a","value":"%REQ(x-none)%"}`, sdktest.Headers("x-a", "spoofed"), "", nil, sdktest.Headers("x-a", "")},
		{"an empty value adds nothing", `{"op":"add","name":"x-a","value":"%REQ(x-none)%"},{"op":"append","name":"x-b","value":"%REQ(x-none)%"}`, sdktest.Headers("x-b", "0"), "", nil, sdktest.Headers("x-a", "", "x-b", "0")},
		{"set :path", `{"op":"set","name":":path","value":"/v2%REQ(:path)%"}`, nil, "/a?b", nil, sdktest.Headers(":path", "/v2/a?b")},
		{"set :path with an empty value", `{"op":"set","name":":path","value":"%REQ(x-none)%"}`, nil, "/a", nil, sdktest.Headers(":path", "/a")},
		{"a value that would be two headers", `{"op":"set","name":"x-a","value":"%PROP(p)%"}`, sdktest.Headers("x-a", "spoofed"), "", map[string]any{"p": "1\r\nx-admin: yes"}, sdktest.Headers("x-a", "", "x-admin", "")},
		{"properties", `{"op":"set","name":"x-a","value":"%PROP(xds.route_name)%,%PROP(source.port)%,%PROP(connection.mtls)%,%PROP(request.time)%"}`, nil, "",
			map[string]any{"xds.route_name": "r", "source.port": 4711, "connection.mtls": true, "request.time": time.Unix(0, 5).UTC()}, sdktest.Headers("x-a", "r,4711,true,1970-01-01T00:00:00.000000005Z")},
		{"path without its query", `{"op":"set","name":"x-a","value":"1","when":{"path":{"exact":"/a"}}}`, nil, "/a?x=/b", nil, sdktest.Headers("x-a", "1")},
		{"path suffix", `{"op":"set","name":"x-a","value":"1","when":{"path":{"suffix":".js"}}}`, nil, "/a.js?v=1", nil, sdktest.Headers("x-a", "1")},
		{"path prefix fails", `{"op":"set","name":"x-a","value":"1","when":{"path":{"prefix":"/b"}}}`, nil, "/a/b", nil, sdktest.Headers("x-a", "")},
		{"path regex is whole", `{"op":"set","name":"x-a","value":"1","when":{"path":{"regex":"/[a-z]"}}}`, nil, "/ab", nil, sdktest.Headers("x-a", "")},
		{"path regex", `{"op":"set","name":"x-a","value":"1","when":{"path":{"regex":"/a|/[a-z]+"}}}`, nil, "/ab", nil, sdktest.Headers("x-a", "1")},
		{"header present", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":"X-B","present":true}]}}`, sdktest.Headers("x-b", ""), "", nil, sdktest.Headers("x-a", "1")},
		{"header absent fails", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":"x-b","absent":true}]}}`, sdktest.Headers("x-b", ""), "", nil, sdktest.Headers("x-a", "")},
		{"any value matches", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":"x-b","exact":"2"}]}}`, sdktest.Headers("x-b", "1", "x-b", "2"), "", nil, sdktest.Headers("x-a", "1")},
		{"all conditions", `{"op":"set","name":"x-a","value":"1","when":{"path":{"prefix":"/"},"headers":[{"name":"x-b","prefix":"1"},{"name":"x-b","regex":"[0-9]"}]}}`, sdktest.Headers("x-b", "12"), "", nil, sdktest.Headers("x-a", "")},
		{"bytes that are no UTF-8", `{"op":"set","name":"x-a","value":"<%REQ(x-b)%>"}`, sdktest.Headers("x-b", "\xff\xfe"), "", nil, sdktest.Headers("x-a", "<\xff\xfe>")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, `{"request":[`+test.config+`]}`)
			got := f.Do(sdktest.Request{Path: test.path, Headers: test.headers, Properties: test.props})
			if got.Upstream == nil {
				t.Fatalf("the request did not arrive: %+v", got.Response)
			}
			check(t, got.Upstream, test.want)
		})
	}
}

func TestResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config string
		want   []sdk.Header
	}{
		{"add to one", `{"op":"add","name":"x-up","value":"no"}`, sdktest.Headers("x-up", "u")},
		{"from both messages", `{"op":"set","name":"x-a","value":"%REQ(x-req)%/%RESP(x-up)%/%REQ(:path)%/%RESP(:status)%"}`, sdktest.Headers("x-a", "r/u//p?q/201")},
		{"condition on the response by default", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":"x-up","exact":"u"}]}}`, sdktest.Headers("x-a", "1")},
		{"condition on the status", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":":status","prefix":"2"}]}}`, sdktest.Headers("x-a", "1")},
		{"condition on the request", `{"op":"set","name":"x-a","value":"1","when":{"path":{"exact":"/p"},"headers":[{"name":"x-req","from":"request","exact":"r"}]}}`, sdktest.Headers("x-a", "1")},
		{"condition on the request fails", `{"op":"set","name":"x-a","value":"1","when":{"headers":[{"name":"x-up","from":"request","present":true}]}}`, sdktest.Headers("x-a", "")},
		{"rename", `{"op":"rename","name":"x-up","to":"x-down"}`, sdktest.Headers("x-up", "", "x-down", "u")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, `{"response":[`+test.config+`]}`)
			got := f.Do(sdktest.Request{Path: "/p?q", Headers: sdktest.Headers("x-req", "r"), Upstream: sdktest.Response{Status: 201, Headers: sdktest.Headers("x-up", "u")}})
			// The wanted path has a slash of its own: /p?q behind the separator.
			check(t, &got.Response, test.want)
		})
	}
}

func TestResponseSeesTheRequestAsItWentOn(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"request":[{"op":"set","name":"x-a","value":"new"}],"response":[{"op":"set","name":"x-saw","value":"%REQ(x-a)%"}]}`)
	got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-a", "old")})
	check(t, &got.Response, sdktest.Headers("x-saw", "new"))
}

func TestRefusedValueIsLogged(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"request":[{"op":"append","name":"x-a","value":"%PROP(p)%"}]}`)
	got := f.Do(sdktest.Request{Properties: map[string]any{"p": "1\n2"}})
	if !got.Logged("warn: append x-a") {
		t.Errorf("logs: %q", got.Logs)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, config, want string }{
		{"unknown field", `{"requests":[]}`, "requests: unknown field"},
		{"wrong type", `{"request":{"op":"add"}}`, "request: want an array, got an object"},
		{"unknown field in a list", `{"request":[{"op":"add","name":"x","value":"v"},{"op":"set","nam":"x"}]}`, "request[1].nam: unknown field"},
		{"no op", `{"request":[{"name":"x"}]}`, "request[0].op: required field is missing"},
		{"unknown op", `{"response":[{"op":"delete","name":"x"}]}`, "response[0].op: want one of add, set, append, remove, rename"},
		{"no value", `{"request":[{"op":"set","name":"x"}]}`, "request[0].value: set needs a value"},
		{"value for remove", `{"request":[{"op":"remove","name":"x","value":"v"}]}`, "request[0].value: remove takes no value"},
		{"no new name", `{"request":[{"op":"rename","name":"x"}]}`, "request[0].to: rename needs the new name"},
		{"new name for set", `{"request":[{"op":"set","name":"x","value":"v","to":"y"}]}`, "request[0].to: only rename takes it"},
		{"rename to itself", `{"request":[{"op":"rename","name":"x-a","to":"X-A"}]}`, "request[0].to: it is the same as name"},
		{"no header name", `{"request":[{"op":"remove","name":""}]}`, "request[0].name: it is empty"},
		{"a name with a space", `{"request":[{"op":"remove","name":"x a"}]}`, "request[0].name: "},
		{"remove a pseudo-header", `{"request":[{"op":"remove","name":":path"}]}`, "request[0].name: \":path\" cannot be changed"},
		{"set :status", `{"response":[{"op":"set","name":":status","value":"200"}]}`, "response[0].name: "},
		{"host", `{"request":[{"op":"set","name":"Host","value":"h"}]}`, "host is :authority in Envoy: set that"},
		{"an empty pseudo-header", `{"request":[{"op":"set","name":":path","keepEmpty":true}]}`, "request[0].keepEmpty"},
		{"line break", `{"request":[{"op":"set","name":"x","value":"a\r\nb"}]}`, "request[0].value: a header's value cannot hold"},
		{"unknown command", `{"request":[{"op":"set","name":"x","value":"a%FOO(b)%"}]}`, "request[0].value: bad template at byte 1: unknown command \"FOO\""},
		{"response in request", `{"request":[{"op":"set","name":"x","value":"%RESP(b)%"}]}`, "response mutations only"},
		{"open command", `{"request":[{"op":"set","name":"x","value":"100%"}]}`, "request[0].value: bad template at byte 3"},
		{"two paths", `{"request":[{"op":"remove","name":"x","when":{"path":{"exact":"/a","prefix":"/"}}}]}`, "request[0].when.path: want exactly one of exact, prefix, suffix, regex, got 2"},
		{"no way to match", `{"request":[{"op":"remove","name":"x","when":{"headers":[{"name":"x"}]}}]}`, "request[0].when.headers[0]: want exactly one of"},
		{"bad regex", `{"request":[{"op":"remove","name":"x","when":{"path":{"regex":"("}}}]}`, "request[0].when.path.regex: "},
		{"response condition in request", `{"request":[{"op":"remove","name":"x","when":{"headers":[{"name":"x","from":"response","present":true}]}}]}`, "request[0].when.headers[0].from"},
		{"trailing data", `{} {}`, "unexpected data behind the value"},
		{"too many", `{"request":[` + strings.Repeat(`{"op":"remove","name":"x"},`, 256) + `{"op":"remove","name":"x"}]}`, "request: want at most 256, got 257"},
		{"a long name", `{"request":[{"op":"remove","name":"` + strings.Repeat("x", 257) + `"}]}`, "request[0].name: want at most 256 characters, got 257"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// check compares headers; values are joined by "|", and an empty one stands for an absent header.
func check(t *testing.T, m *sdktest.Message, want []sdk.Header) {
	t.Helper()
	for _, w := range want {
		var values []string
		if w.Value != "" {
			values = strings.Split(w.Value, "|")
		}
		if got := m.Values(w.Name); !slices.Equal(got, values) {
			t.Errorf("%s = %q, want %q", w.Name, got, values)
		}
	}
}
