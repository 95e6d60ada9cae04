package model

// ValidateRelease checks a resolved release; every problem is an *Error of kind ErrInvalid that names the field, joined.
func ValidateRelease(r Release) error { return nil }

// ValidateRolloutSpec checks what a person asked for; object names it in the errors (rollout/NAME).
func ValidateRolloutSpec(object string, s RolloutSpec) error { return nil }

// ValidateWaves checks waves alone, for an undo; field is their path (spec.waves).
func ValidateWaves(object, field string, waves []WaveSpec) error { return nil }

// ValidateName checks a DNS label (RFC 1123).
func ValidateName(object, field, name string) error { return nil }

// ValidateNodeID checks the id of a node.
func ValidateNodeID(object, field, id string) error { return nil }

// ValidateLabels checks labels as Kubernetes does.
func ValidateLabels(object, field string, labels map[string]string) error { return nil }

// ValidateLayer checks global, team/NAME or service/NAME.
func ValidateLayer(object, field string, layer Layer) error { return nil }

// ValidateDigest checks sha256: and 64 lower-case hexadecimal digits.
func ValidateDigest(object, field, digest string) error { return nil }
