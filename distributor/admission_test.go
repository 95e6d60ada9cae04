package distributor

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func newTestAdmission(t *testing.T, handshakes, arrivals int) *admission {
	t.Helper()
	a, err := newAdmission(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	a.grpc.most, a.http.most, a.arrivals = handshakes, handshakes, make(chan struct{}, arrivals)
	a.grpc.turns = 0
	return a
}

// countOf is what a counter has counted.
func countOf(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	m := &dto.Metric{}
	if err := c.Write(m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// ended says whether the other end of a pipe was closed.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now()) // no time passes: an end is told all the same
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// As many connections as may be are in their handshake; a newer one takes the place of one that has had its time, and of no other.
func TestHandshakesAreBounded(t *testing.T) {
	h := &newTestAdmission(t, 2, 1).grpc
	now := time.Now()
	pipe := func() (ours, theirs net.Conn) {
		ours, theirs = net.Pipe()
		t.Cleanup(func() { ours.Close(); theirs.Close() })
		return ours, theirs
	}
	oldest, stranger := pipe()
	if _, _, ok := h.begin(oldest, now); !ok {
		t.Fatal("the first is refused")
	}
	second, client := pipe()
	place, _, ok := h.begin(second, now.Add(handshakeGrace/2))
	if !ok {
		t.Fatal("the second is refused")
	}
	third, _ := pipe()
	if _, _, ok := h.begin(third, now.Add(handshakeGrace-1)); ok {
		t.Error("a third is taken while nobody has had its time")
	}
	if ended(stranger) {
		t.Error("the oldest is ended before its time")
	}
	if _, _, ok := h.begin(third, now.Add(handshakeGrace)); !ok {
		t.Error("a third is refused although one says nothing")
	}
	if !ended(stranger) || ended(client) {
		t.Errorf("the oldest is ended: %v, the other: %v", ended(stranger), ended(client))
	}
	h.end(place)
	h.end(place) // once more changes nothing
	if n := h.running.Len(); n != 1 {
		t.Errorf("%d are in their handshake", n)
	}
	if n := countOf(t, h.refused); n != 2 {
		t.Errorf("%v are counted as refused", n)
	}
}

// queue has connections come one after the other, and gives the channels that tell whether they got a place.
func queue(h *handshakes, conns ...net.Conn) (got []chan bool) {
	for _, conn := range conns {
		c := make(chan bool, 1)
		got = append(got, c)
		go func() {
			_, ok := h.enter(conn)
			c <- ok
		}()
		synctest.Wait() // so that they come in this order
	}
	return got
}

// state says what came of connections: 1 has a place, 0 was refused, and . waits.
func state(got []chan bool) string {
	synctest.Wait()
	text := ""
	for _, c := range got {
		select {
		case ok := <-c:
			text += map[bool]string{true: "1", false: "0"}[ok]
			c <- ok
		default:
			text += "."
		}
	}
	return text
}

// Who finds no place waits for one: the first that came has it first, so many wait and no more, and who waits is not kept out by those that say nothing.
func TestHandshakesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &newTestAdmission(t, 1, 1).grpc
		h.turns = 3
		ours, theirs := make([]net.Conn, 6), make([]net.Conn, 6)
		for i := range ours {
			ours[i], theirs[i] = net.Pipe()
		}
		want := func(when string, got []chan bool, want string) {
			t.Helper()
			if now := state(got); now != want {
				t.Errorf("%s: %s, want %s", when, now, want)
			}
		}
		first, ok := h.enter(ours[0])
		if !ok {
			t.Fatal("the first is refused")
		}
		got := queue(h, ours[1:5]...)
		want("one more than may wait", got, "...0")
		time.Sleep(h.grace / 2)
		h.end(first)
		want("the first has shaken hands", got, "1..0")
		time.Sleep(h.grace - 1)
		want("the second has nearly had its time", got, "1..0")
		if ended(theirs[1]) {
			t.Error("who says nothing is ended before its time")
		}
		time.Sleep(time.Nanosecond)
		want("the second has had its time", got, "11.0")
		if !ended(theirs[1]) {
			t.Error("who says nothing keeps its connection")
		}
		// There is room for one more to wait, who finds the queue as it is.
		got = append(got, queue(h, ours[5])...)
		want("another comes", got, "11.0.")
		time.Sleep(h.grace)
		want("the third has had its time", got, "1110.")
		time.Sleep(h.grace)
		want("the fourth has had its time", got, "11101")
		if refused, queued := countOf(t, h.refused), countOf(t, h.queued); refused != 4 || queued != 4 {
			t.Errorf("%v are counted as refused, %v as queued", refused, queued)
		}
	})
}

