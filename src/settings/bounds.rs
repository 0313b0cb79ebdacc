//! Numbers with which the daemon could not work, or would work itself to death: refused with the bound and what to do.

use std::time::Duration;

use super::{Api, Engine, Plan, Settings};

/// The first setting out of its bounds, in a sentence that names it, the bound and the remedy.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let Settings { api, engine, plan, .. } = settings;
    let Api { requests_per_second, body_bytes_max, request_deadline, .. } = api;
    let Engine { max_running, inventory_every, inventory_running } = engine;
    let Plan { max_age } = plan;
    let counts = [
        ("engine.max_running", *max_running, 1..=100_000, "to hold everything, use `fleetlift rollout pause`"),
        (
            "engine.inventory_running",
            *inventory_running,
            1..=1_000,
            "to read clusters less often, raise engine.inventory_every",
        ),
        ("api.requests_per_second", *requests_per_second, 1..=1_000_000, "it is counted for each token by itself"),
    ];
    for (key, value, bounds, remedy) in counts {
        if !bounds.contains(&value) {
            let (least, most) = bounds.into_inner();
            return Err(format!("{key} = {value} must be at least {least} and at most {most}; {remedy}"));
        }
    }
    if !BODY_BYTES.contains(body_bytes_max) {
        let (least, most) = BODY_BYTES.into_inner();
        let told = "a kubeconfig or a fleet must fit in, and memory is taken for each request";
        return Err(format!(
            "api.body_bytes_max = {body_bytes_max} must be at least {least} and at most {most}; {told}"
        ));
    }
    let (second, minute, day) = (Duration::from_secs(1), Duration::from_mins(1), Duration::from_hours(24));
    let periods = [
        (
            "engine.inventory_every",
            inventory_every,
            second * 10..=day * 30,
            "plans want an inventory younger than plan.max_age",
        ),
        ("api.request_deadline", request_deadline, second..=minute * 60, "plans of a large fleet take some seconds"),
        ("plan.max_age", max_age, minute..=day * 365, "a plan older than that cannot be started"),
    ];
    for (key, value, bounds, remedy) in periods {
        if !bounds.contains(&value.duration()) {
            let (least, most) = bounds.into_inner();
            let (least, most) = (least.as_secs(), most.as_secs());
            return Err(format!("{key} = \"{value}\" must be at least {least}s and at most {most}s; {remedy}"));
        }
    }
    Ok(())
}

/// From what one kubeconfig takes to what one request may cost.
const BODY_BYTES: std::ops::RangeInclusive<usize> = 65_536..=1_073_741_824;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Period;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(check(&Settings::default()), Ok(()));
    }

    #[test]
    fn numbers_that_would_stop_the_daemon_or_let_it_spin_are_refused_by_name_with_the_bound() {
        type Change = fn(&mut Settings, Period);
        let table: [(&str, Change); 7] = [
            ("engine.max_running = 0 must be at least 1", |all, _| all.engine.max_running = 0),
            ("engine.inventory_running = 0 must be at least 1", |all, _| all.engine.inventory_running = 0),
            ("engine.inventory_every = \"0s\" must be at least 10s", |all, zero| all.engine.inventory_every = zero),
            ("api.request_deadline = \"0s\" must be at least 1s", |all, zero| all.api.request_deadline = zero),
            ("api.requests_per_second = 0 must be at least 1", |all, _| all.api.requests_per_second = 0),
            ("api.body_bytes_max = 0 must be at least 65536", |all, _| all.api.body_bytes_max = 0),
            ("plan.max_age = \"0s\" must be at least 60s", |all, zero| all.plan.max_age = zero),
        ];
        for (sentence, set) in table {
            let mut settings = Settings::default();
            set(&mut settings, Period::from_secs(0));
            let told = check(&settings).unwrap_err();
            assert!(told.starts_with(sentence), "{told}");
        }
    }
}
