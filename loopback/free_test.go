package loopback

import (
	"net"
	"sync"
	"testing"
)

// No address is given out twice, though nobody has bound the first one yet; each can be bound.
func TestFree(t *testing.T) {
	const each, callers = 250, 4
	var mu sync.Mutex
	seen := map[string]bool{}
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for range each {
				address, err := Free()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[address] {
					t.Errorf("%s was given out before", address)
				}
				seen[address] = true
				mu.Unlock()
			}
		})
	}
	running.Wait()
	for address := range seen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // it was to be bound only
		return
	}
}

// An address on which somebody listens is not given out, nor anything once all ports are.
func TestFreeOfNone(t *testing.T) {
	given.Lock()
	before := given.ports
	given.ports = map[int]bool{}
	for port := firstPort; port < lastPort; port++ {
		given.ports[port] = true
	}
	given.Unlock()
	defer func() {
		given.Lock()
		given.ports = before
		given.Unlock()
	}()
	if address, err := Free(); err == nil {
		t.Errorf("%s was given out", address)
	}
}