// Nobody waits longer than is said, and who is refused for it keeps nobody behind.
func TestTurnsTakeSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &newTestAdmission(t, 1, 1).grpc
		h.turns, h.grace = 3, time.Hour
		first, ok := h.enter(nil)
		if !ok {
			t.Fatal("the first is refused")
		}
		got := queue(h, nil)
		time.Sleep(h.wait / 2)
		got = append(got, queue(h, nil)...)
		time.Sleep(h.wait/2 - 1)
		if now := state(got); now != ".." {
			t.Errorf("before its time is over: %s", now)
		}
		time.Sleep(time.Nanosecond)
		if now := state(got); now != "0." {
			t.Errorf("when its time is over: %s", now)
		}
		h.end(first)
		if now := state(got); now != "01" || h.waiting.Len() != 0 || h.running.Len() != 1 {
			t.Errorf("when there is a place: %s; %d wait, %d shake hands", now, h.waiting.Len(), h.running.Len())
		}
	})
}

// countingCredentials count the handshakes.
type countingCredentials struct {
	credentials.TransportCredentials
	shaken int
}

func (c *countingCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c.shaken++
	return conn, nil, nil
}

// A client that has gone while it waited costs no handshake; one that is there has all of its time from its turn on.
func TestWhoHasGoneIsNotShakenHandsWith(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other operating systems say it each in a way of their own")
	}
	a := newTestAdmission(t, 1, 1)
	under := &countingCredentials{}
	for _, leaves := range []bool{true, false} {
		client, server := bothEnds(t, newPatience(DefaultPatience).watched)
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := server.SetDeadline(time.Now().Add(-time.Second)); err != nil { // it has waited for long
			t.Fatal(err)
		}
		if leaves {
			_ = client.Close()
			for late := time.Now().Add(10 * time.Second); !endedAlready(server); time.Sleep(time.Millisecond) {
				if time.Now().After(late) {
					t.Fatal("a client that has gone is not known to have")
				}
			}
		}
		before := under.shaken
		_, _, err := a.credentials(under).ServerHandshake(server)
		switch shaken := under.shaken - before; {
		case leaves && (!errors.Is(err, errGone) || shaken != 0):
			t.Errorf("one that has gone: %v, %d handshakes", err, shaken)
		case !leaves && (err != nil || shaken != 1):
			t.Errorf("one that is there: %v, %d handshakes", err, shaken)
		case !leaves:
			if _, err := server.Read(make([]byte, 5)); err != nil {
				t.Errorf("it has no time left: %v", err)
			}
		}
		if n := a.grpc.running.Len(); n != 0 {
			t.Errorf("%d places are not given back", n)
		}
	}
}

// The HTTP port counts a connection until its first request.
func TestHandshakesOfHTTPAreBounded(t *testing.T) {
	a := newTestAdmission(t, 1, 1)
	first, _ := net.Pipe()
	second, client := net.Pipe()
	a.connState(first, http.StateNew)
	a.connState(second, http.StateNew)
	if !ended(client) {
		t.Error("a second one is taken")
	}
	a.connState(second, http.StateClosed)
	a.connState(first, http.StateActive)
	a.connState(first, http.StateIdle)
	if a.http.running.Len() != 0 || len(a.http.known) != 0 {
		t.Errorf("%d are in their handshake, %d known", a.http.running.Len(), len(a.http.known))
	}
	third, client := net.Pipe()
	a.connState(third, http.StateNew)
	if ended(client) {
		t.Error("one is refused although there is room")
	}
}

// arrivingStream is a stream of a node with one message after the other.
type arrivingStream struct {
	grpc.ServerStream
	trailer metadata.MD
}

func (*arrivingStream) Context() context.Context    { return context.Background() }
func (*arrivingStream) RecvMsg(any) error           { return nil }
func (*arrivingStream) SendMsg(any) error           { return nil }
func (s *arrivingStream) SetTrailer(md metadata.MD) { s.trailer = md }

// As many streams of nodes as may be wait for their first answer; others are refused at once, with a time to come again.
func TestArrivalsAreBounded(t *testing.T) {
	a := newTestAdmission(t, 1, 2)
	arrive := func() (*arrival, *arrivingStream, error) {
		under := &arrivingStream{}
		s := &arrival{ServerStream: under, admission: a}
		return s, under, s.RecvMsg(nil)
	}
	first, _, err := arrive()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := arrive(); err != nil {
		t.Fatal(err)
	}
	_, refused, err := arrive()
	if after := refused.trailer.Get(pushbackKey); status.Code(err) != codes.Unavailable || len(after) != 1 || after[0] < "500" || after[0] > "999" {
		t.Errorf("a third: %v, %v", err, after)
	}
	if err := first.RecvMsg(nil); err != nil {
		t.Errorf("a second message of one that was taken: %v", err)
	}
	for range 2 {
		if err := first.SendMsg(nil); err != nil { // the first answer gives the place back, and the second none
			t.Fatal(err)
		}
	}
	if n := len(a.arrivals); n != 1 {
		t.Errorf("%d wait for their first answer", n)
	}
	// One that gets no answer, since there is none for it yet, does not count for ever.
	for late := time.Now().Add(10 * arrivalGrace); len(a.arrivals) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("a stream that is sent nothing counts for ever")
		}
	}
}
