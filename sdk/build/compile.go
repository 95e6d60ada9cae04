package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits on the toolchain.
const (
	// maxOutput is how much of what the compiler says is kept.
	maxOutput = 64 << 10
	// stopDelay is how long an interrupted go command may take to end.
	stopDelay = 5 * time.Second
)

// toolchain runs the go command for one directory.
type toolchain struct {
	goCommand string
	dir       string   // of the filter
	temp      string   // a folder of our own
	tags      []string // build tags that the filter's source asks for
}

// Flags that the compiler, the linker and go list must share, so that packages are compiled once.
var buildFlags = []string{"-trimpath", "-buildvcs=false"}

// linkFlags leave the names of functions in; they are taken out when all that needs them is done.
const linkFlags = "-w -buildid="

// environment is ours, with the target that Envoy needs, and without what would make the result depend on the machine.
func environment() []string {
	return append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWASM=")
}

// compile makes the module, without the files that the tags leave out. Its bytes depend on the source, the tags and the toolchain
// alone.
func (tc toolchain) compile(ctx context.Context, tags []string) ([]byte, error) {
	out := filepath.Join(tc.temp, "module.wasm")
	var said headBuffer
	if err := tc.build(ctx, out, linkFlags, tags, &said); err != nil {
		return nil, err
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("%s: read the module: %w", tc.dir, err)
	}
	return wasm, nil
}

func (tc toolchain) build(ctx context.Context, out, ldflags string, tags []string, said *headBuffer) error {
	args := append([]string{"build", "-buildmode=c-shared", "-ldflags=" + ldflags, tc.tagsFlag(tags), "-o", out}, buildFlags...)
	cmd := tc.command(ctx, append(args, ".")...)
	cmd.Stdout, cmd.Stderr = said, said
	return tc.run(ctx, cmd, said)
}

// tagsFlag sets the build tags: those that the filter asks for, and more.
func (tc toolchain) tagsFlag(more []string) string {
	return "-tags=" + strings.Join(slices.Concat(tc.tags, more), ",")
}

// command is a go command that ends when ctx does.
func (tc toolchain) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tc.goCommand, args...)
	cmd.Dir = tc.dir
	cmd.Env = environment()
	// The go command cleans up after itself when it is interrupted; killed, it would not.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopDelay
	return cmd
}

func (tc toolchain) run(ctx context.Context, cmd *exec.Cmd, said *headBuffer) error {
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: build: %w", tc.dir, ctx.Err())
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return &Error{Subject: tc.dir, Kind: ErrCompile, Detail: err.Error(), Next: "install Go from https://go.dev/dl and put it on the PATH", Err: err}
	}
	return &Error{Subject: tc.dir, Kind: ErrCompile, Output: relativeOutput(tc.dir, said.String()), Next: "mend what the compiler says", Err: err}
}

// compilerLine is a line of the compiler's about a file, which it names from the directory that it runs in.
var compilerLine = regexp.MustCompile(`^(\t?)((?:\.{1,2}/)?[^\s:#][^\s:]*\.(?:go|s|mod):\d+.*)$`)

// relativeOutput makes the compiler's paths ones from the working directory, and drops its package headings.
func relativeOutput(dir, output string) string {
	var lines []string
	for _, line := range strings.Split(strings.TrimRight(output, "\n"), "\n") {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		if m := compilerLine.FindStringSubmatch(line); m != nil && !filepath.IsAbs(m[2]) {
			path, rest, _ := strings.Cut(m[2], ":")
			line = m[1] + filepath.Join(dir, path) + ":" + rest
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// headBuffer keeps the beginning of what is written to it.
type headBuffer struct {
	buf     bytes.Buffer
	dropped int
}

func (b *headBuffer) Write(p []byte) (int, error) {
	room := max(maxOutput-b.buf.Len(), 0)
	kept := min(room, len(p))
	b.buf.Write(p[:kept])
	b.dropped += len(p) - kept
	return len(p), nil
}

func (b *headBuffer) String() string {
	if b.dropped == 0 {
		return b.buf.String()
	}
	return fmt.Sprintf("%s\n… and %d bytes more", b.buf.String(), b.dropped)
}
