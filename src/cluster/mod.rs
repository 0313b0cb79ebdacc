//! The hub's view of an edge cluster: allow-listed credentials, connections, Jobs, observation.

pub mod access;
pub mod account;
pub mod address;
mod asked;
mod body;
pub mod bootstrap;
pub mod check;
mod dial;
pub mod edge;
pub mod egress;
pub mod error;
pub mod expiry;
pub mod inventory;
mod jobs;
pub mod kubeconfig;
mod kubeconfig_file;
#[cfg(test)]
mod kubeconfig_tests;
mod limits;
mod link;
mod lookup;
pub mod manifest;
mod no_pod;
pub mod nouns;
pub mod observe;
mod ours;
mod pods;
mod text;
pub mod tls;
mod transport;
mod upgrade_tasks;
pub mod vault;

pub mod watch;

pub use crate::seal::SealError;
pub use access::{Credential, EdgeAccess, InvalidCredential, InvalidServerUrl, ServerUrl, Trust};
pub use address::{AddressPolicy, Denied, InvalidNetwork, Network};
pub use edge::{Edge, Surroundings};
pub use egress::{Egress, InvalidEgress};
pub use error::{EdgeError, Phase, Retry, WaitingFor};
pub use limits::Limits;
pub use lookup::Lookups;
pub use nouns::Noun;
pub use observe::observe;
pub use ours::Created;
pub use vault::{Unusable, Vault};
pub use watch::{Hint, JobWatch};
