//! `fleetlift plan`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{Context, Ended};
use crate::app::{MakePlan, PlanView, When};
use reqwest::Method;

/// Makes a plan, which the hub keeps, and prints its report; nothing is touched.
#[derive(Debug, Args)]
pub struct Plan {
    /// The group; the only one without
    #[arg(long)]
    group: Option<String>,
    /// Only this cluster; as often as needed
    #[arg(long, value_name = "NAME")]
    cluster: Vec<String>,
    /// Only this resource (pvc-1, cspc-a, cspc-a/cspi-x); as often as needed
    #[arg(long, value_name = "NAME")]
    resource: Vec<String>,
    /// Another version than the group's target
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// The first wave does not open before this: 2026-12-01T22:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<When>,
    /// Write the plan to this file, for review and for `rollout start`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn time(text: &str) -> Result<When, String> {
    When::try_from(text.to_owned())
}

impl Plan {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ended> {
        let Self { group, cluster: clusters, resource: resources, to, at, out } = self;
        let wanted = MakePlan { group, clusters, resources, to, at };
        let plan: PlanView = context.client()?.send(Method::POST, "plans", &wanted).await?;
        if let Some(file) = &out {
            let text = serde_json::to_string_pretty(&plan)?;
            std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?;
        }
        context.output.one(&plan, |_| shown(&plan, out.as_deref()))?;
        Ok(Ended::Done)
    }
}

/// The plan as people read it, and what to do next.
pub fn shown(plan: &PlanView, file: Option<&std::path::Path>) -> String {
    let summary = super::render::plain(&plan.summary);
    let summary = summary.trim_end();
    if plan.tasks == 0 {
        return format!("{summary}\n\nplan {}", plan.digest);
    }
    let name = file
        .map_or_else(|| plan.digest.get(..12).unwrap_or(&plan.digest).to_owned(), |file| file.display().to_string());
    format!("{summary}\n\nplan {}\nnext: fleetlift rollout start {name}", plan.digest)
}
