//! The objects of one cluster, with the rules that the API server itself keeps: names, UIDs, resource versions,
//! generations, preconditions, finalizers, and the events that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::admission;
use super::object::{Key, Object, finalizers, member, set_finalizer, text};
use super::problem::Problem;
use super::resources::Resource;
use super::seed::Seed;
use crate::domain::Timestamp;

/// Events that a watch can still begin from; whoever is further behind is told 410, as after etcd's compaction.
const EVENTS_KEPT: usize = 128;

/// Objects of one cluster; more is refused, as a quota would.
const OBJECTS_MAX: usize = 100_000;

/// The finalizer by which the garbage collector deletes dependents first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer by which the garbage collector lets dependents go first.
pub const ORPHAN: &str = "orphan";

/// The objects of one cluster.
pub struct Store {
    objects: BTreeMap<Key, Arc<Object>>,
    version: u64,
    events: VecDeque<Event>,
    /// The version up to which events were dropped.
    compacted: u64,
    changes: watch::Sender<u64>,
    untold: Vec<Event>,
    seed: Seed,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object afterwards; for a deletion, as it was at its end.
    pub object: Arc<Object>,
    /// The object before; `None` for a creation.
    pub before: Option<Arc<Object>>,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The object; its status stays where it has a subresource of its own.
    Main,
    /// The status alone.
    Status,
    /// All of it: what controllers do in one go.
    Whole,
}

/// What a deletion asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Only this very object.
    pub uid: Option<String>,
    /// Only this very version of it.
    pub version: Option<String>,
    /// What becomes of its dependents; `None` for the kind's default.
    pub propagation: Option<Propagation>,
    /// Seconds that a Pod has to end; `None` for its own.
    pub grace: Option<i64>,
}

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go afterwards.
    Background,
    /// They stay.
    Orphan,
}

/// What came of a deletion.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// It is gone.
    Gone(Arc<Object>),
    /// It waits for its end: a Pod's processes, or finalizers.
    Pending(Arc<Object>),
}

impl Store {
    /// An empty one; names and UIDs follow from `seed`.
    pub fn new(seed: Seed) -> Self {
        // Real clusters are never at version 1 when somebody comes to see them.
        let version = 1_000;
        Self {
            objects: BTreeMap::new(),
            version,
            events: VecDeque::new(),
            compacted: version,
            changes: watch::Sender::new(version),
            untold: Vec::new(),
            seed,
        }
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Tells each new version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The object at `key`.
    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The object at `key`, or the answer that there is none.
    pub fn find(&self, key: &Key) -> Result<&Arc<Object>, Problem> {
        self.get(key).ok_or_else(|| Problem::NotFound(key.resource, key.name.to_string()))
    }

    /// All objects of a kind, in one namespace or in all, after `after` in the order of namespace and name.
    pub fn list<'a>(
        &'a self,
        resource: Resource,
        namespace: Option<&'a str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let first = Key::new(resource, namespace.unwrap_or_default(), "");
        let from = after.map_or(Bound::Included(first), |after| Bound::Excluded(after.clone()));
        let within = move |key: &Key| key.resource == resource && namespace.is_none_or(|name| *key.namespace == *name);
        self.objects.range((from, Bound::Unbounded)).take_while(move |(key, _)| within(key)).map(|(_, object)| object)
    }

