package distributor_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/api"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// What a stranger's connection may cost, and for how long it may wait.
const (
	maxTaken    = 32 << 20
	maxHeap     = 512 << 20
	maxHalfOpen = 4 * api.HandshakeTimeout
)

// attack is what somebody does to a port, once; an error says what the port has let them do.
type attack func(ctx context.Context, dial func(context.Context) (net.Conn, error)) error

// pours writes until the port has had enough; next gives the next bytes.
func pours(next func(i int) []byte) attack {
	return func(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
		c, err := dial(ctx)
		if err != nil {
			return nil // it takes no more of them
		}
		defer c.Close()
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_ = c.SetWriteDeadline(time.Now().Add(patience))
		for taken, i := 0, 0; ; i++ {
			n, err := c.Write(next(i))
			if err != nil {
				return nil
			}
			if taken += n; taken > maxTaken {
				return fmt.Errorf("it has taken %d bytes", taken)
			}
		}
	}
}

// waits writes a beginning and then nothing: the port has to end that.
func waits(beginning []byte) attack {
	return func(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
		c, err := dial(ctx)
		if err != nil {
			return nil
		}
		defer c.Close()
		if _, err := c.Write(beginning); err != nil {
			return nil
		}
		_ = c.SetReadDeadline(time.Now().Add(maxHalfOpen))
		if _, err := io.Copy(io.Discard, c); err != nil && !closedByPeer(err) {
			return fmt.Errorf("after %q it waits for longer than %s", beginning, maxHalfOpen)
		}
		return nil
	}
}

func closedByPeer(err error) bool {
	timeout, ok := err.(net.Error)
	return !ok || !timeout.Timeout()
}

// frames are the bytes of an HTTP/2 client's beginning, and what write adds.
func frames(write func(f *http2.Framer)) []byte { return framesWith(nil, write) }

func framesWith(settings []http2.Setting, write func(f *http2.Framer)) []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	_ = f.WriteSettings(settings...) // to memory
	write(f)
	return b.Bytes()
}

// headers are those of a call, as HPACK has them.
func headers(method string, more ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}, {Name: ":authority", Value: "x"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		_ = e.WriteField(h) // to memory
	}
	return b.Bytes()
}

// zipped is so much of nothing, compressed.
func zipped(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.CopyN(w, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Each port is fed with what no client sends, from many connections, while a real sink goes from release to release and a real client asks.
func TestPortsTakeGarbage(t *testing.T) {
	servers := newAuthority(t, "servers")
	cert, key := servers.issue("waft")
	bomb := zipped(t, 512<<20)
	for name, cfg := range map[string]distributor.Config{
		"plain": {Insecure: true},
		"TLS":   {TLS: distributor.TLS{Cert: cert, Key: key}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Data = t.TempDir()
			s := start(t, cfg)
			var wrap func(net.Conn) net.Conn
			conn := api.ClientConfig{Address: s.GRPC, Actor: "t", Insecure: cfg.Insecure}
			creds := insecure.NewCredentials()
			if !cfg.Insecure {
				conn.TLS.CA = servers.file
				settings, err := conn.TLS.Config()
				if err != nil {
					t.Fatal(err)
				}
				creds = credentials.NewTLS(settings)
				wrap = func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) } // strangers do not care
			}
			client, err := api.Dial(conn)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			agentOver(t, client, s.GRPC, creds, "edge-1")

			withstand(t, client, wrap, bomb, attackedPort{"gRPC", s.GRPC}, attackedPort{"HTTP", s.HTTP})
		})
	}
}

// The ports of a replica that does not lead are fed with the same, and the port for other replicas, by strangers, at both, while a real sink is served by the one that does not lead, through that port
// of the other.
func TestPortsOfReplicasTakeGarbage(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	strangers := newAuthority(t, "strangers")
	stranger := strangers.client("eve")
	wrap := func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{stranger}}) // strangers do not care
	}
	var attacked []attackedPort
	var follower *server
	for _, name := range []string{"leader", "follower"} {
		peer := etcdtest.FreeURL(t).Host
		follower = start(t, distributor.Config{Data: t.TempDir(), Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: peer, Replica: name})
		attacked = append(attacked, attackedPort{"gRPC", peer}, attackedPort{"HTTP", peer})
	}
	attacked = append(attacked, attackedPort{"gRPC", follower.GRPC}, attackedPort{"HTTP", follower.HTTP})
	agent(t, follower, "edge-1")
	withstand(t, follower.client(t), wrap, zipped(t, 512<<20), attacked...)
}

