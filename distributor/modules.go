package distributor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
	"github.com/waft-project/waft/sdk/manifest"
)

// modules is service.Modules over a registry client: references become modules by content, and verified copies stay on
// this distributor's disk. What is known of an artifact stands beside them, so that a module whose copy the disk has
// damaged can be fetched again, and its schema read while its registry is away. It may be used concurrently.
type modules struct {
	client *registry.Client
	dir    string
	// own are this distributor's names: what is in its own registry is read there.
	own []string
	// inlineHost is the one of these names by which modules are kept that were given as bytes.
	inlineHost string
	log        *slog.Logger

	// fetched is what there is of images from other registries.
	fetched fetched
	// pinned keeps on the disk what is being fetched.
	pinned pinned
	// growing is held for reading while something is fetched, and nothing is removed meanwhile. It is locked by TryLock alone, so
	// that who holds it for reading may do so twice.
	growing sync.RWMutex
	// grown has a receipt when something was fetched.
	grown chan struct{}

	// evidence keeps the signatures beside each artifact; guard decides what goes into releases. Nil: nothing is kept, and
	// everything goes.
	evidence *evidence
	guard    *guard

	// served is told that a node was sent a module, whole; node is what the request says. read: it was seen to read all of it (tookAll).
	// Nil: nobody is told.
	served func(node, digest string, read bool)
	// copies: other replicas fetch modules, too, so that one which is not on this disk need not have been there.
	copies bool

	// lost are the modules that are being fetched again, by digest.
	lost singleflight.Group

	// keeping is held while a description is written.
	keeping sync.Mutex

	mu sync.Mutex
	// sources are artifacts by their module's digest: where its bytes came from.
	sources map[string]artifact
}

// lostTimeout bounds the fetching of a module again. A registry that sends nothing ends it sooner.
const lostTimeout = 10 * time.Minute

// artifact is what is kept of an artifact, in DIR/artifacts/HEX.json.
type artifact struct {
	Module model.Module `json:"module"`
	// Manifest is the waft manifest as it was attached; nil when there was none.
	Manifest json.RawMessage `json:"manifest,omitempty"`
	// Origin is what is served of an image from another registry; nil when it came from this distributor's own.
	Origin *origin `json:"origin,omitempty"`
}

// maxArtifactBytes bounds such a file.
const maxArtifactBytes = registry.MaxAttachmentBytes + 128<<10

// openModules reads what is known from an earlier life. A file that cannot be read is skipped: it can be had again. own are the
// names, HOST:PORT, of the embedded registry.
func openModules(client *registry.Client, dir string, own []string, log *slog.Logger) (*modules, error) {
	m := &modules{
		client: client, dir: filepath.Join(dir, "artifacts"), own: own, log: log, sources: map[string]artifact{},
		fetched: fetched{names: map[string]*repository{}}, pinned: pinned{cache: client.Cache(), count: map[registry.Digest]int{}},
		grown: make(chan struct{}, 1),
	}
	if len(own) > 0 {
		m.inlineHost = own[0]
	}
	if err := client.Cache().Pin(pinFetching); err != nil { // what an earlier life was fetching
		return nil, err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of artifacts: %w", err)
	}
	files, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of artifacts: %w", err)
	}
	for _, f := range files {
		hex, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			_ = os.Remove(filepath.Join(m.dir, f.Name())) // what an interrupted write left
			continue
		}
		a, err := m.read("sha256:" + hex)
		if err != nil {
			log.Warn("what is known of an artifact cannot be read; it will be fetched again when it is needed", "file", f.Name(), "error", err)
			continue
		}
		m.know(a)
	}
	return m, nil
}

// Resolve is service.Modules'.
func (m *modules) Resolve(ctx context.Context, reference string) (model.Module, []byte, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return model.Module{}, nil, moduleError(reference, err)
	}
	a, err := m.fetch(ctx, reference, ref, true)
	if err != nil {
		return model.Module{}, nil, err
	}
	schema, err := a.schema(reference)
	return a.Module, schema, err
}

