//! The folder of fleet files that a daemon applies by itself: a mounted ConfigMap, or a checkout.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fleet;
use crate::app::{App, Refusal};
use crate::domain::event::Actor;
use crate::fleet_config::{self, Source};

/// How often the folder is looked at: mounted ConfigMaps and checkouts change by renames that no notification tells
/// reliably.
const LOOK_AT_FILES: Duration = Duration::from_secs(5);

/// How soon it is looked at again while it changes: no checkout writes its files further apart.
const LOOK_AT_CHANGES: Duration = Duration::from_secs(1);

/// Applies the folder's files at start and whenever they have changed. What is wrong with them is logged, and the fleet
/// stays as it was. Stops between two looks, never while a fleet is applied.
pub async fn watch(app: Arc<App>, folder: PathBuf, stop: CancellationToken) {
    let mut memory = Memory::default();
    loop {
        let pause = look(&app, &folder, &mut memory).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks once; answers how soon to look again.
async fn look(app: &App, folder: &Path, memory: &mut Memory) -> Duration {
    let sources = match fleet_config::read(folder) {
        Ok(sources) => sources,
        Err(error) => {
            memory.complain(folder, &error.to_string());
            return LOOK_AT_FILES;
        }
    };
    match memory.saw(&sources) {
        Seen::Judged => return LOOK_AT_FILES,
        Seen::Changing => return LOOK_AT_CHANGES,
        Seen::Settled => {}
    }
    match app.apply_fleet_as(&Actor::local("fleet-config"), fleet::files(sources.clone()), None).await {
        Ok(applied) => {
            tracing::info!(revision = %applied.revision, changes = applied.changes.len(),
                "applied {}", folder.display());
            memory.applied(sources);
        }
        // The store may answer next time; files are judged once.
        Err(error @ Refusal::Store(_)) => memory.complain(folder, &error.to_string()),
        Err(error) => {
            memory.complain(folder, &told(&error));
            memory.judged = Some(sources);
        }
    }
    LOOK_AT_FILES
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Memory {
    /// The files of the last look.
    last: Option<Vec<Source>>,
    /// The files that were applied or refused last.
    judged: Option<Vec<Source>>,
    /// What was complained of last, unless it is over.
    complaint: String,
}

/// What a look means.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing is new.
    Judged,
    /// They differ from the last look: a checkout may be half done.
    Changing,
    /// Two looks agree: they are to be judged.
    Settled,
}

impl Memory {
    fn saw(&mut self, sources: &Vec<Source>) -> Seen {
        let agrees = self.last.as_ref() == Some(sources);
        self.last = Some(sources.clone());
        match (self.judged.as_ref() == Some(sources), agrees) {
            (true, _) => Seen::Judged,
            (false, false) => Seen::Changing,
            (false, true) => Seen::Settled,
        }
    }

    fn applied(&mut self, sources: Vec<Source>) {
        self.judged = Some(sources);
        self.complaint.clear();
    }

    /// The same complaint is made once, until it is over.
    fn complain(&mut self, folder: &Path, why: &str) {
        if self.is_new(why) {
            tracing::error!("the fleet in {} was not applied: {why}", folder.display());
        }
    }

    fn is_new(&mut self, why: &str) -> bool {
        let is_new = self.complaint != why;
        why.clone_into(&mut self.complaint);
        is_new
    }
}

fn told(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Flawed { summary, flaws } => {
            let flaws: Vec<String> = flaws
                .iter()
                .map(|flaw| format!("{}:{}:{}: {}", flaw.place, flaw.line, flaw.column, flaw.message))
                .collect();
            format!("{summary}: {}", flaws.join("; "))
        }
        refusal => refusal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Vec<Source> {
        vec![Source { name: "fleet.yaml".into(), text: text.into() }]
    }

    #[test]
    fn a_checkout_half_done_is_not_applied() {
        let mut memory = Memory::default();
        assert_eq!(memory.saw(&files("half")), Seen::Changing);
        assert_eq!(memory.saw(&files("whole")), Seen::Changing);
        assert_eq!(memory.saw(&files("whole")), Seen::Settled);
        memory.applied(files("whole"));
        assert_eq!(memory.saw(&files("whole")), Seen::Judged);
        assert_eq!(memory.saw(&files("next")), Seen::Changing);
        assert_eq!(memory.saw(&files("whole")), Seen::Judged, "it was taken back");
        assert_eq!(memory.saw(&files("next")), Seen::Changing);
    }

    #[test]
    fn a_mistake_is_told_once_and_again_when_it_comes_back_after_its_repair() {
        let mut memory = Memory::default();
        assert!(memory.is_new("no such strategy"));
        assert!(!memory.is_new("no such strategy"));
        memory.applied(files("repaired"));
        assert!(memory.is_new("no such strategy"));
    }
}
