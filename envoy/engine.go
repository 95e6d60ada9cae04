package envoy

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// engineStarter is the name of the service that beginEngine adds.
const engineStarter = "waft.engine"

// beginEngine has an Envoy that may begin without a module begin V8 nonetheless, by a module that does nothing. V8 guards its memory by a protection key of the processor
// (PKU: most servers' have them), which a thread may use only if it descends from the one that began V8. Begun by the first module that comes later, that is after
// the workers: they end Envoy by a segmentation fault as soon as they load the module (1.36.4 and 1.37.0, each time; https://issues.chromium.org/issues/360909072).
func (c BootstrapConfig) beginEngine(b *bootstrapv3.Bootstrap) error {
	if c.Inline || !c.Number.workersNeedEngine() {
		return nil
	}
	code := &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineBytes{InlineBytes: emptyModule()},
	}}}
	service, err := anypb.New(&wasmv3.WasmService{
		Singleton: true,
		Config: &wasmv3.PluginConfig{
			Name: engineStarter,
			// It is there for what it begins: an Envoy that cannot run it is to serve.
			FailurePolicy: wasmv3.FailurePolicy_FAIL_OPEN,
			Vm:            &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{VmId: engineStarter, Runtime: wasmRuntime, Code: code}},
		},
	})
	if err != nil {
		return err
	}
	b.BootstrapExtensions = append(b.BootstrapExtensions, &corev3.TypedExtensionConfig{Name: "envoy.bootstrap.wasm", TypedConfig: service})
	return nil
}

// emptyModule is the least that Envoy takes for a module: a page of memory, the mark of its ABI, and the function by which it would be given memory.
func emptyModule() []byte {
	m := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content string) {
		m = append(append(m, id, byte(len(content))), content...) // a length below 128 is one byte
	}
	named := func(name, what string) string { return string(rune(len(name))) + name + what }
	section(1, "\x02\x60\x00\x00\x60\x01\x7f\x01\x7f") // types: of nothing nothing; of an i32 an i32
	section(3, "\x02\x00\x01")                         // a function of each
	section(5, "\x01\x00\x01")                         // a memory of one page
	section(7, "\x03"+named("memory", "\x02\x00")+named("proxy_abi_version_0_2_1", "\x00\x00")+named("proxy_on_memory_allocate", "\x00\x01"))
	section(10, "\x02\x02\x00\x0b\x04\x00\x41\x00\x0b") // the first returns, the second returns 0
	return m
}
