//! Why an upgrade stopped: on which object, what was seen, what was expected and what to do.

use std::fmt;

use crate::openebs::termination::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE};

/// Why an upgrade stopped. Display is the sentence that people read in the UpgradeTask's `reason`. (Boxed: results pass
/// through every function here, and most of them are good.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Details>);

/// What a [`Problem`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Whether trying again can help.
    pub cause: Cause,
    /// The step's message in the words of upstream's executors ("failed to patch target deploy"); empty until a step
    /// says what it was doing.
    pub doing: String,
    /// The object: `Deployment/pvc-1-target`.
    pub object: String,
    /// What was seen there.
    pub seen: String,
    /// What was expected instead.
    pub expected: String,
    /// What a person can do.
    pub remedy: String,
}

impl std::ops::Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl std::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What kind of stop it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// What was asked for cannot be carried out as written; the storage was not touched for it.
    Refused,
    /// A step failed. Running again after the remedy carries on where it stopped.
    Failed,
    /// The service account may not do what a step needs.
    Forbidden,
    /// The Pod was told to stop.
    Interrupted,
}

impl Problem {
    /// A step failed on `object`.
    pub fn on(object: impl fmt::Display, seen: impl Into<String>, expected: impl Into<String>) -> Self {
        Self(Box::new(Details {
            cause: Cause::Failed,
            doing: String::new(),
            object: object.to_string(),
            seen: seen.into(),
            expected: expected.into(),
            remedy: String::new(),
        }))
    }

    /// What was asked for cannot be carried out as written.
    pub fn refused(object: impl fmt::Display, seen: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::on(object, seen, expected).because(Cause::Refused)
    }

    /// The same, of another cause.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.cause {
            Cause::Refused => EXIT_USAGE,
            Cause::Failed | Cause::Forbidden => EXIT_FAILED,
            Cause::Interrupted => EXIT_INTERRUPTED,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.seen)?;
        if !self.expected.is_empty() {
            write!(f, "; expected {}", self.expected)?;
        }
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Says what was being done when something failed, in upstream's words.
pub trait During<T> {
    /// Sets the step's message unless something closer to the failure has set it.
    fn during(self, doing: impl Into<String>) -> Result<T, Problem>;
}

impl<T> During<T> for Result<T, Problem> {
    fn during(self, doing: impl Into<String>) -> Self {
        self.map_err(|mut problem| {
            if problem.doing.is_empty() {
                problem.doing = doing.into();
            }
            problem
        })
    }
}
