//! The ways to change an object in part: JSON merge patch, strategic merge patch, JSON patch, and apply.

use serde_json::{Map, Value};

/// How a patch's body is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own: lists of named things are merged thing by thing.
    Strategic,
    /// RFC 6902.
    Json,
    /// Server-side apply; the simulator knows one owner of all fields, so it is a strategic merge that may create.
    Apply,
}

impl PatchKind {
    /// The kind that a content type names.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/json-patch+json" => Some(Self::Json),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// Changes `target` as `patch` says; the error is a sentence.
pub fn apply(kind: PatchKind, target: &mut Value, patch: &Value) -> Result<(), String> {
    match kind {
        PatchKind::Merge => merge(target, patch),
        PatchKind::Strategic | PatchKind::Apply => strategic(target, patch),
        PatchKind::Json => return operations(target, patch),
    }
    Ok(())
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let target = object(target);
    for (name, value) in fields {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn strategic(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    let target = object(target);
    for (name, value) in fields {
        match (value, merge_key(name)) {
            (Value::Null, _) => {
                target.remove(name);
            }
            (Value::Array(patches), Some(key)) => {
                merge_list(target.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new())), patches, key);
            }
            _ => strategic(target.entry(name.clone()).or_insert(Value::Null), value),
        }
    }
}

/// By what the things of a list are told apart; `None` where a list is replaced as a whole.
fn merge_key(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "ownerReferences" => Some("uid"),
        "conditions" => Some("type"),
        _ => None,
    }
}

fn merge_list(target: &mut Value, patches: &[Value], key: &str) {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Some(items) = target.as_array_mut() else { return };
    for patch in patches {
        let at = items.iter().position(|item| item.get(key).is_some() && item.get(key) == patch.get(key));
        if patch.get("$patch").and_then(Value::as_str) == Some("delete") {
            items.retain(|item| item.get(key) != patch.get(key));
        } else if let Some(at) = at {
            strategic(&mut items[at], patch);
        } else {
            items.push(patch.clone());
        }
    }
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object just now")
}

fn operations(target: &mut Value, patch: &Value) -> Result<(), String> {
    let operations = patch.as_array().ok_or("a JSON patch is a list of operations")?;
    for operation in operations {
        let word = |name: &str| operation.get(name).and_then(Value::as_str).unwrap_or_default();
        let (parent, last) = word("path").rsplit_once('/').ok_or("a path begins with /")?;
        let last = last.replace("~1", "/").replace("~0", "~");
        if word("op") == "test" {
            let seen = target.pointer(word("path"));
            if seen != operation.get("value") {
                return Err(format!("testing path {} failed", word("path")));
            }
            continue;
        }
        let missing = || format!("the path {} does not exist", word("path"));
        let parent = target.pointer_mut(parent).ok_or_else(missing)?;
        let value = || operation.get("value").cloned().unwrap_or(Value::Null);
        match (word("op"), parent) {
            ("add" | "replace", Value::Object(fields)) => {
                fields.insert(last, value());
            }
            ("remove", Value::Object(fields)) => {
                fields.remove(&last).ok_or_else(missing)?;
            }
            ("add", Value::Array(items)) if last == "-" => items.push(value()),
            ("add", Value::Array(items)) => {
                let at = last.parse().ok().filter(|&at| at <= items.len()).ok_or_else(missing)?;
                items.insert(at, value());
            }
            ("replace", Value::Array(items)) => {
                let at = last.parse().ok().and_then(|at: usize| items.get_mut(at)).ok_or_else(missing)?;
                *at = value();
            }
            ("remove", Value::Array(items)) => {
                let at = last.parse().ok().filter(|&at: &usize| at < items.len()).ok_or_else(missing)?;
                items.remove(at);
            }
            (other, _) => return Err(format!("unknown operation {other:?}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(kind: PatchKind, mut target: Value, patch: &Value) -> Value {
        apply(kind, &mut target, patch).unwrap();
        target
    }

    #[test]
    fn a_merge_patch_removes_what_is_null_and_replaces_lists() {
        let target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let merged = patched(PatchKind::Merge, target, &json!({"a": {"b": null, "d": {"e": null}}, "l": [3]}));
        assert_eq!(merged, json!({"a": {"c": 2, "d": {}}, "l": [3]}));
    }

    #[test]
    fn a_strategic_patch_merges_containers_by_name() {
        let target = json!({"containers": [{"name": "a", "image": "x:1", "tty": true}, {"name": "b", "image": "y:1"}]});
        let patch = json!({"containers": [{"name": "a", "image": "x:2"}, {"name": "b", "$patch": "delete"}]});
        let merged = patched(PatchKind::Strategic, target, &patch);
        assert_eq!(merged, json!({"containers": [{"name": "a", "image": "x:2", "tty": true}]}));
    }

    #[test]
    fn a_json_patch_tests_before_it_changes() {
        let patch = json!([{"op": "test", "path": "/a", "value": 1}, {"op": "replace", "path": "/a", "value": 2},
            {"op": "add", "path": "/l/-", "value": 3}]);
        assert_eq!(patched(PatchKind::Json, json!({"a": 1, "l": []}), &patch), json!({"a": 2, "l": [3]}));
        assert!(apply(PatchKind::Json, &mut json!({"a": 5, "l": []}), &patch).is_err());
    }
}
