//! What the tests against real servers share: a control plane, clusters on it, OpenEBS's objects, a node, Postgres.
//!
//! Everything is real but the node: etcd, API server, controller manager and Postgres run as in production, on loopback,
//! in temporary folders, and end with the test process however that ends. The node is played (`node`): it makes Pods
//! run and end as a kubelet would, so that a test decides how.
#![allow(dead_code, reason = "each test binary uses its own part of this; one may use all of it")]
#![expect(clippy::panic, clippy::print_stderr, reason = "this is how a test says what is wrong")]

pub mod cluster;
pub mod control_plane;
pub mod crds;
pub mod crew;
pub mod edge;
pub mod hub;
pub mod identity;
pub mod node;
pub mod openebs;
pub mod postgres;
pub mod seed;
pub mod until;
pub mod witness;

pub use cluster::TestCluster;
pub use control_plane::ControlPlane;
pub use node::{Ending, Node};
pub use until::until;
