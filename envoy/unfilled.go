package envoy

import "fmt"

// nothing is a module that does nothing: one page of memory, the mark of the ABI, a malloc that has nothing to give, and no callback, so that Envoy
// calls it for no request. It stands in a slot whose filter a chain lacks. As WebAssembly it is
//
//	(module
//	  (memory (export "memory") 1 1)
//	  (func (export "proxy_abi_version_0_2_1"))
//	  (func (export "malloc") (param i32) (result i32) i32.const 0))
const nothing = "\x00asm\x01\x00\x00\x00" +
	"\x01\x09\x02" + "\x60\x00\x00" + "\x60\x01\x7f\x01\x7f" + // types: no parameters, no results; i32 → i32
	"\x03\x03\x02\x00\x01" + // functions, by type
	"\x05\x04\x01\x01\x01\x01" + // memory: at least one page, and at most one
	"\x07\x2d\x03" + "\x06memory\x02\x00" + "\x17proxy_abi_version_0_2_1\x00\x00" + "\x06malloc\x00\x01" + // exports
	"\x0a\x09\x02" + "\x02\x00\x0b" + "\x04\x00\x41\x00\x0b" // code: end; i32.const 0, end

// Fill fits a chain to an Envoy that has a slot for each of some filters, in their order (1.36 to 1.38): a slot whose filter the chain lacks gets one
// that does nothing, so that the chain is what its filters are, though the slots stay. It is a Wasm filter like any other: a slot for filters takes no other type, and
// an Envoy that runs already has its slots. A filter without a slot, or in another order than the slots', does not fit: ErrInvalid.
func Fill(slots []string, chain []WasmFilter) ([]WasmFilter, error) {
	filled := make([]WasmFilter, 0, len(slots))
	left := chain
	for _, slot := range slots {
		if len(left) > 0 && left[0].Name == slot {
			filled, left = append(filled, left[0]), left[1:]
			continue
		}
		filled = append(filled, WasmFilter{Name: slot, ModuleBytes: []byte(nothing)})
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("%w: there is no slot for filter %s, or none behind those of the filters before it", ErrInvalid, left[0].Name)
	}
	return filled, nil
}
