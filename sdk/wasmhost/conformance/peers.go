package conformance

import (
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// peers are the servers that filters and requests reach: one HTTP/2 server for all requests, callouts and gRPC calls, which are told apart by
// their authority or path, and one TCP server for each case of a network filter.
type peers struct {
	http net.Listener

	mu      sync.Mutex
	conns   []net.Conn
	streams map[string]*h2stream // by "c17-up"
	arrived chan struct{}        // closed and replaced when a stream arrives
}

// label finds the name of a case's peer in an authority or a path.
var label = regexp.MustCompile(`c\d+-\w+`)

func newPeers() (*peers, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &peers{http: l, streams: map[string]*h2stream{}, arrived: make(chan struct{})}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			go func() {
				if _, err := newH2(conn, false, p.take); err != nil {
					_ = conn.Close()
				}
			}()
		}
	}()
	return p, nil
}

func (p *peers) close() {
	_ = p.http.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// take notes a new stream.
func (p *peers) take(s *h2stream) {
	var name string
	for _, h := range s.headers {
		if h.Name == ":authority" || h.Name == ":path" {
			if m := label.FindString(h.Value); m != "" {
				name = m
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams[name] = s
	close(p.arrived)
	p.arrived = make(chan struct{})
}

// stream waits for a case's peer to be asked. It is nil if that does not happen in time.
func (p *peers) stream(name string, patience time.Duration) *h2stream {
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		s, arrived := p.streams[name], p.arrived
		p.mu.Unlock()
		if s != nil {
			return s
		}
		select {
		case <-arrived:
		case <-deadline:
			return nil
		}
	}
}

// events are what the peers of a case got since the last call, by the peers' names.
func (p *peers) events(id int) []string {
	prefix := authority(id, "")
	p.mu.Lock()
	byName := map[string]*h2stream{}
	var names []string
	for n, s := range p.streams {
		if strings.HasPrefix(n, prefix) {
			names = append(names, n)
			byName[n] = s
		}
	}
	p.mu.Unlock()
	slices.Sort(names)
	var out []string
	for _, n := range names {
		out = append(out, lines(strings.TrimPrefix(n, prefix), byName[n].take())...)
	}
	return out
}

// tcpPeer is the upstream of a network filter: one connection, read into memory.
type tcpPeer struct {
	listener net.Listener
	end      *tcpEnd
	ready    chan struct{}
}

func newTCPPeer() (*tcpPeer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &tcpPeer{listener: l, ready: make(chan struct{})}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.end = newTCPEnd(conn)
		close(p.ready)
	}()
	return p, nil
}

// get waits for the connection; nil if there is none in time.
func (p *tcpPeer) get(patience time.Duration) *tcpEnd {
	select {
	case <-p.ready:
		return p.end
	case <-time.After(patience):
		return nil
	}
}

// tcpEnd is one end of a TCP connection.
type tcpEnd struct {
	conn net.Conn
	mu   sync.Mutex
	got  []event
	over bool
}

func newTCPEnd(conn net.Conn) *tcpEnd {
	e := &tcpEnd{conn: conn}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			e.mu.Lock()
			if n > 0 && !e.over {
				e.got = append(e.got, event{kind: evData, data: string(buf[:n])})
			}
			if err != nil && !e.over {
				e.got = append(e.got, event{kind: evData, end: true})
				e.over = true
			}
			e.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return e
}

func (e *tcpEnd) take() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := e.got
	e.got = nil
	return got
}

// send writes, and closes its way when it is the last. An error shows at the other end, which gets nothing.
func (e *tcpEnd) send(data string, end bool) {
	_ = e.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, _ = e.conn.Write([]byte(data))
	if t, ok := e.conn.(*net.TCPConn); ok && end {
		_ = t.CloseWrite()
	}
}

// reset breaks the connection off. What comes later is nobody's.
func (e *tcpEnd) reset() {
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	if t, ok := e.conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = e.conn.Close()
}

// forget makes the next stream of a name a new one.
func (p *peers) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.streams, name)
}

// deadAddress is one where nobody listens. It stays so until release is called: the port is taken.
func deadAddress() (addr net.Addr, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	release = func() { _ = syscall.Close(fd) }
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		release()
		return nil, nil, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		release()
		return nil, nil, os.NewSyscallError("getsockname", err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, release, nil
}
