package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/wholefile"
)

// How long the suite waits for a real Envoy.
const (
	readyTimeout = 5 * time.Minute // it compiles a module for each case; a busy machine takes its time
	// calmTime is how long nothing may happen before a step is over.
	calmTime = 25 * time.Millisecond
	// defaultPatience is how long the suite waits for what wasmhost did in the same step.
	defaultPatience = 1500 * time.Millisecond
	// shortPatience is how long it waits for a peer that wasmhost did not ask.
	shortPatience = 50 * time.Millisecond
	// pollEvery is how often it looks.
	pollEvery = 3 * time.Millisecond
	// casesAtOnce is how many cases run at a time.
	casesAtOnce = 10
)

// Failure policies, and the least time between two starts of a VM.
const (
	policyClosed  = "FAIL_CLOSED"
	policyOpen    = "FAIL_OPEN"
	policyReload  = "FAIL_RELOAD"
	reloadBackoff = time.Second
)

// realEnvoy is a running Envoy with the cases' listeners.
type realEnvoy struct {
	process   *envoy.Process
	addresses map[string]string // of the listeners
	peers     *peers
	log       *guestLog
	file      string // of the listeners
	tcp       map[int]*tcpPeer
	release   func() // of the port where nobody listens
	// refused are the lines of the main thread's VMs at the start, of the cases without a listener.
	refused map[int][]string

	mu      sync.Mutex
	cases   map[int]testCase // those that have a listener
	updates int
}

// startEnvoy starts one Envoy with all cases.
func startEnvoy(ctx context.Context, binary envoy.Binary, dir string, cases map[int]testCase) (_ *realEnvoy, err error) {
	p, err := newPeers()
	if err != nil {
		return nil, err
	}
	e := &realEnvoy{peers: p, log: &guestLog{}, file: filepath.Join(dir, "listeners.json"), tcp: map[int]*tcpPeer{}, cases: cases}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	dead, release, err := deadAddress()
	if err != nil {
		return nil, err
	}
	e.release = release
	tcp := map[string]net.Addr{}
	for id, c := range cases {
		if c.network {
			if e.tcp[id], err = newTCPPeer(); err != nil {
				return nil, err
			}
			tcp[tcpCluster(id)] = e.tcp[id].listener.Addr()
		}
	}
	boot, err := bootstrap(e.file, p.http.Addr(), dead, tcp)
	if err != nil {
		return nil, err
	}
	if err := writeModules(dir, cases); err != nil {
		return nil, err
	}
	if err := e.writeListeners(); err != nil {
		return nil, err
	}
	e.process, err = envoy.Start(ctx, binary, envoy.ProcessConfig{
		Dir: dir, Bootstrap: boot, Concurrency: 1, LogLevel: "warning", ComponentLogLevel: "wasm:info", Log: e.log,
		Args: []string{"--log-format", "%t %v", "--drain-time-s", "1", "--drain-strategy", "immediate", "--use-dynamic-base-id"},
	})
	if err != nil {
		return nil, err
	}
	e.log.setMain(e.process.PID())
	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := e.process.Ready(ready); err != nil {
		return nil, fmt.Errorf("%w; its log: %s", err, filepath.Join(dir, "envoy.log"))
	}
	admin, err := e.process.Admin(ready)
	if err != nil {
		return nil, err
	}
	if e.addresses, err = admin.Listeners(ready); err != nil {
		return nil, err
	}
	e.refused = map[int][]string{}
	for id := range cases {
		if e.addresses[listenerName(id, 0)] == "" {
			e.refused[id] = e.log.take(id, 0, true)
		}
	}
	return e, nil
}

// dead says whether Envoy has ended.
func (e *realEnvoy) dead() bool {
	select {
	case <-e.process.Done():
		return true
	default:
		return false
	}
}

// dies waits a little for the end of an Envoy that does not answer.
func (e *realEnvoy) dies() bool {
	select {
	case <-e.process.Done():
		return true
	case <-time.After(defaultPatience):
		return false
	}
}

func (e *realEnvoy) stop() {
	if e.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
		defer cancel()
		_ = e.process.Stop(ctx) // what the cases saw counts
	}
	e.peers.close()
	if e.release != nil {
		e.release()
	}
	for _, p := range e.tcp {
		_ = p.listener.Close()
	}
}

// writeListeners replaces the file of the listeners.
func (e *realEnvoy) writeListeners() error {
	e.updates++
	content, err := listeners(strconv.Itoa(e.updates), filepath.Dir(e.file), e.cases)
	if err != nil {
		return err
	}
	return wholefile.Replace(e.file, content)
}

// remove takes a case's listener away.
func (e *realEnvoy) remove(id int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.cases, id)
	return e.writeListeners()
}

// guestLog picks the guests' lines out of Envoy's log. It is an io.Writer.
type guestLog struct {
	mu      sync.Mutex
	main    int // the main thread
	partial []byte
	lines   map[int][]threadLine // by case
}

