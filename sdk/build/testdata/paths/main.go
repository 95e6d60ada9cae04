// Command paths goes the ways through Go's code that few programs go, and prints what it meets. It must print the same after its
// code was made smaller.
package main

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"sort"
	"strings"
)

type node struct {
	next  *node
	value int
}

type shape interface{ area() int }

type square int

func (s square) area() int { return int(s) * int(s) }

//go:noinline
func at(list []int, i int) int { return list[i] }

//go:noinline
func cut(list []int, from, to int) []int { return list[from:to] }

//go:noinline
func divide(a, b int) int { return a / b }

//go:noinline
func shift(a, b int) int { return a << b }

//go:noinline
func follow(n *node) int { return n.next.next.value }

//go:noinline
func assert(v any) int { return v.(shape).area() }

//go:noinline
func concrete(v any) int { return int(v.(square)) }

//go:noinline
func makeOf(n int) int { return len(make([]int, n)) }

// deep needs more stack than a goroutine begins with, and keeps values across each growth.
//
//go:noinline
func deep(n int, text string) (int, string) {
	var room [64]int
	for i := range room {
		room[i] = n + i
	}
	if n == 0 {
		return room[63], text
	}
	sum, text := deep(n-1, text)
	return sum + room[n%64], text
}

// guarded says how f ended. Its result is set by a deferred function, after a panic too.
func guarded(name string, f func() int) (text string) {
	defer func() {
		if reason := recover(); reason != nil {
			text = fmt.Sprintf("%s: %v", name, reason)
			var err runtime.Error
			if e, ok := reason.(error); ok && errors.As(e, &err) {
				text += " (of the runtime)"
			}
		}
	}()
	defer func() { text += "!" }()
	return fmt.Sprint(name, ": ", f())
}

// nested panics while it panics, in a loop of deferred calls.
func nested(n int) int {
	for i := range n {
		defer func() {
			if reason := recover(); reason != nil {
				panic(fmt.Sprint(reason, i))
			}
		}()
	}
	panic("from ")
}

// jumps has jumps forward and back, out of loops and into switches.
//
//go:noinline
func jumps(n int) (trace string) {
outer:
	for i := 0; ; i++ {
		switch {
		case i == n:
			break outer
		case i%7 == 3:
			goto skip
		case i%5 == 4:
			for j := i; j > 0; j /= 2 {
				if j%3 == 0 {
					continue outer
				}
				trace += fmt.Sprint(j, ",")
			}
		}
		trace += fmt.Sprint(i, " ")
		continue
	skip:
		trace += "skip "
	}
	return trace
}

func count(to int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range to {
			if !yield(i) {
				return
			}
		}
	}
}

func main() {
	list, chain := []int{1, 2, 3}, &node{next: &node{}}
	for _, line := range []string{
		guarded("index", func() int { return at(list, 3) }),
		guarded("negative", func() int { return at(list, -1) }),
		guarded("in range", func() int { return at(list, 2) }),
		guarded("cut", func() int { return len(cut(list, 2, 9)) }),
		guarded("cut back", func() int { return len(cut(list, 3, 2)) }),
		guarded("divide", func() int { return divide(7, len(list)-3) }),
		guarded("shift", func() int { return shift(1, -len(list)) }),
		guarded("nil", func() int { return follow(chain) }),
		guarded("assert", func() int { return assert(list) }),
		guarded("assert nil", func() int { return assert(nil) }),
		guarded("asserted", func() int { return assert(square(5)) }),
		guarded("concrete", func() int { return concrete("text") }),
		guarded("make", func() int { return makeOf(-1) }),
		guarded("nested", func() int { return nested(5) }),
		guarded("deep", func() int { sum, _ := deep(20_000, "kept"); return sum }),
		guarded("map", func() int { var m map[string]int; m["a"]++; return 0 }),
		jumps(40),
	} {
		fmt.Println(line)
	}

	numbers := make(chan int)
	done := make(chan string)
	go func() {
		defer close(numbers)
		for i := range 100 {
			_, text := deep(i*20, "grown")
			numbers <- i * len(text)
		}
	}()
	go func() {
		defer func() { done <- "goexit" }()
		runtime.Goexit()
	}()
	sum, ended := 0, ""
	for numbers != nil || ended == "" {
		select {
		case n, ok := <-numbers:
			if !ok {
				numbers = nil
			}
			sum += n
		case ended = <-done:
		}
	}
	fmt.Println(sum, ended)

	next, stop := iter.Pull(count(10))
	next()
	second, _ := next()
	stop()
	words := map[string][]int{}
	for i := range 2_000 {
		word := strings.Repeat(string(rune('a'+i%26)), i%9)
		words[word] = append(words[word], i)
		if i%500 == 0 {
			runtime.GC()
		}
	}
	var keys []string
	for k, v := range words {
		keys = append(keys, fmt.Sprint(k, len(v)))
	}
	sort.Strings(keys)
	slices.Reverse(keys)
	fmt.Println(second, len(keys), keys[:8])

	println("printed", len(keys), 1.5, true, chain != nil)
	if len(os.Args) > 1 {
		follow(chain) // ends the program, with a stack
	}
}
