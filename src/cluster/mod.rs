//! The hub's view of an edge cluster: allow-listed credentials, connections, Jobs, observation.

pub mod access;
pub mod address;
mod asked;
mod body;
mod dial;
pub mod edge;
pub mod egress;
pub mod error;
pub mod inventory;
pub mod kubeconfig;
mod kubeconfig_file;
#[cfg(test)]
mod kubeconfig_tests;
mod limits;
mod link;
pub mod nouns;
mod text;
pub mod tls;
mod transport;
pub mod vault;

pub use access::{Credential, EdgeAccess, InvalidCredential, InvalidServerUrl, ServerUrl};
pub use address::{AddressPolicy, Denied, InvalidNetwork, Network};
pub use edge::{Edge, Surroundings};
pub use egress::{Egress, InvalidEgress};
pub use error::{EdgeError, Phase, Retry, WaitingFor};
pub use limits::Limits;
pub use nouns::Noun;
pub use vault::{Unusable, Vault};
