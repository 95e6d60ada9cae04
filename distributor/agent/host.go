package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/waft-project/waft/envoy"
)

// Times of watching Envoy.
const (
	// observeEvery is how often statistics are read; observeSoon, while something was just put into a slot.
	observeEvery = time.Second
	observeSoon  = 50 * time.Millisecond
	// observeLimit bounds one reading. Loading modules blocks Envoy's admin interface for seconds; that is no failure.
	observeLimit = 20 * time.Second
	// drainPoll is how often it is looked whether requests are still under way.
	drainPoll = 50 * time.Millisecond
	// goneAfter is for how long an Envoy run by others must not answer before it counts as down: in a hot restart its admin interface is
	// nobody's for a moment.
	goneAfter = 250 * time.Millisecond
)

// host is the Envoy beside the agent: its own child, or run by others. Its methods may be used concurrently.
type host struct {
	config Config
	// news receives after Envoy's state or the newest observation have changed.
	news chan struct{}
	// log holds Envoy's last lines.
	log *envoy.Log

	soon chan struct{}

	mu       sync.Mutex
	process  *envoy.Process
	admin    *envoy.Admin
	state    hostState
	epoch    int
	seen     observation
	settling settling
	patience patience
	pulse    pulse
	// inherited is the epoch of an Envoy that an earlier agent started; 0: there is none.
	inherited int
	asked     []string // statistics that gates ask for
	hurried   bool
	ended     error          // how the last process ended
	restarts  []envoyRestart // not yet taken
	version   envoy.Version
	// Of an Envoy run by others: its lives; the epoch since which each took over from the one before; since when it does not answer.
	lives      lives
	unbroken   int
	unanswered time.Time
}

// envoyRestart says that Envoy ended, or came up again, without having been told to.
type envoyRestart struct {
	at     time.Time
	reason string
}

func newHost(config Config) *host {
	h := &host{config: config, news: make(chan struct{}, 1), soon: make(chan struct{}, 1), log: new(envoy.Log)}
	if config.Beside {
		h.admin, h.state = envoy.NewAdmin(config.Admin), starting
	}
	return h
}

// start starts Envoy as a child. Its shape is for later agents.
func (h *host) start(ctx context.Context, bootstrap, shape string) (epoch int, err error) {
	config := h.processConfig(bootstrap)
	config.Detached, config.Shape = h.config.LeaveEnvoy, shape
	process, err := envoy.Start(ctx, h.config.Envoy, config)
	if err != nil {
		return 0, err
	}
	return h.attach(process), nil
}

// startRoom is what Envoy may write as it starts: without its file with the address of the admin interface it is not known to be up.
const startRoom = 64 << 10

