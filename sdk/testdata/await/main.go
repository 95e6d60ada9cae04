// Command await is a filter for the tests of package sdk: its handlers wait, in the way that the request's path says, so that
// scenarios show each way as compiled Wasm.
package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

// config is the configuration of the probe.
type config struct {
	// Every is how often, in milliseconds, the plugin fetches from the cluster one by itself.
	Every int `json:"every,omitempty" min:"0" max:"1000"`
	// Queue has the plugin receive from a queue.
	Queue bool `json:"queue,omitempty"`
}

// filter is the configured probe.
type filter struct {
	plugin *sdk.Plugin
	queue  sdk.Queue
	// open is how many handlers wait, ended how many have returned after a wait, cancelled how many of these because their
	// stream was gone.
	open             sdk.Gauge
	ended, cancelled sdk.Counter
	received         sdk.Counter
	// ticked: the plugin's own callout has been answered in this VM.
	ticked bool
}

func configure(p *sdk.Plugin, c *config) (sdk.Filter, error) {
	f := &filter{plugin: p}
	var errs [4]error
	f.open, errs[0] = p.Gauge("await.open")
	f.ended, errs[1] = p.Counter("await.ended")
	f.cancelled, errs[2] = p.Counter("await.cancelled")
	f.received, errs[3] = p.Counter("await.received")
	if c.Every > 0 {
		p.Every(time.Duration(c.Every)*time.Millisecond, func(ctx context.Context) {
			if f.ticked {
				return
			}
			if r, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "one", Path: "/tick"}); err == nil && r.Status == 200 {
				f.ticked = true
			}
		})
	}
	if c.Queue {
		var err error
		f.queue, err = p.Receive("items", func(ctx context.Context, item []byte) {
			if r, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "one", Path: "/item/" + string(item)}); err == nil && r.Status == 200 {
				f.received.Inc()
			}
		})
		errs[0] = errors.Join(errs[0], err)
	}
	return f, errors.Join(errs[:]...)
}

// NewHandler makes a handler that waits where the path's first element says.
func (f *filter) NewHandler() sdk.Handler { return &handler{filter: f} }

// handler waits in each event that can wait. /EVENT/WAY: the event in which, and the way.
type handler struct {
	*filter
	event, way string
}

// OnRequestHeaders reads the way from the path.
func (h *handler) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	path, _ := r.Headers().Get(":path")
	event, way, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	h.event, h.way = event, way
	if event == "body" {
		_ = r.Headers().Remove("content-length")
	}
	if event != "headers" {
		return sdk.Continue
	}
	r.Headers().Add("x-before", "1")
	if result := h.wait(ctx); result == "reply" {
		return r.Reply(sdk.Reply{Status: 403, Body: []byte("no")})
	} else {
		// The headers are still there to be read and changed.
		again, _ := r.Headers().Get(":path")
		r.Headers().Set("x-result", result+" "+again)
	}
	return sdk.Continue
}

// RequestBodyLimit is 1 KiB.
func (h *handler) RequestBodyLimit() int { return 1 << 10 }

