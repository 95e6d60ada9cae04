package build

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Limits of a memory, in the binary format.
const (
	limitsHasMax = 1 << 0
	limitsShared = 1 << 1
)

// setMemoryMax writes a maximum, in bytes, into the module's memory section, so that no VM of it grows further. A maximum that
// is there and lower stays. Everything else of the module stays as it is, byte for byte in each section.
func setMemoryMax(wasm []byte, maxBytes int64) ([]byte, error) {
	if maxBytes <= 0 || maxBytes%wasmPage != 0 || maxBytes > maxMemory {
		return nil, fmt.Errorf("a memory maximum is a multiple of %d bytes, up to %d; have %d", wasmPage, int64(maxMemory), maxBytes)
	}
	list, err := sections(wasm)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(s section) bool { return s.id == sectionMemory })
	if at < 0 {
		return nil, errors.New("it has no memory of its own to limit")
	}
	lim, err := readMemory(list[at].body)
	if err != nil {
		return nil, err
	}
	pages := uint32(maxBytes / wasmPage)
	if lim.min > pages {
		return nil, fmt.Errorf("it needs %d bytes of memory to start with, over the maximum of %d", int64(lim.min)*wasmPage, maxBytes)
	}
	if lim.flags&limitsHasMax != 0 && lim.max <= pages {
		return wasm, nil
	}
	body := []byte{1, lim.flags | limitsHasMax}
	body = binary.AppendUvarint(body, uint64(lim.min))
	body = binary.AppendUvarint(body, uint64(pages))
	list[at].body = body
	return joinSections(list), nil
}

type memoryLimits struct {
	flags    byte
	min, max uint32 // pages
}

// readMemory reads a memory section of one 32-bit memory, which is all that Envoy loads.
func readMemory(body []byte) (memoryLimits, error) {
	count, n, err := readU32(body)
	if err != nil {
		return memoryLimits{}, fmt.Errorf("memory section: %w", err)
	}
	if count != 1 {
		return memoryLimits{}, fmt.Errorf("memory section: %d memories, want 1", count)
	}
	body = body[n:]
	if len(body) == 0 {
		return memoryLimits{}, fmt.Errorf("memory section: %w", errTruncated)
	}
	lim := memoryLimits{flags: body[0]}
	if lim.flags&^(limitsHasMax|limitsShared) != 0 {
		return memoryLimits{}, fmt.Errorf("memory section: flags %#x are not those of a 32-bit memory", lim.flags)
	}
	body = body[1:]
	if lim.min, n, err = readU32(body); err != nil {
		return memoryLimits{}, fmt.Errorf("memory section: %w", err)
	}
	body = body[n:]
	if lim.flags&limitsHasMax != 0 {
		if lim.max, n, err = readU32(body); err != nil {
			return memoryLimits{}, fmt.Errorf("memory section: %w", err)
		}
		body = body[n:]
	}
	if len(body) != 0 {
		return memoryLimits{}, errors.New("memory section: bytes behind its end")
	}
	return lim, nil
}
