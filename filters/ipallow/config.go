package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// Config is the configuration of the filter ipallow. Requests that no rule is about have the default's lists; without a
// default they are denied.
type Config struct {
	sdk.Rules[Lists]
	// Client says where the client's address stands.
	Client Client `json:"client,omitzero"`
	// Status is the HTTP status that denied requests are answered with.
	Status int `json:"status,omitempty" min:"400" max:"499" default:"403"`
}

// Lists say which addresses are let in. An address in both lists is denied.
type Lists struct {
	// Allow are the addresses and networks that are let in. Everybody is 0.0.0.0/0 and ::/0, and nobody the empty list.
	Allow []Network `json:"allow" maxItems:"10000"`
	// Deny are the addresses and networks that are not let in, although allow has them.
	Deny []Network `json:"deny,omitempty" maxItems:"10000"`
}

// Client says where the client's address stands.
type Client struct {
	// Header is the header that holds it, such as x-forwarded-for. Without it the address is that of Envoy's connection,
	// source.address.
	Header sdk.HeaderName `json:"header,omitempty"`
	// TrustedHops is how many of the last addresses in the header were written by proxies that can be trusted. The first of
	// these is the client's; what stands before them the client may have written itself.
	TrustedHops int `json:"trustedHops,omitempty" min:"1" max:"32" default:"1"`
}

// Network is an IPv4 or IPv6 network as 10.0.0.0/8, or one address as 10.0.0.1.
type Network struct{ prefix netip.Prefix }

// UnmarshalText takes a network or an address. Host bits in a network are an error, since it is not clear what is meant.
func (n *Network) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return fmt.Errorf("%q is neither an IP address nor a network such as 10.0.0.0/8", s)
		}
		addr = addr.Unmap()
		n.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no network such as 10.0.0.0/8 or 2001:db8::/32", s)
	case prefix.Addr().Is4In6():
		return fmt.Errorf("%q: write the network as IPv4; addresses are compared in that form", s)
	case prefix.Masked() != prefix:
		return fmt.Errorf("%q has bits set behind the network: write %s, or the address alone", s, prefix.Masked())
	}
	n.prefix = prefix
	return nil
}
