package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waft-project/waft/demo"
	"github.com/waft-project/waft/envoy"
)

func newDemo() *cobra.Command {
	var format, envoyPath string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The main job, end to end, on real parts: four Envoys, two good releases, two bad ones",
		Long: `Demo builds the shipped filters, runs their scenarios, starts a distributor and four Envoys with agents, and rolls four
releases out under load. It runs in a checkout of waft, and leaves no process and no file behind. With -o json its last line is
an object with what was measured.`,
		Example: `  waft demo
  waft demo -o json | tail -n 1`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return usagef("-o %s: not a format of the demo; use text or json", format)
			}
			config, err := demoConfig(envoyPath, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			result, err := demo.Run(cmd.Context(), config)
			if format == "json" {
				line, marshalErr := json.Marshal(result)
				if marshalErr != nil {
					return marshalErr
				}
				fmt.Fprintln(cmd.OutOrStdout(), string(line))
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text, or json: the last line is an object")
	envoyFlag(cmd, &envoyPath)
	cmd.AddCommand(newDemoUpstream())
	return cmd
}

func envoyFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "envoy", "", "the Envoy binary (default: $ENVOY, envoy on the PATH, or what `make envoy` fetched)")
}

func demoConfig(envoyPath string, out io.Writer) (demo.Config, error) {
	root, err := checkout()
	if err != nil {
		return demo.Config{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return demo.Config{}, err
	}
	binary, err := envoy.Find(envoyPath)
	if err != nil {
		return demo.Config{}, err
	}
	return demo.Config{Waft: self, Envoy: binary.Path, Root: root, Out: out}, nil
}

// checkout is the folder at or above the working directory that holds waft's own sources.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "demo", "filters", "failing", "main.go")); err == nil {
			return dir, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not within a checkout of waft; the demo builds the filters from their sources, so run it there", start)
		}
	}
}

func newDemoUpstream() *cobra.Command {
	var addressFile string
	cmd := &cobra.Command{
		Use:    "upstream",
		Short:  "The service behind the demo's Envoys",
		Hidden: true,
		Args:   exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Upstream(cmd.Context(), addressFile)
		},
	}
	cmd.Flags().StringVar(&addressFile, "address-file", "", "where to write the address")
	_ = cmd.MarkFlagRequired("address-file")
	return cmd
}
