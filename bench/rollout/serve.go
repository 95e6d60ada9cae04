package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// distributor is a waft serve that runs.
type distributor struct {
	GRPC, HTTP string
	pid        int
	stop       func() error
}

// startTimeout bounds the start of a distributor.
const startTimeout = time.Minute

// distributorNice has the distributor go before the fleet, which takes more of the processor, and in the world has machines of its own.
const distributorNice = "-15"

// serve starts one with its data in dir, and returns when it is ready.
//
// Profiles go to a folder of that name, unless it is empty.
func serve(ctx context.Context, waft, dir, profiles string) (*distributor, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	addresses := filepath.Join(dir, "addresses.json")
	// nice runs it without, and says so in the log, where it may not.
	cmd := exec.CommandContext(ctx, "nice", "-n", distributorNice, waft, "serve", "--insecure", "--data", filepath.Join(dir, "data"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--addresses-file", addresses, "--log-level", "warn", "--profile", profiles)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	d := &distributor{pid: cmd.Process.Pid} // nice becomes it
	d.stop = func() error {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		return errors.Join(<-ended, log.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		text, err := os.ReadFile(addresses)
		if err == nil {
			err = json.Unmarshal(text, d)
		}
		if err == nil {
			return d, nil
		}
		select {
		case err := <-ended:
			ended <- err
			said, _ := os.ReadFile(log.Name()) // more of the reason, if there is any
			return nil, errors.Join(fmt.Errorf("waft serve ended: %w; it said: %s", err, said), d.stop())
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waft serve did not become ready: %w", err), d.stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// figures are a distributor's metrics at a moment, by name. None of those that are read has labels.
type figures map[string]*dto.MetricFamily

// scrape reads them.
func (d *distributor) scrape(ctx context.Context) (figures, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.HTTP+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("/metrics: %w", err)
	}
	for _, name := range []string{decisionMetric, writeMetric, putsMetric, proposalsMetric, diskMetric, cpuMetric, rssMetric} {
		if len(all[name].GetMetric()) != 1 {
			return nil, fmt.Errorf("/metrics has no %s", name)
		}
	}
	return all, nil
}

// The metrics that are read.
const (
	decisionMetric  = "waft_rollout_decision_seconds"
	writeMetric     = "waft_rollout_write_seconds"
	putsMetric      = "etcd_mvcc_put_total"
	proposalsMetric = "etcd_server_proposals_applied_total"
	diskMetric      = "etcd_mvcc_db_total_size_in_bytes"
	cpuMetric       = "process_cpu_seconds_total"
	rssMetric       = "process_resident_memory_bytes"
)

// value is that of a counter or gauge.
func (f figures) value(name string) float64 {
	m := f[name].GetMetric()[0]
	if c := m.GetCounter(); c != nil {
		return c.GetValue()
	}
	return m.GetGauge().GetValue()
}

// spent is what a histogram has counted since an earlier moment: how many, their mean, and their 99th percentile, which is taken to lie
// evenly within its bucket; all that is above the highest bound is taken to be there.
func (f figures) spent(name string, since figures) (count int, mean, p99 float64) {
	now, then := f[name].GetMetric()[0].GetHistogram(), since[name].GetMetric()[0].GetHistogram()
	n := float64(now.GetSampleCount() - then.GetSampleCount())
	if n == 0 {
		return 0, 0, 0
	}
	mean = (now.GetSampleSum() - then.GetSampleSum()) / n
	rank, below, bound := 0.99*n, 0.0, 0.0
	for i, b := range now.GetBucket() {
		upTo := float64(b.GetCumulativeCount() - then.GetBucket()[i].GetCumulativeCount())
		if upTo >= rank {
			if upper := b.GetUpperBound(); upper > bound && upper < maxSeconds {
				bound += (upper - bound) * (rank - below) / (upTo - below)
			}
			break
		}
		below, bound = upTo, b.GetUpperBound()
	}
	return int(n), mean, bound
}

// maxSeconds is above every bound of a histogram but the one of infinity.
const maxSeconds = 1e6
