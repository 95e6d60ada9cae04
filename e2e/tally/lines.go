package main

import "bytes"

// lineLimit is how much of a line is read, in bytes. What counts is short; what a test logs need not be.
const lineLimit = 4096

// lines is a writer that calls a function with each whole line, without its end and without what is beyond lineLimit.
type lines struct {
	to   func(string)
	line []byte
}

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		l.line = append(l.line, part[:min(len(part), lineLimit-len(l.line))]...)
		if i < 0 {
			return n, nil
		}
		l.to(string(l.line))
		l.line, p = l.line[:0], p[i+1:]
	}
}

// end gives the last line if it has no end, and says whether that is so.
func (l *lines) end() bool {
	if len(l.line) == 0 {
		return false
	}
	l.to(string(l.line))
	l.line = nil
	return true
}
