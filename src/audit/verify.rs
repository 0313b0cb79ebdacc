//! Checks a chain event by event, and says where and how it is broken.
//!
//! A chain shows by itself that nothing inside it was edited, deleted, inserted or reordered. It cannot show that its
//! end was cut off, or that all of it was written anew: for that, heads that were kept elsewhere (printed, mailed,
//! signed) are compared. Keep one now and then.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{self, Head, ZEROS};
use crate::domain::event::StoredEvent;

/// What is wrong, and where first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {seq}: {what}")]
pub struct Fault {
    /// The first place at which the chain cannot be trusted.
    pub seq: i64,
    /// How it is broken there.
    pub what: Broken,
}

/// How a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The event's content is not what was hashed.
    #[error("it was edited: its content does not give its hash")]
    Edited,
    /// Events are missing before it.
    #[error("{missing} events before event {found} are missing")]
    Gap {
        /// How many.
        missing: i64,
        /// The event that came instead.
        found: i64,
    },
    /// It comes after one that belongs behind it.
    #[error("it stands behind event {behind}: out of order, or there twice")]
    OutOfOrder {
        /// The event before it.
        behind: i64,
    },
    /// It is whole, but continues another history than the one before it.
    #[error("it continues another chain: the hash that it names is not the hash of event {}", .after)]
    Fork {
        /// The event before it.
        after: i64,
    },
    /// The history up to here is not the one that was known before.
    #[error("the history was replaced: the hash that was kept for it is {kept}")]
    Replaced {
        /// The hash that was kept.
        kept: String,
    },
    /// The history ends before a place that it is known to have reached.
    #[error("the history was cut off: it ends here, and is known to have reached event {kept}")]
    Truncated {
        /// The place that was kept.
        kept: i64,
    },
}

/// A stretch of the chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many events were checked.
    pub events: u64,
    /// The first of them was checked to follow this one; `seq` is 0 when that is the very beginning.
    pub after: Head,
    /// The last of them.
    pub head: Head,
    /// How many of the heads that were kept elsewhere were compared; the others lie before `after`.
    pub compared: usize,
}

/// Walks along a chain.
#[derive(Debug, Clone)]
pub struct Verifier {
    after: Option<Head>,
    head: Head,
    events: u64,
    /// Different hashes of one place contradict each other: one of them will not be the event's.
    kept: BTreeMap<i64, BTreeSet<String>>,
    compared: usize,
}

impl Verifier {
    /// From the very beginning; `kept` are heads known from elsewhere.
    pub fn from_the_beginning(kept: impl IntoIterator<Item = Head>) -> Self {
        Self { after: Some(Head::empty()), ..Self::of_a_stretch(kept) }
    }

    /// Of a part of a chain: the first event is taken to follow what it says it follows.
    pub fn of_a_stretch(kept: impl IntoIterator<Item = Head>) -> Self {
        let mut hashes: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for Head { seq, hash } in kept {
            hashes.entry(seq).or_default().insert(hash);
        }
        Self { after: None, head: Head::empty(), events: 0, kept: hashes, compared: 0 }
    }

    /// Checks the next event.
    pub fn check(&mut self, event: &StoredEvent) -> Result<(), Fault> {
        let StoredEvent { seq, schema, body, previous, hash } = event;
        if self.after.is_none() {
            self.head = Head { seq: seq.saturating_sub(1), hash: previous.clone() };
            self.after = Some(self.head.clone());
        }
        let broken = |what| Err(Fault { seq: *seq, what });
        let next = self.head.seq.saturating_add(1);
        if *seq > next {
            return Err(Fault { seq: next, what: Broken::Gap { missing: seq.saturating_sub(next), found: *seq } });
        }
        if *seq < next {
            return broken(Broken::OutOfOrder { behind: self.head.seq });
        }
        if chain::hash(previous, *seq, *schema, body) != *hash {
            return broken(Broken::Edited);
        }
        if *previous != self.head.hash || (*seq == 1 && previous != ZEROS) {
            return broken(Broken::Fork { after: self.head.seq });
        }
        if let Some(kept) = self.kept.get(seq) {
            if let Some(other) = kept.iter().find(|kept| *kept != hash) {
                return broken(Broken::Replaced { kept: other.clone() });
            }
            self.compared += 1;
        }
        self.head = Head { seq: *seq, hash: hash.clone() };
        self.events += 1;
        Ok(())
    }

