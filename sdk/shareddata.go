package sdk

import (
	"errors"
	"strconv"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// maxUpdates is how often [SharedData.Update] tries before it gives up.
const maxUpdates = 64

// neverWritten is a version that makes a write fail where the key is there, and succeed where it is not: the host counts its
// versions up from one, and compares only with a value that it has.
const neverWritten = ^uint32(0)

// SharedData is values that all workers of an Envoy share, between the filters whose vm_id is the same. A value cannot be
// deleted, and is lost when Envoy restarts: what names keys must be bounded.
type SharedData struct{ host abi.Host }

// SharedData is the data that the plugin shares with itself in other workers.
func (p *Plugin) SharedData() SharedData { return SharedData{p.host} }

// SharedData is the data that the filter shares with itself in other workers.
func (s *Stream) SharedData() SharedData { return SharedData{s.host} }

// Get is the value of a key and the version of it, which changes with each write. It is [ErrNotFound] where nobody wrote
// one. The bytes are the caller's.
func (d SharedData) Get(key string) (value []byte, version uint32, err error) {
	raw, version, status := d.host.SharedData(key)
	if status != abi.OK {
		return nil, 0, hostError(status, "get shared data", key)
	}
	return append([]byte{}, raw...), version, nil
}

// Set writes a value, whatever was there.
func (d SharedData) Set(key string, value []byte) error {
	return hostError(d.host.SetSharedData(key, value, 0), "set shared data", key)
}

// CompareAndSet writes a value if the version of what is there is still the same, or, for version 0, if nobody has written
// the key. Otherwise it is [ErrCASMismatch].
func (d SharedData) CompareAndSet(key string, value []byte, version uint32) error {
	if version == 0 {
		version = neverWritten
	}
	return hostError(d.host.SetSharedData(key, value, version), "set shared data", key)
}

// Update changes a value with nobody in between: change gets what is there, nil where there is nothing, and gives what
// is to be there. It is called again when another worker was faster, so it must do nothing else. An error of it ends the
// update and is returned; the value then stays. After many tries in vain it is [ErrCASMismatch].
func (d SharedData) Update(key string, change func(value []byte) ([]byte, error)) error {
	for range maxUpdates {
		value, version, err := d.Get(key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if value, err = change(value); err != nil {
			return err
		}
		if err = d.CompareAndSet(key, value, version); !errors.Is(err, ErrCASMismatch) {
			return err
		}
	}
	return wrap("update shared data "+key+": other workers were faster "+strconv.Itoa(maxUpdates)+" times", ErrCASMismatch)
}
