package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
)

// loads is how long Envoys took to load a module that is new to them: the process that probes it, from its start to its end; the one that serves, from when it was given the
// module beside its chain until it said that it has it; and, apart from any agent, one more process that did nothing else, under the same load.
type loads struct {
	probe, beside, alone time.Duration
	// began is when the probe did, and ended when the agent knew that the module is loaded beside the chain that serves.
	began, ended time.Time
}

// What the agent writes into its log for a load, as JSON.
const (
	probedMessage = "probed"
	loadedMessage = "loaded a module"
	allMessage    = "loaded"
)

// readLoads adds up what an agent's log says of a chain: of one that is probed again, each time.
func readLoads(log io.Reader, chain string) (loads, error) {
	var found loads
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct {
			Time       time.Time
			Msg, Chain string
			Took       time.Duration
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Chain != chain {
			continue // of something else, whose chain or took may be of another kind
		}
		switch line.Msg {
		case probedMessage:
			if found.probe == 0 {
				found.began = line.Time.Add(-line.Took)
			}
			found.probe += line.Took
		case loadedMessage:
			found.beside += line.Took
		case allMessage:
			found.ended = line.Time
		}
	}
	if err := lines.Err(); err != nil {
		return loads{}, fmt.Errorf("read the agent's log: %w", err)
	}
	if found.probe == 0 || found.beside == 0 || found.ended.IsZero() {
		return loads{}, fmt.Errorf("the agent's log does not say how long the probe of chain %s took, how long loading it, and when that ended: %s, %s, %s", chain, found.probe, found.beside, found.ended)
	}
	return found, nil
}

// loadsOf are the loads that a chain has taken, in the log at a path, and one of its only module alone.
func loadsOf(ctx context.Context, binary envoy.Binary, logPath, dist string, ledger *waftv1.LedgerEntry, release string) (found loads, err error) {
	log, err := os.Open(logPath)
	if err != nil {
		return loads{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if found, err = readLoads(log, ledger.GetChain()); err != nil {
		return loads{}, err
	}
	found.alone, err = loadAlone(ctx, binary, filepath.Join(dist, moduleFile(release)))
	return found, err
}

// loadAlone is how long an Envoy takes that only loads a module, as the probe does.
func loadAlone(ctx context.Context, binary envoy.Binary, module string) (time.Duration, error) {
	version, err := binary.Version(ctx)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(module)
	if err != nil {
		return 0, err
	}
	bootstrap, err := envoy.ProbeBootstrap(version.Number, []envoy.WasmFilter{{Name: swapFilter, ModulePath: module, Config: []byte(`{"response":[]}`)}})
	if err != nil {
		return 0, err
	}
	verdict, err := envoy.Validate(ctx, binary, bootstrap, envoy.DefaultLimits(1, info.Size()))
	if err != nil {
		return 0, err
	}
	if verdict.Outcome != envoy.Accepted {
		return 0, fmt.Errorf("load %s alone: %s: %s", module, verdict.Outcome, verdict.Reason())
	}
	return verdict.Took, nil
}