// fetch resolves a reference and pulls its module. The artifact is resolved once and pulled by its digest, so that a tag
// that moves meanwhile does not join one artifact's manifest to another's module. With fresh it is for a new release: the policy decides, before the
// module is fetched where its digest is known by then. What a release names already is fetched again whatever the policy says now.
func (m *modules) fetch(ctx context.Context, reference string, ref registry.Reference, fresh bool) (artifact, error) {
	defer m.grow()()
	resolved, err := m.client.Resolve(ctx, ref)
	if err != nil {
		return artifact{}, moduleError(reference, err)
	}
	if named := resolved.Annotations[registry.AnnotationManifest]; named != "" && resolved.Manifest == nil && fresh {
		return artifact{}, model.Invalidf(reference, "", "push the module again, or copy it with what is attached to it (waft export and import, oras copy -r)",
			"the artifact %s says that it has the waft manifest %s, and the registry does not give it; without it no configuration can be checked", resolved.Digest, named)
	}
	var found trust.Dossier
	if m.evidence != nil && fresh {
		found, err = trust.Gather(ctx, m.client, resolved)
		switch {
		case err != nil && m.guard != nil:
			return artifact{}, moduleError(reference, err)
		case err != nil:
			m.log.Warn("the signatures beside an artifact cannot be read; nodes that ask for them try again", "reference", reference, "error", err)
		case m.guard != nil:
			if err := m.guard.admit(resolved, found); err != nil {
				return artifact{}, trustError(reference, err)
			}
		}
	}
	var from *origin
	if !slices.Contains(m.own, ref.Registry) {
		if from, err = originOf(resolved); err != nil {
			return artifact{}, moduleError(reference, err)
		}
		// Beforehand, so that a packed layer stays when its module was unpacked.
		defer m.pinned.hold(m.log, from.digests()...)()
	}
	pulled, _, err := m.client.PullArtifact(ctx, resolved, nil)
	if err != nil {
		return artifact{}, moduleError(reference, err)
	}
	if m.guard != nil && fresh && resolved.Packed() {
		if err := m.guard.admit(pulled, found); err != nil {
			return artifact{}, trustError(reference, err)
		}
	}
	if from != nil {
		m.completeImage(ctx, resolved, from)
	}
	a := artifact{
		Module: model.Module{
			Reference: reference, Artifact: string(pulled.Digest), Digest: string(pulled.Module.Digest), Size: pulled.Module.Size,
		},
		Manifest: resolved.Manifest, Origin: from,
	}
	if a.Manifest != nil {
		man, err := a.manifest(reference)
		if err != nil {
			return artifact{}, err
		}
		a.Module.Envoys = man.Envoys
		if a.Module.Lists, err = listKeys(man.ConfigSchema); err == nil {
			err = model.ValidateLists(reference, "configSchema", a.Module.Lists)
		}
		if err != nil {
			return artifact{}, model.Invalidf(reference, "", "correct the schema, build and push the module again", "its configuration's schema: %v", err)
		}
	}
	err = m.keep(a)
	if err == nil && found.Manifest != nil {
		err = m.evidence.keepArtifact(pulled.Digest, found)
	}
	if err != nil {
		return artifact{}, &model.Error{Kind: model.ErrUnavailable, Object: reference, Message: "its description cannot be stored: " + err.Error(), Next: "check the disk of the data folder", Cause: err}
	}
	return a, nil
}

// completeImage brings onto the disk what an image has beside its module. Nodes need nothing of it, so a part that cannot be had
// now is no failure: it is fetched when somebody asks for it.
func (m *modules) completeImage(ctx context.Context, a registry.Artifact, from *origin) {
	err := m.putManifest(ctx, a)
	if err == nil && a.Manifest != nil {
		_, _, err = m.client.Cache().Put(ctx, registry.Descriptor{Digest: registry.DigestOf(a.Manifest)}, registry.MaxAttachmentBytes, bytes.NewReader(a.Manifest))
	}
	for _, d := range from.Blobs {
		if err == nil {
			_, err = m.client.FetchModule(ctx, a.Reference, d.Digest, d.Size)
		}
	}
	if err != nil {
		m.log.Warn("a part of an image cannot be fetched now; its module is there", "reference", a.Reference.String(), "error", err)
	}
}

// putManifest keeps an image manifest, whose digest is the artifact's.
func (m *modules) putManifest(ctx context.Context, a registry.Artifact) error {
	_, _, err := m.client.Cache().Put(ctx, registry.Descriptor{Digest: a.Digest}, registry.MaxManifestBytes, bytes.NewReader(a.ImageManifest))
	return err
}

