package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/registry"
)

func newExport() *cobra.Command {
	var reg registryFlags
	out := output{}
	var file string
	cmd := &cobra.Command{
		Use:   "export REFERENCE… -o BUNDLE.tar",
		Short: "Write artifacts into a file, for a registry that cannot be reached",
		Long: `Export writes artifacts, and everything that is attached to them (waft manifests, signatures, software bills of materials),
into one file: a tar of an OCI image layout, which other tools read as well. The same artifacts give the same bytes.`,
		Example: "  waft export registry.example/filters/authz:1.2.0 registry.example/filters/headers:2.0.0 -o bundle.tar",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s: REFERENCE is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			if file == "" {
				return usagef("%s: -o BUNDLE.tar is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			if err := out.check(); err != nil {
				return err
			}
			refs := make([]registry.Reference, len(args))
			for i, arg := range args {
				var err error
				if refs[i], err = registry.ParseReference(arg); err != nil {
					return err
				}
			}
			if err := checkOutFile("-o", file); err != nil {
				return err
			}
			client, err := reg.client(nil)
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), "export "+filepath.Base(file))
			var told registry.Bundle
			err = writeWhole(file, 0o644, func(f *os.File) (err error) {
				told, err = client.Export(cmd.Context(), refs, f, bar.progress)
				return err
			})
			bar.done()
			if err != nil {
				return trustFlags(err, refs[0])
			}
			return out.print(cmd.OutOrStdout(), told, func(t *table) {
				t.row("exported", file)
				bundleRows(t, told)
			})
		},
	}
	reg.flags(cmd)
	cmd.Flags().StringVarP(&file, "out", "o", "", "the file to write")
	cmd.Flags().StringVar(&out.format, "output", "table", "print table, json or yaml; -o is the file here")
	return cmd
}

func newImport() *cobra.Command {
	var reg registryFlags
	var out output
	var to string
	cmd := &cobra.Command{
		Use:   "import BUNDLE.tar --to HOST[/PREFIX]",
		Short: "Publish what waft export has written into a file",
		Long: `Import publishes the artifacts of a bundle, and everything that is attached to them, under the repositories and tags that they
had, at another registry. Everything is verified; tags are written last, so an import that fails changes nothing, and can be made again.`,
		Example: "  waft import bundle.tar --to registry.inside.example/mirror",
		Args:    exactArgs("BUNDLE.tar"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			target, err := importTarget(to)
			if err != nil {
				return err
			}
			client, err := reg.client(nil)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), "import "+filepath.Base(args[0]))
			told, err := client.Import(cmd.Context(), f, info.Size(), target, bar.progress)
			bar.done()
			if err != nil {
				return trustFlags(fmt.Errorf("%s: %w", args[0], err), target)
			}
			return out.print(cmd.OutOrStdout(), told, func(t *table) { bundleRows(t, told) })
		},
	}
	reg.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the registry, HOST or HOST:PORT, and what the repositories go under there, if anything")
	return cmd
}

// importTarget reads HOST or HOST/PREFIX.
func importTarget(to string) (registry.Reference, error) {
	if to == "" {
		return registry.Reference{}, usagef("waft import: --to HOST[/PREFIX] is missing; see `waft import --help`")
	}
	host, prefix, _ := strings.Cut(to, "/")
	if prefix == "" {
		ref, err := registry.ParseReference(host + "/x")
		return registry.Reference{Registry: ref.Registry}, err
	}
	ref, err := registry.ParseReference(to)
	if err == nil && ref != ref.InRepository() {
		err = usagef("waft import: --to %s: leave out the tag and the digest; each artifact keeps its own", to)
	}
	return ref, err
}

func bundleRows(t *table, b registry.Bundle) {
	for _, ref := range b.Artifacts {
		t.row("artifact", ref)
	}
	t.row("attached", b.Attached)
	for _, ref := range b.LeftOut {
		t.row("left out", ref)
	}
	t.row("blobs", fmt.Sprintf("%d, %.1f MB", b.Blobs, megabytes(b.Bytes)))
}

// writeWhole has a file written that is there when it is whole, and only then.
func writeWhole(path string, mode os.FileMode, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".waft-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
