// Command tally runs another command, shows what that prints, and says at its end what came of it: each test that failed or was skipped, with the
// reason, and then in one line how many passed, failed and were skipped.
//
//	tally [-sums] NAME COMMAND [ARGUMENT…]
//
// It reads what `go test -v` prints, unless -sums is given, and lines like that of `waft test`: "3 passed, 0 failed". It fails when the command does,
// when a package was to run tests of which it has none, and when nothing was run at all. What was begun and did not end is named, too, as are what make did not try and
// the signal that ended it. `make e2e`, `make interop` and `make fuzz` end with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// outputLimit is how long a command that has ended is waited for, if what it has left running still holds its output.
const outputLimit = 10 * time.Second

func main() {
	sums := flag.Bool("sums", false, "count what programs say of themselves (3 passed, 0 failed), and not the tests of go test")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "tally: name what is counted and the command to run: tally [-sums] NAME COMMAND [ARGUMENT…]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !run(signals, os.Stdout, *sums, flag.Arg(0), flag.Args()[1:]) {
		os.Exit(1)
	}
}

// run says whether the command succeeded and nothing failed. SIGTERM is passed on. An interrupt is not: it comes to the command from the terminal, too, so that go test and
// make end what they run and say so.
func run(signals <-chan os.Signal, to io.Writer, sums bool, name string, command []string) bool {
	started := time.Now()
	c := count{sums: sums}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	told, ended := make(chan os.Signal, 1), make(chan struct{})
	go func() {
		defer close(told)
		select {
		case s := <-signals:
			told <- s
			if s != os.Interrupt {
				cancel()
			}
		case <-ended:
		}
	}()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = outputLimit
	// One writer for both, so that lines come in their order.
	read := &lines{to: c.line}
	out := io.MultiWriter(to, read)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, out
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself succeeded
	}
	close(ended)
	if read.end() {
		fmt.Fprintln(to)
	}
	c.end(strings.Join(command, " "), err, <-told)
	c.print(to, name, time.Since(started))
	return len(c.failures) == 0 && c.failed == 0
}
