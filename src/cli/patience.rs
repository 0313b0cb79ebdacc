//! Going on asking a hub that does not answer for a while: it may be restarting, or busy.

use std::time::Duration;

use super::render::Output;
use crate::api::ClientError;
use crate::domain::{Seconds, Timestamp};

/// A hub that gives no answer for so long is not coming back by itself.
const WITHOUT_AN_ANSWER: Duration = Duration::from_mins(5);

/// What is remembered between two questions.
pub struct Patience {
    output: Output,
    /// Whether somebody else says when it ends.
    bounded: bool,
    away_since: Option<Timestamp>,
}

impl Patience {
    /// Goes on for [`WITHOUT_AN_ANSWER`], or as long as the caller does when the caller is `bounded`.
    pub fn new(output: Output, bounded: bool) -> Self {
        Self { output, bounded, away_since: None }
    }

    /// The answer; `None` when the hub gives none for now, which is said once.
    pub fn with<T>(&mut self, answer: Result<T, ClientError>, now: Timestamp) -> Result<Option<T>, ClientError> {
        let error = match answer {
            Ok(answer) => {
                if self.away_since.take().is_some() {
                    self.output.note("the hub answers again");
                }
                return Ok(Some(answer));
            }
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error),
        };
        match self.away_since {
            Some(since) if !self.bounded && now.since(since) >= WITHOUT_AN_ANSWER => Err(error),
            Some(_) => Ok(None),
            None => {
                self.away_since = Some(now);
                let until = match self.bounded {
                    true => "until the timeout".to_owned(),
                    false => format!("for {}", Seconds(WITHOUT_AN_ANSWER.as_secs())),
                };
                self.output.note(&format!("{error}: asking on {until}"));
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::super::render::Format;
    use super::*;
    use crate::api::Problem;

    const NOW: Timestamp = Timestamp::from_micros(2_000_000_000_000_000);

    fn answer(status: StatusCode) -> Result<(), ClientError> {
        Err(ClientError::Problem(Box::new(Problem::new(status, "any", "any"))))
    }

    #[test]
    fn a_hub_that_is_away_is_asked_again_but_not_for_ever() {
        let mut patience = Patience::new(Output::new(Format::Table, true), false);
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS] {
            assert!(patience.with(answer(status), NOW).unwrap().is_none());
        }
        let later = NOW + WITHOUT_AN_ANSWER;
        assert!(patience.with(Ok(()), later).unwrap().is_some(), "it is back");
        assert!(patience.with(answer(StatusCode::SERVICE_UNAVAILABLE), later).unwrap().is_none());
        let too_late = later + WITHOUT_AN_ANSWER;
        assert!(patience.with(answer(StatusCode::SERVICE_UNAVAILABLE), too_late).is_err());
        let mut bounded = Patience { bounded: true, ..patience };
        assert!(bounded.with(answer(StatusCode::SERVICE_UNAVAILABLE), too_late).unwrap().is_none());
    }

    #[test]
    fn what_will_not_change_ends_it_at_once() {
        let mut patience = Patience::new(Output::new(Format::Table, true), false);
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
            assert!(patience.with(answer(status), NOW).is_err(), "{status}");
        }
    }
}
