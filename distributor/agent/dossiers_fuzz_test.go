package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/waft-project/waft/distributor/descriptors"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// FuzzDossiers takes whatever a distributor may give for signatures of an artifact or a release, or for descriptors. It is taken only for what it is about, within its
// limits, and is the same after a restart; of what is refused nothing is kept.
func FuzzDossiers(f *testing.F) {
	manifest, evidence := []byte(`{"schemaVersion":2}`), []signing.Evidence{{}}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(durationpb.File_google_protobuf_duration_proto)}})
	if err != nil {
		f.Fatal(err)
	}
	for _, content := range []any{trust.Dossier{Manifest: manifest, Evidence: evidence}, trust.ReleaseDossier{Canonical: manifest}, set} {
		text, err := json.Marshal(content)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append(text, text...))
		f.Add(text[:len(text)-1])
	}
	f.Add([]byte(`{"manifest":"e30=","evidence":null}`))
	f.Add([]byte(`{"canonical":"e30=","evidence":[{},{}]}`))
	f.Add([]byte(`{"canonical":"e30=","Canonical":"e30x"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// What each kind of them is about, read without any care.
		var about struct{ Manifest, Canonical []byte }
		var content []byte
		_, _ = json.Unmarshal(text, &about), json.Unmarshal(text, &content)
		const nothing = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		for name, good := range map[string]bool{
			artifactName(model.Digest(about.Manifest)): true, releaseName("r@" + model.Digest(about.Canonical)): true, descriptorsName(model.Digest(content)): true,
			artifactName(nothing): false, releaseName("r@" + nothing): false, releaseName("r"): false, descriptorsName(nothing): false, descriptorsName(""): false, "": false,
		} {
			dir := t.TempDir()
			open := func() *dossiers {
				return &dossiers{
					dir: dir, log: slog.New(slog.DiscardHandler), eras: map[string]string{},
					filed: filed{artifacts: map[string]trust.Dossier{}, releases: map[string]trust.ReleaseDossier{}, descriptors: map[string]*descriptors.Set{}},
				}
			}
			d := open()
			err := d.take(name, text, "", true)
			if err == nil && !good {
				t.Errorf("%q is taken for %s", text, name)
			}
			if d.has(name) != (err == nil) {
				t.Errorf("%q for %s gives %v, and is held: %v", text, name, err, d.has(name))
			}
			if _, kept := os.Stat(d.path(name)); errors.Is(kept, fs.ErrNotExist) != (err != nil) {
				t.Errorf("%q for %s gives %v, and is kept: %v", text, name, err, kept)
			}
			if err != nil {
				continue
			}
			if n := max(len(d.artifacts[name].Evidence), len(d.releases[name].Evidence)); n > trust.MaxDossierEvidence {
				t.Errorf("%d pieces of evidence are taken for %s", n, name)
			}
			if of, have := registry.DigestOf(d.artifacts[name].Manifest), d.releases[name]; strings.HasPrefix(name, artifactName("")) && artifactName(string(of)) != name ||
				strings.HasPrefix(name, releaseName("")) && releaseName("r@"+model.Digest(have.Canonical)) != name {
				t.Errorf("%q is taken for %s, and is about %s", text, name, of)
			}
			after := open()
			if !after.takeKept(name) || !reflect.DeepEqual(after.artifacts, d.artifacts) || !reflect.DeepEqual(after.releases, d.releases) || after.has(name) != d.has(name) {
				t.Errorf("%q is taken for %s as %+v, and after a restart as %+v", text, name, d.filed, after.filed)
			}
		}
	})
}

// FuzzVersions reads whatever may stand where the versions of a chain's secrets do. What a chain writes is read back; what else is read can be reported.
func FuzzVersions(f *testing.F) {
	f.Add("", "env/TOKEN", "0123456789abcdef")
	f.Add(`{"env/TOKEN":"1","file//s/a":"2"}`, "file//s/<a>&\u2028", "")
	f.Add(`{"env/TOKEN":"1","b":2}`, "", "x")
	f.Add(`{"a":"1","a":"2"} {}`, "a\"", "\x00")
	f.Add(`null`, "a", "1")
	f.Add(`["a"]`, "a", "1")
	f.Fuzz(func(t *testing.T, text, ref, version string) {
		versions := parseVersions(text)
		if len(versions) > 0 && !json.Valid([]byte(text)) {
			t.Errorf("%q is read as %v", text, versions)
		}
		var all map[string]any
		_ = json.Unmarshal([]byte(text), &all) // what is none has nothing but texts
		for ref, version := range all {
			if _, is := version.(string); !is && version != nil && versions != nil {
				t.Errorf("%q is read as %v, and has %v for %q", text, versions, version, ref)
			}
		}
		c := &chain{}
		for ref, version := range versions {
			if !utf8.ValidString(ref) || !utf8.ValidString(version) {
				t.Errorf("%q is read as %q, which cannot be reported", text, versions)
			}
			c.Secrets = append(c.Secrets, heldSecret{Ref: ref, Version: version})
		}
		if again := parseVersions(c.secretVersions()); len(versions) > 0 && !reflect.DeepEqual(again, versions) {
			t.Errorf("%q is read as %q, and then as %q", text, versions, again)
		}
		ref, version = strings.ToValidUTF8(ref, "?"), strings.ToValidUTF8(version, "?")
		c.Secrets = []heldSecret{{Ref: ref, Version: version, Value: "hunter2-hunter2"}, {Ref: "env/OTHER", Version: "1"}}
		written := c.secretVersions()
		if again := parseVersions(written); again["env/OTHER"] != "1" || again[ref] != version && ref != "env/OTHER" || strings.Contains(written, "hunter2-hunter2") && !strings.Contains(ref+version, "hunter2") {
			t.Errorf("%q in version %q is written as %q, and read as %q", ref, version, written, again)
		}
	})
}
