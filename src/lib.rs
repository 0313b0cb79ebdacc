//! Fleetlift rolls OpenEBS data-plane upgrades out over a fleet of Kubernetes clusters.
//!
//! Observe → decide (pure) → act, in short idempotent steps. The tree is the architecture: each module's first line says
//! what it is, and `tests/architecture.rs` holds the arrows between them.
//!
//! # The map
//!
//! | module | is | uses, beside [`domain`] |
//! |---|---|---|
//! | [`domain`] | pure nouns and their laws | the UpgradeTask's wire type |
//! | [`openebs`] | pure facts of OpenEBS: one file a kind of pool or volume | |
//! | [`fleet_config`] | YAML files → a checked [`Fleet`](domain::Fleet) | `openebs` |
//! | [`planner`] | fleet × inventories × request → plan and report, pure | `openebs` |
//! | [`engine`] | the loops; [`engine::decide`] inside is pure | `planner` `store` `cluster` `connections` `openebs` |
//! | [`cluster`] | the hub's view of an edge cluster; alone says `kube` | `openebs` `seal` |
//! | `executor` | the other program: what runs inside the Job | `openebs` |
//! | [`store`] | SQLite and Postgres; alone says `sqlx` | `audit::chain` |
//! | [`audit`], [`seal`] | the hash chain of events; envelopes for credentials | |
//! | [`app`] | the use cases, one file each | all above but `engine`'s loops and `executor` |
//! | [`api`], [`cli`] | HTTP; the command line and composition root | `app`; everything |
//! | [`sim`] | simulated edge clusters behind real HTTPS | `openebs` |
//!
//! # What holds
//!
//! 1. At most one unfinished Job and one executor Pod for one resource, whoever started them.
//! 2. Never more running than the limits allow: budgets are rows, taken in the transaction that starts a target.
//! 3. Unknown is never success, and unreachable is not failed.
//! 4. A change, its audit event and its next due time commit in one transaction; intent is committed before its effect.
//! 5. One slow, hostile or dead cluster costs the others nothing. Everything has a limit.
//! 6. No credential leaves the store in clear.
//! 7. Decisions are functions of (stored facts, observation, now); only the composition root reads clock and environment.
//!
//! # One rollout
//!
//! `main` hands arguments and environment to [`cli::run`], which for `daemon` puts a hub together (`cli/hub.rs`) and runs
//! [`engine::run`] beside [`api::Server`]. A plan is made by [`planner::plan`] and kept. `POST /api/v1/rollouts` is
//! [`App::start_rollout`](app::App::start_rollout): rollout, waves and targets in one
//! [`Store::start_rollout`](store::Store::start_rollout).
//!
//! `engine/scheduler.rs` reads a snapshot, asks [`decide`](engine::decide::rollout::decide), and applies the answer with
//! [`Store::start_target`](store::Store::start_target): budgets taken, state changed, event written, or nothing.
//!
//! `engine/worker.rs` takes each running target one step further (`engine/step`). Without an attempt under way
//! `step/task.rs` asks [`next`](engine::decide::target::next), reads operators and resource afresh, asks
//! [`before_task`](engine::decide::target::before_task), and commits an [`Attempt`](domain::Attempt) with the names of its
//! objects ([`openebs::job::build`]). Only then does `step/attempt.rs` look ([`cluster::observe()`]), ask
//! [`next_step`](engine::decide::attempt::next_step), and act: [`Edge::create_job`](cluster::Edge::create_job) sends the
//! request that creates the Job.
//!
//! Later looks end in the same [`next_step`](engine::decide::attempt::next_step): a Job seen `Complete`, and a resource
//! read after it at the target, rolled out and healthy, is [`Outcome::Succeeded`](domain::attempt::Outcome::Succeeded)
//! (`decide/attempt/judge.rs`).
//! [`after_attempt`](engine::decide::target::after_attempt) says what that makes of the task.

pub mod domain;
pub mod openebs;

#[cfg(feature = "hub")]
pub mod api;
#[cfg(feature = "hub")]
pub mod app;
#[cfg(feature = "hub")]
pub mod audit;
#[cfg(feature = "hub")]
pub mod cli;
#[cfg(feature = "hub")]
pub mod cluster;
#[cfg(feature = "hub")]
pub mod connections;
#[cfg(feature = "hub")]
pub mod engine;
#[cfg(feature = "executor")]
pub mod executor;
#[cfg(feature = "hub")]
pub mod fleet_config;
#[cfg(feature = "hub")]
pub mod metrics;
#[cfg(feature = "hub")]
pub mod planner;
#[cfg(feature = "hub")]
pub mod plans;
#[cfg(feature = "hub")]
pub mod seal;
#[cfg(feature = "hub")]
pub mod settings;
#[cfg(feature = "hub")]
pub mod sim;
#[cfg(feature = "hub")]
pub mod store;
pub mod system;
#[cfg(feature = "hub")]
pub mod telemetry;
