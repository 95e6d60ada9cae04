package main

import (
	"strings"
	"testing"
)

// TestReader reads each response whole, and in chunks of every small size: it comes to the same.
func TestReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxEvent+1)
	for _, test := range []struct {
		name      string
		kind      kind
		body      string
		want      usage
		estimated bool
	}{
		{"JSON", kindJSON, `{"usage":{"prompt_tokens":3,"completion_tokens":4}}`, usage{3, 4}, false},
		{"embeddings", kindJSON, `{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}`, usage{3, 0}, false},
		{"the responses API", kindJSON, `{"usage":{"input_tokens":3,"output_tokens":4}}`, usage{3, 4}, false},
		{"a usage in the text", kindJSON, `{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":99}"}}]}`, usage{25, 8}, true},
		{"negative usage", kindJSON, `{"usage":{"prompt_tokens":-3,"completion_tokens":4}}`, usage{25, 0}, true},
		{"usage of another type", kindJSON, `{"usage":"much"}`, usage{25, 0}, true},
		{"no JSON", kindJSON, `<html>`, usage{25, 0}, true},
		{"no body", kindJSON, ``, usage{25, 0}, true},
		{"unreadable", kindOther, "12345678", usage{25, 2}, true},
		{"a stream", kindStream, "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n", usage{3, 4}, false},
		{"CRLF and CR", kindStream, "data: {}\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\r\r", usage{3, 4}, false},
		{"data on several lines", kindStream, ": comment\nid: 1\ndata: {\"usage\":\ndata: {\"prompt_tokens\":3}}\n\n", usage{3, 0}, false},
		{"usage that grows", kindStream, "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n", usage{3, 2}, false},
		{"broken off", kindStream, "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\ndata: {\"usage\":{\"prompt_tokens\":3", usage{25, 2}, true},
		{"tool calls", kindStream, "data: {\"choices\":[{\"delta\":{\"tool_calls\":[12345678]}}]}\n\n", usage{25, 2}, true},
		{"a long line", kindStream, "data: " + long + "\n\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\n", usage{3, 0}, false},
		{"a long event", kindStream, strings.Repeat("data: "+long[:maxEvent/2]+"\n", 3) + "\ndata: {\"usage\":{\"prompt_tokens\":3}}\n\n", usage{3, 0}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, size := range []int{len(test.body), 1, 2, 7, 100} {
				if size < 100 && len(test.body) > maxEvent && size > 0 && size < len(test.body) {
					continue
				}
				r := reader{kind: test.kind}
				for rest := test.body; rest != ""; {
					n := min(max(size, 1), len(rest))
					r.write([]byte(rest[:n]))
					rest = rest[n:]
				}
				if got, estimated := r.result(100, 4); got != test.want || estimated != test.estimated {
					t.Errorf("in chunks of %d: %v, estimated %v; want %v, %v", size, got, estimated, test.want, test.estimated)
				}
			}
		})
	}
}

// TestLongBody: a response over the bound is estimated, and not kept.
func TestLongBody(t *testing.T) {
	t.Parallel()
	r := reader{kind: kindJSON}
	for range maxBody/1000 + 2 {
		r.write(make([]byte, 1000))
	}
	if got, estimated := r.result(0, 4); !estimated || got.completion != (maxBody/1000+2)*250 || r.body != nil {
		t.Errorf("%v, estimated %v, %d bytes kept", got, estimated, len(r.body))
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		contentType, encoding string
		want                  kind
	}{
		{"application/json", "", kindJSON}, {"Application/JSON; charset=utf-8", "identity", kindJSON}, {"application/problem+json", "", kindJSON},
		{"text/event-stream", "", kindStream}, {"text/event-stream", "gzip", kindOther}, {"text/plain", "", kindOther}, {"", "", kindOther}, {";", "", kindOther},
	} {
		if got := kindOf(test.contentType, test.encoding); got != test.want {
			t.Errorf("%q, %q: %v, want %v", test.contentType, test.encoding, got, test.want)
		}
	}
}

// FuzzReader: no response of a service breaks the filter, and nobody gets tokens back.
func FuzzReader(f *testing.F) {
	f.Add([]byte("data: {\"usage\":{\"prompt_tokens\":3}}\n\n"), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		for _, k := range []kind{kindOther, kindJSON, kindStream} {
			r := reader{kind: k}
			for rest := body; len(rest) > 0; {
				n := min(int(size)+1, len(rest))
				r.write(rest[:n])
				rest = rest[n:]
			}
			if got, _ := r.result(int64(len(body)), 4); got.prompt < 0 || got.completion < 0 {
				t.Errorf("%v", got)
			}
		}
	})
}
