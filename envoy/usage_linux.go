package envoy

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"
)

// clockTicks is the unit of times in /proc: USER_HZ, 100 on every architecture that Go and Envoy share.
const clockTicks = time.Second / 100

// maxTicks is the most of either time that is taken, so that both together are a duration: a century and a half.
const maxTicks = int64(math.MaxInt64 / clockTicks / 2)

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
	page := int64(os.Getpagesize())
	resident, ok1 := atMost(pages[1], math.MaxInt64/page)
	user, ok2 := atMost(fields[11], maxTicks)
	system, ok3 := atMost(fields[12], maxTicks)
	if !ok1 || !ok2 || !ok3 {
		return usage{}, false
	}
	return usage{cpu: time.Duration(user+system) * clockTicks, memory: resident * page}, true
}

// atMost reads a number from 0 on, false: it is none, or more.
func atMost(digits []byte, most int64) (int64, bool) {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n >= 0 && n <= most
}
