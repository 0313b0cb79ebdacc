//! On a real node: a real kubelet and containerd run the image that ships, in Jobs as the hub makes them, and real Pods
//! are rolled out. `tests/node/run` arranges what this needs (root, a network namespace, images) and runs it.
#![cfg(feature = "executor")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "this is how a test says what is wrong")]

#[path = "../support/mod.rs"]
mod support;

mod alone;
#[path = "../executor/arrange.rs"]
#[allow(dead_code, reason = "here the executor runs in a Pod, not in the test")]
mod arrange;
mod attempt;
mod by_hand;
mod each_kind;
mod hub;
mod in_cluster;
mod kills;
mod kubectl;
mod official;
#[path = "../executor/operators.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod operators;
mod quorum;
mod real_node;
mod story;
mod troubles;
mod upgrades;
mod verdicts;
