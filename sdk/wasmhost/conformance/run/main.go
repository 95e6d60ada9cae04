// Command run runs the conformance suite against every Envoy version given, prints the table of cases × versions, and writes the
// figures and the page for users. It fails if a trace differs that is not listed. With -mutate it shows instead, without any Envoy, that
// taking any one function out of wasmhost turns a case red.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost/conformance"
)

func main() {
	versions := flag.String("versions", "", "versions of Envoy that are in .cache/envoy, with spaces between")
	out := flag.String("json", "bench/out/conformance.json", "where the figures go")
	docs := flag.String("docs", "docs/conformance.md", "where the page for users goes")
	mutate := flag.Bool("mutate", false, "leave out each function in turn, under the profile of the last version")
	only := flag.String("only", "", "run the cases whose names match this regular expression, and write nothing but the table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	do := func() error { return run(ctx, strings.Fields(*versions), *only, *out, *docs) }
	if *mutate {
		do = func() error { return mutation(ctx, strings.Fields(*versions)) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, versions []string, only, out, docs string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	report, err := conformance.Run(ctx, versions, pattern, os.Stderr)
	if err != nil {
		return err
	}
	if err := report.WriteTable(os.Stdout); err != nil {
		return err
	}
	if only != "" {
		return report.Err()
	}
	if err := report.WriteJSON(out); err != nil {
		return err
	}
	if err := report.WriteDocs(docs); err != nil {
		return err
	}
	return report.Err()
}

func mutation(ctx context.Context, versions []string) error {
	if len(versions) == 0 {
		return errors.New("name a version with -versions")
	}
	mutants, err := conformance.Mutate(ctx, versions[len(versions)-1], os.Stdout)
	if err != nil {
		return err
	}
	survivors := 0
	for _, m := range mutants {
		if m.Red == 0 {
			survivors++
		}
	}
	fmt.Printf("%d functions left out in turn, %d not noticed\n", len(mutants), survivors)
	if survivors > 0 {
		return fmt.Errorf("%d functions can be left out without a case turning red", survivors)
	}
	return nil
}
