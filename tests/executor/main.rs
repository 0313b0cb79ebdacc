//! The executor on a real API server with real controllers: every kind upgraded, refused, stopped and begun again.
//! OpenEBS's operators are played (`operators`): they do what `versionDetails` asks, or refuse, or stay silent.
#![cfg(feature = "executor")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this is how a test says what is wrong")]

#[path = "../support/mod.rs"]
mod support;

mod arrange;
mod failures;
mod kills;
mod kinds;
mod official;
mod operators;
mod resumption;
mod rights;
mod served;
mod split;
mod wire;
