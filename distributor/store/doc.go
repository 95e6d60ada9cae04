// Package store keeps releases, rollouts, rows of nodes and the audit log in etcd: a member embedded in this process
// (StartEmbedded), or a cluster that a client was made for. It satisfies service.Store.
//
// # Keys
//
// All under /waft/v1/; values are JSON, compressed with gzip when they are large.
//
//	schema                      {"version":N}
//	releases/NAME/HASH          a release; never changed
//	release-order/SEQ           NAME@HASH, for lists of all
//	release-names/NAME/SEQ      HASH, for lists of one name
//	rollouts/NAME               a rollout (rolloutValue), replaced by compare-and-swap on its mod revision
//	rollout-order/SEQ           NAME
//	rollouts-gone/NAME          nothing: a rollout that was removed, whose name stays taken
//	nodes/ID                    the row of a node
//	collections/LAYER/NAME      what a layer has stored of a collection, both escaped; replaced by compare-and-swap
//	declarations/NAME           the declaration of a collection, replaced likewise
//	types/NAME                  which descriptor set is registered under a name, replaced likewise
//	descriptors/DIGEST          a descriptor set; never changed
//	secrets/LAYER/NAME          a kept secret without its values, LAYER escaped; replaced by compare-and-swap
//	secret-values/LAYER/NAME/N/ID  the sealed value of its version N, of that id
//	freeze                      the freeze of all rollouts that was put last; gone where somebody has ended it
//	audit/SEQ                   an audit entry
//	audit-head                  SEQ:HASH of the last audit entry; sequences of all kinds are those of the entries
//	audit-objects/OBJECT/SEQ    empty, for lists of one object
//
// Beside them, /waft/store is what tells this store from others (Store.Identity).
//
// # Invariants
//
//   - A change and its audit entries are one transaction, and the sequence of each entry is given in it, so the log has no
//     gap and no entry without its change. Each entry has the hash of the one before (model.AuditEntry.Seal).
//   - A write that returned nil survives a crash: etcd has written it to its log and synced the disk.
//   - A store that a newer waft has written is not opened.
//   - Bytes of modules never come here, nor does a secret's value that is not sealed.
//   - A release names no version of a secret that was not there when it was created.
//
// The package imports model, certfile and etcd, and nothing else of the project.
package store
