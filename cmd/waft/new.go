package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/sdk/scaffold"
)

func newNew() *cobra.Command {
	var out output
	var options scaffold.Options
	cmd := &cobra.Command{
		Use:   "new DIR",
		Short: "Make a filter with a test and scenarios, ready to build",
		Long: `New makes the folder DIR, which must not exist, with a filter that builds and passes its tests as it is. The folder's name is
the filter's. Templates:

` + templateList() + `
Inside a Go module that requires github.com/waft-project/waft, the filter becomes a package of it. Elsewhere it gets a module of
its own, which takes waft from the module proxy, or, with --sdk, from a checkout of waft.`,
		Example: `  waft new greeter
  waft new filters/login --template auth
  waft new /tmp/login --template auth --sdk ~/src/waft`,
		Args: exactArgs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			options.Dir = filepath.Clean(args[0])
			options.Version = ownVersion()
			made, err := scaffold.New(cmd.Context(), options)
			if err != nil {
				return err
			}
			if out.format != "table" {
				return out.print(cmd.OutOrStdout(), made, nil)
			}
			w := cmd.OutOrStdout()
			for _, f := range made.Files {
				fmt.Fprintln(w, filepath.Join(made.Dir, f))
			}
			if made.OwnModule {
				// The go command, which both need, looks for the module from where it runs.
				fmt.Fprintf(w, "\nnext:\n  cd %s\n  go test .\n  waft test .\n", made.Dir)
				return nil
			}
			fmt.Fprintf(w, "\nnext:\n  go test ./%[1]s\n  waft test %[1]s\n", made.Dir)
			return nil
		},
	}
	out.flag(cmd)
	f := cmd.Flags()
	f.StringVarP(&options.Template, "template", "t", scaffold.DefaultTemplate, "what to begin with; see above")
	f.StringVar(&options.Module, "module", "", "make a Go module of this path for the filter (default: the one around DIR, or one with the filter's name)")
	f.StringVar(&options.SDK, "sdk", "", "a checkout of waft that the filter's own module takes waft from (default: the module proxy)")
	return cmd
}

func templateList() string {
	var b strings.Builder
	for _, t := range scaffold.Templates() {
		fmt.Fprintf(&b, "  %-8s %s\n", t.Name, t.Summary)
	}
	return b.String()
}

// ownVersion is the version of waft that this program was built from, where that is one that a module proxy can have.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	// "(devel)" and "v1.2.3+dirty" are of a checkout.
	if !ok || !strings.HasPrefix(info.Main.Version, "v") || strings.Contains(info.Main.Version, "+") {
		return ""
	}
	return info.Main.Version
}
