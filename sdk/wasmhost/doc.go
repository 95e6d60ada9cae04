// Package wasmhost is a proxy-wasm host on wazero: it runs a filter's compiled module, in any language, as Envoy would, without Envoy.
//
// Flow: NewHost makes the runtime and opens the cache of compiled modules. Host.Load checks a module against a Profile, which is what
// one Envoy version offers, and compiles it once. Module.NewVM starts a VM (memory of its own, _initialize run), VM.Configure a plugin in
// it (on_vm_start, on_configure), Plugin.NewStream a request, Plugin.NewConnection a TCP connection. A Stream is fed headers, bodies and
// trailers piece by piece, a Connection bytes; Plugin.Exchange does it all for one request and its response. Callouts go to the scripted
// servers of the VM's Proxy (Clusters, GRPC), which is also what VMs share; Proxy.Advance moves its VirtualClock past ticks, answers and
// time-outs in their order. Check and Inspect look at a module without compiling it.
//
// The host copies proxy-wasm-cpp-host and Envoy: https://github.com/proxy-wasm/spec for the ABI (0.1.0, 0.2.0 and 0.2.1), Envoy's
// source/extensions/common/wasm, its HTTP and gRPC clients and its filter managers for what happens around it. Where those leave a
// doubt, Envoy was measured.
//
// Invariants:
//   - A module gets the functions of its profile and ABI, and nothing else; an import that is missing fails Load and is named.
//   - The guest never runs longer than the deadline in one call, nor beyond its memory limit, and nothing that it makes the host keep
//     is unbounded (limits.go).
//   - After a crash the VM is dead: no more guest code runs in it. What requests get then is the plugin's FailurePolicy.
//   - Deferred actions (continue, local reply, close) run when the outermost callback has returned, as in Envoy.
//
// It must not import anything of the project.
package wasmhost
