//! The query of a request: selectors, pages, watches.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::object::{Key, Object, text};
use super::problem::Problem;
use super::resources::Resource;
use crate::domain::Selector;

/// What a request's query asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    labels: Selector,
    fields: Vec<(Field, bool, String)>,
    /// `limit`; 0 for none.
    pub limit: usize,
    /// `continue`: the key after which the next page begins, and the version of the first page.
    pub page: Option<(u64, String, String)>,
    /// `watch`.
    pub watch: bool,
    /// `resourceVersion`.
    pub version: String,
    /// `timeoutSeconds`.
    pub timeout: Option<u64>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub initial_events: bool,
    /// Everything as it came.
    all: BTreeMap<String, String>,
}

/// A field that can be selected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    Phase,
    Node,
}

impl Query {
    /// Reads `query` as it stands behind the question mark, for a request about `resource`.
    pub fn read(query: &str, resource: Resource) -> Result<Self, Problem> {
        let all: BTreeMap<String, String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let word = |name: &str| all.get(name).map_or("", String::as_str);
        let yes = |name: &str| matches!(word(name), "true" | "1");
        let invalid = |why: String| Problem::BadRequest(why);
        let labels = word("labelSelector").parse().map_err(|_| {
            invalid(format!("unable to parse requirement: {:?} is no label selector", word("labelSelector")))
        })?;
        let page = match word("continue") {
            "" => None,
            token => Some(
                read_token(token)
                    .ok_or_else(|| invalid("continue key is not valid: illegal base64 data or version".to_owned()))?,
            ),
        };
        Ok(Self {
            labels,
            fields: fields(word("fieldSelector"), resource)?,
            limit: word("limit").parse().unwrap_or(0),
            page,
            watch: yes("watch"),
            version: word("resourceVersion").to_owned(),
            timeout: word("timeoutSeconds").parse().ok(),
            bookmarks: yes("allowWatchBookmarks"),
            initial_events: yes("sendInitialEvents"),
            all,
        })
    }

    /// Whether anything is left out.
    pub fn selects(&self) -> bool {
        !self.fields.is_empty() || !self.word("labelSelector").is_empty()
    }

    /// Whether the selectors select this object.
    pub fn matches(&self, object: &Object) -> bool {
        self.labels.matches(&object.labels)
            && self.fields.iter().all(|(field, equal, wanted)| {
                let same = match field {
                    Field::Name => *object.key.name == **wanted,
                    Field::Namespace => *object.key.namespace == **wanted,
                    Field::Phase => text(&object.value()["status"], "phase") == wanted,
                    Field::Node => text(&object.value()["spec"], "nodeName") == wanted,
                };
                same == *equal
            })
    }

    /// Any other parameter; empty where it was not given.
    pub fn word(&self, name: &str) -> &str {
        self.all.get(name).map_or("", String::as_str)
    }
}

/// The token for the page after `last`.
pub(super) fn token(version: u64, last: &Key) -> String {
    URL_SAFE_NO_PAD.encode(format!("{version}/{}/{}", last.namespace, last.name))
}

fn read_token(token: &str) -> Option<(u64, String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let mut parts = text.splitn(3, '/');
    Some((parts.next()?.parse().ok()?, parts.next()?.to_owned(), parts.next()?.to_owned()))
}

fn fields(selector: &str, resource: Resource) -> Result<Vec<(Field, bool, String)>, Problem> {
    let mut fields = Vec::new();
    for part in selector.split(',').filter(|part| !part.is_empty()) {
        let (name, equal, value) = if let Some((name, value)) = part.split_once("!=") {
            (name, false, value)
        } else if let Some((name, value)) = part.split_once('=') {
            (name, true, value.trim_start_matches('='))
        } else {
            return Err(Problem::BadRequest(format!("invalid selector: {part:?}; can't understand")));
        };
        let field = match (name, resource) {
            ("metadata.name", _) => Field::Name,
            ("metadata.namespace", _) => Field::Namespace,
            ("status.phase", Resource::Pods | Resource::Namespaces) => Field::Phase,
            ("spec.nodeName", Resource::Pods) => Field::Node,
            _ => return Err(Problem::BadRequest(format!("field label not supported: {name}"))),
        };
        fields.push((field, equal, value.to_owned()));
    }
    Ok(fields)
}

/// Percent-decoding; `+` is a space.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: Option<&u8>| digit.and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = &tail[2..];
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_decoded() {
        assert_eq!(decoded("a%3Db%2Cc+in+%28d%29"), "a=b,c in (d)");
        assert_eq!(decoded("100%"), "100%");
    }

    #[test]
    fn a_page_token_survives_its_journey() {
        let token = token(7, &Key::new(Resource::Jobs, "openebs", "a.b"));
        assert_eq!(read_token(&token), Some((7, "openebs".to_owned(), "a.b".to_owned())));
        assert_eq!(read_token("%"), None);
    }

    #[test]
    fn a_field_that_cannot_be_selected_by_is_refused() {
        assert!(Query::read("fieldSelector=status.phase%3DRunning", Resource::Jobs).is_err());
        assert!(Query::read("fieldSelector=metadata.name%3Dx", Resource::Jobs).is_ok());
    }
}
