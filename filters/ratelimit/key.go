package main

import (
	"encoding/binary"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// appendKey is what a limit counts a request under. The limit's own number stands before it, so that limits do not meet.
func (l *limit) appendKey(dst []byte, r *sdk.Request) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, l.id)
	switch l.by {
	case byClient:
		address, _ := r.Properties().Connection().SourceAddress()
		return append(dst, host(address)...)
	case byRoute:
		name, _ := r.Properties().Route().Name()
		return append(dst, name...)
	case byHeader:
		value, _ := r.Headers().Get(l.header)
		return append(dst, value...)
	}
	return dst
}

// host is an address without its port, which is another one with each connection.
func host(address string) string {
	if i := strings.LastIndexByte(address, ':'); i > 0 {
		return address[:i]
	}
	return address
}
