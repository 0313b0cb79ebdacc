//! Plans that were read and parsed once: they never change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Plan, PlanDigest};
use crate::store::{Store, StoreError};

/// Rollouts that are under way at once are few; a plan of 10,000 clusters has some 10 MB.
const KEPT_MAX: usize = 16;

/// Plans by their digest.
#[derive(Default)]
pub struct Plans(Mutex<HashMap<PlanDigest, Arc<Plan>>>);

impl Plans {
    /// The plan of that digest. What the store holds under it is checked against it.
    pub async fn of(&self, store: &dyn Store, digest: &PlanDigest) -> Result<Arc<Plan>, StoreError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = kept().get(digest) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(parse(&store.plan(digest).await?.body, digest)?);
        let mut plans = kept();
        if plans.len() >= KEPT_MAX {
            plans.clear();
        }
        plans.insert(digest.clone(), Arc::clone(&plan));
        Ok(plan)
    }
}

fn parse(body: &str, digest: &PlanDigest) -> Result<Plan, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: format!("plan {}", digest.short()), why };
    if PlanDigest::of(body.as_bytes()) != *digest {
        return Err(corrupt("its content is not what its digest names".to_owned()));
    }
    serde_json::from_str(body).map_err(|error| corrupt(error.to_string()))
}
