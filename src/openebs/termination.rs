//! The executor's last words: one JSON object in the container's termination message, and its exit codes. Written by
//! the executor, read by the hub; everything in it is bounded, and nothing in it is believed over the objects themselves.

use serde::{Deserialize, Serialize};

/// The kubelet keeps this much of a termination message and cuts the rest: JSON that is cut is no JSON, so we stay below.
pub const BYTES_MAX: usize = 4096;

/// The upgrade is complete and proven.
pub const EXIT_SUCCESS: u8 = 0;
/// The upgrade failed; the UpgradeTask and the termination message say where and why.
pub const EXIT_FAILED: u8 = 1;
/// The arguments, the environment or the UpgradeTask cannot be carried out as written; nothing was touched.
pub const EXIT_USAGE: u8 = 2;
/// The Pod was told to stop; running it again carries on where it was.
pub const EXIT_INTERRUPTED: u8 = 3;

/// How one run of the executor ended. Empty texts mean "does not apply".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Termination {
    /// `Success` or `Error`, as in the UpgradeTask.
    pub phase: String,
    /// The step that failed: `PRE_UPGRADE`, `REPLICA_UPGRADE`, …
    pub step: String,
    /// The object on which it failed: `Deployment/pvc-1-target`.
    pub object: String,
    /// What was seen there.
    pub seen: String,
    /// What was expected instead.
    pub expected: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl Termination {
    /// The message to write: one line of JSON of at most [`BYTES_MAX`] bytes, long texts cut.
    pub fn to_message(&self) -> String {
        // Each round halves what the free texts may take; escapes make a text up to six times longer than it looks.
        let mut text_chars_max = BYTES_MAX / 4;
        loop {
            let Self { phase, step, object, seen, expected, remedy } = self;
            let short = Self {
                phase: cut(phase, 32),
                step: cut(step, 32),
                object: cut(object, 256.min(text_chars_max)),
                seen: cut(seen, text_chars_max),
                expected: cut(expected, text_chars_max),
                remedy: cut(remedy, text_chars_max),
            };
            let message = serde_json::to_string(&short).unwrap_or_default();
            if message.len() <= BYTES_MAX || text_chars_max == 0 {
                return message;
            }
            text_chars_max /= 2;
        }
    }

    /// What a container's termination message says, if it is one of ours. Texts are cut to what we would have written;
    /// they come from an edge cluster and may hold anything.
    pub fn read(message: &str) -> Option<Self> {
        let message = message.trim();
        if message.len() > BYTES_MAX || !message.starts_with('{') {
            return None;
        }
        let read: Self = serde_json::from_str(message).ok()?;
        matches!(read.phase.as_str(), "Success" | "Error").then_some(read)
    }

    /// One sentence for people: what failed where, and what to do.
    pub fn sentence(&self) -> String {
        let mut sentence = String::new();
        for (before, text) in [
            ("", &self.step),
            (" on ", &self.object),
            (": ", &self.seen),
            ("; expected ", &self.expected),
            ("; ", &self.remedy),
        ] {
            if !text.is_empty() {
                sentence.push_str(if sentence.is_empty() { "" } else { before });
                sentence.push_str(text);
            }
        }
        sentence
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(seen: &str) -> Termination {
        Termination {
            phase: "Error".into(),
            step: "TARGET_UPGRADE".into(),
            object: "Deployment/pvc-1-target".into(),
            seen: seen.into(),
            expected: "1 of 1 Pods updated".into(),
            remedy: "look at the Pod's events".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = failure("0 of 1 Pods updated");
        assert_eq!(Termination::read(&written.to_message()), Some(written));
    }

    #[test]
    fn a_long_or_escaped_text_is_cut_and_still_json() {
        for seen in ["x".repeat(100_000), "\u{1}".repeat(100_000), "ü\"".repeat(50_000)] {
            let message = failure(&seen).to_message();
            assert!(message.len() <= BYTES_MAX, "{}", message.len());
            assert_eq!(Termination::read(&message).unwrap().object, "Deployment/pvc-1-target");
        }
    }

    #[test]
    fn other_peoples_messages_are_not_ours() {
        for message in ["", "fatal: no", "{}", "{\"phase\":\"Done\"}", "[1]", "{\"phase\":3}"] {
            assert_eq!(Termination::read(message), None, "{message}");
        }
    }

    #[test]
    fn the_sentence_leaves_out_what_is_empty() {
        let problem = Termination { step: String::new(), ..failure("it is gone") };
        assert_eq!(
            problem.sentence(),
            "Deployment/pvc-1-target: it is gone; expected 1 of 1 Pods updated; look at the Pod's events"
        );
    }
}
