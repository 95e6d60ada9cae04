// A module of the conformance suite, compiled by Go: what Go's runtime does of itself (start, allocate, read clocks and variables, write
// to its descriptors, panic) must go the same way in every host. It uses no SDK. The variable MARK stands before each of its lines; the
// path of a request says what it does.
package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
	"unsafe"
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, message unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(mapType uint32, data unsafe.Pointer, size unsafe.Pointer) uint32

//go:wasmimport env proxy_add_header_map_value
func proxyAddHeaderMapValue(mapType uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(bufferType, start, length uint32, data unsafe.Pointer, size unsafe.Pointer) uint32

// allocated keeps what the host asked for from the garbage collector.
var allocated = map[uint32][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	buf := make([]byte, max(size, 1))
	p := unsafe.Pointer(unsafe.SliceData(buf))
	allocated[uint32(uintptr(p))] = buf
	return p
}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

func pointer(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func say(format string, args ...any) {
	p, n := pointer(os.Getenv("MARK") + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", `\n`))
	proxyLog(2, p, n)
}

// taken copies what the host allocated.
func taken(data, size uint32) []byte {
	buf := allocated[data]
	delete(allocated, data)
	if size == 0 {
		return nil
	}
	return buf[:size]
}

func headers(mapType uint32) ([][2]string, uint32) {
	var data, size uint32
	status := proxyGetHeaderMapPairs(mapType, unsafe.Pointer(&data), unsafe.Pointer(&size))
	b := taken(data, size)
	if status != 0 || len(b) < 4 {
		return nil, status
	}
	out := make([][2]string, binary.LittleEndian.Uint32(b))
	rest := b[4+8*len(out):]
	for i := range out {
		for j := range out[i] {
			n := binary.LittleEndian.Uint32(b[4+8*i+4*j:])
			out[i][j] = string(rest[:n])
			rest = rest[n+1:]
		}
	}
	return out, status
}

func buffer(bufferType uint32) string {
	var data, size uint32
	status := proxyGetBufferBytes(bufferType, 0, 1<<20, unsafe.Pointer(&data), unsafe.Pointer(&size))
	return fmt.Sprintf("%d %q", status, taken(data, size))
}

func init() { say("init") }

func main() { say("main") }

//go:wasmexport proxy_on_context_create
func onContextCreate(id, parent uint32) { say("on_context_create(%d, %d)", id, parent) }

//go:wasmexport proxy_on_vm_start
func onVMStart(id, size uint32) uint32 { say("on_vm_start(%d, %d)", id, size); return 1 }

//go:wasmexport proxy_on_configure
func onConfigure(id, size uint32) uint32 {
	say("on_configure(%d, %d) %s", id, size, buffer(7))
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(id, count, end uint32) uint32 {
	say("on_request_headers(%d, %d, %d)", id, count, end)
	list, status := headers(0)
	path := ""
	for _, h := range list {
		if h[0] == ":path" {
			path = h[1]
		}
	}
	switch path {
	case "/headers":
		for _, h := range list {
			if strings.HasPrefix(h[0], "x-a") {
				say("  %d %q", status, h)
			}
		}
		name, n := pointer("x-go")
		value, v := pointer("added")
		say("  add: %d", proxyAddHeaderMapValue(0, name, n, value, v))
	case "/runtime":
		say("  %s %s %d args, %d bytes of them", runtime.GOOS, runtime.GOARCH, len(os.Args), len(strings.Join(os.Args, "")))
		var names []string
		for _, v := range os.Environ() {
			name, value, _ := strings.Cut(v, "=")
			if name != "MARK" {
				names = append(names, name+"="+value)
			}
		}
		sort.Strings(names)
		say("  environment %q", names)
		began := time.Now()
		say("  time goes on: %t, is known: %t", time.Since(began) >= 0, began.Year() > 2000)
		var group sync.WaitGroup
		sum, mu := 0, sync.Mutex{}
		for i := range 100 {
			group.Go(func() { mu.Lock(); sum += i; mu.Unlock() })
		}
		group.Wait()
		say("  goroutines: %d", sum)
		b, err := json.Marshal(map[string]any{"b": []int{1, 2}, "a": "\xff"})
		say("  json: %s %v", b, err)
		garbage := 0
		for range 200 {
			garbage += len(make([]byte, 1<<16))
		}
		say("  garbage: %d", garbage)
	case "/output":
		fmt.Println(os.Getenv("MARK") + "to stdout")
		fmt.Fprint(os.Stderr, os.Getenv("MARK")+"to stderr")
		n, err := fmt.Fprint(os.Stdout, "")
		say("  nothing: %d %v", n, err)
	case "/files":
		_, err := os.Open("/etc/hostname")
		say("  open: %v", err)
		err = os.WriteFile("x", []byte("y"), 0o600)
		say("  write: %v", err)
		n, err := os.Stdin.Read(make([]byte, 8))
		say("  read: %d %v", n, err != nil)
	case "/panic":
		panic(errors.New("on purpose"))
	case "/exit":
		os.Exit(3)
	case "/nil":
		var p *string
		say("%s", *p)
	}
	return 0
}

//go:wasmexport proxy_on_request_body
func onRequestBody(id, size, end uint32) uint32 {
	say("on_request_body(%d, %d, %d) %s", id, size, end, buffer(0))
	return 0
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(id, count, end uint32) uint32 {
	say("on_response_headers(%d, %d, %d)", id, count, end)
	return 0
}

//go:wasmexport proxy_on_log
func onLog(id uint32) { say("on_log(%d)", id) }

//go:wasmexport proxy_on_done
func onDone(id uint32) uint32 { say("on_done(%d)", id); return 1 }

//go:wasmexport proxy_on_delete
func onDelete(id uint32) { say("on_delete(%d)", id) }
