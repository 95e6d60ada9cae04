package distributor

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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
	return a
}

// ended says whether the other end of a pipe was closed.
func ended(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
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
	if _, ok := h.begin(oldest, now); !ok {
		t.Fatal("the first is refused")
	}
	second, client := pipe()
	place, ok := h.begin(second, now.Add(handshakeGrace/2))
	if !ok {
		t.Fatal("the second is refused")
	}
	third, _ := pipe()
	if _, ok := h.begin(third, now.Add(handshakeGrace-1)); ok {
		t.Error("a third is taken while nobody has had its time")
	}
	if ended(stranger) {
		t.Error("the oldest is ended before its time")
	}
	if _, ok := h.begin(third, now.Add(handshakeGrace)); !ok {
		t.Error("a third is refused although one says nothing")
	}
	if !ended(stranger) || ended(client) {
		t.Errorf("the oldest is ended: %v, the other: %v", ended(stranger), ended(client))
	}
	h.end(place)
	h.end(place) // once more changes nothing
	if n := h.waiting.Len(); n != 1 {
		t.Errorf("%d are in their handshake", n)
	}
	counted := &dto.Metric{}
	if err := h.refused.Write(counted); err != nil || counted.GetCounter().GetValue() != 2 {
		t.Errorf("%v are counted as refused, %v", counted, err)
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
	if a.http.waiting.Len() != 0 || len(a.http.known) != 0 {
		t.Errorf("%d are in their handshake, %d known", a.http.waiting.Len(), len(a.http.known))
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