type threadLine struct {
	thread int
	text   string
}

func (g *guestLog) setMain(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.main = pid
}

func (g *guestLog) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lines == nil {
		g.lines = map[int][]threadLine{}
	}
	rest := append(g.partial, p...)
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			g.partial = bytes.Clone(rest)
			return len(p), nil
		}
		line := string(rest[:i])
		rest = rest[i+1:]
		id, text, ok := guestLine(line)
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(line, " ")
		thread, err := strconv.Atoi(strings.Trim(first, "[]"))
		if err != nil {
			continue
		}
		g.lines[id] = append(g.lines[id], threadLine{thread, text})
	}
}

// take gives a case's lines from a position on: those of the worker, or those of the main thread.
func (g *guestLog) take(id, from int, main bool) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, l := range g.lines[id] {
		if (l.thread == g.main) == main {
			if from > 0 {
				from--
				continue
			}
			out = append(out, l.text)
		}
	}
	return out
}

// envoyDriver runs one case in a real Envoy.
type envoyDriver struct {
	envoy  *realEnvoy
	id     int
	addr   string
	conns  []*h2conn
	stream *h2stream
	tcp    *tcpEnd
	asked  map[string]bool // the peers that wasmhost asked
	fault  error
}

// run runs a case. expected is what wasmhost did, which says how long to wait at each step.
func (e *realEnvoy) run(id int, c testCase, expected trace) (trace, error) {
	var t trace
	d := &envoyDriver{envoy: e, id: id, addr: e.addresses[listenerName(id, 0)], asked: map[string]bool{}}
	defer d.close()
	if d.addr == "" {
		var want []string
		if len(expected.steps) > 0 {
			want = expected.steps[0].guest
		}
		return trace{steps: []stepTrace{{name: stepStart, guest: withoutCanary(e.refused[id], want), ends: []string{refused}}}}, nil
	}
	seen, seenBySecond := 0, 0
	settle := func(name string, n int, patience time.Duration) {
		if patience == 0 {
			patience = defaultPatience
		}
		want := 0
		var wantEnds []string
		if n < len(expected.steps) {
			want, wantEnds = len(expected.steps[n].guest), expected.steps[n].ends
			for _, l := range wantEnds {
				who, _, _ := strings.Cut(l, " ")
				d.asked[who] = true
			}
		}
		s := stepTrace{name: name}
		deadline := time.Now().Add(patience)
		calm := time.Now()
		for {
			fresh := e.log.take(id, seen, false)
			for _, l := range e.log.take(id+secondVM, seenBySecond, false) {
				fresh = append(fresh, ofSecond+l)
			}
			ends := d.events()
			if len(fresh) != len(s.guest) || len(ends) > 0 {
				s.guest = fresh
				s.ends = joinData(append(s.ends, ends...))
				calm = time.Now()
			}
			if e.dead() {
				s.breaks = true
				break
			}
			enough := len(s.guest) >= want && len(s.ends) >= len(wantEnds)
			if enough && time.Since(calm) > calmTime || time.Now().After(deadline) {
				break
			}
			time.Sleep(pollEvery)
		}
		for _, l := range s.guest {
			if strings.HasPrefix(l, ofSecond) {
				seenBySecond++
			} else {
				seen++
			}
		}
		t.steps = append(t.steps, s)
	}
	settle(stepStart, 0, 0)
	for i, s := range c.steps {
		if n := len(t.steps); t.steps[n-1].breaks {
			break
		}
		s.do(d)
		if d.fault != nil && e.dies() {
			t.steps = append(t.steps, stepTrace{name: s.name, breaks: true})
			break
		}
		if d.fault != nil {
			return t, fmt.Errorf("step %q: %w", s.name, d.fault)
		}
		settle(s.name, i+1, s.patience)
	}
	return t, nil
}

// withoutCanary drops what Envoy does twice with a module that it refuses: it starts a VM to clone others from, and a second one to try the
// configuration in.
func withoutCanary(lines, want []string) []string {
	extra := len(lines) - len(want)
	if extra <= 0 || extra > len(want) {
		return lines
	}
	for i := range extra {
		if lines[i] != want[i] {
			return lines
		}
	}
	return lines[extra:]
}

