package main

import (
	"net/netip"
	"strings"
)

// maxAddress is the length of the longest IP address: IPv6 with an IPv4 address at its end.
const maxAddress = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

// nextIPv4 finds an IPv4 address: four numbers to 255, with dots between, that are no part of more such numbers.
func nextIPv4(s string, from int) (start, end int, ok bool) {
	for i := from; i < len(s); i++ {
		if !isDigit(s[i]) || !freeBefore(s, i) || i > 0 && s[i-1] == '.' {
			continue
		}
		end := i
		for end < len(s) && (isDigit(s[end]) || s[end] == '.') {
			end++
		}
		run := strings.TrimRight(s[i:end], ".") // the end of a sentence
		if address, err := netip.ParseAddr(run); err == nil && address.Is4() && freeBehind(s, i+len(run)) {
			return i, i + len(run), true
		}
		i = end - 1
	}
	return 0, 0, false
}

// nextIPv6 finds an IPv6 address (RFC 4291, section 2.2), with a digit in it: a::b is more often a name in a program.
func nextIPv6(s string, from int) (start, end int, ok bool) {
	for i := from; i < len(s); i++ {
		if !isIPv6(s[i]) {
			continue
		}
		end := i
		for end < len(s) && isIPv6(s[end]) {
			end++
		}
		if size := ipv6Size(s[i:end]); size > 0 && freeBefore(s, i) && freeBehind(s, i+size) {
			return i, i + size, true
		}
		i = end - 1
	}
	return 0, 0, false
}

// ipv6Size is the length of the address that a run of an address's characters is; 0 where it is none. Punctuation behind it is no part of it.
func ipv6Size(run string) int {
	for strings.HasSuffix(run, ".") || strings.HasSuffix(run, ":") && !strings.HasSuffix(run, "::") {
		run = run[:len(run)-1]
	}
	if len(run) > maxAddress || strings.Count(run, ":") < 2 || !strings.ContainsAny(run, "0123456789") {
		return 0
	}
	if address, err := netip.ParseAddr(run); err != nil || !address.Is6() {
		return 0
	}
	return len(run)
}

func isIPv6(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.'
}
