//go:build !waft_without_network

package abi

// They go together: a connection that was refused in one of them passes in none.
//
//waft:usedby method OnNewConnection OnDownstreamData OnUpstreamData OnDownstreamClose OnUpstreamClose OnConnectionDone

//go:wasmexport proxy_on_new_connection
func proxyOnNewConnection(id uint32) uint32 { return uint32(guest.NewConnection(id)) }

//go:wasmexport proxy_on_downstream_data
func proxyOnDownstreamData(id, size, end uint32) uint32 {
	return uint32(guest.DownstreamData(id, size, end != 0))
}

//go:wasmexport proxy_on_upstream_data
func proxyOnUpstreamData(id, size, end uint32) uint32 {
	return uint32(guest.UpstreamData(id, size, end != 0))
}

//go:wasmexport proxy_on_downstream_connection_close
func proxyOnDownstreamConnectionClose(id, peer uint32) { guest.DownstreamClose(id, PeerType(peer)) }

//go:wasmexport proxy_on_upstream_connection_close
func proxyOnUpstreamConnectionClose(id, peer uint32) { guest.UpstreamClose(id, PeerType(peer)) }
