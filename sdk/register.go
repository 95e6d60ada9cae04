package sdk

import "github.com/waft-project/waft/sdk/internal/abi"

// Register makes configure the filter of this module. It is called once, in an init function of package main.
//
// The plugin configuration is decoded into a new C by [DecodeConfig]: unknown fields, missing required fields and wrong
// types are errors that name the field by its path. An empty configuration counts as {}. If *C has a method
// Validate() error, it is called next. Then configure makes the filter; it runs once for each plugin context, that is once
// per worker and whenever the configuration changes.
//
// An error, or a panic, fails on_configure: the host refuses the configuration, and the reason is in its log at level error.
func Register[C any](configure func(p *Plugin, config *C) (Filter, error)) {
	abi.SetGuest(NewGuest(configure))
}

// RegisterRaw is [Register] for a filter that reads the bytes of its configuration itself. The bytes belong to the filter.
func RegisterRaw(configure func(p *Plugin, config []byte) (Filter, error)) {
	abi.SetGuest(NewGuestRaw(configure))
}

// NewGuest makes the guest that [Register] registers. It is for package sdktest; filters have no use for it.
func NewGuest[C any](configure func(p *Plugin, config *C) (Filter, error)) func(abi.Host) abi.Guest {
	return NewGuestRaw(func(p *Plugin, raw []byte) (Filter, error) {
		config := new(C)
		if err := DecodeConfig(raw, config); err != nil {
			return nil, err
		}
		if v, ok := any(config).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return nil, err
			}
		}
		return configure(p, config)
	})
}

// NewGuestRaw makes the guest that [RegisterRaw] registers. It is for package sdktest; filters have no use for it.
func NewGuestRaw(configure func(p *Plugin, config []byte) (Filter, error)) func(abi.Host) abi.Guest {
	return func(h abi.Host) abi.Guest { return newVM(h, configure) }
}