    /// After the last event: whether it is the last.
    pub fn finish(self) -> Result<Verified, Fault> {
        if let Some(kept) = self.kept.keys().next_back().copied().filter(|kept| *kept > self.head.seq) {
            return Err(Fault { seq: self.head.seq, what: Broken::Truncated { kept } });
        }
        let Self { after, head, events, compared, .. } = self;
        Ok(Verified { events, after: after.unwrap_or_else(Head::empty), head, compared })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(name: &str, events: i64) -> Vec<StoredEvent> {
        let mut head = Head::empty();
        (1..=events).map(|n| head.append(1, format!("{{\"{name}\":{n}}}"))).collect()
    }

    fn head_of(event: &StoredEvent) -> Head {
        Head { seq: event.seq, hash: event.hash.clone() }
    }

    fn verify(events: &[StoredEvent], kept: Vec<Head>) -> Result<Verified, Fault> {
        let mut verifier = Verifier::from_the_beginning(kept);
        events.iter().try_for_each(|event| verifier.check(event))?;
        verifier.finish()
    }

    fn fault(seq: i64, what: Broken) -> Result<Verified, Fault> {
        Err(Fault { seq, what })
    }

    #[test]
    fn a_whole_history_holds() {
        let events = history("a", 9);
        let verified = verify(&events, vec![head_of(&events[3]), head_of(&events[8])]).unwrap();
        let expected = Verified { events: 9, after: Head::empty(), head: head_of(&events[8]), compared: 2 };
        assert_eq!(verified, expected);
        assert_eq!(verify(&[], vec![]).unwrap().events, 0);
    }

    #[test]
    fn an_edit_is_found_where_it_was_made() {
        for edit in [
            |event: &mut StoredEvent| event.body.push(' '),
            |event: &mut StoredEvent| event.schema = 2,
            |event: &mut StoredEvent| event.hash = ZEROS.to_owned(),
            |event: &mut StoredEvent| event.previous = ZEROS.to_owned(),
        ] {
            let mut events = history("a", 9);
            edit(&mut events[4]);
            assert_eq!(verify(&events, vec![]), fault(5, Broken::Edited));
        }
    }

    #[test]
    fn an_edit_with_a_hash_to_match_shows_at_the_next_event() {
        let mut events = history("a", 9);
        events[4].body = "{}".to_owned();
        events[4].hash = chain::hash(&events[4].previous, 5, 1, "{}");
        assert_eq!(verify(&events, vec![]), fault(6, Broken::Fork { after: 5 }));
    }

    #[test]
    fn a_deletion_is_a_gap() {
        let mut events = history("a", 9);
        events.drain(2..5);
        assert_eq!(verify(&events, vec![]), fault(3, Broken::Gap { missing: 3, found: 6 }));
        assert_eq!(verify(&history("a", 9)[1..], vec![]), fault(1, Broken::Gap { missing: 1, found: 2 }));
    }

    #[test]
    fn a_closed_gap_shows_in_the_hashes() {
        let mut events = history("a", 9);
        events.remove(4);
        for event in &mut events[4..] {
            event.seq -= 1;
        }
        assert_eq!(verify(&events, vec![]), fault(5, Broken::Edited));
    }

    #[test]
    fn order_and_repetition_are_checked() {
        let mut events = history("a", 9);
        events.insert(4, events[3].clone());
        assert_eq!(verify(&events, vec![]), fault(4, Broken::OutOfOrder { behind: 4 }));
        let mut events = history("a", 9);
        events.swap(4, 5);
        assert_eq!(verify(&events, vec![]), fault(5, Broken::Gap { missing: 1, found: 6 }));
    }

    #[test]
    fn another_history_is_a_fork() {
        let mut events = history("a", 5);
        events.extend(history("b", 9).drain(5..));
        assert_eq!(verify(&events, vec![]), fault(6, Broken::Fork { after: 5 }));
    }

    #[test]
    fn what_was_kept_elsewhere_shows_a_new_history_and_a_cut_end() {
        let (old, new) = (history("a", 9), history("b", 9));
        assert!(verify(&new, vec![]).is_ok(), "by itself it cannot be told from a true one");
        let kept = old[6].hash.clone();
        assert_eq!(verify(&new, vec![head_of(&old[6])]), fault(7, Broken::Replaced { kept }));
        assert_eq!(verify(&old[..7], vec![head_of(&old[8])]), fault(7, Broken::Truncated { kept: 9 }));
        assert_eq!(verify(&[], vec![head_of(&old[8])]), fault(0, Broken::Truncated { kept: 9 }));
    }

    #[test]
    fn heads_that_contradict_each_other_never_fit() {
        let (events, other) = (history("a", 9), history("b", 9));
        let kept = other[6].hash.clone();
        for heads in [[&events[6], &other[6]], [&other[6], &events[6]]] {
            let heads = heads.map(head_of).to_vec();
            assert_eq!(verify(&events, heads), fault(7, Broken::Replaced { kept: kept.clone() }));
        }
    }

    #[test]
    fn a_stretch_is_checked_from_its_first_event() {
        let events = history("a", 9);
        let mut verifier = Verifier::of_a_stretch([head_of(&events[1])]);
        events[4..].iter().try_for_each(|event| verifier.check(event)).unwrap();
        let stretch = verifier.finish().unwrap();
        assert_eq!((stretch.events, stretch.after, stretch.compared), (5, head_of(&events[3]), 0));
    }

    proptest! {
        /// Whatever single bit is turned in whatever field of whatever event: the chain does not hold.
        #[test]
        fn no_bit_can_be_turned(place in 0_usize..9, field in 0_u8..4, at in 0_usize..64, bit in 0_u8..7) {
            let mut events = history("a", 9);
            let event = &mut events[place];
            let text = match field {
                0 => &mut event.body,
                1 => &mut event.previous,
                2 => &mut event.hash,
                _ => {
                    event.seq ^= 1 << (bit % 4);
                    &mut String::new()
                }
            };
            if !text.is_empty() {
                let mut bytes = text.clone().into_bytes();
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
                *text = String::from_utf8(bytes).unwrap();
            }
            let head = head_of(&history("a", 9)[8]);
            prop_assert!(verify(&events, vec![head]).is_err());
        }
    }
}
