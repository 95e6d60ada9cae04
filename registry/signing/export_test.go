package signing

// AttestAny is Attest without its refusal, for tests that need one of the two forms of a signature alone.
var AttestAny = attest