// OnBufferedRequestBody puts what the wait brought behind the body.
func (h *handler) OnBufferedRequestBody(ctx context.Context, r *sdk.Request, body *sdk.Body) sdk.Action {
	if h.event != "body" {
		return sdk.Continue
	}
	result := h.wait(ctx)
	if result == "reply" {
		return r.Reply(sdk.Reply{Status: 403, Body: []byte("no")})
	}
	data, err := body.Bytes()
	if err == nil {
		err = body.Replace(append(data, "|"+result...))
	}
	if err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

// OnResponseHeaders shows what the wait brought.
func (h *handler) OnResponseHeaders(ctx context.Context, r *sdk.Response) sdk.Action {
	if h.event == "answer" {
		if result := h.wait(ctx); result == "reply" {
			return r.Reply(sdk.Reply{Status: 502, Body: []byte("bad")})
		} else {
			status, _ := r.Headers().Get(":status")
			r.Headers().Set("x-result", result+" "+status)
		}
	}
	if h.event == "answerbody" {
		_ = r.Headers().Remove("content-length")
	}
	return sdk.Continue
}

// ResponseBodyLimit is 1 KiB.
func (h *handler) ResponseBodyLimit() int { return 1 << 10 }

// OnBufferedResponseBody puts what the wait brought behind the body.
func (h *handler) OnBufferedResponseBody(ctx context.Context, r *sdk.Response, body *sdk.Body) sdk.Action {
	if h.event != "answerbody" {
		return sdk.Continue
	}
	result := h.wait(ctx)
	data, err := body.Bytes()
	if err == nil {
		err = body.Replace(append(data, "|"+result...))
	}
	if err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

// wait waits, and counts who waits.
func (h *handler) wait(ctx context.Context) string {
	h.open.Add(1)
	defer func() {
		h.open.Add(-1)
		h.ended.Inc()
		if ctx.Err() != nil {
			h.cancelled.Inc()
		}
	}()
	return ways[h.way](ctx, h.filter)
}

// ways are what can be waited for. "reply" as a result has the request answered.
var ways = map[string]func(ctx context.Context, f *filter) string{
	"one": func(ctx context.Context, _ *filter) string { return fetch(ctx, "one", 0) },
	"whole": func(ctx context.Context, _ *filter) string {
		r, err := sdk.Fetch(ctx, sdk.FetchRequest{
			Cluster: "one", Method: "POST", Path: "/p?q=1", Authority: "one.test", Headers: []sdk.Header{{Name: "x-a", Value: "1"}, {Name: "x-a", Value: "2"}},
			Body: []byte("sent"),
		})
		if err != nil {
			return word(err)
		}
		var names []string
		for _, h := range r.Headers {
			switch h.Name {
			case "date":
			case "x-envoy-upstream-service-time": // its value is what Envoy has measured
				names = append(names, h.Name)
			default:
				names = append(names, h.Name+"="+h.Value)
			}
		}
		for _, h := range r.Trailers {
			names = append(names, "trailer "+h.Name+"="+h.Value)
		}
		return strings.Join(names, ",") + ":" + string(r.Body)
	},
	"two": func(ctx context.Context, _ *filter) string { return fetch(ctx, "one", 0) + "+" + fetch(ctx, "two", 0) },
	"all": func(ctx context.Context, _ *filter) string {
		var a, b, c string
		err := sdk.All(ctx,
			func(ctx context.Context) error { a = fetch(ctx, "slow", 0); return nil },
			func(ctx context.Context) error { b = fetch(ctx, "one", 0); return nil },
			func(ctx context.Context) error { c = fetch(ctx, "two", 0); return nil },
		)
		return a + "+" + b + "+" + c + " " + word(err)
	},
	"first": func(ctx context.Context, _ *filter) string {
		of := func(cluster string) func(ctx context.Context) (string, error) {
			return func(ctx context.Context) (string, error) {
				r, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: cluster})
				if err != nil {
					return "", err
				}
				return string(r.Body), nil
			}
		}
		text, err := sdk.First(ctx, of("never"), of("slow"), of("missing"))
		return text + " " + word(err)
	},
	"slow":     func(ctx context.Context, _ *filter) string { return fetch(ctx, "slow", 0) },
	"timeout":  func(ctx context.Context, _ *filter) string { return fetch(ctx, "never", 50*time.Millisecond) },
	"never":    func(ctx context.Context, _ *filter) string { return fetch(ctx, "never", 0) },
	"reset":    func(ctx context.Context, _ *filter) string { return fetch(ctx, "reset", 0) },
	"cut":      func(ctx context.Context, _ *filter) string { return fetch(ctx, "cut", 0) },
	"closed":   func(ctx context.Context, _ *filter) string { return fetch(ctx, "closed", 0) },
	"sick":     func(ctx context.Context, _ *filter) string { return fetch(ctx, "sick", 0) },
	"missing":  func(ctx context.Context, _ *filter) string { return fetch(ctx, "missing", 0) },
	"upstream": func(ctx context.Context, _ *filter) string { return fetch(ctx, "fails", 0) },
	"within": func(ctx context.Context, _ *filter) string {
		ctx, cancel := sdk.WithTimeout(ctx, 60*time.Millisecond)
		defer cancel()
		first := fetch(ctx, "one", 0)
		return first + "+" + fetch(ctx, "never", 0) + "+" + fetch(ctx, "one", 0)
	},
	"sleep": func(ctx context.Context, f *filter) string {
		began := f.plugin.Now()
		err := sdk.Sleep(ctx, 40*time.Millisecond)
		return strconv.FormatBool(f.plugin.Now().Sub(began) >= 40*time.Millisecond) + " " + word(err)
	},
	"naps": func(ctx context.Context, _ *filter) string {
		done := ""
		nap := func(name string, d time.Duration) func(ctx context.Context) error {
			return func(ctx context.Context) error { err := sdk.Sleep(ctx, d); done += name; return err }
		}
		err := sdk.All(ctx, nap("c", 60*time.Millisecond), nap("a", 10*time.Millisecond), nap("b", 30*time.Millisecond))
		return done + " " + word(err)
	},
	"reply": func(ctx context.Context, _ *filter) string { fetch(ctx, "one", 0); return "reply" },
	"panic": func(ctx context.Context, _ *filter) string { fetch(ctx, "one", 0); panic("after a wait") },
	"panicall": func(ctx context.Context, _ *filter) string {
		err := sdk.All(ctx,
			func(ctx context.Context) error { fetch(ctx, "one", 0); panic("in a part") },
			func(ctx context.Context) error { fetch(ctx, "slow", 0); return nil },
		)
		return word(err)
	},
	"counter": func(_ context.Context, f *filter) string {
		var value []byte
		err := f.plugin.SharedData().Update("count", func(old []byte) ([]byte, error) {
			n, _ := strconv.Atoi(string(old))
			value = strconv.AppendInt(nil, int64(n+1), 10)
			return value, nil
		})
		return string(value) + " " + word(err)
	},
	"ticked": func(_ context.Context, f *filter) string { return strconv.FormatBool(f.ticked) },
	"queue": func(ctx context.Context, f *filter) string {
		err := errors.Join(f.queue.Push([]byte("a")), f.queue.Push([]byte("b")))
		return word(errors.Join(err, sdk.Sleep(ctx, 100*time.Millisecond)))
	},
	"unary":       func(ctx context.Context, _ *filter) string { return call(ctx, "greeter", 0) },
	"status":      func(ctx context.Context, _ *filter) string { return call(ctx, "denier", 0) },
	"grpcnever":   func(ctx context.Context, _ *filter) string { return call(ctx, "mute", 50*time.Millisecond) },
	"grpcreset":   func(ctx context.Context, _ *filter) string { return call(ctx, "breaker", 0) },
	"grpcclosed":  func(ctx context.Context, _ *filter) string { return call(ctx, "grpcclosed", 0) },
	"grpcsick":    func(ctx context.Context, _ *filter) string { return call(ctx, "sick", 0) },
	"grpcmissing": func(ctx context.Context, _ *filter) string { return call(ctx, "missing", 0) },
	"stream":      stream,
}

