//! The hash chain over audit events, and its verifier.

pub mod chain;
