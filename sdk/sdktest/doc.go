// Package sdktest runs a filter over requests in plain go test, without Wasm and without Envoy.
//
//	f := sdktest.New(t, configure, `{"header":"x-key"}`)
//	got := f.Do(sdktest.Request{Path: "/a", Headers: sdktest.Headers("x-key", "1")})
//	if got.Upstream == nil {
//		t.Errorf("the request was answered with %d", got.Response.Status())
//	}
//
// # Flow
//
// [New] configures the filter in a host in memory that belongs to it alone, so tests may run in parallel. [Filter.Do] sends
// one request through it to an upstream, and the upstream's response back, with the callbacks in Envoy's order: headers,
// body in chunks, trailers, the log. What each event can see and change is what Envoy shows in it.
//
// # Invariants
//
// The host is for logic, not for proof: whether the compiled module behaves in Envoy is shown by the scenarios that package
// filtertest runs. It imports sdk and the standard library only.
package sdktest
