// Package envelope seals the values of secrets that the distributor keeps, so that the store, its disks and its backups hold nothing that can be read without a key.
//
// The flow: a Keyring is a file of keys, read anew whenever its file has changed; while that cannot be read, the keys that were read last go on. Seal encrypts a value with the first of them, bound to what it is the value of; Open decrypts it with
// whichever it was sealed with, for the very same thing.
//
// # The form
//
// An envelope is one byte of version (1), 8 bytes that are the id of the key, 12 of nonce, and AES-256-GCM's ciphertext with its tag of 16. What it is the value of, by
// layer, name, version and the version's own id, is the additional data, behind the first two: an envelope that was put in the place of another does not open.
//
// # The file
//
// One key a line, 32 bytes in base64; empty lines and those that begin with # are passed over. The first seals, all open. A key's id is made from the key itself (Key.ID), so
// that a wrong key is never taken for the right one, and says nothing of it.
//
// What always holds: no error has any of a value or of a key, nor, but at the start, where the file is: errors go to nodes and to whoever asks; and no value is in memory for longer than the call.
//
// The package imports model and the standard library only.
package envelope
