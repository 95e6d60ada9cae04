// Package backup is the file that waft backup writes and waft restore reads.
//
// # Format
//
// A tar archive (POSIX.1-2001). Its entries, in this order:
//
//	waft-backup.json   Header, which says the format
//	state/N            keys of the store with their values, N from 00000001: a JSON object {"k":KEY,"v":BASE64} a line
//	files/PATH         a file of the data folder, PATH with slashes
//	end.json           End: how many keys, files and bytes went before, and the sha256 of all of it
//
// The state comes before the files, so that every file that it speaks of is among them. What does not end with a fitting end.json is not whole, and of no
// use; reading says so before the last part is given.
//
// # Imports
//
// The package imports model.
package backup