// manifest reads the waft manifest and checks that it is about this module.
func (a artifact) manifest(reference string) (manifest.Manifest, error) {
	man, err := manifest.Decode(a.Manifest)
	if err != nil {
		return man, &model.Error{Kind: model.ErrInvalid, Object: reference, Message: "its waft manifest is broken: " + err.Error(), Next: "build and push the module again", Cause: err}
	}
	if man.Digest() != a.Module.Digest {
		return man, model.Invalidf(reference, "", "build and push the module again",
			"its waft manifest is about another module: %s, not %s", man.Digest(), a.Module.Digest)
	}
	return man, nil
}

// schema is the JSON Schema of the module's configuration; nil when it has none.
func (a artifact) schema(reference string) ([]byte, error) {
	if a.Manifest == nil {
		return nil, nil
	}
	man, err := a.manifest(reference)
	return man.ConfigSchema, err
}

// Schema is service.Modules'.
func (m *modules) Schema(ctx context.Context, module model.Module) ([]byte, error) {
	a, err := m.read(module.Artifact)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("what is known of an artifact cannot be read; it is fetched again", "artifact", module.Artifact, "error", err)
		}
		if a, err = m.again(ctx, module); err != nil {
			return nil, err
		}
	}
	return a.schema(module.Reference)
}

// again fetches an artifact that was resolved before, by its digest.
func (m *modules) again(ctx context.Context, module model.Module) (artifact, error) {
	ref, err := registry.ParseReference(module.Reference)
	if err != nil {
		return artifact{}, moduleError(module.Reference, err)
	}
	digest, err := registry.ParseDigest(module.Artifact)
	if err != nil {
		return artifact{}, moduleError(module.Reference, err)
	}
	a, err := m.fetch(ctx, module.Reference, ref.AtDigest(digest), false)
	if told, ok := errors.AsType[*model.Error](err); ok && told.Kind == model.ErrNotFound {
		gone := *told
		gone.Next = "it was deleted there after a release was made of it: push the same bytes again, or roll out another release"
		return artifact{}, &gone
	}
	return a, err
}

// open gives the verified bytes of a module, from the disk, or from where they came from when the disk has lost them.
func (m *modules) open(ctx context.Context, digest registry.Digest) (*os.File, int64, error) {
	f, size, err := m.client.Cache().Open(digest)
	if !errors.Is(err, registry.ErrNotCached) {
		return f, size, err
	}
	m.mu.Lock()
	source, known := m.sources[string(digest)]
	m.mu.Unlock()
	if !known {
		return nil, 0, err
	}
	defer m.grow()() // until it is open: then it can be read to its end whatever happens
	if err := m.fetchLost(ctx, digest, source.Module); err != nil {
		return nil, 0, err
	}
	return m.client.Cache().Open(digest)
}

