package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// newestProfile is what a filter is measured and attacked under when nobody says.
func newestProfile() string {
	all := wasmhost.Profiles()
	return all[len(all)-1].Name()
}

func newBench() *cobra.Command {
	var out output
	var profileName string
	var requests int
	cmd := &cobra.Command{
		Use:   "bench [DIR…]",
		Short: "Measure time, host calls and memory of each scenario's request or connection, against a budget",
		Long: `Bench builds each filter and sends the request of each of its scenarios, or makes its connection, many times through the module
in wazero. It prints, for one of them: the time that the guest and its host calls take, the host calls, the callbacks, the bytes that the host puts into the
guest's memory, and the size of the VM's memory, with its growth in the second half of the requests.

Where DIR/budget.yaml exists, a request that costs more than it may fails the command. Times depend on the machine, and wazero is not
the engine that Envoy has; the other figures do not change from run to run.`,
		Example: `  waft bench ./filters/headers
  waft bench ./filters/... --requests 10000 -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if requests < 1 || requests > filtertest.MaxBenchRequests {
				return usagef("--requests %d: give a number between 1 and %d", requests, filtertest.MaxBenchRequests)
			}
			profile, err := wasmhost.ProfileByName(profileName)
			if err != nil {
				return usagef("--profile: %w", err)
			}
			ctx := cmd.Context()
			dirs, err := testDirs(ctx, args)
			if err != nil {
				return err
			}
			host, err := wasmhost.NewHost(ctx, wasmhost.Config{})
			if err != nil {
				return err
			}
			defer func() { _ = host.Close(context.WithoutCancel(ctx)) }()
			summary := benchSummary{Profile: profile.Name(), Filters: []benched{}}
			for i, dir := range dirs {
				if len(dirs) > 1 { // the table comes when all are measured
					fmt.Fprintf(cmd.ErrOrStderr(), "measuring %s (%d of %d)\n", dir.path, i+1, len(dirs))
				}
				b, err := bench(ctx, host, dir.path, profile, requests)
				if err != nil {
					return err
				}
				summary.Filters = append(summary.Filters, b)
				summary.Over += len(b.Over)
			}
			if err := out.print(cmd.OutOrStdout(), summary, summary.draw); err != nil {
				return err
			}
			if out.format == "table" {
				summary.drawOver(cmd.OutOrStdout())
			}
			if summary.Over > 0 {
				return errSaid
			}
			return nil
		},
	}
	out.flag(cmd)
	f := cmd.Flags()
	f.IntVar(&requests, "requests", filtertest.DefaultBenchRequests, "how many requests of each scenario to send, or connections to make")
	f.StringVar(&profileName, "profile", newestProfile(), "the Envoy version to offer the functions of")
	return cmd
}

// benched is what one filter costs.
type benched struct {
	Filter string            `json:"filter"`
	Module int               `json:"module_bytes"`
	Costs  []filtertest.Cost `json:"costs"`
	// Budget is the file that the costs were compared with; empty: there is none.
	Budget string            `json:"budget,omitempty"`
	Over   []filtertest.Over `json:"over"`
}

// benchSummary is what -o json prints.
type benchSummary struct {
	Profile string    `json:"profile"`
	Filters []benched `json:"filters"`
	// Over counts what costs more than it may.
	Over int `json:"over"`
}

func bench(ctx context.Context, host *wasmhost.Host, dir string, profile wasmhost.Profile, requests int) (benched, error) {
	b := benched{Filter: dir, Over: []filtertest.Over{}}
	files, err := filtertest.Load(dir)
	if err != nil {
		return b, err
	}
	var budget filtertest.Budget
	has, err := filtertest.HasBudget(dir)
	if err != nil {
		return b, err
	}
	if has {
		if budget, err = filtertest.LoadBudget(dir); err != nil {
			return b, err
		}
		b.Budget = budget.Path
	}
	module, err := buildModule(ctx, dir)
	if err != nil {
		return b, err
	}
	b.Module = len(module)
	options := filtertest.Options{Name: filepath.Base(mustAbs(dir))}
	if b.Costs, err = filtertest.Bench(ctx, host, module, files, profile, options, requests); err != nil {
		return b, fmt.Errorf("%s: %w", dir, err)
	}
	if has {
		b.Over = append(b.Over, budget.Judge(b.Costs)...)
	}
	return b, nil
}

// buildModule builds the filter of a directory into a temporary folder and gives the module's bytes.
func buildModule(ctx context.Context, dir string) ([]byte, error) {
	temporary, err := os.MkdirTemp("", "waft-module-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temporary)
	built, err := build.Build(ctx, dir, build.Options{OutDir: temporary})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(built.Module)
}

func (s benchSummary) draw(t *table) {
	t.row("FILTER", "SCENARIO", "TIME", "P99", "HOST CALLS", "CALLBACKS", "GUEST BYTES", "MEMORY", "GROWTH")
	for _, b := range s.Filters {
		for _, c := range b.Costs {
			t.row(b.Filter, c.Name(), microseconds(c.Time), microseconds(c.TimeP99), c.HostCalls, c.Callbacks, c.GuestBytes,
				fmt.Sprintf("%.1f MiB", float64(c.Memory)/(1<<20)), c.Growth)
		}
	}
}

func microseconds(d time.Duration) string {
	return fmt.Sprintf("%.1fµs", float64(d)/float64(time.Microsecond))
}

// drawOver says what is over the budget.
func (s benchSummary) drawOver(w io.Writer) {
	for _, b := range s.Filters {
		for _, o := range b.Over {
			fmt.Fprintf(w, "OVER %s %s\n", b.Filter, o)
		}
		if b.Budget != "" && len(b.Over) == 0 {
			fmt.Fprintf(w, "ok   %s is within %s\n", b.Filter, b.Budget)
		}
	}
}
