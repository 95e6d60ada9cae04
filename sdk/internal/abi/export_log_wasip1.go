//go:build !waft_without_log

package abi

//waft:usedby method OnStreamDone

//go:wasmexport proxy_on_log
func proxyOnLog(id uint32) { guest.Log(id) }
