package envoy

import (
	"os"
	"testing"
	"time"
)

func TestParseUsage(t *testing.T) {
	page := int64(os.Getpagesize())
	for _, test := range []struct {
		name, statm, stat string
		want              usage
		ok                bool
	}{
		{"as the kernel writes it", "5000 250 100 1 0 50 0\n", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 150 30 0 0 20 0 5 0 1 1 1", usage{cpu: 1800 * time.Millisecond, memory: 250 * page}, true},
		{"a name with spaces and parentheses", "1 2 3", "42 (a ) b) R 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20", usage{cpu: 20 * time.Millisecond, memory: 2 * page}, true},
		{"cut off", "1 2 3", "42 (envoy) R 1 42", usage{}, false},
		{"no statm", "", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20", usage{}, false},
		{"empty", "", "", usage{}, false},
		{"less than no time", "1 2 3", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 -1 1 0 0 20", usage{}, false},
		{"more time than there is", "1 2 3", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 9223372036854775807 1 0 0 20", usage{}, false},
		{"more pages than bytes can be", "1 9223372036854775807 3", "42 (envoy) R 1 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20", usage{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := parseUsage([]byte(test.statm), []byte(test.stat)); got != test.want || ok != test.ok {
				t.Errorf("parseUsage = %+v, %v; want %+v, %v", got, ok, test.want, test.ok)
			}
		})
	}
	if now, ok := readUsage(os.Getpid()); !ok || now.memory <= 0 {
		t.Errorf("of this process: %+v, %v", now, ok)
	}
}
