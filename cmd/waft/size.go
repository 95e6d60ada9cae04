package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a flag's number of bytes: 500000000, 500MB or 2GiB; "none", as a bound, is none and stands for -1.
type size int64

// sizeUnits are the units, the greater first of those that are written alike.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// Set is pflag.Value's.
func (s *size) Set(text string) error {
	if text == "none" {
		*s = -1
		return nil
	}
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/unit {
		return fmt.Errorf("not a size; write bytes, or a whole number with a unit such as 500MB or 2GiB, or none for no bound")
	}
	*s = size(n * unit)
	return nil
}

// String is pflag.Value's.
func (s *size) String() string {
	if *s < 0 {
		return "none"
	}
	for _, u := range sizeUnits {
		if n := int64(*s); n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return "0"
}

// Type is pflag.Value's.
func (s *size) Type() string { return "size" }
