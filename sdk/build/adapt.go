package build

import "context"

// adapt makes of the module that the linker wrote the one that Envoys get: with stubs for what some Envoy lacks, with
// less code for the same work, with a guard for its loops where loops is not 0, and with its names in a file of their own. It says what it
// changed. A module whose imports cannot be replaced keeps them, and a change says why; one whose loops cannot be guarded is an error.
func (tc toolchain) adapt(ctx context.Context, src *source, l linked, loops int64) ([]byte, Symbols, []Finding, error) {
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
	changes = append(append(changes, answered...), shrunk)
	if loops > 0 {
		// When jumps go straight, few of them lead back to a loop.
		var guarded Finding
		if wasm, guarded, err = guardLoops(wasm, loops); err != nil {
			return nil, Symbols{}, nil, &Error{Subject: tc.dir, Kind: ErrInvalidModule, Detail: "its loops cannot be guarded: " + err.Error(),
				Next: "build it without a loop guard", Err: err}
		}
		changes = append(changes, guarded)
	}
	symbols, err := src.symbols(wasm)
	if err != nil {
		return nil, Symbols{}, nil, invalidModule(err)
	}
	if wasm, err = withOneName(wasm); err != nil {
		return nil, Symbols{}, nil, invalidModule(err)
	}
	return wasm, symbols, changes, nil
}
