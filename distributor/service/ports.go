package service

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// Store keeps what must outlive the process. An implementation may be used concurrently. When a method that changes
// something returns nil, the change survives a crash of this process and of the machine. Errors wrap a kind of package
// model: ErrNotFound, ErrExists and ErrConflict as said below, ErrUnavailable when the store did not answer.
//
// The contract is tested by package storetest.
type Store interface {
	// CreateRelease stores a release that does not exist yet, or returns ErrExists when its ID does, and ErrNotFound when a version of a kept secret that it names is not
	// there, in the same transaction. Releases never change.
	CreateRelease(ctx context.Context, release model.Release, audit model.AuditEntry) error
	// GetRelease returns a release by its whole ID, or ErrNotFound.
	GetRelease(ctx context.Context, id model.ReleaseID) (model.Release, error)
	// FindReleases returns at most limit releases of that name whose hash begins with prefix, by hash.
	FindReleases(ctx context.Context, name, prefix string, limit int) ([]model.Release, error)
	// ListReleases returns releases, newest first; those of one name, or all when name is empty. A page begins after the
	// cursor that the page before gave (0: from the newest); the cursor returned is 0 after the last page.
	ListReleases(ctx context.Context, name string, cursor int64, limit int) ([]model.Release, int64, error)

	// DeleteRelease removes a release, with its audit entry, or returns ErrNotFound.
	DeleteRelease(ctx context.Context, id model.ReleaseID, audit model.AuditEntry) error

	// CreateRollout stores a rollout whose name no other has or had, gives it a Sequence greater than any before, and returns it with
	// its revision, or ErrExists.
	CreateRollout(ctx context.Context, rollout model.Rollout, audit []model.AuditEntry) (model.Rollout, int64, error)
	// UpdateRollout replaces a rollout if its revision is still the one given, and returns the new revision; ErrConflict
	// when somebody else has changed it, ErrNotFound when there is none.
	UpdateRollout(ctx context.Context, rollout model.Rollout, revision int64, audit []model.AuditEntry) (int64, error)
	// GetRollout returns a rollout and its revision, or ErrNotFound.
	GetRollout(ctx context.Context, name string) (model.Rollout, int64, error)
	// ListRollouts returns rollouts, newest first, in pages as ListReleases does; the cursor is a Sequence.
	ListRollouts(ctx context.Context, cursor int64, limit int) ([]model.Rollout, int64, error)
	// DeleteRollout removes a rollout of that Sequence, with its audit entry, or returns ErrNotFound. Its name is not free again.
	DeleteRollout(ctx context.Context, name string, sequence int64, audit model.AuditEntry) error

	// ListCollections returns what layers have stored of collections, by layer and name, beginning after the key given (LAYER and name with a newline between; empty: from the
	// first); those of one layer, or all when layer is empty.
	ListCollections(ctx context.Context, layer model.Layer, after string, limit int) ([]model.LayerCollection, error)
	// GetCollection returns what a layer has stored of a collection; with Revision 0 and no resources when that is nothing.
	GetCollection(ctx context.Context, layer model.Layer, name string) (model.LayerCollection, error)
	// ListDeclarations returns the declarations of collections, by name. There are few.
	ListDeclarations(ctx context.Context) ([]model.DeclaredCollection, error)
	// WriteCollections carries out changes in one transaction, or returns ErrConflict when somebody has changed one of them meanwhile. At most MaxBatch of them, an audit
	// entry counted twice.
	WriteCollections(ctx context.Context, changes model.CollectionChanges, audit []model.AuditEntry) error

	// PutTypes stores a descriptor set by its digest, and registers it under its name if that still has the Revision given; else ErrConflict. Sets are never removed.
	PutTypes(ctx context.Context, set model.TypeSet, content []byte, audit model.AuditEntry) error
	// ListTypes returns the registered sets, by name. There are few.
	ListTypes(ctx context.Context) ([]model.TypeSet, error)
	// GetDescriptors returns a descriptor set by its digest, or ErrNotFound.
	GetDescriptors(ctx context.Context, digest string) ([]byte, error)

	// ListSecrets returns kept secrets, by layer and name, beginning after the key given (LAYER and name with a newline between; empty: from the first); those of one layer, or
	// all when layer is empty.
	ListSecrets(ctx context.Context, layer model.Layer, after string, limit int) ([]model.KeptSecret, error)
	// GetSecret returns a kept secret; with Revision 0 and no versions when there is none.
	GetSecret(ctx context.Context, layer model.Layer, name string) (model.KeptSecret, error)
	// GetSealed returns the sealed value of a version, or ErrNotFound.
	GetSealed(ctx context.Context, ref model.SecretRef) ([]byte, error)
	// WriteSecret carries out a change in one transaction, or returns ErrConflict when somebody has changed the secret meanwhile.
	WriteSecret(ctx context.Context, change model.KeptSecretChange, audit model.AuditEntry) error

	// GetFreeze returns the freeze of all rollouts that was put last, whether it holds yet or not; nil when there is none. PutFreeze puts another in its place, or none where it is
	// nil, with its audit entry in one transaction.
	GetFreeze(ctx context.Context) (*model.Freeze, error)
	PutFreeze(ctx context.Context, freeze *model.Freeze, audit model.AuditEntry) error

	// PutNodes writes rows and audit entries in one transaction: at most MaxBatch of them, an entry counted twice.
	PutNodes(ctx context.Context, nodes []model.Node, audit []model.AuditEntry) error
	// DeleteNodes removes rows, with audit entries, in one transaction, within the same limit. A row that is not there is no error.
	DeleteNodes(ctx context.Context, ids []string, audit []model.AuditEntry) error
	// ListNodes returns rows by id, beginning after the id given.
	ListNodes(ctx context.Context, after string, limit int) ([]model.Node, error)

	// AppendAudit writes audit entries of what is no part of the store: at most MaxBatch/2 of them, in one transaction.
	AppendAudit(ctx context.Context, audit []model.AuditEntry) error
	// ListAudit returns audit entries, newest first, in pages as ListReleases does; those of one object, or all when object
	// is empty. The cursor is a Sequence.
	ListAudit(ctx context.Context, object string, cursor int64, limit int) ([]model.AuditEntry, int64, error)
}

