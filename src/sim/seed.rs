//! Numbers that follow from a seed: the same seed makes the same fleet and the same trouble, on every machine and in
//! every release, which a library's generator does not promise.

use std::time::Duration;

/// A source of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// The source that `seed` begins.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, told apart by `name`; how many numbers were drawn from this one changes nothing only if the
    /// branch is taken first.
    #[must_use]
    pub fn branch(&self, name: &str) -> Self {
        // FNV-1a: short names, and no need to withstand anybody.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut branch = Self(self.0 ^ hash);
        branch.next();
        branch
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// One of `choices`, which are at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        &choices[at]
    }

    /// Whether something happens that happens `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// A duration from `shortest` to `longest`.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX - 1);
        shortest + Duration::from_micros(self.below(span + 1))
    }

    /// Text of the form of a UUID (version 4).
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }

    /// `length` characters as Kubernetes puts behind a `generateName`.
    pub fn suffix(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length).map(|_| char::from(*self.pick(ALPHABET))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_for_ever() {
        let mut seed = Seed::new(42);
        assert_eq!([seed.next(), seed.next()], [13_679_457_532_755_275_413, 2_949_826_092_126_892_291]);
    }

    #[test]
    fn branches_differ_by_name() {
        let seed = Seed::new(1);
        assert_eq!(seed.branch("a").next(), seed.branch("a").next());
        assert_ne!(seed.branch("a").next(), seed.branch("b").next());
    }

    #[test]
    fn a_uuid_has_its_form() {
        assert!(uuid::Uuid::parse_str(&Seed::new(7).uuid()).is_ok_and(|uuid| uuid.get_version_num() == 4));
    }
}
