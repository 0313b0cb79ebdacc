//! `fleetlift explain ROLLOUT CLUSTER`.

use clap::Args;

use super::render::{Column, Output, Tone};
use super::{Context, Ended};
use crate::api::client::segment;
use crate::app::{EventView, ExplainedTask, Explanation, PredicateView};

/// Says why a cluster of a rollout waits, runs, or failed.
#[derive(Debug, Args)]
pub struct Explain {
    /// The rollout: its id, the beginning or end of it, or `latest`
    rollout: String,
    /// The cluster
    cluster: String,
}

const PREDICATES: [Column<PredicateView>; 3] = [
    Column::new("", |predicate: &PredicateView| if predicate.holds { "ok" } else { "waiting" }.to_owned()),
    Column::new("WHAT", |predicate: &PredicateView| predicate.what.clone()),
    Column::new("FOUND", |predicate: &PredicateView| predicate.found.clone()),
];

const TASKS: [Column<ExplainedTask>; 4] = [
    Column::new("TASK", |task: &ExplainedTask| task.resource.clone()),
    Column::new("STATE", |task: &ExplainedTask| task.state.clone()),
    Column::new("ATTEMPTS", |task: &ExplainedTask| task.attempts.clone()),
    Column::new("WHY", |task: &ExplainedTask| task.reason.clone()),
];

const HISTORY: [Column<EventView>; 3] = [
    Column::new("AT", |event: &EventView| event.at.to_string()),
    Column::new("HAPPENED", |event: &EventView| event.kind.clone()),
    Column::new("WHAT", told),
];

impl Explain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let path = format!("rollouts/{}/clusters/{}/explanation", segment(&self.rollout), segment(&self.cluster));
        let explanation: Explanation = context.client()?.get(&path, &[]).await?;
        context.output.one(&explanation, |output| shown(output, &explanation))?;
        Ok(Ended::Done)
    }
}

fn shown(output: Output, explanation: &Explanation) -> String {
    let Explanation { rollout: _, cluster, wave, state, answer, predicates, tasks, history } = explanation;
    let head = output.tone(Tone::Strong, cluster);
    let mut text = format!("{head} (wave {wave}) is {}: {}\n", output.state(state), super::render::plain(answer));
    if !predicates.is_empty() {
        text.push('\n');
        text.push_str(&output.table(predicates, &PREDICATES));
    }
    text.push('\n');
    text.push_str(&output.table(tasks, &TASKS));
    text.push('\n');
    text.push_str(&output.table(history, &HISTORY));
    text
}

/// What an event was about, and why it happened.
fn told(event: &EventView) -> String {
    let named = ["resource", "job", "name"].into_iter().find_map(|key| event.data.get(key)?.as_str());
    let parts: Vec<&str> =
        named.into_iter().chain(Some(event.reason.as_str())).filter(|part| !part.is_empty()).collect();
    parts.join(": ")
}
