//go:build !waft_without_tick

package abi

//waft:usedby import env.proxy_set_tick_period_milliseconds

//go:wasmexport proxy_on_tick
func proxyOnTick(id uint32) { guest.Tick(id) }
