package main

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// question is what an authorizer is told of a request. Nothing else may decide, so the same question has the same answer.
type question struct {
	authorizer *authorizer
	fetch      sdk.FetchRequest
}

// Headers by which the service learns of the request, besides those that the configuration names.
const (
	forwardedMethod = "x-forwarded-method"
	forwardedHost   = "x-forwarded-host"
	forwardedURI    = "x-forwarded-uri"
	authorization   = "authorization"
)

// question asks about a request.
func (a *authorizer) question(r *sdk.Request) question {
	path := r.Path()
	f := sdk.FetchRequest{
		Cluster: a.cluster, Authority: a.authority, Path: a.prefix + path, Timeout: a.timeout, Limit: maxAnswer,
		Headers: []sdk.Header{
			{Name: forwardedMethod, Value: r.Method()}, {Name: forwardedHost, Value: r.Authority()}, {Name: forwardedURI, Value: path},
		},
	}
	for _, name := range a.send {
		for _, value := range r.Headers().Values(name) {
			f.Headers = append(f.Headers, sdk.Header{Name: name, Value: value})
		}
	}
	return question{a, f}
}

// maxAnswer is the most bytes of an answer's body.
const maxAnswer = 64 << 10

// key is the question in few bytes: a hash that nobody can make collide. Lengths stand before texts, so that no two questions are written
// the same.
func (q *question) key() string {
	size := 0
	for _, h := range q.fetch.Headers {
		size += len(h.Name) + len(h.Value) + 8
	}
	var b strings.Builder
	b.Grow(size + len(q.fetch.Path) + 16)
	text := func(s string) {
		var n [4]byte
		binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
		b.Write(n[:])
		b.WriteString(s)
	}
	text(strconv.Itoa(q.authorizer.id))
	text(q.fetch.Path)
	for _, h := range q.fetch.Headers {
		text(h.Name)
		text(h.Value)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return string(sum[:])
}
