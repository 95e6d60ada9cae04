package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"
)

// How a process is profiled.
const (
	// profileSlice is what one file of the CPU covers, so that a part of a run can be looked at alone; pprof adds files up.
	profileSlice = 5 * time.Second
	// mutexFraction is of how many waits for a lock one is kept, and blockRate the time that goroutines stand still for each sample, in ns.
	mutexFraction = 10
	blockRate     = 100_000
)

// profile writes profiles of this process to a folder until ctx ends: cpu-001.pprof and so on while it runs, then heap, mutex and block.
func profile(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	runtime.SetMutexProfileFraction(mutexFraction)
	runtime.SetBlockProfileRate(blockRate)
	for slice := 1; ctx.Err() == nil; slice++ {
		if err := profileCPU(ctx, filepath.Join(dir, fmt.Sprintf("cpu-%03d.pprof", slice))); err != nil {
			return err
		}
	}
	var failed error
	for _, name := range []string{"heap", "mutex", "block"} {
		f, err := os.Create(filepath.Join(dir, name+".pprof"))
		if err != nil {
			return errors.Join(failed, err)
		}
		failed = errors.Join(failed, pprof.Lookup(name).WriteTo(f, 0), f.Close())
	}
	return failed
}

// profileCPU writes one slice.
func profileCPU(ctx context.Context, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	select {
	case <-ctx.Done():
	case <-time.After(profileSlice):
	}
	pprof.StopCPUProfile()
	return f.Close()
}
