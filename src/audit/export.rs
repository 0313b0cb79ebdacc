//! The exported form of a chain: JSON lines, one event each, with the exact bytes that were hashed.
//!
//! ```text
//! {"seq":1,"schema":1,"body":"{\"at\":…}","previous":"000…","hash":"1d0…"}
//! ```

use std::io::BufRead;

use super::verify::{Fault, Verified, Verifier};
use crate::domain::event::StoredEvent;

/// The longest line that is read, in bytes. Events are bounded by who makes them, to far less.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Why an exported chain was not verified.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It could not be read.
    #[error("line {line} cannot be read")]
    Read {
        /// Which, from 1.
        line: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is no event.
    #[error("line {line} is no exported event")]
    NoEvent {
        /// Which, from 1.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("line {line} is longer than {EVENT_BYTES_MAX} bytes")]
    TooLong {
        /// Which, from 1.
        line: u64,
    },
    /// The chain is broken.
    #[error("line {line}")]
    Broken {
        /// Which, from 1; the number of lines, for a cut end.
        line: u64,
        /// How.
        #[source]
        fault: Fault,
    },
}

/// One event as a line, without the line's end.
pub fn line(event: &StoredEvent) -> String {
    serde_json::to_string(event).expect("numbers and texts are always JSON")
}

/// Verifies exported lines in constant memory.
pub fn verify_lines(mut lines: impl BufRead, mut verifier: Verifier) -> Result<Verified, ExportError> {
    let mut text = Vec::new();
    let mut line = 0;
    loop {
        line += 1;
        text.clear();
        let limit = u64::try_from(EVENT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = std::io::Read::take(&mut lines, limit).read_until(b'\n', &mut text);
        if read.map_err(|source| ExportError::Read { line, source })? == 0 {
            return verifier.finish().map_err(|fault| ExportError::Broken { line: line - 1, fault });
        }
        if text.len() > EVENT_BYTES_MAX {
            return Err(ExportError::TooLong { line });
        }
        let event: StoredEvent =
            serde_json::from_slice(&text).map_err(|source| ExportError::NoEvent { line, source })?;
        verifier.check(&event).map_err(|fault| ExportError::Broken { line, fault })?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Head;
    use super::*;

    fn export(events: i64) -> String {
        let mut head = Head::empty();
        (1..=events).map(|n| line(&head.append(1, format!("{{\"n\":{n},\"text\":\"\\\"\\u0000\"}}"))) + "\n").collect()
    }

    fn verify(text: &str) -> Result<Verified, ExportError> {
        verify_lines(text.as_bytes(), Verifier::from_the_beginning([]))
    }

    #[test]
    fn an_export_verifies_as_it_was_written() {
        assert_eq!(verify(&export(100)).unwrap().events, 100);
        // The last line may lack its end, as after a copy by hand.
        assert_eq!(verify(export(3).trim_end()).unwrap().events, 3);
    }

    #[test]
    fn every_failure_names_its_line() {
        let mut lines: Vec<String> = export(5).lines().map(str::to_owned).collect();
        lines[2] = "{}".to_owned();
        assert!(matches!(verify(&lines.join("\n")), Err(ExportError::NoEvent { line: 3, .. })));
        lines.remove(2);
        assert!(matches!(verify(&lines.join("\n")), Err(ExportError::Broken { line: 3, .. })));
        let endless = "x".repeat(EVENT_BYTES_MAX + 2);
        assert!(matches!(verify(&format!("{}{endless}", export(1))), Err(ExportError::TooLong { line: 2 })));
        let half = &export(1)[..40];
        assert!(matches!(verify(half), Err(ExportError::NoEvent { line: 1, .. })));
    }
}