// fetchLost fetches a module again whose copy is not on the disk.
func (m *modules) fetchLost(ctx context.Context, digest registry.Digest, module model.Module) error {
	if m.copies {
		m.log.Info("a module is copied", "module", string(digest), "reference", module.Reference)
	} else {
		m.log.Warn("a module is gone from the disk and is fetched again", "module", string(digest), "reference", module.Reference)
	}
	// Many nodes ask at once; one of them goes for all, and does not take the module with it when it leaves.
	fetched := m.lost.DoChan(string(digest), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostTimeout)
		defer cancel()
		return m.again(ctx, module)
	})
	select {
	case r := <-fetched:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// check verifies every module on the disk, and fetches those again that it has damaged while nobody looked. It ends with ctx.
func (m *modules) check(ctx context.Context) {
	dropped, err := m.client.Cache().Check(ctx)
	if err != nil && ctx.Err() == nil {
		m.log.Error("the modules on the disk cannot be checked", "error", err)
	}
	for _, digest := range dropped {
		m.log.Error("a copy was damaged on the disk and was dropped; check the disk", "digest", string(digest))
		m.mu.Lock()
		_, module := m.sources[string(digest)]
		m.mu.Unlock()
		if !module {
			continue // a part of an image: it is fetched when somebody asks for it
		}
		f, _, err := m.open(ctx, digest)
		if err != nil {
			m.log.Warn("a module that was damaged cannot be fetched now; it will be when it is asked for", "module", string(digest), "error", err)
			continue
		}
		_ = f.Close() // only read
	}
}

func (m *modules) path(digest string) (string, error) {
	d, err := registry.ParseDigest(digest)
	if err != nil {
		return "", err
	}
	return filepath.Join(m.dir, d.Hex()+".json"), nil
}

func (m *modules) read(digest string) (artifact, error) {
	path, err := m.path(digest)
	if err != nil {
		return artifact{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return artifact{}, err
	}
	if info.Size() > maxArtifactBytes {
		return artifact{}, fmt.Errorf("%s has %d bytes; the limit is %d", path, info.Size(), maxArtifactBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return artifact{}, err
	}
	a, err := parseArtifact(digest, raw)
	if err != nil {
		return artifact{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// parseArtifact reads what is kept of the artifact of that digest, as keep wrote it. Names in it become parts of paths and of requests.
func parseArtifact(digest string, raw []byte) (artifact, error) {
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		return artifact{}, err
	}
	if a.Module.Artifact != digest {
		return artifact{}, fmt.Errorf("it is about %q", a.Module.Artifact)
	}
	if !registry.Digest(a.Module.Digest).Valid() || a.Module.Size < 0 {
		return artifact{}, fmt.Errorf("its module has the digest %.255q and the size %d", a.Module.Digest, a.Module.Size)
	}
	if string(a.Manifest) == "null" { // none
		a.Manifest = nil
	}
	if err := a.Origin.check(digest); err != nil {
		return artifact{}, err
	}
	return a, nil
}

// keep writes what is known of an artifact: whole or not at all.
func (m *modules) keep(a artifact) error {
	path, err := m.path(a.Module.Artifact)
	if err != nil {
		return err
	}
	m.keeping.Lock()
	defer m.keeping.Unlock()
	if earlier, err := m.read(a.Module.Artifact); err == nil && earlier.Origin != nil {
		if a.Origin == nil {
			a.Origin = earlier.Origin // the image is in this distributor's own registry, too
		} else {
			a.Origin.foundIn(earlier.Origin.Repositories)
		}
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := writeWhole(path, raw); err != nil {
		return err
	}
	m.know(a)
	return nil
}

// writeWhole writes a file whole or not at all, and onto the disk.
func writeWhole(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// know takes into memory what is known of an artifact.
func (m *modules) know(a artifact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources[a.Module.Digest] = a
	if a.Origin != nil {
		m.fetched.add(a.Origin)
	}
}

// forget takes out of memory and off the disk what is known of an artifact, and the signatures beside it.
func (m *modules) forget(module model.Module) error {
	path, err := m.path(module.Artifact)
	if err != nil {
		return err
	}
	m.keeping.Lock()
	defer m.keeping.Unlock()
	m.mu.Lock()
	if m.sources[module.Digest].Module.Artifact == module.Artifact {
		delete(m.sources, module.Digest)
	}
	m.mu.Unlock()
	if m.evidence != nil {
		err = m.evidence.forget(module.Artifact)
	}
	if removeErr := os.Remove(path); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// grow keeps what is on the disk there until the function that it gives is called.
func (m *modules) grow() (done func()) {
	m.growing.RLock()
	return func() {
		m.growing.RUnlock()
		notify(m.grown)
	}
}

// notify puts a receipt into a channel of capacity one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// syncFolder makes a rename in a folder survive a loss of power.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// kinds maps the registry's ways to fail to the service's; the first that fits wins.
var kinds = [...]struct{ from, to error }{
	{registry.ErrNotFound, model.ErrNotFound},
	{registry.ErrUnauthorized, model.ErrPrecondition},
	{registry.ErrUntrusted, model.ErrPrecondition},
	{registry.ErrUnavailable, model.ErrUnavailable},
	{registry.ErrStorage, model.ErrUnavailable},
	{registry.ErrNotCached, model.ErrUnavailable},
	{context.Canceled, context.Canceled},
	{context.DeadlineExceeded, model.ErrUnavailable},
}

// moduleError says an error of the registry in the service's terms. What no table names is wrong with the artifact.
func moduleError(reference string, err error) error {
	out := &model.Error{Kind: model.ErrInvalid, Object: reference, Message: err.Error(), Cause: err}
	for _, k := range kinds {
		if errors.Is(err, k.from) {
			out.Kind = k.to
			break
		}
	}
	var told *registry.Error
	if errors.As(err, &told) {
		out.Message, out.Next = told.Kind.Error(), told.Next
		if told.Kind == registry.ErrUntrusted {
			out.Next += " (waft serve --plain-http or --registry-ca)"
		}
		if told.Detail != "" {
			out.Message += ": " + told.Detail
		}
	}
	return out
}
