package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
)

// A module whose copy turns out to be damaged when it is to be loaded, after the probe, is fetched again: else each try would find it missing.
func TestModuleDamagedBeforeItIsLoaded(t *testing.T) {
	f := newFetcher(nil)
	f.want(map[string]int64{"a": 1, "b": 1})
	f.have["a"], f.have["b"] = true, true
	d := &driver{fetcher: f, files: &files{}, refusals: map[string]*refusalCount{}, log: slog.New(slog.DiscardHandler)}
	_, cancel := context.WithCancel(t.Context())
	d.finish(result{job: &job{kind: load, hash: "chain", cancel: cancel}, err: fmt.Errorf("load: %w", &missingModule{"a", errors.New("the copy on disk was damaged")})})
	if have, _ := f.state(); have["a"] || !have["b"] {
		t.Errorf("on disk are %v, want b alone", have)
	}
	if d.refusals["chain"] == nil {
		t.Error("a disk that damages each copy would be filled again and again at once")
	}
}
