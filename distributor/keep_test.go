package distributor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// The copies are kept within the bound, and those that are needed stay, or come back.
func TestCopiesAreBounded(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	var digests []registry.Digest
	all := map[registry.Digest]model.Module{}
	for i := range 4 {
		tag := string(rune('1' + i))
		data := registrytest.Wasm(100_000, byte(i))
		s.publish(t, self+"/f:"+tag, data, nil)
		m, _, err := s.Resolve(t.Context(), self+"/f:"+tag)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, registry.Digest(m.Digest))
		all[registry.Digest(m.Digest)] = m
	}
	there := func() (have []int) {
		t.Helper()
		entries, err := s.client.Cache().List()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			have = append(have, slices.Index(digests, e.Digest))
		}
		slices.Sort(have)
		return have
	}
	needs := func(which ...int) func(context.Context) ([]model.Module, error) {
		return func(context.Context) ([]model.Module, error) {
			var modules []model.Module
			for _, i := range which {
				modules = append(modules, all[digests[i]])
			}
			return modules, nil
		}
	}
	failing := func(err error) func(context.Context) ([]model.Module, error) {
		return func(context.Context) ([]model.Module, error) { return nil, err }
	}
	for _, step := range []struct {
		name   string
		bound  int64
		needed func(context.Context) ([]model.Module, error)
		want   []int
	}{
		{"what is needed is not known", 0, failing(errors.New("the store is away")), []int{0, 1, 2, 3}},
		{"before the service has read its store", 0, failing(model.ErrUnavailable), []int{0, 1, 2, 3}},
		{"there is room", 400_000, needs(0), []int{0, 1, 2, 3}},
		{"no bound", -1, needs(), []int{0, 1, 2, 3}},
		{"the least recently used go, needed ones stay", 250_000, needs(0), []int{0, 3}},
		{"needed ones stay over the bound", 0, needs(0, 3), []int{0, 3}},
		{"one that is needed again comes back", 0, needs(0, 1), []int{0, 1}},
		{"nothing is needed", 0, needs(), nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			s.settle(t.Context(), step.bound, step.needed)
			if have := there(); !slices.Equal(have, step.want) {
				t.Errorf("%v are there, want %v", have, step.want)
			}
		})
	}
	// What was removed is served all the same: it is fetched again.
	f, _, err := s.open(t.Context(), digests[2])
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // only read
}

// With no room at all, what is asked for again and again is served each time, whatever is removed meanwhile.
func TestServedWithoutRoom(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	data := registrytest.Wasm(100_000, 1)
	s.publish(t, self+"/f:1", data, nil)
	if _, _, err := s.Resolve(t.Context(), self+"/f:1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var trimming sync.WaitGroup
	trimming.Go(func() {
		for ctx.Err() == nil {
			s.settle(ctx, 0, func(context.Context) ([]model.Module, error) { return nil, nil })
		}
	})
	for range 50 {
		f, _, err := s.open(t.Context(), registry.DigestOf(data))
		if err != nil {
			t.Error(err)
			break
		}
		_ = f.Close() // only read
	}
	cancel()
	trimming.Wait()
}

// A module that is needed and cannot be had is asked for once in each interval, and not again the moment that it was refused.
func TestWhatCannotBeFetchedIsTriedAfterAPause(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	data := registrytest.Wasm(1000, 1)
	lost := model.Module{Reference: self + "/nobody:1", Digest: string(registry.DigestOf(data)), Artifact: string(registry.DigestOf(data)), Size: int64(len(data))}
	const every, looks = 100 * time.Millisecond, 4
	ctx, end := context.WithCancel(t.Context())
	defer end()
	begun, looked := time.Now(), 0
	s.keepBound(ctx, -1, every, func(context.Context) ([]model.Module, error) {
		if looked++; looked == looks {
			end()
		}
		return []model.Module{lost}, nil
	})
	// A busy machine makes it longer, and nothing makes it shorter. The ticker does not wait for the first look.
	if took := time.Since(begun); took < (looks-2)*every {
		t.Errorf("it looked %d times within %s", looks, took)
	}
}
