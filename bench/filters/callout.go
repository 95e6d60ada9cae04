package main

import (
	"bufio"
	"io"
	"net"
	"strings"
)

// calloutName is the cluster that the filters that wait send a request to.
const calloutName = "callout"

// calloutAnswer is what it answers: the value of the header that the filters add.
const calloutAnswer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + headerValue

// serveCallouts starts a server that answers every request at once, over kept-alive connections. It is as small as can be, so that it takes
// little of the machine from what is measured. close ends it; its connections end with the Envoys.
func serveCallouts() (address string, close func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerCallouts(conn)
		}
	}()
	return l.Addr().String(), l.Close, nil
}

// answerCallouts answers requests without a body until the connection ends.
func answerCallouts(conn net.Conn) {
	defer conn.Close()
	from := bufio.NewReader(conn)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimRight(line, "\r\n") == "" {
			if _, err := io.WriteString(conn, calloutAnswer); err != nil {
				return
			}
		}
	}
}
