package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"github.com/waft-project/waft/distributor/model"
)

// How the embedded member is set up.
const (
	// quotaBytes is how large the database may grow before etcd refuses writes.
	quotaBytes = 2 << 30
	// maxRequestBytes is how large one transaction may be.
	maxRequestBytes = 8 << 20
	// keepRevisions is how many revisions of each key's past are kept; nothing here reads the past.
	keepRevisions = "1000"
	// memberName is the member's, within its cluster of one.
	memberName = "waft"
	// lockFile in the data folder is held by the process that uses it, and holds its id.
	lockFile = "LOCK"
	// memberFolder in the data folder is etcd's own.
	memberFolder = "etcd"
)

// Embedded is an etcd member in this process. It listens nowhere: its client calls it directly.
type Embedded struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	lock   io.Closer
	close  sync.Once
}

// StartEmbedded starts an etcd member with its data in dir, which is made if need be, and returns when it serves. A folder
// that another process uses is refused with model.ErrConflict, naming the folder and the process. The context bounds the
// start only. The caller must Close it.
func StartEmbedded(ctx context.Context, dir string, log *slog.Logger) (_ *Embedded, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, "made", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()

	config := embed.NewConfig()
	config.Name = memberName
	config.Dir = filepath.Join(dir, memberFolder)
	if err := removeUnfinished(config.Dir, log); err != nil {
		return nil, err
	}
	// A member needs a peer URL to be known by; it is not listened on until the member gets company.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	config.ListenPeerUrls, config.AdvertisePeerUrls = nil, []url.URL{peer}
	config.ListenClientUrls, config.AdvertiseClientUrls = nil, nil
	config.InitialCluster = config.InitialClusterFromName(memberName)
	config.QuotaBackendBytes = quotaBytes
	config.MaxRequestBytes = maxRequestBytes
	config.AutoCompactionMode = embed.CompactorModeRevision
	config.AutoCompactionRetention = keepRevisions
	config.BootstrapDefragThresholdMegabytes = 64
	config.EnableGRPCGateway = false
	logger := zap.New(slogCore{log: log.With("part", "etcd")})
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)

	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", config.Dir, err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		etcd.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", config.Dir, err)
	case <-ctx.Done():
		etcd.Close()
		return nil, fmt.Errorf("start etcd in %s: it did not get ready: %w", config.Dir, context.Cause(ctx))
	}
	return &Embedded{etcd: etcd, client: v3client.New(etcd.Server), lock: lock}, nil
}

// Client is the member's client; Close closes it.
func (e *Embedded) Client() *clientv3.Client { return e.client }

// Stopped is closed when the member has stopped, by Close or because it failed.
func (e *Embedded) Stopped() <-chan struct{} { return e.etcd.Server.StopNotify() }

// Close stops the member and frees the folder. It may be called more than once.
func (e *Embedded) Close() error {
	var err error
	e.close.Do(func() {
		// The in-process client's Close only reports that its context was canceled.
		if closeErr := e.client.Close(); closeErr != nil && !errors.Is(closeErr, context.Canceled) {
			err = closeErr
		}
		e.etcd.Close()
		err = errors.Join(err, e.lock.Close())
	})
	return err
}

// LockFolder makes a data folder if need be, and takes it for this process, as StartEmbedded does; what it gives frees it. It is for a process whose
// etcd runs elsewhere.
func LockFolder(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, folderError(dir, "made", err)
	}
	return lockFolder(dir)
}

func folderError(dir, what string, err error) error {
	return &model.Error{Kind: model.ErrUnavailable, Object: dir, Message: "the data folder cannot be " + what + ": " + err.Error(),
		Next: "give this process a folder that it may write to (--data)", Cause: err}
}

// folderLock is the file by which a folder is this process's. Its Close gives the folder back in so many words: a program that is being started meanwhile has the file, too,
// until it is there, and would keep the lock.
type folderLock struct{ *os.File }

func (l folderLock) Close() error {
	return errors.Join(syscall.Flock(int(l.Fd()), syscall.LOCK_UN), l.File.Close())
}

// lockFolder takes the folder for this process. The lock goes with the process, however it ends.
func lockFolder(dir string) (io.Closer, error) {
	path := filepath.Join(dir, lockFile)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, folderError(dir, "written to", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = lock.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder := "another process"
		if text, readErr := io.ReadAll(io.LimitReader(lock, maxPid)); readErr == nil {
			if pid, convErr := strconv.Atoi(strings.TrimSpace(string(text))); convErr == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, &model.Error{Kind: model.ErrConflict, Object: dir, Message: fmt.Sprintf("the data folder is in use by %s, which holds %s", holder, path),
			Next: "stop it first, or give this one another folder (--data)", Cause: err}
	}
	held := folderLock{lock}
	if err := errors.Join(lock.Truncate(0), writePid(lock)); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), held.Close())
	}
	return held, nil
}

// maxPid is how many bytes of a lock file are read.
const maxPid = 32

func writePid(lock *os.File) error {
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