// roomToStart is an error where the disk has no room for what Envoy writes as it starts.
func (h *host) roomToStart() error {
	file, err := os.CreateTemp(h.path(envoyFolder), "room-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(make([]byte, startRoom))
	return errors.Join(err, file.Close())
}

func (h *host) processConfig(bootstrap string) envoy.ProcessConfig {
	var output io.Writer = h.log
	if h.config.EnvoyOutput {
		output = io.MultiWriter(h.log, &logWriter{log: h.config.Log})
	}
	return envoy.ProcessConfig{Dir: h.path(envoyFolder), BootstrapPath: bootstrap, Args: h.config.EnvoyArgs, Log: output}
}

// attach takes a process for the Envoy of this host.
func (h *host) attach(process *envoy.Process) (epoch int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
	h.process, h.state, h.ended, h.seen = process, starting, nil, observation{}
	if h.admin != nil {
		h.admin.Close()
		h.admin = nil
	}
	go h.attend(process, h.epoch)
	return h.epoch
}

func (h *host) path(folder string) string { return joinState(h.config, folder) }

// attend learns the address of a child's admin interface, and that the child has ended.
func (h *host) attend(process *envoy.Process, epoch int) {
	if admin, err := process.Admin(context.Background()); err == nil { // returns when the process ends
		h.mu.Lock()
		if h.epoch == epoch {
			h.admin = admin
			notify(h.soon)
		}
		h.mu.Unlock()
	}
	<-process.Done()
	err := process.Wait(context.Background())
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch != epoch {
		return
	}
	if h.process != nil { // nobody told it to end
		h.restarts = append(h.restarts, envoyRestart{at: time.Now(), reason: endReason(err)})
	}
	h.process, h.admin, h.state, h.seen, h.ended = nil, nil, down, observation{}, err
	notify(h.news)
}

func endReason(err error) string {
	if err == nil {
		return "Envoy ended by itself, with exit code 0"
	}
	return err.Error()
}

// stop ends the child, after a time in which requests that are under way can end.
func (h *host) stop(drain time.Duration) error {
	h.mu.Lock()
	process, admin := h.process, h.admin
	h.process = nil // so that its end is no surprise
	h.mu.Unlock()
	if process == nil {
		return nil
	}
	if admin != nil && drain > 0 {
		h.drain(process, admin, drain)
	}
	err := process.Stop(context.Background())
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && h.process == nil {
		h.admin, h.state, h.seen = nil, down, observation{}
	}
	return err
}

// drain has clients go away and waits until no request is under way, or its time is over.
func (h *host) drain(process *envoy.Process, admin *envoy.Admin, limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if admin.Drain(ctx) != nil {
		return // it does not answer, so it cannot be waited for
	}
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for {
		stats, err := admin.Stats(ctx, `^http\.`+regexp.QuoteMeta(h.config.StatPrefix)+`\.downstream_rq_active$`)
		if err != nil || stats.Values[managerPrefix(h.config.StatPrefix)+"downstream_rq_active"] == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-process.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// giveWay has a child's compilers give way to its workers.
func (h *host) giveWay() {
	h.mu.Lock()
	process := h.process
	h.mu.Unlock()
	if process == nil {
		return
	}
	if err := process.GiveWay(); err != nil {
		h.config.Log.Debug("Envoy's compilers keep their priority", "error", err)
	}
}

// lowerMain has a child's main thread give way to its workers until restore.
func (h *host) lowerMain() (restore func()) {
	h.mu.Lock()
	process := h.process
	h.mu.Unlock()
	if process == nil {
		return func() {}
	}
	return process.LowerMain()
}

// now returns Envoy's state and the newest observation.
func (h *host) now() (hostState, observation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, h.seen
}

// running is the version that an Envoy run by others says it is; the zero value while that is not known.
func (h *host) running() envoy.Version {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version
}

// takeRestarts returns the restarts since the last call.
func (h *host) takeRestarts() []envoyRestart {
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := h.restarts
	h.restarts = nil
	return taken
}

// endedWith is how the last child ended; nil while one runs.
func (h *host) endedWith() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

// hurry has statistics read often, or no longer.
func (h *host) hurry(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hurried == on {
		return
	}
	if h.hurried = on; on {
		notify(h.soon)
	}
}

// ask has these statistics observed, beside what always is.
func (h *host) ask(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = names
}

// watch reads statistics until ctx ends.
func (h *host) watch(ctx context.Context) {
	for {
		h.read(ctx)
		h.mu.Lock()
		pause := observeEvery
		if h.hurried || h.state == starting || !h.unanswered.IsZero() {
			pause = observeSoon
		}
		h.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-h.soon:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// read makes one observation.
func (h *host) read(ctx context.Context) {
	h.mu.Lock()
	admin, epoch, asked := h.admin, h.epoch, h.asked
	h.mu.Unlock()
	if admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	if h.config.Beside {
		var known bool
		var err error
		if epoch, known, err = h.readInfo(ctx, admin); err != nil {
			h.gone(ctx)
			return
		}
		if !known {
			return // what was seen last goes on
		}
	}
	o, err := observeNow(ctx, admin, h.config.StatPrefix, asked)
	if err != nil {
		if h.config.Beside {
			h.gone(ctx)
		}
		h.mu.Lock()
		if h.epoch == epoch {
			h.seen.failed++
		}
		h.mu.Unlock()
		notify(h.news) // a child says by its end that it is gone; one that does not answer is busy, or hangs
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch != epoch || h.state == down && !h.config.Beside {
		return // of a life before
	}
	o.epoch = epoch
	o.settled, o.settledCohort = h.settling.settle(o)
	o.hungSince = h.pulse.hungSince(o)
	o.health.stuck = h.patience.stuck(o, epoch != h.inherited && (h.process != nil || epoch > 1))
	if h.process != nil {
		if memory, known := h.process.Memory(); known {
			o.health.footprint.memory, o.health.footprint.resident = memory, true
		}
	}
	h.seen = o
	if o.ready {
		h.state = up
	} else if h.state == down {
		h.state = starting
	}
	notify(h.news)
}

// observeNow asks Envoy once. The prefix is that of the connection manager that holds the slot.
func observeNow(ctx context.Context, admin *envoy.Admin, statPrefix string, asked []string) (observation, error) {
	began := time.Now()
	stats, err := admin.Stats(ctx, statsFilter(statPrefix, asked))
	if err != nil {
		return observation{}, err
	}
	o := observe(stats, statPrefix)
	o.began, o.at = began, time.Now()
	o.values = valuesOf(stats, asked)
	switch err := admin.Ready(ctx); {
	case err == nil:
		o.ready = true
	case !errors.Is(err, envoy.ErrNotReady):
		return observation{}, err
	}
	return o, nil
}

// fresh is an observation made now.
func (h *host) fresh(ctx context.Context) (observation, error) {
	h.mu.Lock()
	admin, epoch := h.admin, h.epoch
	h.mu.Unlock()
	if admin == nil {
		return observation{}, errors.New("envoy's admin interface is not known yet")
	}
	ctx, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	o, err := observeNow(ctx, admin, h.config.StatPrefix, nil)
	o.epoch = epoch
	return o, err
}

// awaitRejection waits until the log says why Envoy rejected a file, as far as it is to be had.
func (h *host) awaitRejection(ctx context.Context, position int64) {
	if h.config.Beside && h.config.EnvoyLog == "" {
		return // nobody reads the log
	}
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	h.log.Await(ctx, position, envoy.IsRejection)
}

// readInfo learns, of an Envoy that others run, which version it is and whether it was started again. It is not known what goes on while
// another process takes over.
func (h *host) readInfo(ctx context.Context, admin *envoy.Admin) (epoch int, known bool, err error) {
	asked := time.Now()
	info, err := admin.ServerInfo(ctx)
	if err != nil {
		return 0, false, err
	}
	answered := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unanswered = time.Time{}
	first := !h.lives.known
	switch l := h.lives.see(info, asked, answered, answered.Sub(asked)); {
	case l == takingOver:
		return 0, false, nil
	case l == tookOver:
		// What was seen last holds until there is something newer: there was no moment without an Envoy.
		h.epoch++
		h.config.Log.Info("Envoy was restarted hot", "restart_epoch", info.RestartEpoch)
	case l == anew || h.state == down:
		if l == anew && !first {
			h.restarts = append(h.restarts, envoyRestart{at: h.lives.started.time(), reason: "Envoy was started again"})
		}
		h.epoch++
		h.unbroken, h.seen = h.epoch, observation{}
	}
	// What it says has the form of envoy --version.
	if version, err := envoy.ParseVersion("version: " + info.Version); err == nil {
		h.version = version
	}
	return h.epoch, true, nil
}

// current is the epoch of now.
func (h *host) current() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch
}

// hasEnded says whether the Envoy of an epoch is gone, with no other having taken over from it.
func (h *host) hasEnded(epoch int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == down || h.epoch > epoch && (!h.config.Beside || epoch < h.unbroken)
}

// continues says whether an Envoy has taken over, by hot restarts, from the one of an epoch.
func (h *host) continues(epoch int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.config.Beside && epoch >= h.unbroken
}

// upSince is since when an Envoy run by others runs, or the first of those that took over from each other by hot restarts did; zero: not known.
func (h *host) upSince() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.lives.known {
		return time.Time{}
	}
	return h.lives.first.time()
}

// gone notes that an Envoy run by others does not answer. When the answer only took too long, it is busy.
func (h *host) gone(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil || h.state == down {
		return
	}
	if now := time.Now(); h.unanswered.IsZero() {
		h.unanswered = now
		return
	} else if now.Sub(h.unanswered) < goneAfter {
		return
	}
	h.state, h.seen, h.unanswered = down, observation{}, time.Time{}
	notify(h.news)
}

// followLog reads the log file of an Envoy run by others, from its end on, until ctx ends.
func (h *host) followLog(ctx context.Context, path string) {
	var file *os.File
	defer func() {
		if file != nil {
			_ = file.Close() // read only
		}
	}()
	var offset int64 = -1
	ticker := time.NewTicker(observeEvery / 4)
	defer ticker.Stop()
	for {
		if info, err := os.Stat(path); err == nil {
			if file != nil && !sameFile(file, info) {
				_ = file.Close()
				file, offset = nil, 0 // it was rotated; the new one is read from its beginning
			}
			if file == nil {
				if file, err = os.Open(path); err == nil && offset < 0 {
					offset = info.Size()
				}
			}
			if file != nil {
				if info.Size() < offset {
					offset = 0 // it was cut
				}
				if n, err := io.Copy(h.log, io.NewSectionReader(file, offset, info.Size()-offset)); err == nil {
					offset += n
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func sameFile(file *os.File, info os.FileInfo) bool {
	current, err := file.Stat()
	return err == nil && os.SameFile(current, info)
}

// logWriter passes Envoy's lines on to the agent's log.
type logWriter struct {
	log     *slog.Logger
	pending []byte
}

func (w *logWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' {
			if len(w.pending) < bufio.MaxScanTokenSize {
				w.pending = append(w.pending, b)
			}
			continue
		}
		line := envoy.ParseLogLine(string(w.pending))
		w.pending = w.pending[:0]
		level := slog.LevelInfo
		switch line.Level {
		case "warning":
			level = slog.LevelWarn
		case "error", "critical":
			level = slog.LevelError
		}
		attributes := []any{"logger", line.Logger}
		if line.Filter != "" {
			attributes = append(attributes, "filter", line.Filter)
		}
		w.log.Log(context.Background(), level, fmt.Sprintf("envoy: %s", line.Message), attributes...)
	}
	return len(p), nil
}
