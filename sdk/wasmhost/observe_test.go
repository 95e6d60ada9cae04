package wasmhost_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// An observer sees a request as it went: callbacks around the host calls that were made in them.
func TestObserve(t *testing.T) {
	var lines []string
	given := 0
	p := newPlugin(t, loadGoFilter(t), wasmhost.VMConfig{Observe: func(c *wasmhost.Crossing) {
		given += c.Given()
		switch {
		case !strings.HasPrefix(c.Function, "proxy_"):
		case c.Kind == wasmhost.CallbackBegins:
			lines = append(lines, "> "+c.String())
		case c.Kind == wasmhost.CallbackEnds:
			lines = append(lines, "< "+c.String())
		default:
			lines = append(lines, "  "+c.String())
		}
	}}, wasmhost.PluginConfig{Configuration: []byte("{}")})
	if _, _, err := do(t, p, "shared"); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"> proxy_on_configure(size=2)", "< proxy_on_configure = true", "> proxy_on_request_headers(headers=",
		`  proxy_get_header_map_value(request headers, "x-do") = OK "shared"`, "< proxy_on_request_headers = Continue",
		"proxy_set_shared_data(", ") = CAS_MISMATCH",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace has no %q:\n%s", want, text)
		}
	}
	if given == 0 {
		t.Error("the host gave the guest nothing")
	}
}
