package build

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The parts of the binary format that are read here.
// https://webassembly.github.io/spec/core/binary/modules.html
const (
	wasmHeader = "\x00asm\x01\x00\x00\x00"

	sectionCustom = 0
	sectionMemory = 5

	wasmPage = 64 << 10
)

// section is one section of a module. Its body shares memory with the module.
type section struct {
	id   byte
	body []byte
	// end is the offset of the byte behind it in the module.
	end int
}

var errTruncated = errors.New("ends in the middle")

// sections takes a module apart. It looks at no section's inside.
func sections(wasm []byte) ([]section, error) {
	if len(wasm) < len(wasmHeader) || string(wasm[:len(wasmHeader)]) != wasmHeader {
		return nil, errors.New("no WebAssembly header")
	}
	var out []section
	for at := len(wasmHeader); at < len(wasm); {
		id := wasm[at]
		size, n, err := readU32(wasm[at+1:])
		if err != nil {
			return nil, fmt.Errorf("section at byte %d: %w", at, err)
		}
		start := at + 1 + n
		if uint64(size) > uint64(len(wasm)-start) {
			return nil, fmt.Errorf("section at byte %d: %w", at, errTruncated)
		}
		at = start + int(size)
		out = append(out, section{id: id, body: wasm[start:at], end: at})
	}
	return out, nil
}

// joinSections puts a module together again.
func joinSections(list []section) []byte {
	out := []byte(wasmHeader)
	for _, s := range list {
		out = append(out, s.id)
		out = binary.AppendUvarint(out, uint64(len(s.body))) // an unsigned LEB128, too
		out = append(out, s.body...)
	}
	return out
}

// custom splits the body of a custom section into its name and its content.
func custom(body []byte) (name string, content []byte, err error) {
	text, rest, err := readName(body)
	return text, rest, err
}

func readName(b []byte) (string, []byte, error) {
	size, n, err := readU32(b)
	if err != nil {
		return "", nil, err
	}
	if uint64(size) > uint64(len(b)-n) {
		return "", nil, errTruncated
	}
	return string(b[n : n+int(size)]), b[n+int(size):], nil
}

// readU32 reads an unsigned LEB128 of at most 32 bits, and says how many bytes it took.
func readU32(b []byte) (uint32, int, error) {
	var v uint64
	for i := range 5 {
		if i >= len(b) {
			return 0, 0, errTruncated
		}
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v), i + 1, nil
		}
	}
	return 0, 0, errors.New("a number takes more than 32 bits")
}