// Modules finds modules and keeps verified copies of them. An implementation may be used concurrently. Errors wrap a kind
// of package model: ErrNotFound for a reference that does not exist, ErrInvalid for one that is malformed, is no module or
// whose bytes do not match their digest, ErrPrecondition for one that the trust policy refuses, ErrUnavailable when the registry did not answer.
type Modules interface {
	// Resolve turns a reference into a module by content, pulls and verifies the bytes and keeps them on this
	// distributor's disk. What the trust policy refuses is not kept. The second result is the JSON Schema of the module's configuration, or nil when it has none.
	Resolve(ctx context.Context, reference string) (model.Module, []byte, error)
	// Schema returns the JSON Schema of the configuration of a module that was resolved before, or nil when it has none. It
	// reads the copy on disk, and the registry only where that is gone.
	Schema(ctx context.Context, module model.Module) ([]byte, error)
	// Keep puts a module that was given as bytes where Resolve finds it, and gives its reference, which has a digest: the same one each time for the same module.
	// What no Envoy can load, and what its manifest does not describe, is ErrInvalid. Whether the module is trusted is for Resolve to say.
	Keep(ctx context.Context, module InlineModule) (reference string, err error)
	// Bytes are those of a module that was resolved before, verified. They may be shared, and are not to be changed.
	Bytes(ctx context.Context, module model.Module) ([]byte, error)
}

// Artifacts is the registry that this process has. An implementation may be used concurrently.
type Artifacts interface {
	// List says what there is, and why it stays. To ask is no use of it. Not first: as of the call before, where that was a moment ago. What it returns is not to be changed.
	List(ctx context.Context, first bool) (ArtifactList, error)
}

// Gates reads gates whose answer is elsewhere. An implementation may be used concurrently.
type Gates interface {
	// Check says why a gate cannot be asked, such as a host that nobody has allowed; nil when it can. It does no I/O.
	Check(gate model.GateSpec) error
	// Read asks until ctx ends. It does not fail: what cannot be asked, or understood, is inconclusive, and detail says why.
	Read(ctx context.Context, gate model.GateSpec, about GateSubject) (verdict model.GateVerdict, detail string)
}

// Expressions judges gates on statistics. What it says depends on nothing but what it is given, and takes bounded time. An implementation may be
// used concurrently.
type Expressions interface {
	// Check says why the expressions of a gate cannot be judged; nil when they can.
	Check(gate model.StatisticGate) error
	// Judge does not fail: what cannot be judged is inconclusive, and detail says why.
	Judge(gate model.StatisticGate, reading model.StatisticReading) (verdict model.GateVerdict, detail string)
}

// Keys seal the values of secrets. An implementation may be used concurrently. Errors wrap ErrPrecondition, and name the key that is missing and what to do; they have nothing of a
// value or of a key.
type Keys interface {
	// First is the id of the key that seals.
	First() (id string, err error)
	// Seal encrypts a value, bound to what it is the value of, and names the key.
	Seal(of model.SecretRef, value []byte) (sealed []byte, key string, err error)
	// Open decrypts what Seal gave for the same secret.
	Open(of model.SecretRef, sealed []byte) ([]byte, error)
}

// Trust is the trust policy of whoever runs the distributor, as far as it is asked about releases that are stored; about modules
// of new ones Modules.Resolve asks it. An implementation may be used concurrently.
type Trust interface {
	// Release is asked when a rollout is about to start, and nil when a release may be rolled out now, by its own signatures and by its modules. Errors wrap ErrPrecondition, naming the policy's rule and the
	// reason, or ErrUnavailable when that could not be decided.
	Release(ctx context.Context, release model.Release) error
}

// MaxBatch is how many rows of nodes one transaction may write; an audit entry counts as two rows. It stays below etcd's
// own limit of 128 operations.
const MaxBatch = 100
