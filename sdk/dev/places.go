package dev

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/filtertest"
)

// places are the servers behind Envoy: the upstream and the clusters, ours or others'.
type places struct {
	upstream string
	clusters []envoy.Cluster
	servers  []*http.Server
}

// maxSwallow is how much of a request's body one of our servers reads, in bytes.
const maxSwallow = 64 << 20

// open starts a server for whatever has none.
func (p *places) open(sc scene, upstream string, clusters map[string]string) error {
	var err error
	if p.upstream = upstream; upstream == "" {
		if p.upstream, err = p.serve(sc.upstream); err != nil {
			return err
		}
	}
	for _, c := range sc.clusters {
		if _, given := clusters[c.Name]; given {
			continue
		}
		address, err := p.serve(c.Reply)
		if err != nil {
			return err
		}
		p.clusters = append(p.clusters, envoy.Cluster{Name: c.Name, Address: address})
	}
	for name, address := range clusters {
		p.clusters = append(p.clusters, envoy.Cluster{Name: name, Address: address})
	}
	return nil
}

// serve starts a server that always answers the same, and gives its address.
func (p *places) serve(reply filtertest.Reply) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start a server behind Envoy: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxSwallow)) // the answer does not depend on it
		for _, h := range reply.Headers {
			w.Header().Add(h.Name, h.Value)
		}
		w.WriteHeader(max(reply.Status, http.StatusOK))
		_, _ = io.WriteString(w, reply.Body) // the client may be gone
	})}
	p.servers = append(p.servers, server)
	go func() { _ = server.Serve(l) }() // ends with close
	return l.Addr().String(), nil
}

func (p *places) close() {
	for _, s := range p.servers {
		_ = s.Close() // what is still open goes with it
	}
	p.servers = nil
}

// free says whether an address can be listened on: Envoy's own words for one that is taken come late.
func free(address string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("%w; stop what listens there, or give another address with --listen", err)
	}
	return l.Close()
}
