package distributor

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/manifest"
)

// inlineVersion is the version in a manifest that was made here: an inline module has none that its author gave.
const inlineVersion = "inline"

// Keep is service.Modules': an inline module becomes an artifact of this distributor's own registry, without a tag. So whatever holds for what is pushed
// holds for it: that nothing which a policy refuses gets into a release, that signatures can be put beside it, and that replicas copy it.
func (m *modules) Keep(ctx context.Context, inline service.InlineModule) (string, error) {
	described, err := describeInline(inline)
	if err != nil {
		return "", err
	}
	ref, err := registry.ParseReference(m.inlineHost + "/" + inline.Repository())
	if err != nil {
		return "", moduleError(inline.Repository(), err)
	}
	module := registry.ModuleBytes(inline.Wasm)
	module.Digest = registry.Digest(described.Digest())
	module.Name, module.Version, module.ABIVersions = described.Name, described.Version, []string{described.ABI}
	if module.Manifest, err = described.Encode(); err != nil {
		return "", invalidInline("%v", err)
	}
	module.Untagged = true
	kept, err := m.client.Push(ctx, ref, module, nil)
	if err != nil {
		return "", moduleError(ref.String(), err)
	}
	return ref.AtDigest(kept.Digest).String(), nil
}

// Bytes is service.Modules'.
func (m *modules) Bytes(ctx context.Context, module model.Module) ([]byte, error) {
	digest, err := registry.ParseDigest(module.Digest)
	if err != nil {
		return nil, moduleError(module.Reference, err)
	}
	f, size, err := m.open(ctx, digest)
	if err != nil {
		return nil, moduleError(module.Reference, err)
	}
	defer f.Close()
	content := make([]byte, size) // what was verified when it was opened, so that its size is no stranger's word
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, moduleError(module.Reference, err)
	}
	return content, nil
}

// describeInline is the manifest of an inline module: the one that was given, where it says of the module what the module does; else one made from the module.
func describeInline(inline service.InlineModule) (manifest.Manifest, error) {
	report, err := build.Check(inline.Wasm)
	if err != nil {
		return manifest.Manifest{}, invalidInline("%v", err)
	}
	if !report.OK() {
		return manifest.Manifest{}, invalidInline("no Envoy that waft knows can load it: %s", whyNot(report))
	}
	if inline.Manifest == nil {
		return manifest.Manifest{
			Name: inline.Filter, Version: inlineVersion, SHA256: report.SHA256, Size: report.Size, ABI: report.ABI, Language: report.Language,
			Imports: report.Imports, Envoys: report.Envoys(), MemoryMax: report.MemoryMax,
		}, nil
	}
	given, err := manifest.Decode(bytes.TrimSpace(inline.Manifest))
	if err != nil {
		return manifest.Manifest{}, invalidInline("its manifest: %v", err)
	}
	if given.SHA256 != report.SHA256 {
		return manifest.Manifest{}, invalidInline("its manifest is about another module: sha256 %s, and the bytes have %s", given.SHA256, report.SHA256)
	}
	loadable := report.Envoys()
	for _, profile := range given.Envoys {
		if !slices.Contains(loadable, profile) {
			return manifest.Manifest{}, invalidInline("its manifest says that %s can load it, which it cannot", profile)
		}
	}
	return given, nil
}

// whyNot says what keeps the newest Envoy from loading a module that none can load.
func whyNot(report build.CheckReport) string {
	if len(report.Problems) > 0 {
		return report.Problems[0].Message
	}
	newest := report.Profiles[len(report.Profiles)-1]
	if len(newest.Missing) > 0 {
		return newest.Name + " does not offer its import " + newest.Missing[0].Import
	}
	return newest.Name + ": " + newest.Reason
}

func invalidInline(format string, args ...any) error {
	return model.Invalidf("the inline module", "", "build it with `waft build`, see what `waft check` says of it, and give NAME.wasm with its NAME.json", format, args...)
}
