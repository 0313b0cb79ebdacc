//! Where everything random in a test comes from.

/// A test's own source of numbers, all from one seed that is printed when the test fails; `FLEETLIFT_SEED` repeats it.
pub struct Seed {
    pub number: u64,
    draws: fastrand::Rng,
}

impl Seed {
    /// The seed that was asked for, else `usual`.
    pub fn or(usual: u64) -> Self {
        let number = asked("FLEETLIFT_SEED").unwrap_or(usual);
        // Shown by the test harness when the test fails.
        eprintln!("FLEETLIFT_SEED={number}");
        Self { number, draws: fastrand::Rng::with_seed(number) }
    }

    /// Another source, for something beside this one.
    pub fn branch(&mut self) -> Self {
        let number = self.draws.u64(..);
        Self { number, draws: fastrand::Rng::with_seed(number) }
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.draws.u64(least..=most)
    }
}

/// How often a random test does what it does: as the environment's `variable` says, for whoever has more time, else
/// `usual` times.
pub fn rounds(variable: &str, usual: u64) -> u64 {
    asked(variable).unwrap_or(usual)
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test by hand says so in the environment")]
fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, which is no number")))
}
