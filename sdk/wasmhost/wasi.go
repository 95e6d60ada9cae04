package wasmhost

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"slices"
)

// Error numbers of WASI that the host returns.
const (
	wasiOK      = 0
	wasiEBADF   = 8
	wasiEFAULT  = 21
	wasiEINVAL  = 28
	wasiEIO     = 29
	wasiENOENT  = 44
	wasiENOSYS  = 52
	wasiENOTDIR = 20
	wasiENOTSUP = 58

	wasiENOTCAPABLE = 76
)

const (
	stdout = 1
	stderr = 2
)

// code is a WASI function that always returns the same.
func code(n uint32) func(*instance, []uint64) {
	return func(_ *instance, s []uint64) { s[0] = uint64(n) }
}

// stdOnly is a WASI function that succeeds, doing nothing, for stdout and stderr, and knows no other descriptor.
func stdOnly(_ *instance, s []uint64) {
	if fd := uint32(s[0]); fd == stdout || fd == stderr {
		s[0] = wasiOK
		return
	}
	s[0] = wasiEBADF
}

// zeroThen writes zero of the given size at a pointer argument, then returns the code.
func zeroThen(arg, size int, result uint32) func(*instance, []uint64) {
	zero := make([]byte, size)
	return func(in *instance, s []uint64) {
		if !in.mem.Write(uint32(s[arg]), zero) {
			s[0] = wasiEFAULT
			return
		}
		s[0] = uint64(result)
	}
}

// wasiFunctions are all WASI functions that any profile offers, with the types and results of Envoy's host (proxy-wasm-cpp-host,
// src/exports.cc). Its path_link and path_symlink lack a parameter of WASI's; a module that imports them properly does not load.
var wasiFunctions = []hostFunction{
	{"fd_write", "iiii:i", fdWrite},
	{"fd_read", "iiii:i", code(wasiENOSYS)},
	{"fd_seek", "ilii:i", code(wasiOK)},
	{"fd_close", "i:i", code(wasiOK)},
	{"fd_fdstat_get", "ii:i", fdstatGet},
	{"fd_fdstat_set_flags", "ii:i", code(wasiENOSYS)},
	{"fd_prestat_get", "ii:i", code(wasiEBADF)},
	{"fd_prestat_dir_name", "iii:i", code(wasiENOSYS)},
	{"path_open", "iiiiillii:i", code(wasiENOENT)},
	{"environ_get", "ii:i", environGet},
	{"environ_sizes_get", "ii:i", environSizesGet},
	{"args_get", "ii:i", code(wasiOK)},
	{"args_sizes_get", "ii:i", argsSizesGet},
	{"clock_time_get", "ili:i", clockTimeGet},
	{"random_get", "ii:i", randomGet},
	{"proc_exit", "i", func(*instance, []uint64) {}}, // the host only logs it, at trace level; what the guest does next is its affair
	{"sched_yield", ":i", code(wasiOK)},
	{"poll_oneoff", "iiii:i", pollOneoff},

	{"fd_fdstat_set_rights", "ill:i", stdOnly},
	{"clock_res_get", "ii:i", clockResGet},
	{"fd_advise", "illi:i", code(wasiOK)},
	{"fd_allocate", "ill:i", stdOnly},
	{"fd_datasync", "i:i", stdOnly},
	{"fd_filestat_get", "ii:i", code(wasiEBADF)},
	{"fd_filestat_set_size", "il:i", stdOnly},
	{"fd_filestat_set_times", "illi:i", stdOnly},
	{"fd_pread", "iiili:i", code(wasiENOSYS)},
	{"fd_pwrite", "iiili:i", fdPwrite},
	{"fd_readdir", "iiili:i", zeroThen(4, 4, wasiENOTDIR)},
	{"fd_renumber", "ii:i", fdRenumber},
	{"fd_sync", "i:i", stdOnly},
	{"fd_tell", "ii:i", fdTell},
	{"path_create_directory", "iii:i", code(wasiENOTSUP)},
	{"path_filestat_get", "iiiii:i", code(wasiENOTSUP)},
	{"path_filestat_set_times", "iiiilli:i", code(wasiENOTSUP)},
	{"path_link", "iiiiii:i", code(wasiENOTSUP)},
	{"path_readlink", "iiiiii:i", zeroThen(5, 4, wasiENOTSUP)},
	{"path_remove_directory", "iii:i", code(wasiENOTSUP)},
	{"path_rename", "iiiiii:i", code(wasiENOTSUP)},
	{"path_symlink", "iiii:i", code(wasiENOTSUP)},
	{"path_unlink_file", "iii:i", code(wasiENOTSUP)},
	{"sock_accept", "iii:i", zeroThen(2, 8, wasiENOTSUP)},
	{"sock_recv", "iiiiii:i", sockRecv},
	{"sock_send", "iiiii:i", zeroThen(4, 4, wasiENOTSUP)},
	{"sock_shutdown", "ii:i", code(wasiENOTSUP)},
}

