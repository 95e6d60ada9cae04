// Command bare is a module without any SDK: the exports that a host asks for, and no more.
package main

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 { return 0 }

//go:wasmexport proxy_on_context_create
func contextCreate(context, parent uint32) {}
