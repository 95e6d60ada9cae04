package backup

import (
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Format is the version of the format that this package writes, and the newest that it reads.
const Format = 1

// The names of entries.
const (
	headerName = "waft-backup.json"
	statePart  = "state/"
	filePart   = "files/"
	endName    = "end.json"
)

// Limits of what is read.
const (
	// chunkBytes is how large a part of the state is before another one begins; maxChunkBytes is how large one may be, which a single value can make it.
	chunkBytes    = 4 << 20
	maxChunkBytes = 64 << 20
	// maxHeaderBytes bounds the JSON at both ends.
	maxHeaderBytes = 64 << 10
	// maxPath bounds the path of a file.
	maxPath = 1024
)

// Header begins a backup.
type Header struct {
	Format int `json:"format"`
	// Version is the waft that made it, and Made when it did.
	Version string    `json:"version"`
	Made    time.Time `json:"made"`
}

// End ends a backup, and is a summary of it.
type End struct {
	Keys  int64 `json:"keys"`
	Files int64 `json:"files"`
	// Bytes are those of keys, values and files.
	Bytes int64 `json:"bytes"`
	// Sum is the sha256, in hexadecimal digits, of what Writer.sum and Reader.sum are given.
	Sum string `json:"sha256"`
}

// total keeps what End says. Each name and content goes into the sum behind its length, so that no two backups have the same.
type total struct {
	End
	sum hash.Hash
}

func (t *total) add(name string, size int64) {
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], uint64(len(name)))
	binary.BigEndian.PutUint64(n[8:], uint64(size))
	t.sum.Write(n[:])
	t.sum.Write([]byte(name))
	t.Bytes += size
}

func (t *total) key(key string, value []byte) {
	t.add(statePart+key, int64(len(value)))
	t.sum.Write(value)
	t.Keys++
	t.Bytes += int64(len(key))
}

func (t *total) end() End {
	e := t.End
	e.Sum = hex.EncodeToString(t.sum.Sum(nil))
	return e
}

// record is a line of the state.
type record struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

func damaged(format string, args ...any) error {
	return model.Invalidf("the backup", "", "use another backup", format, args...)
}