// attackedPort is where it is attacked, as a port that speaks gRPC or HTTP.
type attackedPort struct{ speaks, address string }

// withstand attacks ports, each from many connections, in the clear and as wrap has it, while the client takes the fleet from release to release; each rollout has to end well, within patience.
func withstand(t *testing.T, client *api.Client, wrap func(net.Conn) net.Conn, bomb []byte, attacked ...attackedPort) {
	t.Helper()
	before := runtime.NumGoroutine()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var attackers sync.WaitGroup
	var done atomic.Int64
	for _, at := range attacked {
		for what, a := range attacks(t, at.speaks, bomb) {
			for _, over := range []func(net.Conn) net.Conn{nil, wrap} {
				attackers.Go(func() {
					dial := func(ctx context.Context) (net.Conn, error) {
						c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.address)
						if err == nil && over != nil {
							c = over(c)
						}
						return c, err
					}
					for range attackRounds {
						if err := a(ctx, dial); err != nil {
							t.Errorf("%s at %s, %s: %v", at.speaks, at.address, what, err)
						}
						done.Add(1)
					}
				})
			}
		}
	}
	ended := make(chan struct{})
	go func() { attackers.Wait(); close(ended) }()

	// What the real ones see meanwhile.
	var heap uint64
	for i := 0; ; i++ {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap = max(heap, m.HeapAlloc)
		asks, cancel := context.WithTimeout(t.Context(), patience)
		name := fmt.Sprintf("r-%d", i)
		_, err := client.Releases.CreateRelease(asks, &waftv1.CreateReleaseRequest{Release: release(t, fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec: {filters: []}\n", name))})
		if err != nil {
			t.Fatalf("after %d attacks: %v", done.Load(), err)
		}
		_, err = client.Rollouts.StartRollout(asks, &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: &waftv1.RolloutSpec{Release: name, Waves: []*waftv1.Wave{{Percent: 100}}},
		}, Reason: "go"})
		if err != nil {
			t.Fatalf("after %d attacks: %v", done.Load(), err)
		}
		if r := follow(t, client, name); r.GetStatus().GetPhase() != "Done" {
			t.Fatalf("after %d attacks the rollout ended as %v: %s", done.Load(), r.GetStatus().GetPhase(), r.GetStatus().GetMessage())
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(50 * time.Millisecond): // the next round
			continue
		}
		t.Logf("%d attacks, %d rounds meanwhile, at most %d MiB of heap", done.Load(), i+1, heap>>20)
		break
	}
	if heap > maxHeap {
		t.Errorf("it took %d MiB", heap>>20)
	}
	// Nothing is left of them.
	for late := time.Now().Add(patience); runtime.NumGoroutine() > before+20; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// attackRounds is how often each attack comes.
const attackRounds = 1

// attacks are those on a port.
func attacks(t *testing.T, port string, bomb []byte) map[string]attack {
	t.Helper()
	const call = "/waft.v1.ReleaseService/CreateRelease"
	noise := make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise) // never fails
	as := map[string]attack{
		"noise":            pours(func(int) []byte { return noise }),
		"nothing":          waits(nil),
		"half a handshake": waits([]byte{22, 3, 1, 2, 0, 1}),
	}
	if port == "HTTP" {
		as["half a request"] = waits([]byte("GET / HT"))
		as["a header that does not end"] = pours(func(i int) []byte {
			if i == 0 {
				return []byte("GET / HTTP/1.1\r\nHost: x\r\nX: ")
			}
			return bytes.Repeat([]byte("x"), 64<<10)
		})
		as["headers that do not end"] = pours(func(i int) []byte {
			if i == 0 {
				return []byte("GET / HTTP/1.1\r\nHost: x\r\n")
			}
			return fmt.Appendf(nil, "X-%d: %s\r\n", i, strings.Repeat("x", 1000))
		})
		for _, path := range []string{"/v1/releases", "/v2/filters/f/blobs/uploads/", "/v2/filters/f/manifests/latest"} {
			method := http.MethodPost
			if strings.Contains(path, "manifests") {
				method = http.MethodPut
			}
			head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", method, path, len(bomb))
			as["a bomb for "+path] = sends([]byte(head), bomb)
		}
		return as
	}
	as["half a connection"] = waits([]byte(http2.ClientPreface[:10]))
	as["a header that does not end"] = pours(func(i int) []byte {
		if i == 0 {
			return frames(func(f *http2.Framer) {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(call)}) // to memory, as all of these
			})
		}
		var b bytes.Buffer
		_ = http2.NewFramer(&b, nil).WriteContinuation(1, false, bytes.Repeat(headers(call, hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 100)})[20:], 50))
		return b.Bytes()
	})
	as["resets"] = pours(func(i int) []byte {
		write := func(f *http2.Framer) {
			for n := range 100 {
				id := uint32(2*(100*i+n) + 1)
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headers(call), EndHeaders: true})
				_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		}
		if i == 0 {
			return frames(write)
		}
		if i > 200 {
			return bytes.Repeat([]byte{0xff}, 1<<10) // enough of them
		}
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		return b.Bytes()
	})
	message := append(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(bomb))), bomb...)
	for _, method := range []string{
		call, mcpv1.ResourceSource_EstablishResourceStream_FullMethodName, discoveryv3.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName,
	} {
		as["a bomb for "+method] = calls(method, message)
	}
	return as
}

