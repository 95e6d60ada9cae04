// Package envoy finds, runs, asks and stops a real Envoy, and renders what it reads: bootstraps, filter chains and the
// files of its extension configuration discovery (ECDS).
//
// The flow through it:
//
//	Find → Binary.Version → BootstrapConfig.Render → Start → Process.Ready → Admin.Stats → Process.Stop
//	WasmFilter → Chain → a file that a slot of the bootstrap watches
//	WasmFilter → Validate (the probe) → Verdict
//
// A slot is an ECDS entry in a listener. Envoy 1.39 and later have one slot, SlotName, which holds a node's whole ordered
// chain as one resource of type envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig. Envoy 1.36 to 1.38 have
// no such filter; there each filter has a slot of its own, named in the bootstrap (FilterSlotName).
//
// Invariants:
//
//   - Rendering is deterministic: equal input gives equal bytes.
//   - A bootstrap without a default chain does not serve: its listener waits for the first chain. There is no implicit
//     "pass everything". An empty chain is a chain, and must be asked for.
//   - A filter's vm_id is its name and stays the same, so that a change of configuration compiles nothing.
//   - Nothing here outlives its Process: the child has a process group of its own, and Stop ends all of it.
//
// The package imports nothing else of the project; Envoy's protobuf types live here and in its users that speak xDS.
package envoy
