package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/sdk/admission"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/manifest"
)

func newBuild() *cobra.Command {
	var out output
	var options build.Options
	var memoryMiB int64
	cmd := &cobra.Command{
		Use:   "build [DIR…]",
		Short: "Compile filters to Wasm, check what they import, describe their configuration",
		Long: `Build compiles each directory (default: the working directory; DIR/... names all filters below) with the ordinary Go
toolchain and writes NAME.wasm and NAME.json, the manifest: its digest, the Envoy versions that can load it, and the JSON Schema
of its configuration; NAME.cdx.json and NAME.provenance.json, which say what it was made of; NAME.scenarios.json, which has its scenario
files for waft push; and NAME.symbols. A build that fails leaves what was there before.`,
		Example: `  waft build ./filters/authz
  waft build ./filters/... --version 1.2.0`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if memoryMiB < 0 || memoryMiB > 4096 || cmd.Flags().Changed("memory") && memoryMiB == 0 {
				return usagef("--memory %d: between 1 and 4096 MiB", memoryMiB)
			}
			options.MemoryMax = memoryMiB << 20
			if cmd.Flags().Changed("loop-guard") && options.LoopGuard == 0 {
				options.LoopGuard = build.NoLoopGuard
			} else if options.LoopGuard != 0 && (options.LoopGuard < build.MinLoopGuard || options.LoopGuard > build.MaxLoopGuard) {
				return usagef("--loop-guard %d: from %d to %d, or 0 for none", options.LoopGuard, build.MinLoopGuard, build.MaxLoopGuard)
			}
			dirs, err := filterDirs(cmd.Context(), args)
			if err != nil {
				return err
			}
			if err := differentNames(dirs); err != nil {
				return err
			}
			var built []manifest.Manifest
			for _, dir := range dirs {
				// Before the compiler has worked for nothing.
				scenarios, err := admission.Collect(dir.path)
				if err != nil {
					return err
				}
				options.Beside = func(m manifest.Manifest) (map[string][]byte, error) {
					scenarios.SHA256 = m.SHA256
					text, err := scenarios.Encode()
					return map[string][]byte{admission.Suffix: text}, err
				}
				result, err := build.Build(cmd.Context(), dir.path, options)
				if err != nil {
					return err
				}
				for _, c := range result.Changes {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: changed: %s\n", result.Module, c)
				}
				for _, w := range result.Warnings {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", result.Module, w)
				}
				built = append(built, result.Manifest)
			}
			return out.print(cmd.OutOrStdout(), map[string]any{"modules": built}, func(t *table) {
				t.row("MODULE", "VERSION", "SIZE", "SHA256", "LOADS ON")
				for _, m := range built {
					t.row(filepath.Join(options.OutDir, m.Name+".wasm"), m.Version, fmt.Sprintf("%.1f MB", megabytes(m.Size)),
						m.SHA256[:12], strings.Join(m.Envoys, ", "))
				}
			})
		},
	}
	out.flag(cmd)
	f := cmd.Flags()
	f.StringVar(&options.OutDir, "out", build.DefaultOutDir, "the folder to write to")
	f.StringVar(&options.Version, "version", build.DefaultVersion, "the modules' version")
	f.StringVar(&options.BuilderID, "builder-id", build.DefaultBuilderID, "who builds it, in the provenance: a URI")
	f.Int64Var(&memoryMiB, "memory", 0, fmt.Sprintf(
		"the most memory that one VM may grow to, in MiB (default: what the filter's source asks for, else %d)", build.DefaultMemoryMax>>20))
	f.Int64Var(&options.LoopGuard, "loop-guard", 0,
		"how often a callback may go back in loops before it traps; 0: no guard (default: what the filter's source asks for, else none)")
	return cmd
}

// differentNames refuses directories whose modules would overwrite one another.
func differentNames(dirs []filterDir) error {
	seen := map[string]string{}
	for _, dir := range dirs {
		name := filepath.Base(dir.path)
		if other, taken := seen[name]; taken {
			return fmt.Errorf("%s and %s would both become %s.wasm; build them one by one, with --out", other, dir.path, name)
		}
		seen[name] = dir.path
	}
	return nil
}

func newCheck() *cobra.Command {
	var out output
	var profile string
	cmd := &cobra.Command{
		Use:   "check FILE.wasm",
		Short: "Say which Envoy versions can load a module, of any language, and what keeps the others from it",
		Example: `  waft check dist/authz.wasm
  waft check dist/authz.wasm --profile envoy-1.36`,
		Args: exactArgs("FILE.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			wasm, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			report, err := build.Check(wasm)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if err := out.print(cmd.OutOrStdout(), report, func(t *table) { drawCheck(t, report) }); err != nil {
				return err
			}
			return verdict(args[0], report, profile)
		},
	}
	out.flag(cmd)
	cmd.Flags().StringVar(&profile, "profile", "", "fail unless this profile can load it (default: fail when none can)")
	return cmd
}

func drawCheck(t *table, r build.CheckReport) {
	t.row("sha256", r.SHA256)
	t.row("size", fmt.Sprintf("%.1f MB", megabytes(r.Size)))
	t.row("abi", dash(r.ABI))
	t.row("language", dash(r.Language))
	memory := "none"
	if r.MemoryMax > 0 {
		memory = fmt.Sprintf("%d MiB", r.MemoryMax>>20)
	}
	t.row("memory max", memory)
	for _, p := range r.Profiles {
		if p.Loadable {
			t.row(p.Name, "loads it")
			continue
		}
		t.row(p.Name, "cannot load it: "+whyNot(p))
	}
	for _, f := range r.Problems {
		t.row("problem", f)
	}
	for _, f := range r.Warnings {
		t.row("warning", f)
	}
}

// whyNot names what a profile lacks, and what drags it in.
func whyNot(p build.ProfileReport) string {
	if len(p.Missing) == 0 {
		return p.Reason
	}
	var parts []string
	for _, m := range p.Missing {
		part := m.Import
		if m.Cause != "" {
			part += " (" + m.Cause + ")"
		}
		parts = append(parts, part)
	}
	return "it lacks " + strings.Join(parts, ", ")
}

// verdict fails when the profile asked for, or every profile, cannot load the module.
func verdict(file string, r build.CheckReport, profile string) error {
	if profile == "" {
		if r.OK() {
			return nil
		}
		var why []string
		for _, p := range r.Problems {
			why = append(why, p.String())
		}
		if len(why) == 0 && len(r.Profiles) > 0 {
			why = append(why, whyNot(r.Profiles[len(r.Profiles)-1]))
		}
		return fmt.Errorf("%s: no Envoy can load it: %s", file, strings.Join(why, "; "))
	}
	var names []string
	for _, p := range r.Profiles {
		names = append(names, p.Name)
		if p.Name != profile {
			continue
		}
		if p.Loadable {
			return nil
		}
		return fmt.Errorf("%s: %s cannot load it: %s; leave out what drags that in, or run it on another Envoy", file, profile, whyNot(p))
	}
	return usagef("--profile %s: there is no such profile; there are %s", profile, strings.Join(names, ", "))
}
