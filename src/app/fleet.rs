//! The fleet configuration: check, diff, apply, show.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, Flaw, Principal, Refusal, When};
use crate::domain::event::{Actor, Event, EventType, Subject};
use crate::domain::{Fleet, Revision};
use crate::fleet_config::{self, Change, Problem, Problems, Source};
use crate::store::StoredFleet;

/// Fleet files.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetFiles {
    /// The files that make up the fleet together.
    pub files: Vec<FleetFile>,
}

/// One fleet file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetFile {
    /// How messages call it.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// The current fleet configuration.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetView {
    /// Its name.
    pub name: String,
    /// The name of its content.
    pub revision: String,
    /// When it was applied.
    pub applied_at: When,
    /// By whom.
    pub applied_by: String,
    /// All of it as YAML, with every default written out.
    pub yaml: String,
}

/// What applying (or a diff) changes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The name of the new content.
    pub revision: String,
    /// What differs from the fleet before; empty when nothing does.
    pub changes: Vec<ChangeView>,
}

/// One field that differs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The field.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl From<Change> for ChangeView {
    fn from(Change { field, before, after }: Change) -> Self {
        Self { field, before, after }
    }
}

impl App {
    /// What applying these files would change.
    pub async fn diff_fleet(&self, files: FleetFiles) -> Result<Applied, Refusal> {
        let fleet = parse(files)?;
        let before = self.current_fleet().await?;
        let changes = fleet_config::diff(before.as_ref(), &fleet);
        Ok(Applied {
            revision: fleet.revision().to_string(),
            changes: changes.into_iter().map(ChangeView::from).collect(),
        })
    }

    /// Makes these files the hub's fleet; where `over` is given, only if that is its revision still. Running rollouts go
    /// on as they were planned.
    pub async fn apply_fleet(
        &self,
        by: &Principal,
        files: FleetFiles,
        over: Option<Revision>,
    ) -> Result<Applied, Refusal> {
        self.apply_fleet_as(&by.actor, files, over).await
    }

    /// The same by somebody who is no token's holder: the watched folder.
    pub async fn apply_fleet_as(
        &self,
        actor: &Actor,
        files: FleetFiles,
        over: Option<Revision>,
    ) -> Result<Applied, Refusal> {
        let fleet = parse(files)?;
        let stored = self.store.current_fleet().await?;
        if over.is_some() && over.as_ref() != stored.as_ref().map(|stored| &stored.revision) {
            return Err(Refusal::Changed { what: "the fleet".to_owned() });
        }
        let before = stored.as_ref().map(read).transpose()?;
        let revision = fleet.revision();
        let changes = fleet_config::diff(before.as_ref(), &fleet);
        let applied = Applied {
            revision: revision.to_string(),
            changes: changes.iter().cloned().map(ChangeView::from).collect(),
        };
        if before.is_some_and(|before| before.revision() == revision) {
            return Ok(applied);
        }
        let now = self.clock.now();
        let told: Vec<String> = changes.iter().take(CHANGES_TOLD).map(ToString::to_string).collect();
        let event = Event::new(now, EventType::FleetApplied, actor.clone(), Subject::default())
            .with("revision", revision.to_string())
            .with("fleet", fleet.name.as_str())
            .with("changes", told)
            .with("changes_in_all", changes.len());
        let body = serde_json::to_string(&fleet).unwrap_or_default();
        let stored = StoredFleet { revision, body, applied_at: now, applied_by: actor.to_string() };
        self.store.apply_fleet(stored, over, vec![event]).await?;
        Ok(applied)
    }

    /// The current fleet configuration.
    pub async fn show_fleet(&self) -> Result<FleetView, Refusal> {
        let stored = self.store.current_fleet().await?.ok_or_else(no_fleet)?;
        let fleet = read(&stored)?;
        Ok(FleetView {
            yaml: fleet_config::show(&fleet),
            name: fleet.name,
            revision: stored.revision.to_string(),
            applied_at: When(stored.applied_at),
            applied_by: stored.applied_by,
        })
    }

    /// The current fleet, if one was applied.
    pub(super) async fn current_fleet(&self) -> Result<Option<Fleet>, Refusal> {
        self.store.current_fleet().await?.as_ref().map(read).transpose()
    }

    /// The revision of the current fleet.
    pub(super) async fn current_revision(&self) -> Result<Option<Revision>, Refusal> {
        Ok(self.store.current_fleet().await?.map(|stored| stored.revision))
    }
}

/// An audit event names so many changes: enough to see what it was about.
const CHANGES_TOLD: usize = 50;

pub(super) fn no_fleet() -> Refusal {
    Refusal::Conflict("no fleet was applied yet: `fleetlift fleet apply DIR` does it".to_owned())
}

fn read(stored: &StoredFleet) -> Result<Fleet, Refusal> {
    serde_json::from_str(&stored.body).map_err(|error| {
        Refusal::Conflict(format!("the stored fleet was written by another version ({error}): apply it again"))
    })
}

fn parse(files: FleetFiles) -> Result<Fleet, Refusal> {
    let sources: Vec<Source> = files.files.into_iter().map(|FleetFile { name, text }| Source { name, text }).collect();
    fleet_config::parse(&sources).map_err(|problems| flawed(&problems))
}

fn flawed(problems: &Problems) -> Refusal {
    let count = problems.problems.len() + problems.more;
    let flaws = problems.problems.iter().map(|problem| {
        let Problem { file, line, column, field, message, snippet: _ } = problem;
        let message = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
        Flaw { place: file.clone(), line: *line, column: *column, message, remedy: String::new() }
    });
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    Refusal::Flawed { summary: format!("the fleet has {count} {noun}"), flaws: flaws.collect() }
}
