package headername

import (
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestSame(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"x-user", "x-user", true}, {"x-user", "x_user", true}, {"x_user", "x-user", true}, {"x-user-id", "x_user-id", true},
		{"x-user", "x-user-", false}, {"x-user", "xuser", false}, {"x-user", "x.user", false}, {"", "", true},
	} {
		if got := Same(test.a, test.b); got != test.want {
			t.Errorf("Same(%q, %q) = %v", test.a, test.b, got)
		}
	}
}

// stripper is a filter that takes x-user away.
type stripper struct{}

func (stripper) NewHandler() sdk.Handler { return stripper{} }

func (stripper) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if err := Strip(r.Headers(), "x-user"); err != nil {
		return r.Reply(sdk.Reply{})
	}
	return sdk.Continue
}

func TestStrip(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, func(*sdk.Plugin, *struct{}) (sdk.Filter, error) { return stripper{}, nil }, "")
	got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-user", "eve", "x_user", "eve", "X-User", "eve", "x-users", "kept")})
	if got.Upstream == nil || got.Upstream.Has("x-user") || got.Upstream.Has("x_user") || got.Upstream.Get("x-users") != "kept" {
		t.Errorf("arrived: %+v", got.Upstream)
	}
}
