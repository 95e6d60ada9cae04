package model

import "net"

// OnThisMachine says whether a host, as a URL or an address names it, is reached over no network: localhost, or an address of loopback. Nobody can be between. An empty one is not.
func OnThisMachine(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }
