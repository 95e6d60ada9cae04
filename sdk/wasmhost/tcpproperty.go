package wasmhost

// property reads a property in a context of a connection: what belongs to requests is not there, or empty.
func (conn *Connection) property(parts []string) ([]byte, Status) {
	c, info := conn.ctx, conn.info.streamInfo()
	if v, ok := info.override(parts); ok {
		return v, StatusOK
	}
	if len(parts) == 1 {
		if parts[0] == "connection_id" {
			return u64(0)
		}
		if v, status := c.topProperty(parts[0]); status != StatusNotFound {
			return v, status
		}
		if v, ok := conn.state[parts[0]]; ok {
			return text(v)
		}
	}
	rest := parts[1:]
	switch parts[0] {
	case "request", "response", "connection", "source", "destination", "upstream", "filter_state", "upstream_filter_state", "xds":
		if len(rest) == 0 {
			return nil, StatusSerialization
		}
	case "metadata":
		if len(rest) == 0 {
			return nil, StatusOK
		}
	}
	switch parts[0] {
	case "connection":
		return c.connectionProperty(rest)
	case "source":
		return address(info.source(), rest)
	case "destination":
		return address(info.destination(), rest)
	case "upstream":
		if len(rest) == 1 && rest[0] == "transport_failure_reason" {
			return text("")
		}
		if conn.connected && len(rest) == 1 {
			return address(info.upstream(), rest)
		}
	case "request":
		if len(rest) == 1 && rest[0] == "size" {
			return u64(uint64(conn.down.total))
		}
	case "response":
		if len(rest) == 1 && rest[0] == "size" {
			return u64(uint64(len(conn.up.passed)))
		}
	case "filter_state":
		return stateProperty(conn.state, rest)
	case "xds":
		return conn.xdsProperty(rest)
	}
	return notFound()
}

func (conn *Connection) xdsProperty(parts []string) ([]byte, Status) {
	switch {
	case parts[0] == "node":
		return conn.ctx.nodeProperty(parts[1:])
	case len(parts) > 1:
		return notFound()
	}
	switch parts[0] {
	case "cluster_name":
		if conn.connected {
			return text(conn.info.ClusterName)
		}
	case "filter_chain_name":
		return text("")
	case "listener_direction":
		return u64(0)
	}
	return notFound()
}
