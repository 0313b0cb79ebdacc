//! One stored object: its bytes as they are sent, and beside them the few fields that lists and controllers ask for.
//! Bytes, because a fleet of thousands of clusters in one process keeps many objects and reads them far more often than
//! it changes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::resources::Resource;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace; empty for what is cluster-wide.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Key {
    /// The key of that object.
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.row().namespaced { namespace } else { "" };
        Self { resource, namespace: namespace.into(), name: name.into() }
    }

    /// Where a real API server keeps it, which some of its messages tell.
    pub fn path_in_etcd(&self) -> String {
        let row = self.resource.row();
        let group = if row.custom { format!("{}/", row.group) } else { String::new() };
        let namespace = if row.namespaced { format!("{}/", self.namespace) } else { String::new() };
        format!("/registry/{group}{}/{namespace}{}", row.plural, self.name)
    }
}

/// An object as it was at one resource version; never changed, only replaced.
#[derive(Debug)]
pub struct Object {
    /// Where it is.
    pub key: Key,
    /// Its UID.
    pub uid: Box<str>,
    /// Its resource version.
    pub version: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The UIDs of its owners.
    pub owners: Vec<Box<str>>,
    /// Whether it is being deleted.
    pub terminating: bool,
    bytes: Box<[u8]>,
}

impl Object {
    /// Keeps `value`, which carries complete metadata.
    pub fn new(key: Key, version: u64, mut value: Value) -> Self {
        value["metadata"]["resourceVersion"] = Value::from(version.to_string());
        let metadata = &value["metadata"];
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        Self {
            uid: text(metadata, "uid").into(),
            version,
            labels: labels(&value),
            owners: owners.map(|owner| text(owner, "uid").into()).collect(),
            terminating: metadata.get("deletionTimestamp").is_some(),
            bytes: serde_json::to_vec(&value).unwrap_or_default().into(),
            key,
        }
    }

    /// As JSON text.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As a value.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// A label's value; empty where it has none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.key.name
    }
}

/// The labels of an object.
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    let labels = value["metadata"]["labels"].as_object();
    let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(pair).collect()
}

/// A text member; empty where there is none.
pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A number at a JSON pointer; 0 where there is none.
pub fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The member as an object, made if it is not there.
pub fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    let member = &mut value[name];
    if !member.is_object() {
        *member = json!({});
    }
    member.as_object_mut().expect("it was made an object just now")
}

/// The finalizers of an object.
pub fn finalizers(value: &Value) -> Vec<&str> {
    value["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Adds a finalizer, or takes it away.
pub fn set_finalizer(value: &mut Value, finalizer: &str, there: bool) {
    let mut all: Vec<String> = finalizers(value).into_iter().map(str::to_owned).collect();
    all.retain(|one| one != finalizer);
    if there {
        all.push(finalizer.to_owned());
    }
    let metadata = member(value, "metadata");
    if all.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), json!(all));
    }
}

/// A condition whose status is `True`.
pub fn condition<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = value.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|one| text(one, "type") == name && text(one, "status") == "True")
}

/// Sets a condition; one of that type is replaced.
pub fn set_condition(value: &mut Value, name: &str, status: &str, reason: &str, message: &str, now: &str) {
    let conditions = member(value, "status").entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    conditions.retain(|one| text(one, "type") != name);
    conditions.push(json!({"type": name, "status": status, "reason": reason, "message": message,
        "lastProbeTime": now, "lastTransitionTime": now}));
}
