package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
)

// The engine keeps machine code on disk, and still decodes and validates the whole module each time before it looks there; that is most of
// the time of a start, and all that it needs of the functions' bodies. So a module that was compiled before is loaded by its outline: the
// changed module (interrupt.go) with bodies that do nothing, and the hash of the original. In the cache the machine code lies under
// the outline's name.

// outlineRevision is to be raised when interruptible writes other code for the same module: machine code in caches is then no longer right.
const outlineRevision = 3

// outlineSection is the custom section by which the outlines of two modules that differ only in their code are told apart.
const outlineSection = "waft.outline"

// outline is a module without its code. The error is ErrCorrupt.
func outline(wasm []byte, info *moduleInfo) ([]byte, error) {
	of := sha256.Sum256(wasm)
	extra := binary.AppendUvarint(nil, uint64(len(outlineSection)))
	extra = append(extra, outlineSection...)
	extra = append(append(extra, outlineRevision), of[:]...)
	return rewrite(wasm, info, extra, func(out, body, _ []byte) ([]byte, error) {
		n := (&byteReader{data: body}).count()
		const empty = "\x03\x00\x00\x0b" // 3 bytes: no locals, unreachable, end
		code := binary.AppendUvarint(make([]byte, 0, len(empty)*int(n)+binary.MaxVarintLen32), uint64(n))
		for range n {
			code = append(code, empty...)
		}
		return appendSection(out, sectionCode, code), nil
	})
}

// codeCache is the folder of machine code.
type codeCache struct {
	dir    string // empty: there is none
	config wazero.RuntimeConfig
}

// cached finds the machine code of a module whose outline is given. The error is errNotCached if there is none, or the engine's.
func cached(ctx context.Context, r wazero.Runtime, outline []byte) (wazero.CompiledModule, error) {
	// The engine's workers look at the context before they compile, and nothing does before it looks into the cache.
	ctx, cancel := context.WithCancelCause(experimental.WithCompilationWorkers(ctx, 2))
	cancel(errNotCached)
	return r.CompileModule(ctx, outline)
}

var errNotCached = errors.New("not in the cache")

// minimal is a module with one function, which nobody compiles.
const minimal = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x05\x01\x03\x00\x00\x0b"

// tells says whether an engine tells what it has in its cache from what it has not: the interpreter, on processors that have no compiler,
// does not.
func tells(ctx context.Context, r wazero.Runtime) bool {
	_, err := cached(ctx, r, []byte(minimal))
	return errors.Is(err, errNotCached)
}

// add compiles a module and keeps its code under the outline's name.
func (c codeCache) add(ctx context.Context, changed, outline []byte) error {
	dir, err := os.MkdirTemp(c.dir, "compile-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	code, err := c.compileIn(ctx, filepath.Join(dir, "code"), changed)
	if err != nil {
		return err
	}
	// The name of the engine's choice depends on the processor. Compiling the outline, which is quick, tells it.
	named, err := c.compileIn(ctx, filepath.Join(dir, "outline"), outline)
	if err != nil {
		return err
	}
	place := filepath.Join(c.dir, named)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "code", code), place)
}

// compileIn compiles a module with a cache of its own in dir, and gives the path in dir of the one file that is then in it.
func (c codeCache) compileIn(ctx context.Context, dir string, wasm []byte) (string, error) {
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return "", err
	}
	defer func() { _ = cache.Close(ctx) }()
	r := wazero.NewRuntimeWithConfig(ctx, c.config.WithCompilationCache(cache))
	defer func() { _ = r.Close(ctx) }()
	if _, err := compile(ctx, r, wasm); err != nil {
		return "", &engineError{err}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) != 1 {
		return "", errOtherwise
	}
	return filepath.Rel(dir, files[0])
}

// errOtherwise says that the engine does not keep the code of a module in one file. Without that nothing is wrong, but slow.
var errOtherwise = errors.New("the engine keeps code otherwise")

// engineError is what the engine has against a module.
type engineError struct{ err error }

func (e *engineError) Error() string { return e.err.Error() }
func (e *engineError) Unwrap() error { return e.err }

// compile compiles a module on all processors.
func compile(ctx context.Context, r wazero.Runtime, wasm []byte) (wazero.CompiledModule, error) {
	return r.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), wasm)
}

// compile gives a module's machine code, from the cache if it is there.
func (h *Host) compile(ctx context.Context, wasm []byte, info *moduleInfo) (wazero.CompiledModule, error) {
	var short []byte
	if h.code.dir != "" && info.hasMemory {
		var err error
		if short, err = outline(wasm, info); err != nil {
			return nil, err
		}
		if c, err := cached(ctx, h.runtime, short); err == nil {
			return c, nil
		}
	}
	changed, err := interruptible(wasm, info)
	if err != nil {
		return nil, err
	}
	if short != nil {
		refused := (*engineError)(nil)
		switch err := h.code.add(ctx, changed, short); {
		case errors.As(err, &refused):
			return nil, fmt.Errorf("compile: %w", refused.err)
		case errors.Is(err, errOtherwise):
		case err != nil:
			return nil, fmt.Errorf("keep machine code in %s: %w; give another folder, or %q", h.code.dir, err, CacheOff)
		default:
			if c, err := cached(ctx, h.runtime, short); err == nil {
				return c, nil
			}
		}
	}
	c, err := compile(ctx, h.runtime, changed)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return c, nil
}
