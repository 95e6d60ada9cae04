package main

import (
	"net/netip"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// address is the client's address. It is false where there is none that can be read.
func (f *filter) address(r *sdk.Request) (netip.Addr, bool) {
	if f.header == "" {
		source, err := r.Properties().String("source.address")
		if err != nil {
			return netip.Addr{}, false
		}
		return parseAddress(source)
	}
	element, ok := fromEnd(r.Headers().Values(f.header), f.hops)
	if !ok {
		return netip.Addr{}, false
	}
	return parseAddress(element)
}

// fromEnd is the nth last element, from 1 on, of a header whose values are lists with commas. Empty elements count, since
// they stand where a proxy wrote something.
func fromEnd(values []string, n int) (string, bool) {
	for i := len(values) - 1; i >= 0; i-- {
		for rest, more := values[i], true; more; {
			var element string
			at := strings.LastIndexByte(rest, ',')
			element, more = rest[at+1:], at >= 0
			if n--; n == 0 {
				return element, true
			}
			rest = rest[:max(at, 0)]
		}
	}
	return "", false
}

// parseAddress reads an address as proxies write it: alone, in brackets, or with a port. IPv4 in IPv6's form is IPv4, so
// that ::ffff:10.0.0.1 does not pass where 10.0.0.1 is denied.
func parseAddress(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	addr, err := netip.ParseAddr(s)
	if err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
			addr, err = netip.ParseAddr(strings.TrimSuffix(inner, "]"))
			if err == nil && !addr.Is6() {
				return netip.Addr{}, false
			}
		} else {
			var withPort netip.AddrPort
			withPort, err = netip.ParseAddrPort(s)
			addr = withPort.Addr()
		}
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
