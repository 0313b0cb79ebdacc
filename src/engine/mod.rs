//! The loops that carry rollouts out, around pure decisions.

pub mod decide;
