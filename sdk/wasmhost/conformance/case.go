package conformance

import (
	"fmt"
	"maps"
	"time"
)

// testCase is one module and what happens to it.
type testCase struct {
	name  string // group/what, for example "header maps/absent key"
	guest guest
	// golang runs the module in testdata/goguest instead of guest.
	golang bool

	network bool // a filter of TCP connections, not of HTTP requests

	vmConfig string
	config   string
	// second is the configuration of a second plugin in the same VM, in a listener of its own; empty: there is none.
	second string
	// apart gives the second plugin a VM of its own, with the same id: the two share data and queues, and nothing else.
	apart bool

	env          map[string]string
	policy       string   // Envoy's name of the failure policy; empty: FAIL_CLOSED
	stopOnPause  bool     // allow_on_headers_stop_iteration
	capabilities []string // what the module may import and export; nil: everything

	steps []step

	// alone gives the case an Envoy of its own, because Envoy does not outlive it, or has megabytes to compile for it meanwhile.
	alone bool

	// since is the first Envoy that the case is for, as "1.39"; empty: all.
	since string
	// until is the last one.
	until string
}

// step is one thing that the world does to the filter. After each the suite waits until nothing more happens.
type step struct {
	name string
	do   func(d driver)
	// patience is how long a real Envoy may take for what wasmhost did at once. 0: defaultPatience.
	patience time.Duration
}

// driver is a filter in its host: in wasmhost, or in a real Envoy. Peers are the servers that a case talks to, by the label after the dash in
// the authority or the service that they were asked by: "up" is where the request itself goes.
type driver interface {
	// use has the steps that follow go to a plugin of the case, the first (0) or the second (1).
	use(plugin int)

	request(headers []string, end bool)
	requestData(data string, end bool)
	requestTrailers(headers []string)
	requestMetadata(headers []string)
	requestReset()

	peerHeaders(peer string, headers []string, end bool)
	peerData(peer, data string, end bool)
	peerTrailers(peer string, headers []string)
	peerMetadata(peer string, headers []string)
	peerReset(peer string)

	connect()
	send(data string, end bool)
	closeClient()
	peerSend(data string, end bool)
	peerClose()

	wait(d time.Duration)
	reconfigure(config string)
	shutdown()
}

// authority is how requests of a case name a peer.
func authority(id int, peer string) string { return fmt.Sprintf("c%d-%s", id, peer) }

// requestFields are the pseudo headers of a case's request, and its own headers.
func requestFields(id int, headers []string) []string {
	method, path := "GET", "/"
	var rest []string
	for i := 0; i+1 < len(headers); i += 2 {
		switch headers[i] {
		case ":method":
			method = headers[i+1]
		case ":path":
			path = headers[i+1]
		default:
			rest = append(rest, headers[i], headers[i+1])
		}
	}
	return append([]string{":method", method, ":scheme", "http", ":authority", authority(id, "up"), ":path", path}, rest...)
}

// secondVM is added to a case's number for the module of its second VM.
const secondVM = 1 << 20

// moduleID is the number that the module of a plugin is assembled with.
func (c testCase) moduleID(id, plugin int) int {
	if c.apart && plugin > 0 {
		return id + secondVM
	}
	return id
}

// module gives the bytes of a plugin's module.
func (c testCase) module(id, plugin int) ([]byte, error) {
	if c.golang {
		return goGuest()
	}
	return c.guest.module(c.moduleID(id, plugin)), nil
}

// environment is that of the VM. A guest in Go learns there how to mark its lines.
func (c testCase) environment(id int) map[string]string {
	if !c.golang {
		return c.env
	}
	env := map[string]string{"MARK": mark(id)}
	maps.Copy(env, c.env)
	return env
}

func (c testCase) pluginCount() int {
	if c.second != "" {
		return 2
	}
	return 1
}

func (c testCase) pluginConfig(plugin int) string {
	if plugin > 0 {
		return c.second
	}
	return c.config
}

// The steps.

// toSecond has the steps that follow go to the case's second plugin.
func toSecond() step { return step{name: "to the second plugin", do: func(d driver) { d.use(1) }} }

func get(headers ...string) step {
	return step{name: "request" + list(headers), do: func(d driver) { d.request(headers, true) }}
}

// post begins a request that has a body or trailers.
func post(headers ...string) step {
	return step{name: "request with more to come" + list(headers), do: func(d driver) { d.request(append([]string{":method", "POST"}, headers...), false) }}
}

func body(data string) step {
	return step{name: fmt.Sprintf("request body %q", brief(data)), do: func(d driver) { d.requestData(data, false) }}
}

func lastBody(data string) step {
	return step{name: fmt.Sprintf("request body %q, its last", brief(data)), do: func(d driver) { d.requestData(data, true) }}
}

func trailers(headers ...string) step {
	return step{name: "request trailers" + list(headers), do: func(d driver) { d.requestTrailers(headers) }}
}

