//go:build !waft_without_queue

package abi

//waft:usedby import env.proxy_register_shared_queue

//go:wasmexport proxy_on_queue_ready
func proxyOnQueueReady(id, queue uint32) { guest.QueueReady(id, queue) }
