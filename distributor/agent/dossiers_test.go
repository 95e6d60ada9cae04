package agent

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"testing"

	"github.com/waft-project/waft/envoy/envoytest"
)

// The disk damages what an agent has kept of signatures: it is noticed whatever is damaged, said in the log, passed over for the copy before it, or
// fetched again; and then it is whole again.
func TestKeptSignaturesAreDamaged(t *testing.T) {
	n := newNotary(t)
	a := n.publish("one", guest)
	n.sign(a, "k")
	plain, err := json.Marshal(n.gather(a))
	if err != nil {
		t.Fatal(err)
	}
	name := artifactName(string(a.Digest))
	evidence := len(n.gather(a).Evidence)
	if evidence == 0 {
		t.Fatal("there is no signature")
	}
	s := newSource(t, "n1")
	s.dossiers[name] = plain
	config := configFor(t, s, envoytest.Newest)

	cut := func(content []byte) []byte { return content[:len(content)/2] }
	// One character of the signature itself: still JSON, and still a dossier of that artifact.
	turned := func(content []byte) []byte {
		at := bytes.Index(content, []byte(`"evidence"`)) + len(content)/4
		for content[at] < 'a' || content[at] > 'y' {
			at++
		}
		changed := bytes.Clone(content)
		changed[at]++
		return changed
	}
	for _, test := range []struct {
		name string
		// damage changes the file; writes is how often it was written before.
		damage func([]byte) []byte
		writes int
		// away: the distributor is, and kept says whether there is something to decide by all the same.
		away, kept bool
		says       string
	}{
		{name: "it is whole", damage: bytes.Clone, writes: 1, away: true, kept: true},
		{name: "it is cut off", damage: cut, writes: 1, kept: true, says: "fetched again"},
		{name: "it is empty", damage: func([]byte) []byte { return nil }, writes: 1, kept: true, says: "fetched again"},
		{name: "a signature is another", damage: turned, writes: 1, kept: true, says: "fetched again"},
		{name: "it is cut off, and the distributor is away", damage: cut, writes: 1, away: true, says: "fetched again"},
		{name: "it is cut off, and was written before", damage: cut, writes: 2, away: true, kept: true, says: "the copy before it is used"},
		{name: "it is of an agent that kept no checksums", damage: func([]byte) []byte { return plain }, writes: 1, away: true, kept: true},
		{name: "and is cut off", damage: func([]byte) []byte { return cut(plain) }, writes: 1, kept: true, says: "fetched again"},
		{name: "it is gone", writes: 1, kept: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			log := &testLog{t: t}
			config := config
			config.Log = slog.New(slog.NewTextHandler(log, nil))
			open := func() *dossiers {
				d, err := newDossiers(config, dir)
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			for d := open(); test.writes > 0; test.writes-- {
				if err := d.fetch(t.Context(), name, 0); err != nil {
					t.Fatal(err)
				}
			}
			path := open().path(name)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if test.damage == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, test.damage(content), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if test.away {
				s.stop()
				defer s.start()
			}
			d := open()
			err = d.fetch(t.Context(), name, 0)
			have, _ := d.all()
			if got := have.artifacts[name]; (err == nil) != test.kept || test.kept && len(got.Evidence) != evidence {
				t.Errorf("%d pieces of evidence, %v; want some: %v", len(got.Evidence), err, test.kept)
			}
			if said := log.count("level=WARN"); said > 1 || (said == 1) != (test.says != "") || log.count("level=WARN", test.says, path) != said {
				t.Errorf("%d warnings, want %q", said, test.says)
			}
			if !test.kept {
				return
			}
			// Now it needs nobody.
			if !test.away {
				s.stop()
				defer s.start()
			}
			if err := open().fetch(t.Context(), name, 0); err != nil {
				t.Errorf("it is not whole again: %v", err)
			}
		})
	}
}
