package wasmhost

import (
	"strings"
	"testing"
)

// paramsOf counts the parameters that a form takes.
func paramsOf(form string) int {
	n := 0
	for _, kind := range strings.Fields(form) {
		switch strings.TrimSuffix(kind, "!") {
		case "text", "pairs":
			n += 2
		default:
			n++
		}
	}
	return n
}

// Every host function of proxy-wasm has a form, of as many parameters as it takes.
func TestFormsOfHostFunctions(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range envFunctions {
		if !strings.HasPrefix(f.name, "proxy_") {
			continue
		}
		seen[f.name] = true
		form, ok := hostForms[f.name]
		if !ok {
			t.Errorf("%s has no form", f.name)
		} else if want := len(f.typ().params); paramsOf(form) != want {
			t.Errorf("the form of %s takes %d parameters, the function %d", f.name, paramsOf(form), want)
		}
	}
	for name := range hostForms {
		if !seen[name] {
			t.Errorf("%s has a form and is no host function", name)
		}
	}
}
