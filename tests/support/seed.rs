//! Where everything random in a test comes from.

/// A test's own source of numbers (SplitMix64), all from one seed that is printed when the test fails.
pub struct Seed {
    pub number: u64,
    state: u64,
}

impl Seed {
    /// The seed that was asked for, else `usual`.
    pub fn or(usual: u64) -> Self {
        let number = variable("FLEETLIFT_CHAOS_SEED").unwrap_or(usual);
        // Shown by the test harness when the test fails.
        eprintln!("FLEETLIFT_CHAOS_SEED={number}");
        Self { number, state: number }
    }

    /// A number from `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (mixed ^ (mixed >> 31)) % (most - least + 1)
    }
}

/// How often a random test does what it does: `usual` times, unless somebody has more time.
pub fn rounds(usual: u64) -> u64 {
    variable("FLEETLIFT_CHAOS_ROUNDS").unwrap_or(usual)
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the test by hand says so in the environment")]
fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, which is no number")))
}
