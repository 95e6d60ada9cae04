package oidc

import (
	"encoding/json"
	"testing"
)

// FuzzKeys reads whatever an issuer may give as its keys. None that is taken is secret, for encryption, or broken, and there are not too many.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"enc"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var set struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if json.Unmarshal(text, &set) != nil {
			return
		}
		keys := publicKeys(set.Keys)
		if len(keys) > maxKeys {
			t.Errorf("%d keys are taken", len(keys))
		}
		for _, k := range keys {
			if !k.Valid() || !k.IsPublic() || k.Use == "enc" {
				t.Errorf("%+v is taken", k)
			}
		}
	})
}
