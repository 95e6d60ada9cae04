package envoy

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// FuzzUsage reads whatever may stand in a process's statm and stat: its name is its own to choose. None uses less than nothing, and what is said of its name counts for nothing.
func FuzzUsage(f *testing.F) {
	const stat = "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 150 30 0 0 20 0 5 0 1 1 1"
	f.Add("5000 250 100 1 0 50 0\n", stat, "a ) b")
	f.Add("1 9223372036854775807", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 9223372036854775807 1 0 0 20", ") R 1 1 1 1 1 1 1 1 1 1 7 7")
	f.Add("1 -2", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 -1 -1 0 0 20", "")
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		f.Add(string(statm), stat, "envoy")
	}
	f.Fuzz(func(t *testing.T, statm, stat, name string) {
		u, ok := parseUsage([]byte(statm), []byte(stat))
		if !ok && u != (usage{}) || u.cpu < 0 || u.memory < 0 {
			t.Errorf("%q, %q: %+v, %v", statm, stat, u, ok)
		}
		end := strings.LastIndexByte(stat, ')')
		if end < 0 {
			return
		}
		if again, still := parseUsage([]byte(statm), []byte("42 ("+name+stat[end:])); again != u || still != ok {
			t.Errorf("%q, %q: %+v, and called %q %+v", statm, stat, u, name, again)
		}
	})
}

// FuzzStatus reads whatever may stand in a process's status. Who it is of is a user's number that stands there.
func FuzzStatus(f *testing.F) {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		f.Add(string(status))
	}
	f.Add("Name:\tUid: 0\nUid:\t1000\t0\t0\t0\n")
	f.Add("Uid:\t-1\t0\t0\t0\n")
	f.Add("Uid:\nUid:\t7\n")
	f.Fuzz(func(t *testing.T, status string) {
		uid, err := parseUID(status)
		if err != nil {
			return
		}
		if uid < 0 || uid > 1<<32-1 || !slices.ContainsFunc(strings.Fields(status), func(s string) bool {
			n, err := strconv.ParseUint(strings.TrimPrefix(s, "Uid:"), 10, 32)
			return err == nil && int(n) == uid
		}) {
			t.Errorf("%q is of %d", status, uid)
		}
	})
}

// FuzzArguments reads whatever may stand in the cmdline and environ of any process on the machine. A folder that is said to be an Envoy's is named there.
func FuzzArguments(f *testing.F) {
	f.Add("envoy\x00--admin-address-path\x00/var/lib/waft/envoy/"+adminAddressFile+"\x00", "PATH=/bin\x00"+shapeVariable+"=abc\x00")
	f.Add("--admin-address-path", shapeVariable)
	f.Add("\x00\x00--admin-address-path\x00\x00"+adminAddressFile, "="+shapeVariable+"=\x00")
	f.Fuzz(func(t *testing.T, cmdline, environ string) {
		argv := splitStrings([]byte(cmdline))
		if slices.Contains(argv, "") || len(argv) > 0 && strings.Join(argv, "\x00") != strings.Trim(strings.Join(argv, "\x00"), "\x00") {
			t.Errorf("%q is %q", cmdline, argv)
		}
		if folder := adminFolder(argv); folder != "" && (!strings.Contains(cmdline, adminAddressFile) || !strings.Contains(cmdline, "--admin-address-path\x00")) {
			t.Errorf("%q is the Envoy of %q", cmdline, folder)
		}
		if shape, marked := shapeOf(splitStrings([]byte(environ))); marked && !strings.Contains(environ, shapeVariable+"="+shape) || !marked && shape != "" {
			t.Errorf("%q has the shape %q", environ, shape)
		}
	})
}
