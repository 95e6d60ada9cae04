// Package abi is the guest's side of the proxy-wasm ABI 0.2.1: the calls that a filter makes to its host, and the
// callbacks that the host makes.
//
// # Flow
//
// On wasip1 a [Host] is an empty struct whose methods are the host functions of module "env", and the callbacks are the
// module's exports; they reach the [Guest] given to [SetGuest]. Everywhere else a Host carries a [Calls], the host in
// memory that package sdktest provides, and nothing is global, so that tests run in parallel.
//
// # Invariants
//
//   - The host writes its answers through pointers, and calls back into the module for memory while it does. A goroutine's
//     stack may move during that call, so out-parameters are package variables, never locals.
//   - What a call answers lands in one buffer that the next call uses again ([Calls] says for each method who owns the
//     answer), so that the host's request for memory, which must not make other host calls, seldom allocates.
//   - Empty is always valid: nil slices, empty strings, maps without pairs, and a request for no memory at all.
//
// This is the only package of the sdk with package variables. It imports the standard library only.
package abi
