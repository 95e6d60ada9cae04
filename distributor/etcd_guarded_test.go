package distributor_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

const (
	etcdUser     = "waft"
	etcdPassword = "its password"
)

// guardedEtcd is an etcd that takes clients by their certificates and, once it was asked to, by their users: etcdUser may use what is below /waft/, and nothing else.
type guardedEtcd struct {
	*etcdtest.Cluster
	members, clients *authority
	// ca, cert and key are what a client needs, and password is the file of it. They are the names of files that a test may write anew.
	ca, cert, key, password string
	// root is a client that may do everything.
	root *clientv3.Client
}

func startGuardedEtcd(t *testing.T) *guardedEtcd {
	t.Helper()
	e := &guardedEtcd{members: newAuthority(t, "etcd"), clients: newAuthority(t, "clients of etcd"), password: filepath.Join(t.TempDir(), "password")}
	cert, key := e.members.issue("member")
	e.Cluster = etcdtest.Start(t, 1, etcdtest.TLS(cert, key, e.clients.file), func(c *embed.Config) { c.BcryptCost = 4 }) // the least, for a test
	e.ca = e.members.file
	e.cert, e.key = e.clients.issue("a replica")
	if err := os.WriteFile(e.password, []byte(etcdPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rootCert, rootKey := e.clients.issue("root")
	var err error
	if e.root, err = store.Connect(store.External{Endpoints: e.Endpoints, CA: e.ca, Cert: rootCert, Key: rootKey}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.root.Close() })
	return e
}

func (e *guardedEtcd) askForUsers(t *testing.T, users map[string]string) {
	t.Helper()
	askForUsers(t, e.root, users)
}

// askForUsers has an etcd take nobody but users: root, who may do everything, and others with roles for these prefixes. All have one password.
func askForUsers(t *testing.T, client *clientv3.Client, users map[string]string) {
	t.Helper()
	ctx := t.Context()
	does := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(user, role string) {
		t.Helper()
		_, err := client.UserAdd(ctx, user, etcdPassword)
		does(err)
		_, err = client.UserGrantRole(ctx, user, role)
		does(err)
	}
	_, err := client.RoleAdd(ctx, "root")
	does(err)
	add("root", "root")
	for user, prefix := range users {
		_, err := client.RoleAdd(ctx, user)
		does(err)
		_, err = client.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
		does(err)
		add(user, user)
	}
	_, err = client.AuthEnable(ctx)
	does(err)
}

// external is how a replica calls it.
func (e *guardedEtcd) external() store.External {
	return store.External{Endpoints: e.Endpoints, CA: e.ca, Cert: e.cert, Key: e.key, User: etcdUser, PasswordFile: e.password}
}

// Replicas over an etcd that asks for certificates and users, themselves with an access policy, do all that they do: elect, write, pass on, and go on when all
// certificates are replaced by those of other authorities and when etcd's users change.
func TestReplicasOverAGuardedEtcd(t *testing.T) {
	etcd := startGuardedEtcd(t)
	etcd.askForUsers(t, map[string]string{etcdUser: "/waft/"})
	people, servers := newAuthority(t, "people"), newAuthority(t, "servers")
	policyFile, log := filepath.Join(t.TempDir(), "access.yaml"), &lockedBuffer{}
	if err := os.WriteFile(policyFile, []byte(accessPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Open(policyFile)
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey := servers.issue("waft")
	startOne := func(name string) *server {
		t.Helper()
		return start(t, distributor.Config{
			Data: t.TempDir(), TLS: distributor.TLS{Cert: serverCert, Key: serverKey, ClientCA: people.file}, Access: policy,
			Etcd: etcd.external(), Peer: "127.0.0.1:0", Replica: name, Log: slog.New(slog.NewTextHandler(log, nil)).With("replica", name),
		})
	}
	leader := startOne("first")
	follower := startOne("second")
	by := func(s *server, who string) *api.Client {
		t.Helper()
		cert, key := people.issue(who)
		c, err := api.Dial(api.ClientConfig{Address: s.GRPC, TLS: api.ClientTLS{CA: servers.file, Cert: cert, Key: key}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	create := func(s *server, who, name string) error {
		t.Helper()
		_, err := by(s, who).Releases.CreateRelease(t.Context(), releaseIn("", name))
		return err
	}
	// goesOn waits until a change that is asked of the follower is made by the leader, whichever of them that is by now.
	goesOn := func(what, name string) {
		t.Helper()
		eventually(t, what, func() bool {
			err := create(follower, "publisher", name)
			if err != nil && !errors.Is(err, model.ErrUnavailable) {
				t.Fatalf("%s: %v", what, err)
			}
			return err == nil
		})
		if _, err := by(leader, "viewer").Releases.GetRelease(t.Context(), &waftv1.GetReleaseRequest{Ref: name}); err != nil && !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	goesOn("the follower passes a change on", "one")
	for who, kind := range map[string]error{"viewer": model.ErrDenied, stranger: model.ErrDenied} {
		for name, s := range map[string]*server{"leader": leader, "follower": follower} {
			if err := create(s, who, "refused"); !errors.Is(err, kind) {
				t.Errorf("the %s, by a %s: %v", name, who, err)
			}
		}
	}

	// A change of its users makes every token that etcd has given old.
	if _, err := etcd.root.UserAdd(t.Context(), "somebody else", "and its password"); err != nil {
		t.Fatal(err)
	}
	goesOn("a change is made after etcd's users have changed", "two")

	// Everything is replaced, and etcd takes by then only what is new.
	members, clients := newAuthority(t, "etcd's next"), newAuthority(t, "clients' next")
	replace := func(path, with string) {
		t.Helper()
		text, err := os.ReadFile(with)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := clients.issue("a replica")
	replace(etcd.cert, cert)
	replace(etcd.key, key)
	replace(etcd.ca, members.file)
	memberCert, memberKey := members.issue("member")
	etcd.Restart(t, 0, etcdtest.TLS(memberCert, memberKey, clients.file))
	goesOn("a change is made after all certificates have been replaced", "three")

	for _, secret := range []string{etcdPassword, "and its password"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the password is in the log:\n%s", log.String())
		}
	}
}

// What etcd, or the connection to it, refuses ends `waft serve` at once, with what to do.
func TestEtcdThatRefuses(t *testing.T) {
	etcd := startGuardedEtcd(t)
	strangers := newAuthority(t, "strangers")
	plain := etcdtest.Start(t, 1)
	run := func(e store.External) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return distributor.Run(ctx, distributor.Config{Data: t.TempDir(), Insecure: true, Etcd: e, Peer: "127.0.0.1:0", GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0",
			Started: func(distributor.Addresses) { cancel() }})
	}
	other := func(change func(*store.External)) store.External {
		e := etcd.external()
		change(&e)
		return e
	}
	written := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	strangerCert, strangerKey := strangers.issue("stranger")
	named := strings.Replace(etcd.Endpoints[0], "127.0.0.1", "localhost", 1)
	tlsOfNone := strings.Replace(plain.Endpoints[0], "http://", "https://", 1)
	userCert, userKey := etcd.clients.issue(etcdUser)
	anonymous := func(e *store.External) { e.User, e.PasswordFile = "", "" }

	type refusal struct {
		etcd  store.External
		words []string // none: it is taken
	}
	check := func(what string, cases map[string]refusal) {
		t.Run(what, func(t *testing.T) {
			for name, tc := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel() // most of it is waiting for a connection
					err := run(tc.etcd)
					if len(tc.words) == 0 {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if err == nil {
						t.Fatal("it serves")
					}
					for _, word := range append(tc.words, "etcd: ") {
						if !strings.Contains(err.Error(), word) {
							t.Errorf("%q is not in: %v", word, err)
						}
					}
					if strings.Contains(err.Error(), etcdPassword) {
						t.Errorf("the password is told: %v", err)
					}
				})
			}
		})
	}
	check("certificates", map[string]refusal{
		"another authority's member": {other(func(e *store.External) { e.CA = strangers.file; anonymous(e) }), []string{"certificate of a member", "unknown authority", "--etcd-ca"}},
		"that, and a user":           {other(func(e *store.External) { e.CA = strangers.file }), []string{"certificate of a member", "unknown authority", "--etcd-ca"}},
		"another authority's client": {other(func(e *store.External) { e.Cert, e.Key = strangerCert, strangerKey; anonymous(e) }), []string{"certificate of this client", "--etcd-cert"}},
		"no certificate":             {other(func(e *store.External) { e.Cert, e.Key = "", ""; anonymous(e) }), []string{"certificate of this client", "--etcd-cert"}},
		"a name that is not its own": {other(func(e *store.External) { e.Endpoints = []string{named}; anonymous(e) }), []string{"not for the name", "--etcd"}},
		"TLS to a member without":    {other(func(e *store.External) { e.Endpoints = []string{tlsOfNone}; anonymous(e) }), []string{"does not speak TLS", "http://"}},
		"a user where none is asked": {other(func(*store.External) {}), nil},
	})

	client, err := store.Connect(store.External{Endpoints: plain.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	askForUsers(t, client, nil)
	etcd.askForUsers(t, map[string]string{etcdUser: "/waft/", "half": "/waft/v1/", "elsewhere": "/others/"})
	check("users", map[string]refusal{
		"another password":                {other(func(e *store.External) { e.PasswordFile = written("wrong", "guess") }), []string{"the password is another one", "--etcd-password-file"}},
		"a user that is none":             {other(func(e *store.External) { e.User = "nobody" }), []string{"no such user", "--etcd-user"}},
		"a certificate that is no user's": {other(anonymous), []string{"does not let this user", "common name"}},
		"no user":                         {store.External{Endpoints: plain.Endpoints}, []string{"asks for a user", "--etcd-user"}},
		"a role for other keys":           {other(func(e *store.External) { e.User = "elsewhere" }), []string{"does not let this user", "grant-permission", "/waft/"}},
		"a role for the state alone":      {other(func(e *store.External) { e.User = "half" }), []string{"does not let this user", "grant-permission", "/waft/"}},
		"the user":                        {other(func(*store.External) {}), nil},
		"a certificate that is a user's":  {other(func(e *store.External) { e.Cert, e.Key = userCert, userKey; anonymous(e) }), nil},
	})
}
