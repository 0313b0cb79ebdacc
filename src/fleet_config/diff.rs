//! What changes between two fleets, one line a field, for `fleet diff` and the audit.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::show::document;
use crate::domain::Fleet;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The field: `group stores: target.openebs`.
    pub field: String,
    /// What it was; `None` when it is new.
    pub before: Option<String>,
    /// What it will be; `None` when it is taken away.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, before, after } = self;
        match (before, after) {
            (Some(before), Some(after)) => write!(f, "~ {field}: {before} → {after}"),
            (None, Some(after)) => write!(f, "+ {field}: {after}"),
            (Some(before), None) => write!(f, "- {field}: {before}"),
            (None, None) => write!(f, "{field}"),
        }
    }
}

/// What changes from `before` (nothing, if there is none yet) to `after`, in the order of the fields' names. Defaults
/// that are written out are no change.
pub fn diff(before: Option<&Fleet>, after: &Fleet) -> Vec<Change> {
    let written = |fleet: &Fleet| serde_json::to_value(document(fleet)).unwrap_or_default();
    let mut changes = Vec::new();
    compare("", before.map(written).as_ref(), Some(&written(after)), &mut changes);
    changes
}

fn compare(field: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let keys: BTreeSet<&str> = before.iter().chain(&after).flat_map(|value| keys(value)).collect();
    // One side that is whole new or gone is one line a leaf, too; what has no parts is a leaf.
    if keys.is_empty() {
        let change = Change { field: field.to_owned(), before: before.map(text), after: after.map(text) };
        changes.push(change);
        return;
    }
    if let (Some(Value::Array(before)), Some(Value::Array(after))) = (before, after) {
        changes.extend(reordered(field, before, after));
    }
    for key in keys {
        let child = |value: Option<&Value>| value.and_then(|value| part(value, key)).cloned();
        compare(&join(field, key), child(before).as_ref(), child(after).as_ref(), changes);
    }
}

/// The change of order of a list of named things, if those that stay come in another order: waves do.
fn reordered(field: &str, before: &[Value], after: &[Value]) -> Option<Change> {
    let names = |list: &[Value]| list.iter().filter_map(|element| name(element).map(str::to_owned)).collect::<Vec<_>>();
    let (before, after) = (names(before), names(after));
    let kept = before.iter().filter(|name| after.contains(name));
    if kept.eq(after.iter().filter(|name| before.contains(name))) {
        return None;
    }
    Some(Change { field: format!("{field} (order)"), before: Some(before.join(", ")), after: Some(after.join(", ")) })
}

/// The names of a value's parts: fields of a mapping, names of a list of named things.
fn keys(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        Value::Array(elements) => elements.iter().map(name).collect::<Option<Vec<_>>>().unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn part<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key),
        Value::Array(elements) => elements.iter().find(|element| name(element) == Some(key)),
        _ => None,
    }
}

fn name(element: &Value) -> Option<&str> {
    element.get("name").or_else(|| element.get("label")).and_then(Value::as_str)
}

fn join(field: &str, key: &str) -> String {
    match field {
        "" | "spec" => key.to_owned(),
        "groups" => format!("group {key}"),
        "strategies" => format!("strategy {key}"),
        "windows" => format!("window {key}"),
        // `group stores: target.openebs`: what follows the name of a named thing reads better apart.
        _ if field.split(' ').count() == 2 && !field.contains(':') => format!("{field}: {key}"),
        _ => format!("{field}.{key}"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
