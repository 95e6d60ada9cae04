package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// FuzzBody reads whatever somebody may send as the body of a request over HTTP. What is taken is one JSON text that has one meaning, comes back as it was understood, and is
// refused with a member more that nobody knows, or with a member twice.
func FuzzBody(f *testing.F) {
	for _, document := range []string{releaseYAML, rolloutYAML} {
		m, err := DecodeDocument([]byte(document))
		if err != nil {
			f.Fatal(err)
		}
		text, err := new(runtime.JSONPb).Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append(text, text...))
	}
	f.Add([]byte(`{"pageSize":1,"page_size":1}`))
	f.Add([]byte(`{"rollout":{"metadata":{"name":"a"}},"reason":"go","noWait":true} {}`))
	f.Add([]byte(`{"rollout":{"spec":{"waves":[{"percent":9007199254740993}]}}}`))
	f.Add([]byte(`{"spec":{"filters":[{"config":{"a":1,"a":2}}]}}`))
	f.Add([]byte(`null`))
	f.Add([]byte(` `))
	m := &strictJSON{}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range []proto.Message{&waftv1.Release{}, &waftv1.StartRolloutRequest{}, &waftv1.SetSecretRequest{}} {
			take := func(text []byte) (proto.Message, error) {
				into := kind.ProtoReflect().New().Interface()
				return into, m.NewDecoder(bytes.NewReader(text)).Decode(into)
			}
			read, err := take(text)
			if err != nil {
				continue
			}
			if _, err := model.Canonical(text); err != nil {
				t.Errorf("%q is taken for %v: %v", text, read, err)
			}
			written, err := m.Marshal(read)
			if err != nil {
				t.Fatalf("%q is taken for %v, which cannot be written: %v", text, read, err)
			}
			if again, err := take(written); err != nil || !proto.Equal(again, read) {
				t.Errorf("%q is taken for %v, written as %s, and taken for %v (%v)", text, read, written, again, err)
			}
			var members map[string]json.RawMessage
			if err := json.Unmarshal(text, &members); err != nil {
				t.Errorf("%q is taken for %v: %v", text, read, err)
			}
			open := bytes.IndexByte(text, '{')
			for name, value := range members {
				quoted, err := json.Marshal(name)
				if err != nil {
					t.Fatal(err)
				}
				twice := append(append(append(append(bytes.Clone(text[:open+1]), quoted...), ':'), value...), ',')
				if read, err := take(append(twice, text[open+1:]...)); err == nil {
					t.Errorf("%q with %q twice is taken for %v", text, name, read)
				}
				more := append(bytes.Clone(text[:open+1]), `"surprise":null,`...)
				if read, err := take(append(more, text[open+1:]...)); err == nil {
					t.Errorf("%q with a member more is taken for %v", text, read)
				}
			}
		}
	})
}
