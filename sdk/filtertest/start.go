package filtertest

import (
	"context"
	"fmt"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Started is what came of starting a module and configuring it.
type Started struct {
	// Err is why it does not run: it crashed, or refused the configuration (wasmhost.ErrConfigure, ErrStart). Nil: it runs.
	Err error
	// Logs are what was logged meanwhile, oldest first.
	Logs []string
}

// Start starts a module and configures it as a scenario file says, with the file's clusters there, and sends it nothing. Of the file Config
// and Clusters count; the zero File is an empty configuration. The error is the host's: ctx ended.
func Start(ctx context.Context, m *wasmhost.Module, f File, opts Options) (Started, error) {
	vm, _, _, logs, err := startWasm(ctx, m, f, opts)
	if vm != nil {
		defer func() { _ = vm.Close(context.WithoutCancel(ctx)) }()
		// Envoy takes a plugin as configured that crashed when its context was made, and so does the host.
		if err == nil {
			err = vm.Failed()
		}
		if err == nil {
			err = vm.Misuse()
		}
	}
	if ctx.Err() != nil {
		return Started{}, fmt.Errorf("start %s: %w", opts.name(), context.Cause(ctx))
	}
	return Started{Err: err, Logs: logs}, nil
}
