//! The strategy's windows, as targets of many time zones ask for them.

use std::collections::HashMap;
use std::rc::Rc;

use super::Scene;
use crate::domain::window::{self, WindowState};
use crate::domain::{Timestamp, Zone};

/// The state of the strategy's windows, looked up once for each time zone.
pub(super) struct WindowStates<'a> {
    windows: &'a [window::Window],
    now: Timestamp,
    by_zone: HashMap<&'a Zone, Rc<WindowState>>,
}

impl<'a> WindowStates<'a> {
    pub(super) fn new(scene: &Scene<'a>, now: Timestamp) -> Self {
        Self { windows: &scene.plan.strategy.windows, now, by_zone: HashMap::new() }
    }

    pub(super) fn state(&mut self, zone: &'a Zone) -> Rc<WindowState> {
        let (windows, now) = (self.windows, self.now);
        Rc::clone(self.by_zone.entry(zone).or_insert_with(|| Rc::new(window::state(windows, now, zone))))
    }
}
