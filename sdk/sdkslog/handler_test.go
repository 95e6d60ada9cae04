package sdkslog_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdkslog"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, func(p *sdk.Plugin, _ *struct{}) (sdk.Filter, error) {
		l := sdkslog.New(p.Log())
		l.Info("plain")
		l.With("a", 1).WithGroup("g").Warn("two words", "b", "x y", slog.TimeKey, 2)
		l.Log(context.Background(), slog.LevelDebug-1, "", "k", "v")
		l.Debug("d")
		l.Error("e")
		l.Log(context.Background(), slog.LevelError+4, "worst")
		return sdk.FilterFunc(func() sdk.Handler { return nil }), nil
	}, "")
	want := []string{"info: plain", `warn: two words a=1 g.b="x y" g.time=2`, "trace: k=v", "debug: d", "error: e", "critical: worst"}
	if got := f.Logs(); !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
}
