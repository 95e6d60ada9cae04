package distributor_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// retention is how long artifacts stay in these tests that nothing needs.
const retention = 300 * time.Millisecond

// hasArtifact says whether the registry in a data folder has an artifact. To ask the registry would be to use it.
func hasArtifact(t *testing.T, data, repository, digest string) bool {
	t.Helper()
	link := filepath.Join(data, "registry", "docker", "registry", "v2", "repositories", filepath.FromSlash(repository), "_manifests", "revisions", "sha256", strings.TrimPrefix(digest, "sha256:"), "link")
	_, err := os.Stat(link)
	return err == nil
}

// collectedIn are the audit entries of artifacts that were collected, of an object or all.
func collectedIn(t *testing.T, s *server) (entries []*waftv1.AuditEntry) {
	t.Helper()
	page, err := s.client(t).Audit.ListAudit(t.Context(), &waftv1.ListAuditRequest{PageSize: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.GetEntries() {
		if e.GetAction() == "artifact.collect" {
			entries = append(entries, e)
		}
	}
	return entries
}

// registryBytes is what a distributor says of how much its registry keeps; negative: it says nothing.
func registryBytes(t *testing.T, s *server) float64 {
	t.Helper()
	_, text, _ := get(t, "http://"+s.HTTP+"/metrics")
	_, figure, says := strings.Cut(text, "\nwaft_registry_bytes ")
	if !says {
		return -1
	}
	figure, _, _ = strings.Cut(figure, "\n")
	bytes, err := strconv.ParseFloat(figure, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// A distributor removes from its registry what no release, no collection and no tag names, once nobody has wanted it for long enough, and says so; what they name can be pulled, and a release made of it.
// One that has no release removes nothing.
func TestRegistryIsCollected(t *testing.T) {
	data := t.TempDir()
	s := start(t, distributor.Config{Data: data, Insecure: true, Names: []string{"waft.example:7071"}})
	c := s.client(t)
	named := pushUntagged(t, s.HTTP+"/filters/authz", module("named"))
	unneeded := pushUntagged(t, s.HTTP+"/filters/authz", module("unneeded"))
	inResource := pushUntagged(t, s.HTTP+"/filters/authz", module("in a resource"))
	push(t, s.HTTP+"/filters/authz:1", module("tagged"), schema)
	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", "waft.example:7071/filters/authz@"+named, `{"issuer":"oci://elsewhere/authz@`+inResource+`"}`))}); err != nil {
		t.Fatal(err)
	}
	if got := registryBytes(t, s); got >= 0 {
		t.Errorf("a registry that nobody has looked at has %.0f bytes", got)
	}
	why := map[string]string{}
	for token := ""; ; {
		page, err := c.Artifacts.ListArtifacts(t.Context(), &waftv1.ListArtifactsRequest{Repository: "filters/authz", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		if page.GetRetention() != nil || !strings.Contains(page.GetAllStay(), "--registry-retention") {
			t.Errorf("where nothing is to be removed: %v", page)
		}
		for _, a := range page.GetArtifacts() {
			if _, twice := why[a.GetDigest()]; twice || a.GetRepository() != "filters/authz" || a.GetSizeBytes() == 0 {
				t.Errorf("listed twice: %v, %v", twice, a)
			}
			why[a.GetDigest()] = a.GetNeeded()
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if got := registryBytes(t, s); got <= 0 {
		t.Errorf("one that is listed has %.0f bytes", got)
	}
	for digest, want := range map[string]string{named: "release edge@", inResource: "release edge@", unneeded: ""} {
		if !strings.HasPrefix(why[digest], want) || want == "" && why[digest] != "" {
			t.Errorf("%s stays since %q, want %q", digest, why[digest], want)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if !hasArtifact(t, data, "filters/authz", unneeded) {
		t.Error("something was removed where nothing is to be")
	}
	if _, err := os.Stat(filepath.Join(data, "registry", "unneeded.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("time is counted where nothing is to be removed: %v", err)
	}
	var begun lockedBuffer
	s = start(t, distributor.Config{Data: data, Insecure: true, Names: []string{"waft.example:7071"}, RegistryRetention: retention, Log: slog.New(slog.NewTextHandler(&begun, nil))})
	eventually(t, "it says what is on", func() bool {
		return strings.Contains(begun.String(), "what nothing needs is removed from the registry") && strings.Contains(begun.String(), "unneededBytes=")
	})
	c = s.client(t)
	eventually(t, "what nothing needs is recorded", func() bool { return len(collectedIn(t, s)) > 0 })
	eventually(t, "it is gone", func() bool { return !hasArtifact(t, data, "filters/authz", unneeded) })
	said := map[string]string{}
	for _, e := range collectedIn(t, s) {
		if said[e.GetObject()] = e.GetDetail(); e.GetActor() != "waft" {
			t.Errorf("the audit log names %q", e.GetActor())
		}
	}
	if detail := said["artifact/filters/authz@"+unneeded]; !strings.Contains(detail, "nothing has needed it for ") {
		t.Errorf("the audit log says %q of it, and has %q", detail, said)
	}
	for _, figure := range []string{"waft_registry_collected_artifacts_total", "waft_registry_collected_bytes_total", "waft_registry_bytes", `waft_registry_artifacts{needed="yes"}`} {
		eventually(t, figure+" is above 0", func() bool {
			_, text, _ := get(t, "http://"+s.HTTP+"/metrics")
			return strings.Contains(text, "\n"+figure+" ") && !strings.Contains(text, "\n"+figure+" 0\n")
		})
	}
	if _, text, _ := get(t, "http://"+s.HTTP+"/metrics"); !strings.Contains(text, "\nwaft_registry_unreadable_repositories 0\n") {
		t.Error("there is no figure of repositories that cannot be read")
	}
	for what, reference := range map[string]string{"a release's": "@" + named, "one with a tag": ":1", "one that a configuration names": "@" + inResource} {
		if err := exists(t, s.HTTP+"/filters/authz"+reference); err != nil {
			t.Errorf("%s cannot be pulled: %v", what, err)
		}
	}
	if err := exists(t, s.HTTP+"/filters/authz@"+unneeded); err == nil {
		t.Error("what was removed can be pulled")
	}
	if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("other", "waft.example:7071/filters/authz@"+named, `{"issuer":"b"}`))}); err != nil {
		t.Errorf("a release of what has stayed: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	// Another store, which was made since the real one was not found.
	if err := os.Rename(filepath.Join(data, "etcd"), filepath.Join(t.TempDir(), "etcd")); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	s = start(t, distributor.Config{Data: data, Insecure: true, RegistryRetention: time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "it says why all stays", func() bool { return strings.Contains(log.String(), "all that is in the registry stays") })
	if page, err := s.client(t).Artifacts.ListArtifacts(t.Context(), &waftv1.ListArtifactsRequest{Unneeded: true}); err != nil || page.GetAllStay() == "" || len(page.GetArtifacts()) == 0 || page.GetArtifacts()[0].GetStaysFor() != nil {
		t.Errorf("what it says of them: %v, %v", page, err)
	}
	if !hasArtifact(t, data, "filters/authz", named) {
		t.Error("a distributor without the releases that name it has removed it")
	}
	before := registryBytes(t, s)
	pushUntagged(t, s.HTTP+"/filters/authz", module("one more"))
	eventually(t, "where all stays the figures go on", func() bool { return registryBytes(t, s) > before && before > 0 })
}

// Each replica collects from its own registry, whoever leads, and the one that leads says so in the audit log; where it cannot, nothing goes.
func TestReplicasCollectTheirOwn(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	replica := func(data, name string, retention time.Duration) *replicaServer {
		t.Helper()
		return &replicaServer{data: data, server: start(t, distributor.Config{
			Data: data, Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: "127.0.0.1:0", Replica: name, Names: []string{"waft.example:7071"}, RegistryRetention: retention,
		})}
	}
	data := t.TempDir()
	first := replica(data, "first", -1)
	named, unneeded := pushUntagged(t, first.HTTP+"/filters/authz", module("named")), pushUntagged(t, first.HTTP+"/filters/authz", module("unneeded"))
	if _, err := first.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, document("edge", "waft.example:7071/filters/authz@"+named, `{"issuer":"a"}`))}); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := replica(t.TempDir(), "second", -1)
	first = replica(data, "first", retention)
	if leads(t, first) || !leads(t, second) {
		t.Fatal("the replica that was started later leads")
	}
	eventually(t, "what nothing needs is gone from the registry of one that does not lead", func() bool { return !hasArtifact(t, data, "filters/authz", unneeded) })
	if !hasArtifact(t, data, "filters/authz", named) {
		t.Error("what a release names is gone")
	}
	said := ""
	for _, e := range collectedIn(t, second.server) {
		if e.GetObject() == "artifact/filters/authz@"+unneeded {
			said = e.GetDetail()
		}
	}
	if !strings.HasPrefix(said, "from the registry of first: ") {
		t.Errorf("the audit log says %q", said)
	}
}
