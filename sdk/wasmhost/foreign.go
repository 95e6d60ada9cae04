package wasmhost

import (
	"bytes"
	"compress/zlib"
	"context"
	"io"
)

// ForeignFunction is a function that guests call by name. It gets the arguments' bytes, which it must copy to keep them. A nil result
// gives the guest a null pointer; an empty one is allocated in the guest's memory.
type ForeignFunction func(ctx context.Context, args []byte) (result []byte, status Status)

// foreign finds the function behind a name: the Proxy's, or one of Envoy's own (source/extensions/common/wasm/foreign.cc). Of those
// expr_create, expr_evaluate, expr_delete, declare_property and set_envoy_filter_state are not here.
func (in *instance) foreign(name string) ForeignFunction {
	if f := in.vm.proxy.Foreign[name]; f != nil {
		return f
	}
	switch name {
	case "clear_route_cache":
		return clearRouteCache
	case "compress":
		return compress
	case "uncompress":
		return uncompress
	case "verify_signature":
		return func(_ context.Context, args []byte) ([]byte, Status) { return in.module.profile.verifySignature(args) }
	case "sign":
		if in.module.profile.signs {
			return func(_ context.Context, args []byte) ([]byte, Status) { return sign(args) }
		}
	}
	return nil
}

// clearRouteCache does nothing: Exchange has one route.
func clearRouteCache(context.Context, []byte) ([]byte, Status) { return nil, StatusOK }

// compress is zlib's. Its bytes may differ from Envoy's, what they stand for does not.
func compress(_ context.Context, args []byte) ([]byte, Status) {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(args) // into memory: never fails
	_ = w.Close()
	return b.Bytes(), StatusOK
}

func uncompress(_ context.Context, args []byte) ([]byte, Status) {
	r, err := zlib.NewReader(bytes.NewReader(args))
	if err != nil {
		return nil, StatusSerialization
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUncompressed+1))
	if err != nil || len(out) > maxUncompressed {
		return nil, StatusSerialization
	}
	return out, StatusOK
}
