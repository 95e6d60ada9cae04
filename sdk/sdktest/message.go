package sdktest

import (
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// Headers makes headers of names and values in turn. It panics for an odd number of arguments.
func Headers(namesAndValues ...string) []sdk.Header {
	if len(namesAndValues)%2 != 0 {
		panic("sdktest.Headers wants names and values in turn")
	}
	var headers []sdk.Header
	for i := 0; i < len(namesAndValues); i += 2 {
		headers = append(headers, sdk.Header{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return headers
}

// Message is a request or a response as it left the filter.
type Message struct {
	// Headers are all headers in order, pseudo-headers too, with lower-case names.
	Headers  []sdk.Header
	Body     string
	Trailers []sdk.Header
}

// Get is the values of a header, joined by ", ", and empty when it is absent.
func (m *Message) Get(name string) string { return strings.Join(m.Values(name), ", ") }

// Has reports whether a header is there.
func (m *Message) Has(name string) bool { return len(m.Values(name)) > 0 }

// Values are the values of a header in order.
func (m *Message) Values(name string) []string { return valuesOf(m.Headers, name) }

// Status is the :status of a response, 0 when there is none.
func (m *Message) Status() int {
	status, _ := strconv.Atoi(m.Get(":status"))
	return status
}

func valuesOf(headers []sdk.Header, name string) []string {
	var values []string
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return values
}

// Request is what a client sends, and what meets it on its way.
type Request struct {
	// Leaves has the client go away as soon as the filter waits for something.
	Leaves bool
	// Method, Path, Authority and Scheme default to GET, /, waft.test and http.
	Method, Path, Authority, Scheme string
	Headers                         []sdk.Header
	// Body is sent in one chunk; Chunks, if there are any, in its place, each by itself.
	Body     string
	Chunks   []string
	Trailers []sdk.Header

	// Upstream answers the request. It defaults to 200 with the body "ok". UpstreamFunc, if set, is asked in its place.
	Upstream     Response
	UpstreamFunc func(m Message) Response

	// Properties are what the host knows of this stream, by dotted path, beside what it derives from the request: values are
	// string, []byte, bool, int, int64, uint64, float64, time.Duration and time.Time.
	Properties map[string]any

	// LogOnly has the stream end before the filter saw any of it, as when another filter answered first: only the log
	// callback comes, for the status that Upstream names.
	LogOnly bool
}

// Response is what the upstream answers.
type Response struct {
	// Status defaults to 200.
	Status  int
	Headers []sdk.Header
	// Body is sent in one chunk; Chunks, if there are any, in its place.
	Body     string
	Chunks   []string
	Trailers []sdk.Header
}

// Result is what became of a request.
type Result struct {
	// Upstream is the request as the upstream got it, nil when it did not.
	Upstream *Message
	// Response is what the client got. Where the stream was reset it is what had come until then.
	Response Message
	// Local is set when the response is a local reply of the filter; Details are its details.
	Local   bool
	Details string
	// Reset is set when the filter ended the stream without a whole answer.
	Reset bool
	// Logs are the lines that the filter logged during the request, as "level: message".
	Logs []string
}

// Logged reports whether a line holds a text.
func (r *Result) Logged(text string) bool { return anyContains(r.Logs, text) }

func anyContains(lines []string, text string) bool {
	for _, line := range lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}
