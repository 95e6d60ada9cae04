package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// Upstream serves, until ctx ends, the service that the demo's Envoys stand in front of: it answers with what it was
// asked, so that a client sees what the filters made of the request. It writes its address to addressFile.
func Upstream(ctx context.Context, addressFile string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo upstream: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}
	if err := os.WriteFile(addressFile, []byte(listener.Addr().String()), 0o600); err != nil {
		return fmt.Errorf("demo upstream: %w", err)
	}
	stopped := context.AfterFunc(ctx, func() {
		_ = server.Shutdown(context.WithoutCancel(ctx))
	})
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("demo upstream: %w", err)
	}
	return nil
}

// echoed is the upstream's answer.
type echoed struct {
	Path    string              `json:"path"`
	Headers map[string][]string `json:"headers"`
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Powered-By", "demo-upstream")
	_ = json.NewEncoder(w).Encode(echoed{Path: r.URL.Path, Headers: r.Header})
}
