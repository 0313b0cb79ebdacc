//! Sealed envelopes for credentials: format, keys, rotation.
