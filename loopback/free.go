package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that are given out. They are below those that the system gives to connections that go out: one of these could take a port in the time
// before its server binds it, or while that is down.
const (
	firstPort = 20000
	lastPort  = 32000
	// tries is how many ports are tried before giving up.
	tries = 1000
)

// given holds the ports that this process has given out. Their servers may not have bound them yet, so that they look free: a second server
// would find its port taken when it starts.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// Free is an address on which nobody listens, and which this process has not given out before. It may be called concurrently.
func Free() (string, error) {
	given.Lock()
	defer given.Unlock()
	for range tries {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close() // nothing was accepted
		given.ports[port] = true
		return l.Addr().String(), nil
	}
	return "", fmt.Errorf("find a free port: none of %d tried between %d and %d is free and was not given out", tries, firstPort, lastPort)
}
