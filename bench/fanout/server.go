package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

// server is a fanoutserver that runs.
type server struct {
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *json.Decoder
}

// start starts one.
func (b *bench) start(ctx context.Context, name, dialect string) (*server, error) {
	cmd := exec.CommandContext(ctx, b.server, "-server", name, "-dialect", dialect, "-bytes", strconv.Itoa(b.bytes), "-per-node", strconv.Itoa(b.perNode), "-certificates", b.dir)
	if b.profile != "" {
		cmd.Args = append(cmd.Args, "-profile", b.profile)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}
	var ready struct{ Address string }
	if err := s.out.Decode(&ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", b.server, err), s.stop())
	}
	s.address = ready.Address
	return s, nil
}

// stop ends it; with its standard input, it ends by itself.
func (s *server) stop() error {
	return errors.Join(s.in.Close(), s.cmd.Wait())
}

// ask gives it a line, and reads the answer.
func (s *server) ask(answer any, line string, arguments ...any) error {
	if _, err := fmt.Fprintf(s.in, line+"\n", arguments...); err != nil {
		return err
	}
	if err := s.out.Decode(answer); err != nil {
		return fmt.Errorf("the server does not answer %q: %w", line, err)
	}
	return nil
}

// usage is what a server's process has used: seconds of the processor since its start, and memory in MB, now and at its peak since it was last asked.
type usage struct {
	CPU        float64 `json:"cpu_s"`
	RSS        float64 `json:"rss_mb"`
	Peak       float64 `json:"peak_mb"`
	Goroutines int     `json:"goroutines"`
}
