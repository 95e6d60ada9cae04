package build

import "fmt"

// shrink makes a module's code smaller without a change of what it does, and says by how much. Envoy compiles all of a module,
// keeps it several times over, and keeps what compiling took: a byte of code costs it some twenty. A module whose code cannot be read
// stays as it is, and the finding says why.
func shrink(wasm []byte) ([]byte, Finding) {
	shorter, err := shortenColdCalls(wasm)
	if err == nil {
		shorter, err = threadJumps(shorter)
	}
	if err != nil {
		return wasm, Finding{Message: "its code is left as it is, since it cannot be read: " + err.Error()}
	}
	before, after := codeSize(wasm), codeSize(shorter)
	return shorter, Finding{Message: fmt.Sprintf("jumps go straight to where they lead, and calls that are hardly ever made take less code: %d KB instead of %d",
		after/1000, before/1000)}
}

// codeSize is the size of a module's code in bytes, 0 where there is none.
func codeSize(wasm []byte) int {
	list, _ := sections(wasm)
	for _, s := range list {
		if s.id == sectionCode {
			return len(s.body)
		}
	}
	return 0
}
