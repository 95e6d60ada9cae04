// Package shared holds a type whose name another one has, too.
package shared

// Limit is the other limit.
type Limit struct {
	Bytes uint32 `json:"bytes"`
}
