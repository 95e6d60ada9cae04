package main

import "runtime/debug"

// softLimit is where the garbage collector begins to work harder, in bytes: two thirds of the VM's maximum (doc.go). A heap that
// would have doubled before its next collection would otherwise run into the maximum, which ends the VM.
const softLimit = 128 << 20

func init() { debug.SetMemoryLimit(softLimit) }