    /// All objects that `uid` owns.
    pub fn owned_by<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.objects.values().filter(move |object| object.owners.iter().any(|owner| **owner == *uid))
    }

    /// The events after `version`; `None` if they are no longer all known.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Event>> {
        (version >= self.compacted).then(|| {
            let first = self.events.partition_point(|event| event.object.version <= version);
            self.events.range(first..)
        })
    }

    /// The objects of one kind as they were at `version`, as far as a list would show them: what was made since is not
    /// there, what was changed or deleted since is as it was. `None` if that is no longer known.
    pub fn list_at(&self, version: u64, resource: Resource, namespace: Option<&str>) -> Option<Vec<Arc<Object>>> {
        let since: Vec<&Event> = self.since(version)?.collect();
        let now = self.list(resource, namespace, None);
        let mut then: BTreeMap<Key, Arc<Object>> = now.map(|object| (object.key.clone(), Arc::clone(object))).collect();
        let about = |event: &&&Event| {
            let key = &event.object.key;
            key.resource == resource && namespace.is_none_or(|name| *key.namespace == *name)
        };
        for event in since.iter().rev().filter(about) {
            let key = event.object.key.clone();
            match &event.before {
                Some(before) => then.insert(key, Arc::clone(before)),
                None => then.remove(&key),
            };
        }
        Some(then.into_values().collect())
    }

    /// Forgets all events, as a compaction does: each watch begins anew.
    pub fn compact(&mut self) {
        self.events.clear();
        self.version += 1;
        self.compacted = self.version;
        self.changes.send_replace(self.version);
    }

    /// The changes that were not asked for yet: for the controllers and for the log.
    pub fn take_untold(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.untold)
    }

    /// Creates an object as a client would.
    pub fn create(
        &mut self,
        resource: Resource,
        namespace: &str,
        mut value: Value,
        now: Timestamp,
    ) -> Result<Arc<Object>, Problem> {
        let name = self.name_for(resource, &mut value)?;
        let key = Key::new(resource, namespace, &name);
        if self.objects.contains_key(&key) {
            return Err(Problem::Exists(resource, name));
        }
        let there = Key::new(Resource::Namespaces, "", namespace);
        if resource.row().namespaced && !self.objects.contains_key(&there) {
            return Err(Problem::NotFound(Resource::Namespaces, namespace.to_owned()));
        }
        if self.objects.len() >= OBJECTS_MAX {
            return Err(Problem::Forbidden(resource, name, format!("exceeded quota: {OBJECTS_MAX} objects")));
        }
        let uid = self.seed.uuid();
        admission::on_create(resource, &name, &uid, &mut value)?;
        Ok(self.insert(key, &uid, value, now))
    }

    /// Puts an object in place as it is, status and all: what a cluster is furnished with.
    pub fn furnish(&mut self, resource: Resource, namespace: &str, value: Value, now: Timestamp) -> Arc<Object> {
        let key = Key::new(resource, namespace, text(&value["metadata"], "name"));
        let uid = match text(&value["metadata"], "uid") {
            "" => self.seed.uuid(),
            uid => uid.to_owned(),
        };
        self.insert(key, &uid, value, now)
    }

    fn insert(&mut self, key: Key, uid: &str, mut value: Value, now: Timestamp) -> Arc<Object> {
        let row = key.resource.row();
        value["apiVersion"] = key.resource.api_version().into();
        value["kind"] = row.kind.into();
        let metadata = member(&mut value, "metadata");
        for gone in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            metadata.remove(gone);
        }
        metadata.insert("name".to_owned(), Value::from(&*key.name));
        metadata.insert("uid".to_owned(), Value::from(uid));
        metadata.insert("creationTimestamp".to_owned(), Value::from(now.to_string()));
        if row.namespaced {
            metadata.insert("namespace".to_owned(), Value::from(&*key.namespace));
        }
        // A Pod's is its first for good: what it is made of never changes here.
        if key.resource.counts_generations() || key.resource == Resource::Pods {
            metadata.insert("generation".to_owned(), Value::from(1));
        }
        self.commit(Change::Added, key, value, None)
    }

    fn name_for(&mut self, resource: Resource, value: &mut Value) -> Result<String, Problem> {
        let metadata = member(value, "metadata");
        let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = match (given.as_str(), metadata.get("generateName").and_then(Value::as_str)) {
            ("", Some(prefix)) => format!("{prefix}{}", self.seed.suffix(5)),
            ("", None) => {
                let why = "metadata.name: Required value: name or generateName is required";
                return Err(Problem::Invalid(resource, String::new(), why.to_owned()));
            }
            _ => given,
        };
        admission::check_name(resource, &name)?;
        Ok(name)
    }

    /// Replaces an object by `new`, which may name the UID and version that it means. Nothing is written, and no version
    /// used, if nothing differs.
    pub fn replace(&mut self, key: &Key, part: Part, new: Value) -> Result<Arc<Object>, Problem> {
        let old = Arc::clone(self.find(key)?);
        let meant = text(&new["metadata"], "resourceVersion");
        if !meant.is_empty() && meant != old.version.to_string() {
            return Err(Problem::modified(key.resource, &key.name));
        }
        let before = old.value();
        let merged = merged(key.resource, part, &before, new);
        if part != Part::Whole {
            admission::on_update(key, &before, &merged)?;
        }
        if merged == before {
            return Ok(old);
        }
        if merged["metadata"].get("deletionTimestamp").is_some() && finalizers(&merged).is_empty() {
            let waits = number_of_seconds(&merged["metadata"]);
            if waits == 0 {
                return Ok(self.remove(key, merged));
            }
        }
        Ok(self.commit(Change::Modified, key.clone(), merged, Some(old)))
    }

    /// Changes an object as a controller does, whatever its version; `false` if it is not there.
    pub fn change(&mut self, key: &Key, edit: impl FnOnce(&mut Value)) -> bool {
        let Some(object) = self.get(key) else { return false };
        let mut value = object.value();
        edit(&mut value);
        self.replace(key, Part::Whole, value).is_ok()
    }

    /// Deletes an object as a client would.
    pub fn delete(&mut self, key: &Key, deletion: &Deletion, now: Timestamp) -> Result<Deleted, Problem> {
        let object = Arc::clone(self.find(key)?);
        self.check_preconditions(&object, deletion)?;
        let mut value = object.value();
        let propagation = deletion.propagation.unwrap_or(match key.resource {
            // For backward compatibility the API server orphans what batch/v1 Jobs own, unless told otherwise.
            Resource::Jobs => Propagation::Orphan,
            _ => Propagation::Background,
        });
        match propagation {
            Propagation::Foreground => {
                set_finalizer(&mut value, FOREGROUND, true);
                set_finalizer(&mut value, ORPHAN, false);
            }
            Propagation::Orphan => {
                set_finalizer(&mut value, ORPHAN, true);
                set_finalizer(&mut value, FOREGROUND, false);
            }
            Propagation::Background => {}
        }
        let grace = grace(key.resource, &value, deletion);
        if grace == 0 && finalizers(&value).is_empty() {
            if key.resource == Resource::Pods {
                mark_deleted(&mut value, grace, now);
            }
            return Ok(Deleted::Gone(self.remove(key, value)));
        }
        mark_deleted(&mut value, grace, now);
        if value == object.value() {
            return Ok(Deleted::Pending(object));
        }
        Ok(Deleted::Pending(self.commit(Change::Modified, key.clone(), value, Some(object))))
    }

    fn check_preconditions(&self, object: &Object, deletion: &Deletion) -> Result<(), Problem> {
        let present = object.version.to_string();
        let pairs = [
            ("UID", deletion.uid.as_deref(), &*object.uid, "deleted and then recreated"),
            ("ResourceVersion", deletion.version.as_deref(), present.as_str(), "modified"),
        ];
        for (what, wanted, seen, perhaps) in pairs {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != seen) {
                let why = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({seen}). The object \
                     might have been {perhaps}"
                );
                return Err(Problem::Another(object.key.resource, object.name().to_owned(), why));
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key, value: Value) -> Arc<Object> {
        let before = self.objects.get(key).cloned();
        self.commit(Change::Deleted, key.clone(), value, before)
    }

    fn commit(&mut self, change: Change, key: Key, value: Value, before: Option<Arc<Object>>) -> Arc<Object> {
        self.version += 1;
        let object = Arc::new(Object::new(key.clone(), self.version, value));
        match change {
            Change::Added | Change::Modified => self.objects.insert(key, Arc::clone(&object)),
            Change::Deleted => self.objects.remove(&key),
        };
        let event = Event { change, object: Arc::clone(&object), before };
        if self.events.len() == EVENTS_KEPT {
            self.compacted = self.events.pop_front().map_or(self.compacted, |event| event.object.version);
        }
        self.events.push_back(event.clone());
        self.untold.push(event);
        self.changes.send_replace(self.version);
        object
    }
}

