package registrytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// programConfig has the program choose its port, which it then tells. https://distribution.github.io/distribution/about/configuration/
const programConfig = `version: 0.1
log: {level: info, formatter: text}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http: {addr: "127.0.0.1:0"}
`

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// programStart is how long the program may take until it listens.
const programStart = 30 * time.Second

// StartProgram runs a registry as a process of its own: the binary of distribution 2.8 or later, such as Debian's docker-registry. Its data
// is kept in dir. It is killed when ctx ends, and the function that is returned ends it and waits for it.
func StartProgram(ctx context.Context, binary, dir string) (Endpoint, func() error, error) {
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, programConfig, filepath.Join(dir, "data")), 0o600); err != nil {
		return Endpoint{}, nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		return Endpoint{}, nil, err
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = write.Close() // never fails
		ended <- err
	}()
	stop := func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		<-ended
		return nil
	}
	host := make(chan string, 1)
	go func() {
		defer close(host)
		lines := bufio.NewScanner(read)
		for told := false; lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil && !told {
				host <- m[1]
				told = true
			}
		}
		_, _ = io.Copy(io.Discard, read) // a line was too long; the program must not wait for its reader
	}()
	select {
	case h, ok := <-host:
		if !ok {
			return Endpoint{}, nil, errors.Join(fmt.Errorf("%s ended before it listened", binary), <-ended)
		}
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: h})
		return Endpoint{Host: h, PlainHTTP: true, Handler: proxy}, stop, nil
	case <-time.After(programStart):
		return Endpoint{}, nil, errors.Join(fmt.Errorf("%s did not listen within %v", binary, programStart), stop())
	}
}