// writev logs what the vectors hold: stdout at info, stderr at error. One final newline is dropped.
func (in *instance) writev(fd, iovs, count uint64) (n uint32, errno uint64) {
	level := LogInfo
	switch uint32(fd) {
	case stdout:
	case stderr:
		level = LogError
	default:
		return 0, wasiEBADF
	}
	var text []byte
	for i := uint64(0); i < uint64(uint32(count)); i++ {
		at := uint64(uint32(iovs)) + i*8
		vec, ok := in.mem.Read(uint32(at), 8)
		if !ok || at>>32 != 0 {
			return 0, wasiEFAULT
		}
		size := binary.LittleEndian.Uint32(vec[4:])
		if size == 0 {
			continue
		}
		b, ok := in.mem.Read(binary.LittleEndian.Uint32(vec), size)
		if !ok {
			return 0, wasiEFAULT
		}
		if len(text)+len(b) > MaxLogBytes {
			return 0, wasiEINVAL
		}
		text = append(text, b...)
	}
	n = uint32(len(text))
	if n > 0 {
		if level == LogError {
			in.words(string(text)) // pieces as they are: Go writes a panic word by word
		}
		if text[n-1] == '\n' {
			text = text[:n-1]
		}
		in.vm.keepLog(Log{level, string(text)})
	}
	return n, wasiOK
}

func fdWrite(in *instance, s []uint64) {
	n, errno := in.writev(s[0], s[1], s[2])
	if errno == wasiOK && !in.putU32(s[3], n) {
		errno = wasiEFAULT
	}
	s[0] = errno
}

func fdPwrite(in *instance, s []uint64) {
	n, errno := in.writev(s[0], s[1], s[2])
	if errno == wasiOK && !in.putU32(s[4], n) {
		errno = wasiEFAULT
	}
	s[0] = errno
}

// fdstatGet tells of stdout and stderr that they can be written. It ignores a bad pointer, as Envoy's host does.
func fdstatGet(in *instance, s []uint64) {
	if fd := uint32(s[0]); fd != stdout && fd != stderr {
		s[0] = wasiEBADF
		return
	}
	const rightFDWrite = 64
	var stat [24]byte
	binary.LittleEndian.PutUint64(stat[8:], rightFDWrite)
	in.mem.Write(uint32(s[1]), stat[:])
	s[0] = wasiOK
}

func environGet(in *instance, s []uint64) {
	array, buf := uint32(s[0]), uint32(s[1])
	for _, e := range in.vm.environ {
		if !in.mem.WriteUint32Le(array, buf) || !in.mem.WriteString(buf, e+"\x00") {
			s[0] = wasiEFAULT
			return
		}
		array += 4
		buf += uint32(len(e)) + 1
	}
	s[0] = wasiOK
}

func environSizesGet(in *instance, s []uint64) {
	size := 0
	for _, e := range in.vm.environ {
		size += len(e) + 1
	}
	if !in.putU32(s[0], uint32(len(in.vm.environ))) || !in.putU32(s[1], uint32(size)) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiOK
}

// environ lists variables as NAME=value, sorted: Envoy's order is that of a hash map, so no guest can rely on one.
func environ(vars map[string]string) []string {
	out := make([]string, 0, len(vars))
	for k, v := range vars {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

func argsSizesGet(in *instance, s []uint64) {
	if !in.putU32(s[0], 0) || !in.putU32(s[1], 0) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiOK
}

const (
	clockRealtime  = 0
	clockMonotonic = 1
)

func clockTimeGet(in *instance, s []uint64) {
	var t int64
	switch uint32(s[0]) {
	case clockRealtime:
		t = in.vm.proxy.now().UnixNano()
	case clockMonotonic:
		t = in.vm.monotonic()
	default:
		s[0] = wasiENOTSUP
		return
	}
	if !in.putU64(s[2], uint64(t)) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiOK
}

func clockResGet(in *instance, s []uint64) {
	if uint32(s[0]) > clockMonotonic {
		s[0] = wasiENOTSUP
		return
	}
	if !in.putU64(s[1], 1) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiOK
}

func randomGet(in *instance, s []uint64) {
	size := uint32(s[1])
	if size > MaxRandomBytes {
		s[0] = wasiEINVAL
		return
	}
	if size == 0 {
		s[0] = wasiOK
		return
	}
	b, ok := in.mem.Read(uint32(s[0]), size)
	if !ok {
		s[0] = wasiEFAULT
		return
	}
	if from := in.vm.cfg.Random; from != nil {
		if _, err := io.ReadFull(from, b); err != nil {
			s[0] = wasiEIO
			return
		}
	} else {
		_, _ = rand.Read(b) // never fails
	}
	s[0] = wasiOK
}

func pollOneoff(in *instance, s []uint64) {
	result := in.module.profile.pollOneoff
	if result == wasiOK && !in.putU32(s[3], 0) {
		result = wasiEFAULT
	}
	s[0] = uint64(result)
}

func fdRenumber(_ *instance, s []uint64) {
	std := func(fd uint64) bool { return uint32(fd) == stdout || uint32(fd) == stderr }
	if !std(s[0]) || !std(s[1]) {
		s[0] = wasiEBADF
		return
	}
	s[0] = wasiENOTSUP
}

func fdTell(in *instance, s []uint64) {
	if fd := uint32(s[0]); fd != stdout && fd != stderr {
		s[0] = wasiEBADF
		return
	}
	if !in.putU64(s[1], 0) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiOK
}

func sockRecv(in *instance, s []uint64) {
	if !in.putU32(s[4], 0) || !in.mem.WriteUint16Le(uint32(s[5]), 0) {
		s[0] = wasiEFAULT
		return
	}
	s[0] = wasiENOTSUP
}
