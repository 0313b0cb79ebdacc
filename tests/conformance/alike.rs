//! Makes two answers comparable, and says where they differ.

use serde_json::{Map, Value, json};

/// Of a spec, what the scenarios write; the rest is what the real API server adds by default.
const SPEC_KEPT: [&str; 6] = ["suspend", "backoffLimit", "completions", "parallelism", "nodeName", "cStorVolume"];

/// A value without what differs by its nature.
pub fn alike(value: &Value) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("metadata") && fields["metadata"]["uid"].is_string() => {
            object(fields)
        }
        Value::Object(fields) => Value::Object(fields.iter().filter_map(|(key, value)| field(key, value)).collect()),
        Value::Array(items) => items.iter().map(alike).collect(),
        Value::String(text) => Value::String(words(text)),
        other => other.clone(),
    }
}

fn field(key: &str, value: &Value) -> Option<(String, Value)> {
    let value = match key {
        "managedFields" => return None,
        "resourceVersion" => json!("(version)"),
        "continue" if value.as_str().is_some_and(|token| !token.is_empty()) => json!("(token)"),
        // The real one may find the same twice.
        "causes" => {
            let mut causes: Vec<Value> = value.as_array().into_iter().flatten().map(alike).collect();
            causes.dedup();
            Value::Array(causes)
        }
        _ => alike(value),
    };
    Some((key.to_owned(), value))
}

fn object(fields: &Map<String, Value>) -> Value {
    let mut kept = Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("spec", Value::Object(spec)) => {
                let known = |(key, _): &(&String, &Value)| SPEC_KEPT.contains(&key.as_str());
                spec.iter().filter(known).map(|(key, value)| (key.clone(), alike(value))).collect()
            }
            ("metadata", Value::Object(metadata)) => {
                let mut metadata: Map<String, Value> =
                    metadata.iter().filter_map(|(key, value)| field(key, value)).collect();
                if let Some(prefix) = metadata.get("generateName").and_then(Value::as_str) {
                    metadata["name"] = json!(format!("{prefix}(random)"));
                }
                Value::Object(metadata)
            }
            (_, value) => alike(value),
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

/// Times and UIDs are what they are; that there is one is what counts.
fn words(text: &str) -> String {
    if text.len() >= 20 && text.parse::<jiff::Timestamp>().is_ok() {
        return "(time)".to_owned();
    }
    let mut told = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest.get(..36).is_some_and(is_uid) {
            told.push_str("(uid)");
            rest = &rest[36..];
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            told.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    told
}

fn is_uid(text: &str) -> bool {
    let dashes = [8, 13, 18, 23];
    text.bytes().enumerate().all(|(at, byte)| match dashes.contains(&at) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    })
}

/// Where two values differ, one line each.
pub fn differences(place: &str, real: &Value, simulated: &Value, found: &mut Vec<String>) {
    match (real, simulated) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => differences(&format!("{place}.{key}"), one, other, found),
                    (Some(one), None) => found.push(format!("{place}.{key}: real {one}, simulated nothing")),
                    (None, Some(other)) => found.push(format!("{place}.{key}: real nothing, simulated {other}")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{place}[{at}]"), one, other, found);
            }
        }
        (one, other) if one == other => {}
        (one, other) => found.push(format!("{place}: real {one}, simulated {other}")),
    }
}
