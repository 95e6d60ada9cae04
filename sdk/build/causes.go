package build

// usualCauses says, for a WASI function that older Envoys lack, which Go calls usually drag it in. The functions themselves,
// and who has them, are wasmhost's.
var usualCauses = map[string]string{
	"fd_readdir":              "os.ReadDir, net/http or crypto/x509",
	"path_readlink":           "os.Readlink, path/filepath.EvalSymlinks, net/http or crypto/x509",
	"fd_filestat_get":         "os.ReadFile or (*os.File).Stat",
	"path_filestat_get":       "os.Stat, os.ReadFile or net/http",
	"fd_pread":                "(*os.File).ReadAt, text/template or html/template",
	"fd_pwrite":               "(*os.File).WriteAt, text/template or html/template",
	"fd_sync":                 "(*os.File).Sync, text/template or html/template",
	"fd_filestat_set_size":    "(*os.File).Truncate, text/template or html/template",
	"fd_filestat_set_times":   "os.Chtimes, text/template or html/template",
	"path_create_directory":   "os.Mkdir, text/template or html/template",
	"path_filestat_set_times": "os.Chtimes",
	"path_link":               "os.Link",
	"path_remove_directory":   "os.Remove",
	"path_rename":             "os.Rename",
	"path_symlink":            "os.Symlink",
	"path_unlink_file":        "os.Remove",
	"sock_accept":             "net.Listener or net/http",
	"sock_recv":               "the package net",
	"sock_send":               "the package net",
	"sock_shutdown":           "the package net or net/http",
}

func usualCause(name string) string { return usualCauses[name] }
