package distributor_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// short is the patience of the distributors of these tests.
const short = time.Second

// A client that asks for more than the buffers between it and the distributor hold, and does not read, loses its connection; one that reads slowly, but
// does, gets all.
func TestClientsThatDoNotReadAreDropped(t *testing.T) {
	s := start(t, distributor.Config{Data: t.TempDir(), Insecure: true, Patience: short})
	large := module(strings.Repeat("0", 100)) // the section's length has one byte
	large = append(large, bytes.Repeat([]byte{0, 2, 1, 'x'}, 8<<20)...)
	push(t, s.HTTP+"/filters/large:1", large, schema)
	ask := func(t *testing.T) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := fmt.Fprintf(c, "GET /v2/filters/large/blobs/%s HTTP/1.1\r\nHost: %s\r\n\r\n", digestOf(large), s.HTTP); err != nil {
			t.Fatal(err)
		}
		return c
	}

	t.Run("HTTP, nothing is read", func(t *testing.T) {
		c := ask(t)
		// What it has got is read only when the connection is known to have ended: a byte more from here is answered with a reset then.
		for late := time.Now().Add(patience); ; time.Sleep(short / 4) {
			if _, err := c.Write([]byte("\r\n")); err != nil {
				break
			}
			if time.Now().After(late) {
				t.Fatal("it waits for a client that does not read")
			}
		}
	})
	t.Run("HTTP, slowly", func(t *testing.T) {
		c := ask(t)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var got bytes.Buffer
		for i := 0; ; i++ {
			n, err := io.CopyN(&got, answer.Body, 2<<20)
			if err == io.EOF || n == 0 {
				break
			}
			if err != nil {
				t.Fatalf("after %d bytes: %v", got.Len(), err)
			}
			if i < 8 {
				time.Sleep(short / 3) // it is slow on purpose; longer in all than the patience
			}
		}
		if !bytes.Equal(got.Bytes(), large) {
			t.Errorf("%d bytes of %d", got.Len(), len(large))
		}
	})
	t.Run("HTTP, nothing more is sent", func(t *testing.T) {
		c, err := net.Dial("tcp", s.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "POST /v1/releases HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", s.HTTP); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && !closedByPeer(err) {
			t.Fatal("it waits for a body that does not come")
		}
	})
	t.Run("gRPC, the window stays shut", func(t *testing.T) {
		client := s.client(t)
		agent(t, s, "edge-1")
		if _, err := client.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, "apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: r}\nspec: {filters: []}\n")}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: &waftv1.Rollout{
			Metadata: &waftv1.RolloutMetadata{Name: "watched"}, Spec: &waftv1.RolloutSpec{Release: "r", Waves: []*waftv1.Wave{{Percent: 100, Soak: "1h"}}},
		}, Reason: "go"}); err != nil {
			t.Fatal(err)
		}
		// It watches the rollout, answers whatever HTTP/2 asks, and opens no window.
		c, err := net.Dial("tcp", s.GRPC)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		asked, err := proto.Marshal(&waftv1.WatchRolloutRequest{Name: "watched"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(framesWith([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers("/waft.v1.RolloutService/WatchRollout"), EndHeaders: true})
			_ = f.WriteData(1, true, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(asked))), asked...))
		})); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f := http2.NewFramer(c, c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				switch frame := frame.(type) {
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						_ = f.WriteSettingsAck()
					}
				case *http2.PingFrame:
					if !frame.IsAck() {
						_ = f.WritePing(true, frame.Data)
					}
				}
			}
		}()
		reason := strings.Repeat("why ", 1000) // each change is sent with it
		for late := time.Now().Add(patience); ; {
			if _, err := client.Rollouts.PauseRollout(t.Context(), &waftv1.RolloutActionRequest{Name: "watched", Reason: reason}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Rollouts.ResumeRollout(t.Context(), &waftv1.RolloutActionRequest{Name: "watched", Reason: reason}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				return // and whoever reads is served
			default:
			}
			if time.Now().After(late) {
				t.Fatal("it waits for a client whose window stays shut")
			}
		}
	})
}
