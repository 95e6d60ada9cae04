// Command waft writes, tests, publishes and rolls out Envoy filters. It holds flags, signals and exit codes; everything
// else is in the packages it calls.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // freeze windows name zones, and a machine may have none

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/agent"
)

// version is set by the Makefile.
var version = "dev"

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run runs one command line. The first SIGINT or SIGTERM ends the command's context, so that it can put things back; the
// second one ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSaid):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "waft: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "waft: "+err.Error())
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// errSaid ends a command as failed where the command has printed why already.
var errSaid = errors.New("failed")

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "waft",
		Short: "Write Envoy filters in Go, test them as Wasm, publish them, roll them out in waves",
		Example: `  waft build ./filters/authz
  waft test --envoy ./filters/authz
  waft push dist/authz.wasm localhost:7071/filters/authz:1.2.0
  waft release create -f release.yaml
  waft rollout start -f rollout.yaml`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see `%s --help`", err, cmd.CommandPath())
	})
	group(root)
	root.AddCommand(
		newNew(), newBuild(), newCheck(), newTest(), newBench(), newDev(), newSymbolize(),
		newPush(), newPull(), newInspect(), newDiff(), newExport(), newImport(), newSign(), newAttest(), newVerify(),
		newServe(distributor.Run), newCertificate(), newAgent(agent.Run), newBootstrap(),
		newApply(), newGet(), newDelete(), newTypes(), newSecret(), newRelease(), newRollout(), newFilter(), newFreeze(), newUnfreeze(), newNodes(), newArtifact(), newAudit(), newBackup(), newRestore(),
		newDemo(),
	)
	return root
}

// group makes a command that only holds others: alone it prints its help, and a word that is none of its commands is an
// error, not a reason to print help and succeed.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		meant := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			meant = fmt.Sprintf("did you mean %s? ", near[0])
		}
		return usagef("%s: there is no command %q; %ssee `%s --help`", cmd.CommandPath(), args[0], meant, cmd.CommandPath())
	}
	return cmd
}

// oneArg takes at most one argument.
func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exactArgs([]string{name}[:min(len(args), 1)]...)(cmd, args)
	}
}

// exactArgs is cobra.ExactArgs with a message that says what was expected.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(args) < len(names) {
			return usagef("%s: %s is missing; see `%s --help`", cmd.CommandPath(), names[len(args)], cmd.CommandPath())
		}
		return usagef("%s: %q is one argument too many; see `%s --help`", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
	}
}
