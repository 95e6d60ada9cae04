package registry

import (
	"os"
	"syscall"
)

// syncFileRangeWrite is SYNC_FILE_RANGE_WRITE of sync_file_range(2).
const syncFileRangeWrite = 2

// startWriteback has the system begin to write a part of a file to the disk, so that the sync at the end has little to wait
// for. It is a hint: what matters is the sync.
func startWriteback(f *os.File, offset, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), offset, n, syncFileRangeWrite)
}
