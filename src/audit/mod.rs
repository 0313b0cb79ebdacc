//! The hash chain over audit events, and its verifier, which needs neither the hub nor its database.

pub mod chain;
pub mod checkpoint;
mod export;
mod verify;

pub use export::{EVENT_BYTES_MAX, ExportError, line, verify_lines};
pub use verify::{Broken, Fault, Verified, Verifier};
