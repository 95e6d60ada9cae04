package chaos

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// echo answers every connection with what it sends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	return l.Addr().String()
}

func connect(t *testing.T, p *proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange sends a text and reads it back, or says why not within d.
func exchange(c net.Conn, text string, d time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	go func() { _, _ = io.WriteString(c, text) }()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return errors.New("it came back changed")
	}
	return nil
}

func TestProxy(t *testing.T) {
	p, err := newProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const long = 10 * time.Second
	c := connect(t, p)
	if err := exchange(c, "well", long); err != nil {
		t.Fatal("well:", err)
	}

	p.set(Stall)
	if err := exchange(c, "stalled", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while it is stalled: %v", err)
	}
	p.set("")
	if err := c.SetDeadline(time.Now().Add(long)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("stalled"))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "stalled" {
		t.Errorf("what was held up came as %q, %v", got, err)
	}

	p.set(Slow)
	pieces := 4
	began := time.Now()
	if err := exchange(c, strings.Repeat("x", pieces*slowPiece), long); err != nil {
		t.Error("slow:", err)
	}
	if took := time.Since(began); took < time.Duration(pieces)*slowDelay {
		t.Errorf("%d slow pieces took %s", pieces, took)
	}

	p.set(Cut)
	if err := exchange(c, "cut", long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection that was there when all were cut: %v", err)
	}
	p.set("")
	if err := exchange(connect(t, p), "well again", long); err != nil {
		t.Error("well again:", err)
	}
}
