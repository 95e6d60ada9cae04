// Package prometheustest runs a real Prometheus on loopback, for tests of gates that ask one.
package prometheustest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/loopback"
)

// Variable is the environment variable that names the program; `make interop-prometheus` fetches it.
const Variable = "PROMETHEUS"

// Target is what is scraped.
type Target struct {
	// Address is HOST:PORT, and Path what is asked for there.
	Address, Path string
	// Labels are given to all that it says.
	Labels map[string]string
}

// scrape is a job of a configuration of Prometheus.
type scrape struct {
	Job      string         `json:"job_name"`
	Interval string         `json:"scrape_interval"`
	Timeout  string         `json:"scrape_timeout"`
	Path     string         `json:"metrics_path"`
	Static   []staticConfig `json:"static_configs"`
}

type staticConfig struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// Server is a running Prometheus.
type Server struct {
	URL string
	cmd *exec.Cmd
}

// Program is where the program is. The test is skipped where there is none.
func Program(t testing.TB) string {
	t.Helper()
	program := os.Getenv(Variable)
	if program == "" {
		t.Skipf("%s names no program; make interop-prometheus", Variable)
	}
	return program
}

// Start runs one that scrapes the targets so often. It ends with the test, which is skipped where there is no program.
func Start(t testing.TB, every time.Duration, targets ...Target) *Server {
	t.Helper()
	program := Program(t)
	jobs := make([]scrape, 0, len(targets))
	for _, target := range targets {
		jobs = append(jobs, scrape{
			Job: target.Address, Interval: every.String(), Timeout: every.String(), Path: target.Path,
			Static: []staticConfig{{Targets: []string{target.Address}, Labels: target.Labels}},
		})
	}
	text, err := json.Marshal(map[string]any{"scrape_configs": jobs}) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := loopback.Free() // it cannot be told to take a free port and say which
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{URL: "http://" + address}
	s.cmd = exec.Command(program, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address, "--log.level", "error")
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Kill ends it at once. It may be called again.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}
