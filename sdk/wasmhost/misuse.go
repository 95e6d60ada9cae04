package wasmhost

// Misuse is what the filter did to the stream that Envoy does not survive whole, with ErrMisuse in its chain; nil for nothing.
func (s *Stream) Misuse() error { return s.misuse }
