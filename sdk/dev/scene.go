package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/waft-project/waft/sdk/filtertest"
)

// label is a DNS label, which a filter's name in Envoy has to be.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// filterName is the name of the filter in a folder.
func filterName(dir string) string {
	abs, err := filepath.Abs(dir)
	if name := filepath.Base(abs); err == nil && label.MatchString(name) {
		return name
	}
	return filtertest.PluginName
}

// scene is what a filter runs in: its configuration, and what its surroundings answer.
type scene struct {
	config   []byte
	upstream filtertest.Reply
	clusters []filtertest.Cluster
}

// ErrConnections says that a filter is one of connections, which dev's Envoy has no place for: its listener speaks HTTP.
var ErrConnections = errors.New("its scenarios are connections, and dev serves HTTP")

// scene reads the configuration and the scenario file, anew each time.
func (s *session) scene() (scene, error) {
	sc := scene{upstream: filtertest.Reply{Status: 200, Body: "ok"}}
	file, err := s.scenarioFile()
	if err != nil {
		return sc, err
	}
	if file != nil && file.TCP() {
		return sc, fmt.Errorf("%s: %w; run it with `waft test --envoy`, or name a file with requests with --scenarios", file.Path, ErrConnections)
	}
	if file != nil {
		sc = scene{config: file.Config, upstream: file.Upstream, clusters: file.Clusters}
	}
	if s.ConfigFile != "" {
		if sc.config, err = os.ReadFile(s.ConfigFile); err != nil {
			return sc, fmt.Errorf("read the configuration: %w", err)
		}
	}
	return sc, nil
}

// scenarioFile is the file to use; nil: none.
func (s *session) scenarioFile() (*filtertest.File, error) {
	if s.Scenarios != "" {
		data, err := os.ReadFile(s.Scenarios)
		if err != nil {
			return nil, fmt.Errorf("read the scenarios: %w", err)
		}
		f, err := filtertest.Parse(s.Scenarios, data)
		return &f, err
	}
	files, err := filtertest.Load(s.Dir)
	if errors.Is(err, filtertest.ErrNoScenarios) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range files {
		if files[i].ConfigError == "" {
			return &files[i], nil
		}
	}
	return nil, nil
}
