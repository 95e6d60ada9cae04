package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/compare"
	"github.com/waft-project/waft/sdk/manifest"
)

func newDiff() *cobra.Command {
	var reg registryFlags
	var out output
	var keySources []string
	var server serverFlags
	var file string
	cmd := &cobra.Command{
		Use:   "diff A B | -f FILE",
		Short: "Show what changed between two versions of a filter, and what of it can break a configuration; or what applying resources would change",
		Long: `Diff compares two modules, each a reference or a .wasm file with what waft build wrote beside it: digests and size, imports and
exports, the Envoy versions that can load them, the configuration's schema, the Go modules inside, layouts and signers. Each change of the
schema is said to break configurations that exist, to be one that may, to change what they mean, or to allow more. What two versions do
with requests, it does not tell.

With -f, diff compares the resources of a file with those that are stored: what waft apply would change, by field, with - before what is there and + before
what would be. It exits with 1 where there is a difference, and with 0 where there is none, as kubectl diff does; an error exits with 1 too, and says so.`,
		Example: `  waft diff registry.example/filters/authz:1.2.0 registry.example/filters/authz:1.3.0
  waft diff registry.example/filters/authz:1.2.0 dist/authz.wasm -o json
  waft diff -f flags.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return exactArgs("A", "B")(cmd, args)
			}
			return exactArgs()(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if file != "" {
				return diffFile(cmd, &server, file)
			}
			keys, err := loadPublicKeys(keySources)
			if err != nil {
				return err
			}
			var versions [2]compare.Version
			for i, arg := range args {
				if versions[i], err = describeVersion(cmd, &reg, arg, keys); err != nil {
					return err
				}
			}
			d := compare.Versions(versions[0], versions[1])
			return out.print(cmd.OutOrStdout(), compared{args[0], args[1], d}, func(t *table) { drawDiff(t, args[0], args[1], d) })
		},
	}
	reg.flags(cmd)
	server.flagsBesideKey(cmd)
	out.flag(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "resources to compare with those that are stored, YAML or JSON; - for standard input")
	cmd.Flags().StringSliceVar(&keySources, "key", nil, "count only signatures that this public key verifies, a PEM file or env://NAME (may repeat; default: what signatures say of themselves)")
	return cmd
}

// diffFile is diff -f.
func diffFile(cmd *cobra.Command, server *serverFlags, file string) error {
	resources, collections, err := readResources(cmd, file)
	if err != nil {
		return err
	}
	return server.call(cmd, func(ctx context.Context, c *api.Client) error {
		differs, err := diffResources(ctx, c, cmd.OutOrStdout(), resources, collections)
		if err == nil && differs {
			return errSaid
		}
		return err
	})
}

// compared is what diff prints.
type compared struct {
	A string `json:"a"`
	B string `json:"b"`
	compare.Difference
}

// describeVersion gathers what diff compares: of a file where there is one of that name, otherwise of what a reference names.
func describeVersion(cmd *cobra.Command, reg *registryFlags, arg string, keys []signing.PublicKey) (compare.Version, error) {
	info, err := os.Stat(arg)
	if err == nil && info.Mode().IsRegular() {
		return describeFile(arg)
	}
	if strings.HasSuffix(arg, ".wasm") && err != nil {
		return compare.Version{}, fmt.Errorf("diff %s: %w", arg, err)
	}
	ref, err := registry.ParseReference(arg)
	if err != nil {
		return compare.Version{}, fmt.Errorf("diff: %w (and there is no such file)", err)
	}
	return describeReference(cmd, reg, ref, keys)
}

// describeModule is what a module and its manifest say.
func describeModule(name string, wasm []byte, m manifest.Manifest) (compare.Version, error) {
	report, err := build.Check(wasm)
	if err != nil {
		return compare.Version{}, fmt.Errorf("diff %s: %w", name, err)
	}
	v := compare.Version{
		Module: "sha256:" + report.SHA256, Size: report.Size, ABI: report.ABI, MemoryMax: report.MemoryMax,
		Imports: report.Imports, Exports: report.Exports, Envoys: report.Envoys(),
	}
	if m.SHA256 == "" {
		return v, nil
	}
	if m.SHA256 != report.SHA256 {
		return compare.Version{}, fmt.Errorf("diff %s: its manifest describes another module, %s; do not use it", name, m.Digest())
	}
	v.Version, v.Envoys, v.ConfigSchema = m.Version, m.Envoys, m.ConfigSchema
	return v, nil
}

func describeFile(path string) (compare.Version, error) {
	wasm, err := os.ReadFile(path)
	if err != nil {
		return compare.Version{}, err
	}
	m, err := manifestOf(path, "", registry.Reference{Repository: strings.TrimSuffix(filepath.Base(path), ".wasm")})
	if err != nil {
		return compare.Version{}, err
	}
	v, err := describeModule(path, wasm, m)
	if err != nil {
		return compare.Version{}, err
	}
	origin, err := build.ReadOrigin(path, m.SHA256)
	if err != nil || origin.SBOM == nil {
		return v, err
	}
	sbom, err := build.DecodeSBOM(origin.SBOM)
	v.Modules = sbom.Modules
	return v, err
}

func describeReference(cmd *cobra.Command, reg *registryFlags, ref registry.Reference, keys []signing.PublicKey) (compare.Version, error) {
	cache, remove, err := temporaryCache(os.TempDir())
	if err != nil {
		return compare.Version{}, err
	}
	defer remove()
	client, err := reg.client(cache)
	if err != nil {
		return compare.Version{}, err
	}
	bar := newBar(cmd.ErrOrStderr(), "pull "+ref.String())
	a, path, err := client.Pull(cmd.Context(), ref, bar.progress)
	bar.done()
	if err != nil {
		return compare.Version{}, trustFlags(err, ref)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return compare.Version{}, err
	}
	var m manifest.Manifest
	if a.Manifest != nil {
		if m, err = manifest.Decode(a.Manifest); err != nil {
			return compare.Version{}, fmt.Errorf("diff %s: the manifest beside it: %w", ref, err)
		}
	}
	v, err := describeModule(ref.String(), wasm, m)
	if err != nil {
		return compare.Version{}, err
	}
	b, err := readBeside(cmd.Context(), client, a, keys)
	if err != nil {
		return compare.Version{}, err
	}
	v.Artifact, v.Layouts, v.Signers = string(a.Digest), []string{}, b.signers(len(keys) > 0)
	if b.sbom != nil {
		v.Modules = b.sbom.Modules
	}
	layouts, err := layoutsOf(cmd.Context(), client, ref, a)
	for _, l := range layouts {
		if l.Module == a.Module.Digest {
			v.Layouts = append(v.Layouts, string(l.Layout))
		}
	}
	return v, err
}

func drawDiff(t *table, a, b string, d compare.Difference) {
	if d.Same() {
		t.row("same", "nothing that is compared here differs")
	}
	for _, c := range d.Values {
		t.row(c.What, c.Was, "→", c.Is)
	}
	for _, list := range []struct {
		what  string
		names compare.Names
	}{{"import", d.Imports}, {"export", d.Exports}, {"loads on", d.Envoys}, {"layout", d.Layouts}, {"signer", d.Signers}} {
		for _, name := range list.names.Removed {
			t.row(list.what, "-", name)
		}
		for _, name := range list.names.Added {
			t.row(list.what, "+", name)
		}
	}
	for _, c := range d.Config {
		path := c.Path
		if path == "" {
			path = "(all of it)"
		}
		t.row("config", path, c.Effect, c.What)
	}
	for _, c := range d.Modules {
		t.row("Go module", c.What, dash(c.Was)+" → "+dash(c.Is))
	}
	if d.ModulesUnknown {
		t.row("Go module", "not compared: one of the two has no SBOM")
	}
	verdict := "by the schemas, every configuration of " + a + " is one of " + b
	switch {
	case d.Breaks:
		verdict = "by the schemas, a configuration of " + a + " can be one that " + b + " refuses"
	case d.ConfigUnknown:
		verdict = "neither says which configurations it takes"
	}
	t.row("verdict", verdict)
}
