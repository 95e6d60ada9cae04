// Command older does what a Go program cannot do on Envoy before 1.39 as the toolchain makes it: it has timers, it sleeps, and it
// asks for files.
package main

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/waft-project/waft/sdk"
)

type filter struct{ started time.Time }

// fired is set by a timer that is under way when the module has started.
var fired = make(chan struct{})

func init() {
	time.AfterFunc(time.Millisecond, func() { close(fired) })
	time.Sleep(time.Millisecond)
	sdk.RegisterRaw(func(*sdk.Plugin, []byte) (sdk.Filter, error) { return &filter{time.Now()}, nil })
}

func main() {}

func (f *filter) NewHandler() sdk.Handler { return f }

func (f *filter) OnRequestHeaders(r *sdk.Request) sdk.Action {
	<-fired
	from := time.Now()
	time.Sleep(3 * time.Millisecond)
	slept := time.Since(from)
	timeout := time.After(2 * time.Millisecond)
	<-timeout
	runtime.GC()
	_, list := os.ReadDir("/")
	_, stat := os.Stat("/etc")
	link := os.Link("/a", "/b")
	return r.Reply(sdk.Reply{Status: 200, Body: fmt.Appendf(nil, "slept: %v\nlist: %v\nstat: %v\nlink: %v\n", slept >= 3*time.Millisecond, list, stat, link)})
}
