//! In which shape a client wants objects: whole, their metadata alone, or as a table for people.

use serde_json::{Value, json};

use super::object::Object;
use super::resources::Resource;

/// A shape, by the `Accept` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they are.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`.
    Table,
}

impl Shape {
    /// What the header asks for.
    pub fn of(accept: &str) -> Self {
        let first = accept.split(',').find_map(|part| {
            let kind = part.split(';').find_map(|parameter| parameter.trim().strip_prefix("as="));
            match kind {
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Self::Metadata),
                Some("Table") => Some(Self::Table),
                Some(_) => None,
                None => Some(Self::Whole),
            }
        });
        first.unwrap_or(Self::Whole)
    }

    /// Adds one object's JSON to `out`.
    pub fn write_one(self, out: &mut Vec<u8>, object: &Object) {
        match self {
            Self::Whole => out.extend_from_slice(object.bytes()),
            Self::Metadata => write(out, &metadata(object)),
            Self::Table => write(out, &table(std::iter::once(object), &json!({}))),
        }
    }

    /// A list's JSON: `metadata` is the list's own.
    pub fn list<'a>(self, resource: Resource, objects: impl Iterator<Item = &'a Object>, metadata: &Value) -> Vec<u8> {
        if self == Self::Table {
            return serde_json::to_vec(&table(objects, metadata)).unwrap_or_default();
        }
        let (kind, api_version) = match self {
            Self::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Self::Whole | Self::Table => (format!("{}List", resource.row().kind), resource.api_version()),
        };
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":"#).as_bytes());
        write(&mut out, metadata);
        out.extend_from_slice(br#","items":["#);
        for (number, object) in objects.enumerate() {
            if number > 0 {
                out.push(b',');
            }
            match self {
                // In lists of built-in kinds the objects do not say what they are; custom resources do.
                Self::Whole if !resource.row().custom => out.extend(without_kind(object)),
                _ => self.write_one(&mut out, object),
            }
        }
        out.extend_from_slice(b"]}");
        out
    }
}

/// An object's text without its first two members, which stand where the alphabet puts them. Parsing it for that would
/// cost more than everything else that a list does.
fn without_kind(object: &Object) -> Vec<u8> {
    let text = String::from_utf8_lossy(object.bytes());
    let (version, kind) = (object.key.resource.api_version(), object.key.resource.row().kind);
    let text = text.replacen(&format!(r#"{{"apiVersion":"{version}","#), "{", 1);
    text.replacen(&format!(r#""kind":"{kind}","metadata":"#), r#""metadata":"#, 1).into_bytes()
}

fn write(out: &mut Vec<u8>, value: &Value) {
    out.extend(serde_json::to_vec(value).unwrap_or_default());
}

fn metadata(object: &Object) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value()["metadata"]})
}

/// What `kubectl get` shows of kinds that it knows nothing of: name and age.
fn table<'a>(objects: impl Iterator<Item = &'a Object>, list: &Value) -> Value {
    let rows: Vec<Value> = objects
        .map(|object| {
            let metadata = metadata(object);
            json!({"cells": [object.name(), metadata["metadata"]["creationTimestamp"]], "object": metadata})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list, "rows": rows,
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shape_that_is_known_counts() {
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(Shape::of(metadata), Shape::Metadata);
        assert_eq!(Shape::of("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Shape::Table);
        assert_eq!(Shape::of("application/json, */*"), Shape::Whole);
        assert_eq!(Shape::of(""), Shape::Whole);
    }
}
