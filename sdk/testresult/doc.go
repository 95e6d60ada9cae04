// Package testresult writes and reads reports of a module's scenarios: which passed, and in which Envoys or profiles of them. A report is an
// in-toto statement about the module with a test result (https://github.com/in-toto/attestation/blob/v1.1.0/spec/predicates/test-result.md),
// so that it can be signed as it is, and a trust policy can ask for what it says.
//
// Flow: `waft test --report` makes Tests of what it ran and writes Tests.Encode to NAME.report.json; `waft push` reads that beside a module
// (Read), refuses one that is about other bytes or has failed, and attaches it; `waft inspect` reads it back (Decode).
//
// A report has no time and no name of a machine: the same outcome gives the same bytes.
//
// It must not import the registry or the distributor.
package testresult
