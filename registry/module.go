package registry

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
)

// Module is what Push publishes. Content and Size are required; the zero value of everything else is a sound default.
type Module struct {
	// Content is the Wasm bytes. Push reads it, more than once, from one goroutine, and does not close it.
	Content io.ReaderAt
	// Size of Content in bytes.
	Size int64
	// Digest is Content's where the caller knows it, having read it: then Push need not. The registry refuses bytes of another one, and
	// nothing is tagged. Empty: Push finds it out.
	Digest Digest
	// Layout is the one that Push writes; empty: LayoutOCI. PushLayouts has layouts of its own.
	Layout Layout
	// Name and Version become the annotations org.opencontainers.image.title and .version.
	Name, Version string
	// ABIVersions are the proxy-wasm ABI versions that the module declares, such as "0.2.1", for the configuration layer.
	ABIVersions []string
	// RootIDs are the root ids that the module registers; empty for one that takes any.
	RootIDs []string
	// Manifest is the waft manifest (JSON) to attach, or nil.
	Manifest []byte
	// PullBack reads each artifact back, as Client.PullBack does, when everything of it is in the registry and no tag names it
	// yet. When that fails, the push does, and the tags stay where they were.
	PullBack bool
	// Untagged: no tag is written, so that what was pushed is found by its digest alone. The reference's tag, where it has one, does not count.
	Untagged bool
	// BeforeTag is called with each artifact when everything of it is in the registry and no tag names it yet, so that it can
	// be signed, or something attached to it, before anybody finds it. An error ends the push, and the tags stay where they
	// were. Nil: nothing.
	BeforeTag func(ctx context.Context, a Artifact) error
	// Annotations are added to the image manifest. They must not change from push to push if the digests are not to.
	Annotations map[string]string
}

func (m Module) layout() Layout { return cmp.Or(m.Layout, LayoutOCI) }

// ModuleBytes is a Module over bytes in memory, which must not change before the push has ended.
func ModuleBytes(wasm []byte) Module {
	return Module{Content: bytes.NewReader(wasm), Size: int64(len(wasm))}
}

// OpenModule is a Module over a file. The caller closes it after the push.
func OpenModule(path string) (Module, io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return Module{}, nil, fmt.Errorf("open the module: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open the module: %s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return Module{}, nil, err
	}
	return Module{Content: f, Size: info.Size()}, f, nil
}

// Progress is told how many bytes of how many have moved. It is called from one goroutine at a time, often, and must not
// block; total is 0 while it is not known. Done does not shrink. Nil is no progress.
type Progress func(done, total int64)
