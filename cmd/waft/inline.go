package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/sdk/build"
)

// inlineModules puts modules from files into a release: each is FILTER=FILE.wasm, with the manifest that waft build wrote beside the file where it is there.
func inlineModules(release *waftv1.Release, files []string) error {
	for _, text := range files {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" || file == "" {
			return usagef("--inline: %q names no filter and file; write FILTER=FILE.wasm", text)
		}
		filter := filterNamed(release, name)
		if filter == nil {
			return fmt.Errorf("--inline: the release has no filter %q; it has %s", name, dash(strings.Join(filterNames(release), ", ")))
		}
		if filter.GetModule() != "" || filter.GetInline() != nil {
			return fmt.Errorf("--inline: filter %q gives a module already; leave out one of them", name)
		}
		module, err := inlineFrom(file)
		if err != nil {
			return fmt.Errorf("--inline: %w", err)
		}
		filter.Inline = module
	}
	return nil
}

// filterNamed is the filter of that name that a release sets first.
func filterNamed(release *waftv1.Release, name string) *waftv1.FilterSpec {
	for _, f := range slices.Concat(release.GetSpec().GetFilters(), release.GetSpec().GetOverrides()) {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

func inlineFrom(file string) (*waftv1.InlineModule, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > service.MaxInlineBytes {
		return nil, fmt.Errorf("%s has %d bytes, and a release takes %d inline; push it to a registry (waft push), and give the reference as module", file, info.Size(), service.MaxInlineBytes)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	digest, err := fileSHA256(file)
	if err != nil {
		return nil, err
	}
	module := &waftv1.InlineModule{Wasm: wasm}
	described, err := build.ReadManifest(file, digest)
	if errors.Is(err, os.ErrNotExist) {
		return module, nil // the distributor makes one from the module
	}
	if err != nil {
		return nil, err
	}
	text, err := described.Encode()
	if err != nil {
		return nil, err
	}
	module.Manifest = &structpb.Value{}
	return module, protojson.Unmarshal(text, module.Manifest)
}