// sends writes all of something, and reads what comes until the port has no more to say for a moment.
func sends(parts ...[]byte) attack {
	return func(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
		c, err := dial(ctx)
		if err != nil {
			return nil
		}
		defer c.Close()
		go func() {
			for _, part := range parts {
				_, _ = c.Write(part) // it may have had enough
			}
		}()
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.Copy(io.Discard, c)
		return nil
	}
}

// calls calls a method with one compressed message, as the port has room for it: what is sent beyond that is thrown away before it is read.
func calls(method string, message []byte) attack {
	return func(ctx context.Context, dial func(context.Context) (net.Conn, error)) error {
		c, err := dial(ctx)
		if err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write(frames(func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(method, hpack.HeaderField{Name: "grpc-encoding", Value: "gzip"}), EndHeaders: true})
		})); err != nil {
			return nil
		}
		f := http2.NewFramer(c, c)
		f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
		const window = 1<<16 - 1 // that of a stream, and of a connection, before anything is said (RFC 9113, section 6.9.2)
		stream, whole, data := window, window, message
		for {
			for n := min(len(data), stream, whole, 16<<10); n > 0; n = min(len(data), stream, whole, 16<<10) {
				if f.WriteData(1, false, data[:n]) != nil {
					return nil
				}
				data, stream, whole = data[n:], stream-n, whole-n
			}
			frame, err := f.ReadFrame()
			if err != nil {
				if !closedByPeer(err) {
					return fmt.Errorf("it has not answered, %d of %d bytes were sent", len(message)-len(data), len(message))
				}
				return nil // it speaks TLS, or takes no more of them
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if frame.IsAck() {
					continue
				}
				if size, ok := frame.Value(http2.SettingInitialWindowSize); ok {
					stream += int(size) - window
				}
				err = f.WriteSettingsAck()
			case *http2.PingFrame:
				if !frame.IsAck() {
					err = f.WritePing(true, frame.Data)
				}
			case *http2.WindowUpdateFrame:
				if frame.StreamID == 0 {
					whole += int(frame.Increment)
				} else {
					stream += int(frame.Increment)
				}
			case *http2.RSTStreamFrame:
				return fmt.Errorf("it has reset the stream (%v), and not answered", frame.ErrCode)
			case *http2.MetaHeadersFrame:
				if !frame.StreamEnded() {
					continue
				}
				for _, h := range frame.Fields {
					if want := fmt.Sprint(int(codes.ResourceExhausted)); h.Name == "grpc-status" && h.Value != want {
						return fmt.Errorf("it answers status %s, want %s: %+v", h.Value, want, frame.Fields)
					}
				}
				return nil
			}
			if err != nil {
				return nil
			}
		}
	}
}

// A stranger is refused before a message is read, and so costs no more than a connection.
func TestStrangersAreRefusedAtTheDoor(t *testing.T) {
	g := startGuarded(t)
	for who, want := range map[string]codes.Code{nobody: codes.Unauthenticated, "a stranger": codes.PermissionDenied} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stream, err := g.visitor(t, who).conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, waftv1.ReleaseService_CreateRelease_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		// Nothing is sent. Where the server waits for a message, this waits, too.
		if err := stream.RecvMsg(&waftv1.Release{}); status.Code(err) != want {
			t.Errorf("%s: %v, want %s", who, err, want)
		}
		cancel()
	}
}
