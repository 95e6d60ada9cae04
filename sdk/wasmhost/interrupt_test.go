package wasmhost_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestInterrupt stops loops of each shape while the garbage collector, which waits for every goroutine, runs too.
func TestInterrupt(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			runtime.GC()
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	for name, loop := range map[string][]byte{
		"empty":  forever,
		"nested": {0x03, 0x40, 0x03, 0x40, 0x0c, 0x01, 0x0b, 0x0b},
		// i64.const 1; loop (type 0: from i64 to i64) br 0 end; drop
		"with a value on the stack": {0x42, 0x01, 0x03, 0x00, 0x0c, 0x00, 0x0b, 0x1a},
		// loop: i32.const 0; i32.const 0; i32.const 65536; memory.fill; br 0
		"of bulk memory": {0x03, 0x40, 0x41, 0x00, 0x41, 0x00, 0x41, 0x80, 0x80, 0x04, 0xfc, 0x0b, 0x00, 0x0c, 0x00, 0x0b},
		// loop: v128.const 0; drop; i32.const 0; br_table 0 0; end
		"with a vector and a table": slices.Concat([]byte{0x03, 0x40, 0xfd, 0x0c}, make([]byte, 16), []byte{0x1a, 0x41, 0x00, 0x0e, 0x01, 0x00, 0x00, 0x0b}),
	} {
		t.Run(name, func(t *testing.T) {
			m := &moduleBuilder{}
			m.typeOf([2]string{"l", "l"})
			m.function("proxy_abi_version_0_2_1", "", "", nil).function("malloc", "i", "i", i32(16384)).function("proxy_on_tick", "i", "", loop)
			vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
			if err != nil {
				t.Fatal(err)
			}
			p := configured(t, vm, wasmhost.PluginConfig{})
			if err := p.Tick(t.Context()); !errors.Is(err, wasmhost.ErrDeadline) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("in the start function", func(t *testing.T) {
		m := newModule("0_2_1").function("begin", "", "", forever)
		m.start = "begin"
		if _, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{}); !errors.Is(err, wasmhost.ErrDeadline) {
			t.Errorf("got %v", err)
		}
	})
}

// TestInterruptCalls stops guests without a loop whose functions call each other twice at each of 60 levels, which has an end that nobody
// sees.
func TestInterruptCalls(t *testing.T) {
	host := newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: 100 * time.Millisecond})
	// twice is: if the parameter is not 0 { f(parameter - 1); f(parameter - 1) }
	twice := func(f []byte) []byte {
		one := join([]byte{0x20, 0x00, 0x41, 0x01, 0x6b}, f) // local.get 0; i32.const 1; i32.sub
		return join([]byte{0x20, 0x00, 0x04, 0x40}, one, one, []byte{0x0b})
	}
	direct := func(index uint32) []byte { return join([]byte{0x10}, uleb(index)) }
	// The functions of the module are the marker 0, malloc 1, first 2, second 3.
	for name, calls := range map[string]struct{ first, second []byte }{
		"of itself":                {direct(2), nil},
		"of each other":            {direct(3), direct(2)},
		"by its place in a table":  {join([]byte{0x41, 0x00, 0x11}, uleb(2), []byte{0x00}), nil},
		"from a table and by name": {direct(3), join([]byte{0x41, 0x00, 0x11}, uleb(2), []byte{0x00})},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModule("0_2_1")
			m.function("first", "i", "", twice(calls.first)).function("second", "i", "", nil)
			if calls.second != nil {
				m.without("second").function("second", "i", "", twice(calls.second))
			}
			m.function("proxy_on_tick", "i", "", join(i32(60), direct(2)))
			m.table = []uint32{2}
			vm, err := start(t, host, m, "envoy-1.40", wasmhost.VMConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if err := configured(t, vm, wasmhost.PluginConfig{}).Tick(t.Context()); !errors.Is(err, wasmhost.ErrDeadline) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestInterruptIsNoTrap lets a guest that goes round many more times than it calls back, in loops and calls, come to its end.
func TestInterruptIsNoTrap(t *testing.T) {
	m := newModule("0_2_1")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("100000")
	// local 1 counts to 100000: loop { if ++n < 100000, again }
	count := []byte{0x03, 0x40, 0x20, 0x01, 0x41, 0x01, 0x6a, 0x22, 0x01, 0x41, 0xa0, 0x8d, 0x06, 0x48, 0x0d, 0x00, 0x0b}
	// Traps unless it came to 100000.
	check := []byte{0x20, 0x01, 0x41, 0xa0, 0x8d, 0x06, 0x47, 0x04, 0x40, 0x00, 0x0b}
	m.funcs = append(m.funcs, builtFunc{export: "proxy_on_tick", sig: [2]string{"i", ""}, locals: 1, code: join(count, check, logCode(log, 0, 6))})
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := configured(t, vm, wasmhost.PluginConfig{}).Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := logged(vm); !slices.Equal(lines, []string{"100000"}) {
		t.Errorf("logged %q", lines)
	}
}

// TestJumpTable takes each way out of a jump table.
func TestJumpTable(t *testing.T) {
	m := newModule("0_2_1")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("012+")
	block, end, leave := []byte{0x02, 0x40}, []byte{0x0b}, []byte{0x0f}
	table := []byte{0x20, 0x00, 0x0e, 0x03, 0x00, 0x01, 0x02, 0x03} // local.get 0; br_table 0 1 2 3
	m.function("pick", "i", "", join(block, block, block, block, table, end, logCode(log, 0, 1), leave, end, logCode(log, 1, 1), leave,
		end, logCode(log, 2, 1), leave, end, logCode(log, 3, 1)))
	// The functions of the module are the import 0, the marker 1, malloc 2, pick 3.
	var ticks [][]byte
	for _, n := range []int32{0, 1, 2, 3, -1, 0} {
		ticks = append(ticks, call(3, i32(n)))
	}
	m.function("proxy_on_tick", "i", "", join(ticks...))
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := configured(t, vm, wasmhost.PluginConfig{}).Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := logged(vm); !slices.Equal(lines, []string{"0", "1", "2", "+", "+", "0"}) {
		t.Errorf("logged %q", lines)
	}
}

// TestStartFunction has it called once, before _initialize.
func TestStartFunction(t *testing.T) {
	m := newModule("0_2_1")
	log := m.importFunc("env", "proxy_log", "iii", "i")
	m.data = []byte("startinit")
	m.function("begin", "", "", logCode(log, 0, 5)).function("_initialize", "", "", logCode(log, 5, 4))
	m.start = "begin"
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if lines := logged(vm); !slices.Equal(lines, []string{"start", "init"}) {
		t.Errorf("logged %q", lines)
	}
}

// TestContextEnds stops a guest when its caller goes away, and not when the caller of an earlier call does.
func TestContextEnds(t *testing.T) {
	m := newModule("0_2_1").function("proxy_on_tick", "i", "", nil)
	m.function("proxy_on_queue_ready", "ii", "", nil)
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := configured(t, vm, wasmhost.PluginConfig{})
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := p.Tick(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := p.Tick(t.Context()); err != nil {
			t.Fatalf("the end of an earlier context stops a call: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Tick(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended gives %v", err)
	}
}

// FuzzLoad loads what is almost a module: it must be refused or run, never break the host.
func FuzzLoad(f *testing.F) {
	m := newModule("0_2_1").function("proxy_on_tick", "i", "", forever)
	f.Add(m.bytes())
	f.Add(newModule("0_2_0").bytes())
	host, err := wasmhost.NewHost(f.Context(), wasmhost.Config{CacheDir: wasmhost.CacheOff, Deadline: 50 * time.Millisecond, MemoryLimit: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	p, err := wasmhost.ProfileByName("envoy-1.40")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, wasm []byte) {
		mod, err := host.Load(context.Background(), wasm, p)
		if err != nil {
			return
		}
		vm, err := mod.NewVM(context.Background(), wasmhost.VMConfig{})
		if err != nil {
			return
		}
		_ = vm.Close(context.Background())
	})
}
