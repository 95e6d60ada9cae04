//go:build wasip1

package abi

import "unsafe"

// guest gets the callbacks. It is set once, while the module's packages are initialised.
var guest Guest = unregistered{}

// SetGuest makes the Guest that gets the callbacks of this module. A module has one: a second call panics, which the host
// reports when it loads the module.
func SetGuest(newGuest func(Host) Guest) {
	if _, ok := guest.(unregistered); !ok {
		panic("sdk: a module can register one filter, and this one registers a second")
	}
	guest = newGuest(Host{})
}

// unregistered is the Guest of a module that registers none: it says so and refuses its configuration.
type unregistered struct{}

func (unregistered) ContextCreate(_, _ uint32) {}
func (unregistered) Configure(_, _ uint32) bool {
	Host{}.Log(LogError, "this module registers no filter: call sdk.Register in an init function of package main")
	return false
}
func (unregistered) RequestHeaders(uint32, bool) Action      { return PauseAll }
func (unregistered) RequestBody(_, _ uint32, _ bool) Action  { return Pause }
func (unregistered) RequestTrailers(uint32) Action           { return Pause }
func (unregistered) ResponseHeaders(uint32, bool) Action     { return PauseAll }
func (unregistered) ResponseBody(_, _ uint32, _ bool) Action { return Pause }
func (unregistered) ResponseTrailers(uint32) Action          { return Pause }
func (unregistered) Done(uint32) bool                        { return true }
func (unregistered) Log(uint32)                              {}
func (unregistered) Delete(uint32)                           {}

func (unregistered) HTTPCallResponse(_, _, _, _, _ uint32)      {}
func (unregistered) GRPCReceiveInitialMetadata(_, _, _ uint32)  {}
func (unregistered) GRPCReceive(_, _, _ uint32)                 {}
func (unregistered) GRPCReceiveTrailingMetadata(_, _, _ uint32) {}
func (unregistered) GRPCClose(_, _, _ uint32)                   {}
func (unregistered) Tick(uint32)                                {}
func (unregistered) QueueReady(_, _ uint32)                     {}
func (unregistered) ForeignFunction(_, _, _ uint32)             {}
func (unregistered) NewConnection(uint32) Action                { return Pause }
func (unregistered) DownstreamData(uint32, uint32, bool) Action { return Pause }
func (unregistered) UpstreamData(uint32, uint32, bool) Action   { return Pause }
func (unregistered) DownstreamClose(uint32, PeerType)           {}
func (unregistered) UpstreamClose(uint32, PeerType)             {}

//go:wasmexport proxy_abi_version_0_2_1
func proxyABIVersion() {}

//go:wasmexport proxy_on_memory_allocate
func proxyOnMemoryAllocate(size uint32) unsafe.Pointer { return room(size) }

//go:wasmexport proxy_on_context_create
func proxyOnContextCreate(id, parent uint32) { guest.ContextCreate(id, parent) }

//go:wasmexport proxy_on_configure
func proxyOnConfigure(id, size uint32) uint32 {
	if guest.Configure(id, size) {
		return 1
	}
	return 0
}

//go:wasmexport proxy_on_request_headers
func proxyOnRequestHeaders(id, _, end uint32) uint32 {
	return uint32(guest.RequestHeaders(id, end != 0))
}

//go:wasmexport proxy_on_delete
func proxyOnDelete(id uint32) { guest.Delete(id) }
