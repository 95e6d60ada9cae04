package main

import "strings"

// fieldPath is a path of names. A name that is * stands for any one, and ** for any number of them.
type fieldPath []string

func parsePath(text string) (fieldPath, bool) {
	path := fieldPath(strings.Split(text, "."))
	for i, name := range path {
		if name == "" || strings.ContainsAny(name, "[]") || name == "**" && i > 0 && path[i-1] == "**" {
			return nil, false
		}
	}
	return path, path[len(path)-1] != "**"
}

// matches says whether a path is that of a field; names are those from the body's root to the field.
func (p fieldPath) matches(names []string) bool {
	// at is the position in p to go back to, and from the number of names that its ** has taken.
	at, from, i, j := -1, 0, 0, 0
	for j < len(names) {
		switch {
		case i < len(p) && p[i] == "**":
			at, from = i, j
			i++
		case i < len(p) && (p[i] == "*" || p[i] == names[j]):
			i, j = i+1, j+1
		case at >= 0:
			from++
			i, j = at+1, from
		default:
			return false
		}
	}
	for i < len(p) && p[i] == "**" {
		i++
	}
	return i == len(p)
}
