// Package build turns the source of a filter into a module and its manifest, and examines modules of any language.
//
// The flow of Build: compile the directory with the ordinary Go toolchain (wasip1, c-shared), without the callbacks that the filter
// has no use for; put stubs in the place of the WASI functions that some Envoy lacks; make the code smaller; guard its loops, if
// asked to; write the memory maximum into the module; compare its imports and exports with what each Envoy version offers (package
// wasmhost has the tables), derive the JSON Schema of the configuration from the type that the filter gives to sdk.Register, and put
// NAME.wasm and NAME.json into place together.
//
// Comments in the source, //waft:tags, //waft:memory and //waft:loop-guard, say how a filter differs from others in its build
// (directive.go).
//
// Check examines bytes; ManifestFor makes the manifest of a module that something else built.
//
// Invariants: the same source, version and toolchain give the same bytes, wherever the source lies. A Build that fails or is
// interrupted leaves what was there before. A module that only some Envoys can load is built, and its manifest says so; one that
// none can load is an error.
//
// The package runs the go command. It imports wasmhost and manifest, and nothing of registry or distributor.
package build
