package abi

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Pair is a name and a value of a header map.
type Pair struct{ Name, Value string }

// Bytes that a serialised map holds beside its names and values.
const (
	pairsHead    = 4         // the count
	pairLengths  = 8         // the two lengths of a pair
	pairOverhead = 8 + 1 + 1 // the lengths and the two NULs
)

// ErrPairs is the error for a serialised map that does not hold together.
var ErrPairs = errors.New("serialised header map is malformed")

// AppendPairs appends the serialised form of pairs to dst: a little-endian count, the two lengths of each pair, then names
// and values, each ended by NUL. No pairs give four zero bytes.
func AppendPairs(dst []byte, pairs []Pair) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(pairs)))
	return appendTexts(appendLengths(dst, pairs), pairs)
}

func appendLengths(dst []byte, pairs []Pair) []byte {
	for i := range pairs {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(pairs[i].Name)))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(pairs[i].Value)))
	}
	return dst
}

func appendTexts(dst []byte, pairs []Pair) []byte {
	for i := range pairs {
		dst = append(dst, pairs[i].Name...)
		dst = append(dst, 0)
		dst = append(dst, pairs[i].Value...)
		dst = append(dst, 0)
	}
	return dst
}

// AppendPairLists is [AppendPairs] for pairs that stand in two lists.
func AppendPairLists(dst []byte, first, second []Pair) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(first)+len(second)))
	dst = appendLengths(appendLengths(dst, first), second)
	return appendTexts(appendTexts(dst, first), second)
}

// PairsSize is the length of what [AppendPairs] appends.
func PairsSize(pairs []Pair) int {
	size := pairsHead
	for _, p := range pairs {
		size += pairOverhead + len(p.Name) + len(p.Value)
	}
	return size
}

// ParsePairs appends the pairs of a serialised map to dst. Names and values are substrings of data. An empty map may be
// serialised as no bytes at all, as one zero byte, or as a count of zero. The error is [ErrPairs]; dst is then unchanged.
func ParsePairs(dst []Pair, data string) ([]Pair, error) {
	if len(data) == 0 || (len(data) == 1 && data[0] == 0) {
		return dst, nil
	}
	if len(data) < pairsHead {
		return dst, ErrPairs
	}
	count := int(uint32At(data, 0))
	if count > (len(data)-pairsHead)/pairOverhead {
		return dst, ErrPairs
	}
	out, at := slices.Grow(dst, count), pairsHead+count*pairLengths
	for i := range count {
		lengths := pairsHead + i*pairLengths
		var name, value string
		var ok bool
		if name, at, ok = cut(data, at, uint32At(data, lengths)); !ok {
			return dst, ErrPairs
		}
		if value, at, ok = cut(data, at, uint32At(data, lengths+4)); !ok {
			return dst, ErrPairs
		}
		out = append(out, Pair{name, value})
	}
	return out, nil
}

// cut takes n bytes and the NUL behind them.
func cut(data string, at int, n uint32) (string, int, bool) {
	left := len(data) - at
	if uint64(n) >= uint64(left) {
		return "", at, false
	}
	end := at + int(n)
	return data[at:end], end + 1, data[end] == 0
}

func uint32At(s string, i int) uint32 {
	_ = s[i+3]
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}
