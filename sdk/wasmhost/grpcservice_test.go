package wasmhost

import (
	"slices"
	"testing"
)

func TestParseGRPCService(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     grpcTarget
	}{
		{"a cluster's name", "backend", grpcTarget{}},
		{"a name that is a message by chance", "empty", grpcTarget{parsed: true}},
		{"nothing", "", grpcTarget{parsed: true}},
		{"envoy_grpc", "\x0a\x03\x0a\x01c", grpcTarget{parsed: true, envoy: true, cluster: "c"}},
		{"google_grpc", "\x12\x03\x0a\x01u", grpcTarget{parsed: true, google: true}},
		{"initial_metadata", "\x0a\x03\x0a\x01c\x2a\x06\x0a\x01K\x12\x01v", grpcTarget{parsed: true, envoy: true, cluster: "c", metadata: Headers{{"k", "v"}}}},
		{"a name that is not UTF-8", "\x0a\x03\x0a\x01\xff", grpcTarget{}},
		{"cut off", "\x0a\x03\x0a", grpcTarget{}},
	} {
		got := parseGRPCService([]byte(test.in))
		if got.parsed != test.want.parsed || got.envoy != test.want.envoy || got.google != test.want.google || got.cluster != test.want.cluster ||
			!slices.Equal(got.metadata, test.want.metadata) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func FuzzParseGRPCService(f *testing.F) {
	f.Add([]byte("\x0a\x03\x0a\x01c\x2a\x06\x0a\x01K\x12\x01v"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := parseGRPCService(b); !got.parsed && (got.envoy || got.google || got.cluster != "") || got.envoy && got.google {
			t.Errorf("%q gives %+v", b, got)
		}
	})
}
