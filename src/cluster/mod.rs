//! The hub's view of an edge cluster: allow-listed credentials, connections, Jobs, observation.

pub mod access;
pub mod address;
pub mod error;
pub mod kubeconfig;
mod kubeconfig_file;
#[cfg(test)]
mod kubeconfig_tests;
pub mod tls;

pub use access::{Credential, EdgeAccess, InvalidCredential, InvalidServerUrl, ServerUrl};
pub use address::{AddressPolicy, Denied, InvalidNetwork, Network};
pub use error::{EdgeError, Phase, Retry, WaitingFor};
