package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// cell is one thing that was tried, or that cannot be.
type cell struct {
	Registry string `json:"registry"`
	Client   string `json:"client"`
	Layout   string `json:"layout"`
	// Direction is what the client did: see the constants.
	Direction string  `json:"direction"`
	OK        verdict `json:"ok"`
	// Reason says why not: the client's or waft's error, or what rules the cell out.
	Reason string `json:"reason,omitempty"`
}

// Directions.
const (
	dirPull   = "pull"   // the client fetches what waft published
	dirPush   = "push"   // the client publishes, and waft fetches it
	dirCopy   = "copy"   // the client copies it, and waft fetches the copy
	dirBundle = "bundle" // the client publishes what waft has exported into a file, and waft fetches it
	dirVerify = "verify" // the client verifies what waft signed
	dirSign   = "sign"   // the client signs, and waft verifies it
)

// verdict is how a cell went. In JSON it is true, false or "n/a".
type verdict string

const (
	good  verdict = "ok"
	bad   verdict = "FAILED"
	ruled verdict = "n/a"
)

// MarshalJSON writes true, false or "n/a".
func (v verdict) MarshalJSON() ([]byte, error) {
	if v == ruled {
		return json.Marshal(string(v))
	}
	return json.Marshal(v == good)
}

// judge makes a cell's verdict of an error, nil for none.
func (c cell) judge(err error) cell {
	c.OK = good
	if err != nil {
		c.OK, c.Reason = bad, strings.TrimSpace(err.Error())
	}
	return c
}

// printTable writes a table for each registry: clients and directions by layouts, in the order in which they first come. Reasons stand below it, and below all tables
// how many cells there are of each verdict.
func printTable(to io.Writer, cells []cell) error {
	for _, registry := range uniq(cells, func(c cell) string { return c.Registry }) {
		of := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return c.Registry != registry })
		layouts := uniq(of, func(c cell) string { return c.Layout })
		fmt.Fprintf(to, "%s\n", registry)
		w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
		fmt.Fprintf(w, "CLIENT\tDIRECTION\t%s\n", strings.ToUpper(strings.Join(layouts, "\t")))
		for _, row := range uniq(of, func(c cell) string { return c.Client + "\t" + c.Direction }) {
			fmt.Fprint(w, row)
			for _, layout := range layouts {
				at := slices.IndexFunc(of, func(c cell) bool { return c.Client+"\t"+c.Direction == row && c.Layout == layout })
				word := ""
				if at >= 0 {
					word = string(of[at].OK)
				}
				fmt.Fprintf(w, "\t%s", word)
			}
			fmt.Fprintln(w)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, reason := range reasons(of) {
			fmt.Fprintln(to, "  "+reason)
		}
		fmt.Fprintln(to)
	}
	_, err := fmt.Fprintf(to, "%d passed, %d failed, %d not applicable\n", number(cells, good), number(cells, bad), number(cells, ruled))
	return err
}

// reasons say of each cell that is not good why, those of one client for one reason together.
func reasons(cells []cell) []string {
	rest := slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return c.OK == good })
	of := func(c cell) string { return fmt.Sprintf("%s: %s: %s", c.Client, c.OK, c.Reason) }
	var all []string
	for _, reason := range uniq(rest, of) {
		var where []string
		same := slices.DeleteFunc(slices.Clone(rest), func(c cell) bool { return of(c) != reason })
		for _, direction := range uniq(same, func(c cell) string { return c.Direction }) {
			in := slices.DeleteFunc(slices.Clone(same), func(c cell) bool { return c.Direction != direction })
			where = append(where, direction+" ("+strings.Join(uniq(in, func(c cell) string { return c.Layout }), ", ")+")")
		}
		all = append(all, reason+" ["+strings.Join(where, "; ")+"]")
	}
	return all
}

// uniq gives each value of a function once, in the order in which they come.
func uniq(cells []cell, of func(cell) string) []string {
	var all []string
	for _, c := range cells {
		if v := of(c); !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

// number counts the cells of a verdict.
func number(cells []cell, of verdict) int {
	n := 0
	for _, c := range cells {
		if c.OK == of {
			n++
		}
	}
	return n
}
