//! Which image repositories a plan may name: a fleet file must not bring foreign code into the edge clusters.

use super::CannotPlan;
use crate::domain::fleet::{ExecutorMaker, ExecutorSpec, TargetSpec};
use crate::openebs::images::OWN_EXECUTOR;

/// The repositories of the OpenEBS project.
const OFFICIAL: [&str; 4] = ["openebs", "docker.io/openebs", "quay.io/openebs", "ghcr.io/openebs"];

/// Refuses what comes from neither OpenEBS's repositories, ours, nor one of `also`.
pub fn check(target: &TargetSpec, also: &[String]) -> Result<(), CannotPlan> {
    let TargetSpec { images, executor: ExecutorSpec { image, maker, pull_secrets: _ }, .. } = target;
    let prefix = images.as_ref().and_then(|images| images.prefix.as_ref());
    if let Some(prefix) = prefix.filter(|prefix| !is_allowed(prefix, also)) {
        return Err(CannotPlan::ImageNotAllowed { field: "target.images.prefix", image: prefix.clone() });
    }
    let ours = OWN_EXECUTOR.split(':').next().unwrap_or(OWN_EXECUTOR);
    let is_ours = |image: &&String| *maker == ExecutorMaker::Fleetlift && lies_in(image, ours);
    match image.as_ref().filter(|image| !is_allowed(image, also) && !is_ours(image)) {
        Some(image) => Err(CannotPlan::ImageNotAllowed { field: "target.executor.image", image: image.clone() }),
        None => Ok(()),
    }
}

fn is_allowed(image: &str, also: &[String]) -> bool {
    OFFICIAL.into_iter().chain(also.iter().map(String::as_str)).any(|repository| lies_in(image, repository))
}

/// Whether `image` is `repository` or below it: `registry/open` does not allow `registry/openevil`.
fn lies_in(image: &str, repository: &str) -> bool {
    let repository = repository.trim_end_matches('/');
    !repository.is_empty()
        && image.strip_prefix(repository).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_allows_what_is_below_it_and_nothing_that_only_begins_alike() {
        assert!(lies_in("registry.example.com/open/upgrade:1", "registry.example.com/open"));
        assert!(lies_in("registry.example.com/open/", "registry.example.com/open/"));
        assert!(lies_in("openebs/upgrade@sha256:ab", "openebs/upgrade"));
        assert!(!lies_in("registry.example.com/openevil/x:1", "registry.example.com/open"));
        assert!(!lies_in("evil.example.com/openebs/upgrade:1", "openebs"));
        assert!(!lies_in("anything", ""));
    }
}
