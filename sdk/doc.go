// Package sdk is what a filter imports: it turns the proxy-wasm callbacks of Envoy into a handler for each HTTP stream,
// or each TCP connection, with a typed configuration, headers, bodies, local replies, metrics, properties, logs, callouts
// that are awaited, timers, and data that workers share.
//
// A filter is a package main that calls [Register] in init and has an empty main. It is compiled with the ordinary
// toolchain, GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, which is what waft build does:
//
//	package main
//
//	import "github.com/waft-project/waft/sdk"
//
//	// Config is the plugin configuration.
//	type Config struct {
//		// Header is the request header that every request must carry.
//		Header string `json:"header"`
//		// Reply is the body of the 403 for the others.
//		Reply string `json:"reply,omitempty"`
//	}
//
//	func init() { sdk.Register(configure) }
//
//	func main() {}
//
//	type gate struct {
//		config *Config
//		denied sdk.Counter
//	}
//
//	func configure(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
//		denied, err := p.Counter("gate.denied")
//		if err != nil {
//			return nil, err
//		}
//		return &gate{config: config, denied: denied}, nil
//	}
//
//	// NewHandler makes the handler of a stream. This filter keeps nothing per stream, so it is its own handler.
//	func (g *gate) NewHandler() sdk.Handler { return g }
//
//	func (g *gate) OnRequestHeaders(r *sdk.Request) sdk.Action {
//		if _, ok := r.Headers().Get(g.config.Header); !ok {
//			g.denied.Inc()
//			return r.Reply(sdk.Reply{Status: 403, Body: []byte(g.config.Reply), Details: "gate_no_header"})
//		}
//		return sdk.Continue
//	}
//
// # Flow
//
// The host creates a plugin context and hands it the configuration: [Register]'s function makes a [Filter], or an error,
// which goes to the log and makes the host refuse the configuration. For each HTTP stream the Filter makes a [Handler],
// which gets the events that it has methods for: [RequestHeadersHandler], [RequestBodyHandler],
// [BufferedRequestBodyHandler], [RequestTrailersHandler], the same four for responses, and [StreamDoneHandler].
//
// # Waiting
//
// A handler's method that takes a context first may wait, in straight-line code: for another service ([Fetch], [CallGRPC],
// [OpenGRPC]), for a time ([Sleep]), for several things at once ([All], [First]), within a limit ([WithTimeout]). The stream
// waits with it, and the worker goes on with others. Work beside the streams is [Plugin.Go], [Plugin.Every], [Plugin.After]
// and [Plugin.Receive]. Each is a coroutine: one runs at a time, from one wait to the next, so nothing needs a lock. What a
// filter does not use is not in its module.
//
//	func (g *gate) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
//		answer, err := r.Fetch(ctx, sdk.FetchRequest{Cluster: "auth", Path: r.Path(), Timeout: time.Second})
//		if err != nil || answer.Status != 200 {
//			return r.Reply(sdk.Reply{Status: 403})
//		}
//		return sdk.Continue
//	}
//
// A wait ends with an error when the stream or the configuration that it belongs to ends, whatever its context: the code
// returns then. Code that goes on waiting is ended by a panic, since it would stop the worker.
//
// What would stop the worker must not be used while a request is handled: time.Sleep, waiting on a channel or on a lock that
// another coroutine holds.
//
// # Rules
//
//   - Everything in this package is used from the host's callbacks only, which come one at a time. Nothing here may be used
//     from another goroutine. A [Request], [Response], [Stream], [Headers] or [Body] works in the callbacks and tasks of its
//     own stream only; elsewhere, and after the stream has ended, it reads nothing and changes nothing ([ErrOtherStream]).
//   - Strings from headers may share memory with the other headers of their message. What a filter keeps beyond the stream
//     it copies with strings.Clone.
//   - A panic in a handler ends in the failure policy's answer for that one request, a log line with the stack, and the
//     counter waft.panics.NAME. It does not take the VM down. A Go fatal error (out of memory, a stack overflow, a
//     concurrent map write) does.
//   - Every stream is counted in waft.requests.NAME, NAME being [Plugin.Name], so that a filter that is skipped shows.
//   - Counts reach the host within [DefaultMetricDelay], see [Counter]; gauges and histograms do at once.
//   - Errors of host calls are [*HostError]; they wrap one of the statuses [ErrNotFound], [ErrBadArgument] and so on.
//
// # Testing
//
// Logic that needs no Wasm is tested with package sdktest, which runs a configure function over requests in memory.
// Package filtertest runs scenario files against the compiled module.
//
// This package and what it imports use the standard library only, and of it only what asks of the host no more than the
// 15 WASI functions that every Envoy has. It must not import os.ReadDir's kind of file access, net, or text/template.
package sdk