func fetch(ctx context.Context, cluster string, timeout time.Duration) string {
	r, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: cluster, Timeout: timeout})
	if err != nil {
		return word(err)
	}
	return strconv.Itoa(r.Status) + ":" + string(r.Body)
}

func call(ctx context.Context, cluster string, timeout time.Duration) string {
	r, err := sdk.CallGRPC(ctx, sdk.GRPCRequest{
		Cluster: cluster, Service: "test.Greeter", Method: "Greet", Message: []byte("ann"), Timeout: timeout,
		Metadata: []sdk.Header{{Name: "x-meta", Value: "1"}},
	})
	if err != nil {
		return word(err)
	}
	return "ok:" + string(r.Message)
}

// stream sends two messages and reads what comes back until the end.
func stream(ctx context.Context, _ *filter) string {
	s, err := sdk.OpenGRPC(ctx, sdk.GRPCRequest{Cluster: "echo", Service: "test.Greeter", Method: "Chat"})
	if err != nil {
		return word(err)
	}
	got := ""
	for i, text := range []string{"one", "two"} {
		if err := s.Send([]byte(text), i == 1); err != nil {
			return word(err)
		}
		message, err := s.Receive(ctx)
		if err != nil {
			return word(err)
		}
		got += string(message) + ","
	}
	_, err = s.Receive(ctx)
	for _, h := range s.Trailers() {
		if h.Name == "x-end" {
			got += h.Value
		}
	}
	return got + " " + word(err)
}

// word is an error in a form that is the same everywhere.
func word(err error) string {
	var status *sdk.GRPCError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &status):
		text, _, _ := strings.Cut(status.Message, "{") // behind it: Envoy 1.40's own details
		if status.Code == 14 {
			text = "unavailable" // each version has its own words for it
		}
		return "grpc " + strconv.Itoa(int(status.Code)) + " " + text
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, sdk.ErrFetchFailed):
		return "failed"
	case errors.Is(err, sdk.ErrBadArgument):
		return "bad argument"
	case errors.Is(err, sdk.ErrInternalFailure):
		return "internal failure"
	}
	return err.Error()
}
