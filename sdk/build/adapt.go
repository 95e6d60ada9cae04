package build

import "context"

// adapt makes of the module that the linker wrote the one that Envoys get: with stubs for what some Envoy lacks, with
// less code for the same work, and with its names in a file of their own. It says what it changed. A module whose imports cannot be replaced keeps them, and a change says why.
func (tc toolchain) adapt(ctx context.Context, src *source, l linked) ([]byte, Symbols, []Finding, error) {
	before, err := Check(l.wasm)
	if err != nil {
		return nil, Symbols{}, nil, err
	}
	if before.missesImports() {
		if err := tc.explain(ctx, src, l.without, &before); err != nil {
			return nil, Symbols{}, nil, err
		}
	}
	changes := l.changes
	wasm, answered, err := standIn(l.wasm, before)
	if err != nil {
		wasm, answered = l.wasm, []Finding{{Message: "all imports are left as they are, since the module cannot be read: " + err.Error()}}
	}
	wasm, shrunk := shrink(wasm)
	symbols, err := src.symbols(wasm)
	if err != nil {
		return nil, Symbols{}, nil, invalidModule(err)
	}
	if wasm, err = withOneName(wasm); err != nil {
		return nil, Symbols{}, nil, invalidModule(err)
	}
	return wasm, symbols, append(append(changes, answered...), shrunk), nil
}
