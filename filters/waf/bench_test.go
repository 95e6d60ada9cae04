package main

import (
	"testing"

	"github.com/waft-project/waft/sdk/sdktest"
)

// BenchmarkRequest is the inspection of an ordinary request. Compiled to Wasm it takes several times as long.
func BenchmarkRequest(b *testing.B) {
	f := sdktest.New(b, configure, "")
	request := sdktest.Request{Path: "/products/list?page=2&sort=price&q=blue+shoes", Headers: with(browser, "accept-language", "en", "cookie", "session=0123456789abcdef; theme=dark"), Properties: properties}
	b.ReportAllocs()
	for b.Loop() {
		if got := f.Do(request); got.Upstream == nil {
			b.Fatal(got.Details)
		}
	}
}
