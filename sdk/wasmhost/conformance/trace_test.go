package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

func TestReadable(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"plain", "plain"},
		{"  f() = 0 b:6869ff", `  f() = 0 "hi\xff"`},
		{"  f() = 0 b:", `  f() = 0 ""`},
		{"  f() = 0 p:", `  f() = 0 []`},
		{"  f() = 0 p:" + hexOf(serialise([]string{"a", "1", "x-request-id", "abc"})), `  f() = 0 ["a" "1" "x-request-id" "*"]`},
		{"  f() = 0 s:" + hexOf(serialise([]string{"b", "2", "a", "1"})), `  f() = 0 ["a" "1" "b" "2"]`},
		{"  f() = 0 p:0100", `  f() = 0 not a map: "\x01\x00"`},
		{"  f() = 0 b:" + hexOf("127.0.0.1:4711"), `  f() = 0 "127.0.0.1:*"`},
		{"on_queue_ready(1, 17)", "on_queue_ready(1, *)"},
	} {
		if got := readable(c.line); got != c.want {
			t.Errorf("readable(%q) = %s; want %s", c.line, got, c.want)
		}
	}
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}

func TestDifference(t *testing.T) {
	one := func(lines ...string) trace { return trace{steps: []stepTrace{{name: "start", guest: lines}}} }
	broken := trace{steps: []stepTrace{{name: "start", guest: []string{"a"}}, {name: "next", guest: []string{"lost"}, breaks: true}}}
	flagged := trace{steps: []stepTrace{{name: "start", guest: []string{"a"}}, {name: "next", guest: []string{"b"}, breaks: true}, {name: "more"}}}
	silent := trace{steps: []stepTrace{{name: "start", guest: []string{"a"}}, {name: "next", guest: []string{"b"}}, {name: "more"}}}
	for _, c := range []struct {
		name        string
		envoy, host trace
		want        string // empty: the same
	}{
		{"the same", one("a", "b"), one("a", "b"), ""},
		{"a line more", one("a"), one("a", "b"), "+ b"},
		{"a line less", one("a", "b"), one("a"), "- b"},
		{"another order", one("a", "b"), one("b", "a"), "- a"},
		{"Envoy dies, and the host says so", broken, flagged, ""},
		{"Envoy dies, and the host goes on", broken, silent, "- -- Envoy breaks"},
		{"the host flags what Envoy survives", silent, flagged, ""},
	} {
		got := difference(c.envoy, c.host)
		if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: difference is %q; want %q in it", c.name, got, c.want)
		}
	}
}

// TestModules checks that every guest is a valid module, and that case names are unique.
func TestModules(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer func() { _ = r.Close(ctx) }()
	var names []string
	for i, c := range allCases() {
		if slices.Contains(names, c.name) {
			t.Errorf("two cases are called %q", c.name)
		}
		names = append(names, c.name)
		if c.golang {
			continue
		}
		compiled, err := r.CompileModule(ctx, c.guest.module(i+1))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_ = compiled.Close(ctx)
	}
}

// TestEveryFunctionHasACase checks that each host function is called, and each callback exported, by some case, so that a function that is
// added to the tables cannot be forgotten. That it is called with effect is what Mutate shows.
func TestEveryFunctionHasACase(t *testing.T) {
	called := map[string]bool{}
	var walk func(list []statement)
	walk = func(list []statement) {
		for _, s := range list {
			switch s := s.(type) {
			case hostCall:
				called[s.name] = true
			case pthreadEqual:
				called["pthread_equal"] = true
			case condition:
				walk(s.then)
			}
		}
	}
	for _, c := range allCases() {
		for _, cb := range c.guest.callbacks {
			called[cb.name] = true
			walk(cb.body)
		}
		walk(c.guest.mallocBody)
	}
	called["proxy_log"] = true // by every line of every trace
	for _, table := range []map[string]string{hostFunctions, oldHostFunctions, emscriptenFunctions, wasiFunctions, callbacks, lifecycle} {
		for name := range table {
			if !called[name] {
				t.Errorf("no case has to do with %s", name)
			}
		}
	}
}
