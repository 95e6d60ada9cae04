package main

import (
	"net/netip"
	"slices"
)

// prefixSet is a set of networks. Looking an address up costs one probe for each length of prefix in the set, however many
// networks there are. The zero value is empty; it is not changed once it is made.
type prefixSet struct {
	networks map[netip.Prefix]struct{}
	// bits4 and bits6 are the lengths of the prefixes, each once.
	bits4, bits6 []int
}

func newPrefixSet(list []Network) prefixSet {
	s := prefixSet{networks: make(map[netip.Prefix]struct{}, len(list))}
	for _, n := range list {
		s.networks[n.prefix] = struct{}{}
		bits := &s.bits6
		if n.prefix.Addr().Is4() {
			bits = &s.bits4
		}
		if !slices.Contains(*bits, n.prefix.Bits()) {
			*bits = append(*bits, n.prefix.Bits())
		}
	}
	return s
}

// contains says whether one of the networks holds an address. An IPv4 address in IPv6's form counts as IPv4 before it comes
// here.
func (s *prefixSet) contains(addr netip.Addr) bool {
	lengths := s.bits6
	if addr.Is4() {
		lengths = s.bits4
	}
	for _, bits := range lengths {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if _, ok := s.networks[prefix]; ok {
			return true
		}
	}
	return false
}
