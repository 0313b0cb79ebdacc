//! The strategy's windows, as targets of many time zones ask for them.

use std::collections::HashMap;

use super::{Predicate, Scene};
use crate::domain::window::{self, WindowState};
use crate::domain::{Timestamp, Zone};

/// The state of the strategy's windows, looked up once for each time zone.
pub(super) struct WindowStates<'a> {
    windows: &'a [window::Window],
    now: Timestamp,
    by_zone: HashMap<Zone, WindowState>,
}

impl<'a> WindowStates<'a> {
    pub(super) fn new(scene: &Scene<'a>, now: Timestamp) -> Self {
        Self { windows: &scene.plan.strategy.windows, now, by_zone: HashMap::new() }
    }

    fn state(&mut self, zone: &Zone) -> &WindowState {
        let (windows, now) = (self.windows, self.now);
        self.by_zone.entry(zone.clone()).or_insert_with(|| window::state(windows, now, zone))
    }

    pub(super) fn closes_at(&mut self, zone: &Zone) -> Option<Timestamp> {
        match self.state(zone) {
            WindowState::Open { closes_at } => *closes_at,
            WindowState::Closed { .. } => None,
        }
    }

    pub(super) fn predicate(&mut self, zone: &Zone) -> Predicate {
        let (holds, found, changes_at) = match self.state(zone) {
            WindowState::Open { closes_at: None } => (true, "no window shuts it out".to_owned(), None),
            WindowState::Open { closes_at: Some(at) } => (true, format!("its window is open until {at}"), None),
            WindowState::Closed { opens_at: Some(at), reason } => {
                (false, format!("{reason}; its window opens at {at}"), Some(*at))
            }
            WindowState::Closed { opens_at: None, reason } => (false, format!("{reason}; no window opens"), None),
        };
        Predicate { what: "window", holds, found, changes_at }
    }
}