/// `new` with what no write may change taken from `before`, and its generation counted.
fn merged(resource: Resource, part: Part, before: &Value, new: Value) -> Value {
    let row = resource.row();
    let mut merged = match part {
        Part::Main | Part::Whole => new,
        Part::Status => {
            let mut whole = before.clone();
            whole["status"] = new.get("status").cloned().unwrap_or_else(|| json!({}));
            whole
        }
    };
    if part == Part::Main && row.status {
        match before.get("status") {
            Some(status) => merged["status"] = status.clone(),
            None => {
                member(&mut merged, "metadata");
                merged.as_object_mut().map(|object| object.remove("status"));
            }
        }
    }
    merged["apiVersion"] = before["apiVersion"].clone();
    merged["kind"] = before["kind"].clone();
    let fixed = ["name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation"];
    let ends = ["deletionTimestamp", "deletionGracePeriodSeconds"];
    let metadata = member(&mut merged, "metadata");
    for field in fixed.into_iter().chain(ends) {
        match before["metadata"].get(field) {
            Some(kept) => metadata.insert(field.to_owned(), kept.clone()),
            None => metadata.remove(field),
        };
    }
    if resource.counts_generations() && differs_in_substance(row.status, before, &merged) {
        let next = before["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        merged["metadata"]["generation"] = next.into();
    }
    merged
}

/// Whether a change counts as a new generation: of the spec where there is a status subresource, else of anything but
/// the metadata.
fn differs_in_substance(has_status: bool, before: &Value, after: &Value) -> bool {
    if has_status {
        return before.get("spec") != after.get("spec");
    }
    let substance = |value: &Value| {
        let mut object = value.as_object().cloned().unwrap_or_default();
        object.remove("metadata");
        object
    };
    substance(before) != substance(after)
}

/// Says until when an object that is deleted stays, unless it says sooner already.
fn mark_deleted(value: &mut Value, grace: i64, now: Timestamp) {
    let metadata = member(value, "metadata");
    let before = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    if before.is_some_and(|before| before <= grace) {
        return;
    }
    // Beginning to go is a new generation, going sooner is none.
    if let (None, Some(generation)) = (before, metadata.get("generation").and_then(Value::as_i64)) {
        metadata.insert("generation".to_owned(), Value::from(generation + 1));
    }
    let until = now + std::time::Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    metadata.insert("deletionTimestamp".to_owned(), Value::from(until.to_string()));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), Value::from(grace));
}

/// The seconds that a Pod being deleted still has; 0 for everything else.
fn number_of_seconds(metadata: &Value) -> i64 {
    metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0)
}

/// Only Pods that run on a node have time to end.
fn grace(resource: Resource, value: &Value, deletion: &Deletion) -> i64 {
    if resource != Resource::Pods {
        return 0;
    }
    let ended = matches!(text(&value["status"], "phase"), "Succeeded" | "Failed");
    if ended || text(&value["spec"], "nodeName").is_empty() {
        return 0;
    }
    let own = value.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(30);
    deletion.grace.unwrap_or(own).max(0)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