func metadata(headers ...string) step {
	return step{name: "request metadata" + list(headers), do: func(d driver) { d.requestMetadata(headers) }}
}

func cancel() step { return step{name: "the client resets", do: func(d driver) { d.requestReset() }} }

// answer is a whole response without a body.
func answer(headers ...string) step {
	return step{name: "response" + list(headers), do: func(d driver) { d.peerHeaders("up", withStatus(headers), true) }}
}

// begin begins a response.
func begin(headers ...string) step {
	return step{name: "response with more to come" + list(headers), do: func(d driver) { d.peerHeaders("up", withStatus(headers), false) }}
}

func upBody(data string) step {
	return step{name: fmt.Sprintf("response body %q", brief(data)), do: func(d driver) { d.peerData("up", data, false) }}
}

func lastUpBody(data string) step {
	return step{name: fmt.Sprintf("response body %q, its last", brief(data)), do: func(d driver) { d.peerData("up", data, true) }}
}

func upTrailers(headers ...string) step {
	return step{name: "response trailers" + list(headers), do: func(d driver) { d.peerTrailers("up", headers) }}
}

func upMetadata(headers ...string) step {
	return step{name: "response metadata" + list(headers), do: func(d driver) { d.peerMetadata("up", headers) }}
}

func upReset() step {
	return step{name: "the upstream resets", do: func(d driver) { d.peerReset("up") }}
}

// peer is the answer of a callout's server: headers, a body and trailers where they are not nil.
func peer(label string, headers []string, data string, trailers []string) step {
	return step{name: fmt.Sprintf("%s answers%s %q%s", label, list(headers), brief(data), list(trailers)), do: func(d driver) {
		d.peerHeaders(label, withStatus(headers), data == "" && trailers == nil)
		if data != "" {
			d.peerData(label, data, trailers == nil)
		}
		if trailers != nil {
			d.peerTrailers(label, trailers)
		}
	}}
}

func peerHeaders(label string, headers ...string) step {
	return step{name: label + " sends headers" + list(headers), do: func(d driver) { d.peerHeaders(label, withStatus(headers), false) }}
}

func peerData(label, data string) step {
	return step{name: fmt.Sprintf("%s sends %q", label, brief(data)), do: func(d driver) { d.peerData(label, data, false) }}
}

func peerTrailers(label string, headers ...string) step {
	return step{name: label + " sends trailers" + list(headers), do: func(d driver) { d.peerTrailers(label, headers) }}
}

func peerReset(label string) step {
	return step{name: label + " resets", do: func(d driver) { d.peerReset(label) }}
}

func wait(t time.Duration) step {
	return step{name: "wait " + t.String(), do: func(d driver) { d.wait(t) }}
}

// remove takes the filter's configuration away. Envoy drains the listener before.
func remove() step {
	return step{name: "the configuration goes away", do: func(d driver) { d.shutdown() }, patience: 15 * time.Second}
}

// reconfigure replaces the plugin's configuration. Its VM stays.
func reconfigure(config string) step {
	return step{name: "another configuration: " + config, do: func(d driver) { d.reconfigure(config) }, patience: 15 * time.Second}
}

func connect() step { return step{name: "connect", do: func(d driver) { d.connect() }} }
func send(data string) step {
	return step{name: fmt.Sprintf("the client sends %q", brief(data)), do: func(d driver) { d.send(data, false) }}
}
func halfClose() step {
	return step{name: "the client half-closes", do: func(d driver) { d.send("", true) }}
}
func closeClient() step {
	return step{name: "the client resets the connection", do: func(d driver) { d.closeClient() }}
}
func upSend(data string) step {
	return step{name: fmt.Sprintf("the upstream sends %q", brief(data)), do: func(d driver) { d.peerSend(data, false) }}
}
func upHalfClose() step {
	return step{name: "the upstream half-closes", do: func(d driver) { d.peerSend("", true) }}
}
func upClose() step {
	return step{name: "the upstream resets the connection", do: func(d driver) { d.peerClose() }}
}

func withStatus(headers []string) []string {
	if len(headers) > 0 && headers[0] == ":status" {
		return headers
	}
	return append([]string{":status", "200"}, headers...)
}

func list(headers []string) string {
	if len(headers) == 0 {
		return ""
	}
	return fmt.Sprintf(" %q", headers)
}

// brief shortens a long text for the name of a step.
func brief(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + fmt.Sprintf("… (%d bytes)", len(s))
}

// within says whether a case is for a version of Envoy, such as "1.39.3".
func (c testCase) within(version string) bool {
	minor := func(v string) int {
		var major, minor int
		_, _ = fmt.Sscanf(v, "%d.%d", &major, &minor)
		return major*1000 + minor
	}
	v := minor(version)
	return (c.since == "" || v >= minor(c.since)) && (c.until == "" || v <= minor(c.until))
}
