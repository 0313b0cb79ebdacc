//! Plans that were read and parsed once: they never change. The engine and the use cases share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::{Plan, PlanDigest};
use crate::store::{Store, StoreError};

/// Rollouts that are under way at once are few; a plan of 10,000 clusters has some 10 MB.
const KEPT_MAX: usize = 16;

/// Plans by their digest.
#[derive(Debug, Default)]
pub struct Plans(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    plans: HashMap<PlanDigest, (Arc<Plan>, u64)>,
    /// How often any was asked for: the one that was not asked for the longest goes first.
    asked: u64,
}

impl Plans {
    /// The plan of that digest. What the store holds under it is checked against it.
    pub async fn of(&self, store: &dyn Store, digest: &PlanDigest) -> Result<Arc<Plan>, StoreError> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = kept().get(digest) {
            return Ok(plan);
        }
        let plan = Arc::new(parse(&store.plan(digest).await?.body, digest)?);
        kept().insert(digest.clone(), Arc::clone(&plan));
        Ok(plan)
    }
}

impl Kept {
    fn get(&mut self, digest: &PlanDigest) -> Option<Arc<Plan>> {
        self.asked += 1;
        let (plan, asked) = self.plans.get_mut(digest)?;
        *asked = self.asked;
        Some(Arc::clone(plan))
    }

    /// Whoever lists old rollouts must not push out what is under way.
    fn insert(&mut self, digest: PlanDigest, plan: Arc<Plan>) {
        if self.plans.len() >= KEPT_MAX
            && let Some(oldest) =
                self.plans.iter().min_by_key(|(_, (_, asked))| *asked).map(|(digest, _)| digest.clone())
        {
            self.plans.remove(&oldest);
        }
        self.plans.insert(digest, (plan, self.asked));
    }
}

fn parse(body: &str, digest: &PlanDigest) -> Result<Plan, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt { what: format!("plan {}", digest.short()), why };
    if PlanDigest::of(body.as_bytes()) != *digest {
        return Err(corrupt("its content is not what its digest names".to_owned()));
    }
    serde_json::from_str(body).map_err(|error| corrupt(error.to_string()))
}
