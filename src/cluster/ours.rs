//! Whose is it? An object of the planned name is ours only if hub, attempt and content agree.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::EdgeError;
use super::nouns::Noun;
use super::text::plain;
use crate::openebs::job::{ATTEMPT, HUB, SPEC_HASH};

/// What came of creating an object whose name was decided beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// This request created it.
    New {
        /// The UID that the server gave it.
        uid: String,
    },
    /// It was there: an earlier request of ours, whose answer was lost, had created it.
    Adopted {
        /// Its UID.
        uid: String,
    },
}

impl Created {
    /// The UID of what now exists.
    pub fn uid(&self) -> &str {
        match self {
            Self::New { uid } | Self::Adopted { uid } => uid,
        }
    }
}

/// In what `found` differs from what we sent, or would send, as `planned`; `None` if it is ours.
pub(super) fn differs(found: &ObjectMeta, planned: &ObjectMeta) -> Option<String> {
    [(HUB, label(found, HUB), label(planned, HUB)), (ATTEMPT, label(found, ATTEMPT), label(planned, ATTEMPT))]
        .into_iter()
        .chain([(SPEC_HASH, annotation(found, SPEC_HASH), annotation(planned, SPEC_HASH))])
        .find_map(|(key, found, planned)| differs_in(key, found, planned.unwrap_or_default()))
}

/// How the value of `key` differs from `planned`.
pub(super) fn differs_in(key: &str, found: Option<&str>, planned: &str) -> Option<String> {
    match found {
        Some(found) if found == planned => None,
        Some(found) => Some(format!("its {key} is `{}`, not ours", plain(found, 80))),
        None => Some(format!("it carries no {key}")),
    }
}

/// After a creation that was answered with a conflict, or whose outcome is unknown: what does the cluster hold?
/// `found` is what a read of that very name gave.
pub(super) fn settle(
    noun: &Noun,
    planned: &ObjectMeta,
    found: Result<Option<ObjectMeta>, EdgeError>,
    first: EdgeError,
) -> Result<Created, EdgeError> {
    let found = match found {
        Ok(Some(found)) => found,
        // The name is taken, perhaps by ourselves: as long as nobody has seen by whom, that is no verdict.
        Ok(None) if matches!(first, EdgeError::Conflict { exists: true, .. }) => {
            return Err(unsettled(noun, planned, "an object of that name was there, and is gone"));
        }
        Err(unread) if matches!(first, EdgeError::Conflict { exists: true, .. }) => {
            return Err(unsettled(
                noun,
                planned,
                &format!("an object of that name exists and cannot be read: {unread}"),
            ));
        }
        // Not there (yet: a delayed request may still arrive), or not to be read. The first answer stays the truth.
        Ok(None) | Err(_) => return Err(first),
    };
    match differs(&found, planned) {
        None => Ok(Created::Adopted { uid: uid(&found)? }),
        Some(why) => Err(EdgeError::Conflict {
            resource: format!("{}/{}", noun.plural, planned.name.as_deref().unwrap_or_default()),
            exists: true,
            message: format!("an object of that name belongs to somebody else: {why}"),
        }),
    }
}

fn unsettled(noun: &Noun, planned: &ObjectMeta, why: &str) -> EdgeError {
    let resource = format!("{}/{}", noun.plural, planned.name.as_deref().unwrap_or_default());
    EdgeError::Conflict { resource, exists: false, message: why.to_owned() }
}

/// The UID, which every stored object has.
pub(super) fn uid(meta: &ObjectMeta) -> Result<String, EdgeError> {
    meta.uid
        .as_deref()
        .filter(|uid| !uid.is_empty())
        .map(|uid| plain(uid, 64))
        .ok_or_else(|| EdgeError::NotKubernetes { what: "an object without a UID".to_owned() })
}

pub(super) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}
