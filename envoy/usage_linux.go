package envoy

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTicks is the unit of times in /proc: USER_HZ, 100 on every architecture that Go and Envoy share.
const clockTicks = time.Second / 100

// readUsage reads /proc; false when the process is gone.
func readUsage(pid int) (usage, bool) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return usage{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", pid, pid))
	if err != nil {
		return usage{}, false
	}
	return parseUsage(statm, stat)
}

// parseUsage reads the resident pages out of statm, and utime and stime out of stat (proc_pid_stat(5), fields 14 and 15).
func parseUsage(statm, stat []byte) (usage, bool) {
	pages := bytes.Fields(statm)
	// The command's name is in parentheses and may hold anything; fields are counted from behind it, where field 3 is the first.
	behind := bytes.LastIndexByte(stat, ')')
	if len(pages) < 2 || behind < 0 {
		return usage{}, false
	}
	fields := bytes.Fields(stat[behind+1:])
	if len(fields) < 13 {
		return usage{}, false
	}
	resident, err1 := strconv.ParseInt(string(pages[1]), 10, 64)
	user, err2 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err3 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return usage{}, false
	}
	return usage{cpu: time.Duration(user+system) * clockTicks, memory: resident * int64(os.Getpagesize())}, true
}
