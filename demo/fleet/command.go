package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// Command runs one waft command line as a user would. Lines that it writes to standard error go to note as they come.
// It returns standard output; a failure carries the last lines of standard error.
func (f *Fleet) Command(ctx context.Context, note func(string, ...any), args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, f.Waft, args...)
	cmd.Dir = f.Root
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("waft %s: %w", args[0], err)
	}
	var last []string
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		last = append(last, lines.Text())
		if len(last) > 20 {
			last = last[1:]
		}
		if note != nil {
			note("%s", lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return stdout.Bytes(), ctx.Err()
		}
		return stdout.Bytes(), fmt.Errorf("waft %s: %w\n%s%s", strings.Join(args, " "), err, stdout.String(), strings.Join(last, "\n"))
	}
	return stdout.Bytes(), nil
}

// Refused says whether a command ended by itself with a failure, as opposed to not running at all.
func Refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit)
}

// JSON runs a waft command with -o json against the fleet's distributor, and reads what it prints.
func (f *Fleet) JSON(ctx context.Context, into any, args ...string) error {
	args = append(args, "-o", "json")
	if args[0] == "push" || args[0] == "inspect" {
		args = append(args, f.Registry()...)
	} else {
		args = append(args, f.Server()...)
	}
	out, err := f.Command(ctx, nil, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read what waft %s printed: %w", args[0], err)
	}
	return nil
}
