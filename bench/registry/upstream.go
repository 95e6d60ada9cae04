package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // the driver of its configuration
	"github.com/sirupsen/logrus"
)

// upstream is a distribution registry over plain HTTP on a loopback port, which counts the blobs that move, and of them the downloads
// of the digest that is watched.
type upstream struct {
	host    string
	server  *http.Server
	moved   atomic.Int64
	watched atomic.Value // string
	fetched atomic.Int64
}

func startUpstream(ctx context.Context, dir string) (*upstream, error) {
	logrus.SetOutput(io.Discard)
	app := handlers.NewApp(ctx, &configuration.Configuration{
		Storage: configuration.Storage{"filesystem": {"rootdirectory": dir}},
		Catalog: configuration.Catalog{MaxEntries: 1000},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{host: l.Addr().String()}
	u.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && (r.Method == http.MethodGet || r.Method == http.MethodPut) {
			u.moved.Add(1)
			if digest, ok := u.watched.Load().(string); ok && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, digest) {
				u.fetched.Add(1)
			}
		}
		app.ServeHTTP(w, r)
	})}
	go func() { _ = u.server.Serve(l) }() // ends with close
	return u, nil
}

func (u *upstream) close() { _ = u.server.Close() }

// takeMoved is how many blobs have moved since it was last asked.
func (u *upstream) takeMoved() int { return int(u.moved.Swap(0)) }

// writeModule makes a module of a size out of a filter: with a custom section of random bytes behind it. Its manifest stands beside
// it, as after a build.
func writeModule(path, filter string, size int) (digest string, err error) {
	wasm, err := os.ReadFile(filter)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(strings.TrimSuffix(filter, ".wasm") + ".json")
	if err != nil {
		return "", err
	}
	// Section 0, its length in five bytes of LEB128, a name of one byte, content.
	n := uint32(size - len(wasm) - 6)
	wasm = append(wasm, 0, byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)|0x80, byte(n>>28), 1, 'x')
	var seed [32]byte
	content := io.MultiReader(bytes.NewReader(wasm), io.LimitReader(rand.NewChaCha8(seed), int64(size-len(wasm))))
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), content)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	digest = hex.EncodeToString(h.Sum(nil))
	var manifest map[string]any
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", err
	}
	manifest["sha256"], manifest["size"] = digest, size
	text, err = json.Marshal(manifest)
	if err != nil {
		return "", err
	}
	return digest, os.WriteFile(strings.TrimSuffix(path, ".wasm")+".json", text, 0o644)
}

// syncTree syncs every file and folder below a folder.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
