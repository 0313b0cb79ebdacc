//! Simulated edge clusters behind real HTTPS, for the demo, rehearsal, tests and the benchmark.
//!
//! Each cluster listens on a port of its own with a certificate authority of its own, and speaks the Kubernetes API as
//! far as a client of Jobs and of OpenEBS's kinds can tell. From the outside in: `serving` (TCP, TLS, HTTP, and what goes
//! wrong there), `wire` (requests), `store` (what an API server itself promises), then what works inside a cluster:
//! `controllers` with `jobs`, `workloads`, `operators`, `collector` and `kubelet`, and the `executor` in its Pods. What
//! a cluster runs is `contents`, how it misbehaves `behaviour`, and what really happened is in the `oracle`.
//!
//! Everything random follows from a seed; time comes from the caller's clock, and passes in real time.

mod admission;
mod answer;
mod behaviour;
mod claims;
mod cluster;
mod collector;
mod contents;
mod controllers;
mod discovery;
mod executor;
mod fleet;
mod jobs;
mod kubelet;
mod object;
mod operators;
pub mod oracle;
mod patch;
mod path;
mod problem;
mod query;
mod records;
mod resources;
mod rights;
mod seed;
mod serve;
mod serving;
mod shape;
mod store;
mod task_status;
mod tls;
mod trouble;
mod upgrade;
mod watch;
mod wire;
mod workloads;

pub use behaviour::{Behaviour, Manner, Moment, Outage, RequestFault, Trouble, UpgradeFault, UpgradeTrouble};
pub use cluster::{ClusterSpec, Pace};
pub use contents::{Contents, Item, ItemKind, Mix};
pub use fleet::{Access, Fleet, FleetSpec, StartError};
pub use oracle::Oracle;
pub use serve::{Faults, Order, ServeError, Share, serve};