// joinData puts data that came in pieces during one step together.
func joinData(lines []string) []string {
	var out []string
	for _, l := range lines {
		if n := len(out); n > 0 {
			before, who := dataLine(out[n-1])
			data, by := dataLine(l)
			if who != "" && who == by && !strings.HasSuffix(out[n-1], endMark) {
				end := ""
				if strings.HasSuffix(l, endMark) {
					end = endMark
				}
				out[n-1] = who + gotData + strconv.Quote(before+data) + end
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

// Parts of the lines about the ends.
const (
	gotData   = " got data "
	endMark   = " end"
	ofSecond  = "second VM: "
	stepStart = "start"
	refused   = "the configuration is refused"
)

// dataLine takes a line about data apart; who is empty if it is about something else.
func dataLine(l string) (data, who string) {
	who, quoted, ok := strings.Cut(l, gotData)
	if !ok {
		return "", ""
	}
	data, err := strconv.Unquote(strings.TrimSuffix(quoted, endMark))
	if err != nil {
		return "", ""
	}
	return data, who
}

func (d *envoyDriver) close() {
	for _, c := range d.conns {
		c.close()
	}
	if d.tcp != nil {
		_ = d.tcp.conn.Close()
	}
}

// events are what the ends got since the last call.
func (d *envoyDriver) events() []string {
	var out []string
	if d.stream != nil {
		out = append(out, lines("client", d.stream.take())...)
	}
	if d.tcp != nil {
		out = append(out, lines("client", d.tcp.take())...)
	}
	out = append(out, d.envoy.peers.events(d.id)...)
	if p := d.envoy.tcp[d.id]; p != nil {
		if end := p.get(0); end != nil {
			out = append(out, lines("up", end.take())...)
		}
	}
	return out
}

func (d *envoyDriver) fail(format string, args ...any) {
	if d.fault == nil {
		d.fault = fmt.Errorf(format, args...)
	}
}

func (d *envoyDriver) use(plugin int) {
	d.addr = d.envoy.addresses[listenerName(d.id, plugin)]
}

func (d *envoyDriver) dial() net.Conn {
	conn, err := net.DialTimeout("tcp", d.addr, ioTimeout)
	if err != nil {
		d.fail("connect to Envoy: %w", err)
		return nil
	}
	return conn
}

func (d *envoyDriver) request(headers []string, end bool) {
	// A connection for each request: an Envoy may close one on which it answered before the request's end.
	conn := d.dial()
	if conn == nil {
		return
	}
	h2, err := newH2(conn, true, nil)
	if err != nil {
		d.fail("begin HTTP/2 with Envoy: %w", err)
		return
	}
	d.conns = append(d.conns, h2)
	d.envoy.peers.forget(authority(d.id, "up"))
	d.stream = h2.open()
	d.stream.sendHeaders(requestFields(d.id, headers), end)
}

func (d *envoyDriver) requestData(data string, end bool) { d.stream.sendData(data, end) }
func (d *envoyDriver) requestTrailers(headers []string)  { d.stream.sendHeaders(headers, true) }
func (d *envoyDriver) requestMetadata(headers []string)  { d.stream.sendMetadata(headers) }
func (d *envoyDriver) requestReset()                     { d.stream.reset() }
func (d *envoyDriver) peerMetadata(p string, h []string) {
	d.peer(p, func(s *h2stream) { s.sendMetadata(h) })
}
func (d *envoyDriver) peerTrailers(p string, h []string) {
	d.peer(p, func(s *h2stream) { s.sendHeaders(h, true) })
}
func (d *envoyDriver) peerReset(p string) { d.peer(p, func(s *h2stream) { s.reset() }) }
func (d *envoyDriver) peerData(p, data string, end bool) {
	d.peer(p, func(s *h2stream) { s.sendData(data, end) })
}
func (d *envoyDriver) peerHeaders(p string, h []string, end bool) {
	d.peer(p, func(s *h2stream) { s.sendHeaders(h, end) })
}

// peer does something at a peer that was asked. One that was not asked does nothing, and the trace shows that it was not.
func (d *envoyDriver) peer(name string, f func(*h2stream)) {
	patience := shortPatience
	if d.asked[name] {
		patience = defaultPatience
	}
	if s := d.envoy.peers.stream(authority(d.id, name), patience); s != nil {
		f(s)
	}
}

func (d *envoyDriver) connect() {
	if conn := d.dial(); conn != nil {
		d.tcp = newTCPEnd(conn)
	}
}

func (d *envoyDriver) send(data string, end bool) {
	if d.tcp != nil {
		d.tcp.send(data, end)
	}
}

func (d *envoyDriver) closeClient() {
	if d.tcp != nil {
		d.tcp.reset()
	}
}

func (d *envoyDriver) peerSend(data string, end bool) {
	if p := d.envoy.tcp[d.id].get(defaultPatience); p != nil {
		p.send(data, end)
	}
}

func (d *envoyDriver) peerClose() {
	if p := d.envoy.tcp[d.id].get(defaultPatience); p != nil {
		p.reset()
	}
}

func (d *envoyDriver) wait(t time.Duration) { time.Sleep(t) }

func (d *envoyDriver) reconfigure(config string) {
	e := d.envoy
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.cases[d.id]
	c.config = config
	e.cases[d.id] = c
	if err := e.writeListeners(); err != nil {
		d.fail("write the listeners: %w", err)
	}
}

func (d *envoyDriver) shutdown() {
	if err := d.envoy.remove(d.id); err != nil {
		d.fail("remove the listener: %w", err)
	}
}
