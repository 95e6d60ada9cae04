package conformance

// wasiCases are about WASI and Emscripten's functions.
func wasiCases() []testCase {
	const (
		at   = 2048 // free memory for what WASI functions read and write
		far  = badPointer
		iovs = at + 256
	)
	text := "hello\n"
	write := func(fd int) []statement {
		return []statement{pokeText(iovs, text), call("wasi.fd_write", fd, iovs, 1, at)}
	}
	all := func(name, since string, s ...statement) []testCase {
		return []testCase{
			{name: "wasi/" + name, since: since, guest: with(on("on_request_headers", s...)), steps: []step{get(), answer()}},
		}
	}
	peek := func(n int) statement { return peekOf{at, n} }
	var cases []testCase
	cases = append(cases, all("fd_write", "",
		append(append(append(write(1), write(2)...), append(write(0), write(3)...)...),
			call("wasi.fd_write", 1, iovs, 0, at), peek(4),
			call("wasi.fd_write", 1, far, 1, at), call("wasi.fd_write", 1, iovs, 1, far), call("wasi.fd_write", 1, far, 1, far),
			poke(iovs, far), call("wasi.fd_write", 1, iovs, 1, at),
			poke(iovs+4, 0), call("wasi.fd_write", 1, iovs, 1, at), peek(4),
		)...)...)
	cases = append(cases, all("descriptors", "",
		call("wasi.fd_read", 0, iovs, 1, at), call("wasi.fd_read", 3, far, 1, far),
		call("wasi.fd_seek", 1, 0, 0, at), call("wasi.fd_seek", 9, 0, 0, far),
		call("wasi.fd_close", 1), call("wasi.fd_close", 9),
		call("wasi.fd_fdstat_get", 0, at), call("wasi.fd_fdstat_get", 1, at), peek(24), call("wasi.fd_fdstat_get", 2, at),
		call("wasi.fd_fdstat_get", 3, at), call("wasi.fd_fdstat_get", 1, far), call("wasi.fd_fdstat_get", 3, far),
		call("wasi.fd_fdstat_set_flags", 1, 0), call("wasi.fd_fdstat_set_flags", 9, 0),
		call("wasi.fd_prestat_get", 3, at), call("wasi.fd_prestat_get", 3, far),
		call("wasi.fd_prestat_dir_name", 3, at, 8), call("wasi.fd_prestat_dir_name", 3, far, 8),
		call("wasi.path_open", 3, 0, "name", 0, 0, 0, 0, at), call("wasi.path_open", 3, 0, bad{}, 0, 0, 0, 0, far),
	)...)
	cases = append(cases, all("arguments", "",
		call("wasi.args_sizes_get", at, at+4), peek(8), call("wasi.args_get", at, at+4), call("wasi.args_get", far, far),
		call("wasi.args_sizes_get", far, at), call("wasi.args_sizes_get", at, far),
		call("wasi.environ_sizes_get", at, at+4), peek(8), call("wasi.environ_get", at, at+4),
		call("wasi.environ_sizes_get", far, at), call("wasi.environ_sizes_get", at, far), call("wasi.environ_get", far, far),
	)...)
	environment := all("environment", "",
		call("wasi.environ_sizes_get", at, at+4), peek(8), call("wasi.environ_get", at, at+64), peekOf{at + 64, 16},
		call("wasi.environ_get", far, at), call("wasi.environ_get", at, far),
	)
	environment[0].env = map[string]string{"NAME": "value=\u00e9"}
	cases = append(cases, environment...)
	cases = append(cases, all("time and chance", "",
		call("wasi.clock_time_get", 0, 1, at), call("wasi.clock_time_get", 1, 1, at), call("wasi.clock_time_get", 2, 1, at),
		call("wasi.clock_time_get", 3, 1, at), call("wasi.clock_time_get", -1, 1, at), call("wasi.clock_time_get", 0, 1, far),
		call("wasi.clock_time_get", 9, 1, far),
		call("wasi.random_get", at, 8), call("wasi.random_get", at, 0), call("wasi.random_get", far, 8), call("wasi.random_get", far, 0),
		call("wasi.random_get", addrHeap, 65536), call("wasi.random_get", addrHeap, 65537),
		call("wasi.sched_yield"),
		poke(at, 77), call("wasi.poll_oneoff", at, at, 1, at), peek(4), call("wasi.poll_oneoff", at, at, 0, at), call("wasi.poll_oneoff", at, at, 1, far),
	)...)
	cases = append(cases, all("exit", "", call("wasi.proc_exit", 3), say("still here"))...)
	cases = append(cases, all("under its old name", "",
		call("unstable.fd_write", 1, iovs, 0, at), call("unstable.fd_fdstat_get", 1, at), call("unstable.clock_time_get", 0, 1, at),
		call("unstable.poll_oneoff", at, at, 1, at), call("unstable.random_get", at, 8), call("unstable.environ_sizes_get", at, at+4),
	)...)
	cases = append(cases, all("Emscripten", "",
		pthreadEqual{1, 1}, pthreadEqual{1, 2}, call("env.emscripten_notify_memory_growth", 0),
	)...)
	cases = append(cases, all("files", "1.39",
		call("wasi.fd_fdstat_set_rights", 1, 0, 0), call("wasi.fd_fdstat_set_rights", 3, 0, 0),
		call("wasi.fd_advise", 1, 0, 0, 0), call("wasi.fd_advise", 9, 0, 0, 0),
		call("wasi.fd_allocate", 1, 0, 0), call("wasi.fd_allocate", 3, 0, 0), call("wasi.fd_datasync", 1), call("wasi.fd_datasync", 0),
		call("wasi.fd_filestat_get", 1, at), call("wasi.fd_filestat_get", 3, far),
		call("wasi.fd_filestat_set_size", 1, 0), call("wasi.fd_filestat_set_size", 3, 0),
		call("wasi.fd_filestat_set_times", 2, 0, 0, 0), call("wasi.fd_filestat_set_times", 3, 0, 0, 0),
		call("wasi.fd_pread", 0, iovs, 1, 0, at), call("wasi.fd_pread", 9, far, 1, 0, far),
		poke(at, 7), call("wasi.fd_readdir", 3, at, 64, 0, at), peek(4), call("wasi.fd_readdir", 3, at, 64, 0, far),
		call("wasi.fd_renumber", 1, 2), call("wasi.fd_renumber", 1, 3), call("wasi.fd_renumber", 3, 1),
		call("wasi.fd_sync", 1), call("wasi.fd_sync", 3), poke(at, 7), call("wasi.fd_tell", 1, at), peek(8), call("wasi.fd_tell", 3, at), call("wasi.fd_tell", 1, far),
	)...)
	cases = append(cases, all("fd_pwrite", "1.39",
		pokeText(iovs, text), call("wasi.fd_pwrite", 1, iovs, 1, 5, at), peek(4), call("wasi.fd_pwrite", 3, iovs, 1, 0, at),
		call("wasi.fd_pwrite", 1, far, 1, 0, at), call("wasi.fd_pwrite", 1, iovs, 1, 0, far),
	)...)
	cases = append(cases, all("clock_res_get", "1.39",
		call("wasi.clock_res_get", 0, at), peek(8), call("wasi.clock_res_get", 1, at), peek(8), call("wasi.clock_res_get", 2, at),
		call("wasi.clock_res_get", 9, far), call("wasi.clock_res_get", 0, far),
	)...)
	cases = append(cases, all("paths", "1.39",
		call("wasi.path_create_directory", 3, "p"), call("wasi.path_create_directory", 3, bad{}),
		call("wasi.path_filestat_get", 3, 0, "p", at), call("wasi.path_filestat_get", 3, 0, bad{}, far),
		call("wasi.path_filestat_set_times", 3, 0, "p", 0, 0, 0), call("wasi.path_link", 3, 0, "p", 3, at),
		poke(at, 7), call("wasi.path_readlink", 3, "p", at, 8, at), peek(4), call("wasi.path_readlink", 3, "p", at, 8, far),
		call("wasi.path_remove_directory", 3, "p"), call("wasi.path_rename", 3, "p", 3, "q"), call("wasi.path_symlink", "p", 3, at),
		call("wasi.path_unlink_file", 3, "p"),
	)...)
	cases = append(cases, all("sockets", "1.39",
		poke(at, 7), call("wasi.sock_accept", 3, 0, at), peek(8), call("wasi.sock_accept", 3, 0, far),
		poke(at, 7), call("wasi.sock_recv", 3, iovs, 1, 0, at, at+8), peek(12), call("wasi.sock_recv", 3, iovs, 1, 0, far, at), call("wasi.sock_recv", 3, iovs, 1, 0, at, far),
		poke(at, 7), call("wasi.sock_send", 3, iovs, 1, 0, at), peek(4), call("wasi.sock_send", 3, iovs, 1, 0, far), call("wasi.sock_shutdown", 3, 0),
	)...)
	return cases
}

// pokeText writes a vector of one text at an address, for fd_write.
func pokeText(at int64, text string) statement { return iov{at, text} }

type iov struct {
	at   int64
	text string
}

func (v iov) emit(f *function) {
	f.i32(v.at).i32(int64(f.a.text(v.text))).store32()
	f.i32(v.at + 4).i32(int64(len(v.text))).store32()
}

// peekOf writes memory into the trace.
type peekOf struct{ at, size int }

func (p peekOf) emit(f *function) {
	f.printLiteral("  memory b:").i32(int64(p.at)).i32(int64(p.size)).call("print bytes").call("flush")
}

// pthreadEqual calls Emscripten's function, whose result is no status.
type pthreadEqual struct{ a, b int64 }

func (p pthreadEqual) emit(f *function) {
	f.printLiteral("  pthread_equal(" + num(p.a).label() + ", " + num(p.b).label() + ") = ")
	f.i32(p.a).i32(p.b).callImport("env", "pthread_equal", emscriptenFunctions["pthread_equal"])
	f.op(opExtendU).call("print number").call("flush")
}
