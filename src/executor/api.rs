//! The API server as the executor uses it: every call has a deadline, waits out what passes by itself, and says which
//! right is missing when one is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::params::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{Request, Status};
use serde_json::Value;

use super::object::{Collection, Object, Place};
use super::problem::{Cause, Problem};

/// Who wrote a field, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "fleetlift-executor";
/// One answer may take this long: API servers cut slow reads at 60 s themselves.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Objects a page: a page of Deployments stays below some MB.
const PAGE: u32 = 250;
/// Pages a list: more objects than this carry no label of one volume or pool.
const PAGES_MAX: usize = 40;
/// Versions of one API group, and kinds in one version: OpenEBS has a handful of the first and dozens of the second.
const VERSIONS_MAX: usize = 200;

/// An API server that has just started forbids what roles allow, and does not know custom kinds, until it has read them:
/// so soon after trouble with the connection, such an answer may still pass.
const UNSETTLED: Duration = Duration::from_secs(30);

/// The connection of one run.
#[derive(Clone)]
pub struct Api {
    client: Client,
    patience: Duration,
    /// When the server last could not be reached.
    troubled: Arc<Mutex<Option<Instant>>>,
}

/// How a change is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// For kinds that Kubernetes itself knows: lists are merged by their keys.
    Strategic,
    /// For custom resources: lists are replaced.
    Plain,
}

/// Why the API server did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such object, or no such kind.
    Absent {
        /// Whether the kind itself is not served (its CRD is missing).
        kind_is_missing: bool,
    },
    /// The object changed since it was read.
    Conflict,
    /// The object exists already.
    Exists,
    /// The object is not acceptable as it is, in the API server's words.
    Invalid(String),
    /// Anything else, explained.
    Other(Box<Problem>),
}

impl Api {
    /// Speaks through `client`; what may pass by itself (no connection, 429, 5xx) is tried again for `patience`.
    pub fn new(client: Client, patience: Duration) -> Self {
        Self { client, patience, troubled: Arc::default() }
    }

    /// The object at `place`; `None` if it, or its kind, does not exist.
    pub async fn find(&self, place: &Place) -> Result<Option<Object>, Problem> {
        let request = requests(place.collection, &place.namespace).get(&place.name, &GetParams::default());
        match self.call("get", place, request).await {
            Ok(body) => Ok(Some(Object::read(place.collection, body))),
            Err(Refusal::Absent { .. }) => Ok(None),
            Err(refusal) => Err(explain(refusal, place)),
        }
    }

    /// The object at `place`; it must exist.
    pub async fn get(&self, place: &Place) -> Result<Object, Problem> {
        let request = requests(place.collection, &place.namespace).get(&place.name, &GetParams::default());
        match self.call("get", place, request).await {
            Ok(body) => Ok(Object::read(place.collection, body)),
            Err(refusal) => Err(explain(refusal, place)),
        }
    }

    /// The versions of `group` in which the API server serves `plural`, apart from those `known`; none where discovery is
    /// not answered, for it only helps to say what is wrong.
    pub async fn served_otherwise(&self, group: &str, plural: &str, known: &[&str]) -> Vec<String> {
        let texts = |body: &Value, list: &str, field: &str| -> Vec<String> {
            let items = body.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            items.iter().filter_map(|item| Some(item.get(field)?.as_str()?.to_owned())).take(VERSIONS_MAX).collect()
        };
        let Some(group_body) = self.discover(&format!("/apis/{group}")).await else { return Vec::new() };
        let mut versions = Vec::new();
        for version in texts(&group_body, "versions", "version") {
            if known.contains(&version.as_str()) {
                continue;
            }
            let Some(resources) = self.discover(&format!("/apis/{group}/{version}")).await else { continue };
            if texts(&resources, "resources", "name").iter().any(|name| name == plural) {
                versions.push(version);
            }
        }
        versions
    }

    async fn discover(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        tokio::time::timeout(CALL_DEADLINE, self.client.request::<Value>(request)).await.ok()?.ok()
    }

    /// All objects in `namespace` that carry the labels of `selector`; none if the kind does not exist.
    pub async fn list(
        &self,
        collection: &'static Collection,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Object>, Problem> {
        let everything = collection.named(namespace, "");
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        for _ in 0..PAGES_MAX {
            let request = requests(collection, namespace).list(&params);
            let mut page = match self.call("list", &everything, request).await {
                Ok(page) => page,
                Err(Refusal::Absent { .. }) => return Ok(Vec::new()),
                Err(refusal) => return Err(explain(refusal, &everything)),
            };
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                found.extend(items.drain(..).map(|body| Object::read(collection, body)));
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => params.continue_token = Some(token.to_owned()),
                _ => return Ok(found),
            }
        }
        let most = PAGES_MAX * PAGE as usize;
        Err(Problem::on(
            collection.kind,
            format!("more than {most} with {selector:?} in namespace {namespace}"),
            "those of one volume or pool",
        )
        .remedy("check who labels objects so"))
    }

    /// Changes `object` by `patch`, if nobody else changed it since it was read.
    pub async fn patch(&self, object: &Object, merge: Merge, mut patch: Value) -> Result<Object, Refusal> {
        let version = object.body.pointer("/metadata/resourceVersion").cloned().unwrap_or(Value::Null);
        if let Some(members) = patch.as_object_mut() {
            let metadata = members.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("resourceVersion".to_owned(), version);
            }
        }
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let place = &object.place;
        let patch = match merge {
            Merge::Strategic => Patch::Strategic(&patch),
            Merge::Plain => Patch::Merge(&patch),
        };
        let request = requests(place.collection, &place.namespace).patch(&place.name, &params, &patch);
        let body = self.call("patch", place, request).await?;
        Ok(Object::read(place.collection, body))
    }

    /// Replaces an object by the body given, which carries the version that was read.
    pub async fn replace(&self, place: &Place, body: &Value) -> Result<Object, Refusal> {
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        let request = requests(place.collection, &place.namespace).replace(&place.name, &post_params(), bytes);
        Ok(Object::read(place.collection, self.call("update", place, request).await?))
    }

    /// Creates an object.
    pub async fn create(&self, place: &Place, body: &Value) -> Result<Object, Refusal> {
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        let request = requests(place.collection, &place.namespace).create(&post_params(), bytes);
        Ok(Object::read(place.collection, self.call("create", place, request).await?))
    }

    /// Whether the object could be created: all that an API server checks, and nothing is kept.
    pub async fn rehearse(&self, place: &Place, body: &Value) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(body).unwrap_or_default();
        let params = PostParams { dry_run: true, ..post_params() };
        let request = requests(place.collection, &place.namespace).create(&params, bytes);
        self.call("create", place, request).await.map(drop)
    }

    /// Deletes an object if it is still the one that was read; gone already is as good.
    pub async fn delete(&self, object: &Object) -> Result<(), Problem> {
        let place = &object.place;
        let uid = object.text("/metadata/uid");
        let params = DeleteParams {
            preconditions: (!uid.is_empty())
                .then(|| kube::core::params::Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::background()
        };
        let request = requests(place.collection, &place.namespace).delete(&place.name, &params);
        match self.call("delete", place, request).await {
            Ok(_) | Err(Refusal::Absent { .. }) => Ok(()),
            Err(refusal) => Err(explain(refusal, place)),
        }
    }

    async fn call(
        &self,
        verb: &str,
        place: &Place,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Refusal> {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                return Err(other(Problem::on(place, format!("no request can be made: {error}"), "a valid name")));
            }
        };
        let mut pause = Duration::from_millis(250);
        // Measured, not added up: a server that hangs costs a call's whole deadline each time.
        let began = Instant::now();
        loop {
            let answer = tokio::time::timeout(CALL_DEADLINE, self.client.request::<Value>(request.clone())).await;
            let trouble = match answer {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(kube::Error::Api(status))) if !self.may_pass(&status) => {
                    return Err(refusal(verb, place, &status));
                }
                Ok(Err(kube::Error::Api(status))) => format!("{} ({})", status.message, status.code),
                Ok(Err(error)) => {
                    self.note_trouble();
                    error.to_string()
                }
                Err(_) => {
                    self.note_trouble();
                    format!("no answer within {} s", CALL_DEADLINE.as_secs())
                }
            };
            if began.elapsed() >= self.patience {
                let seen = format!("the API server cannot {verb} it: {}", brief(&trouble));
                return Err(other(
                    Problem::on(place, seen, format!("an answer within {} s", self.patience.as_secs()))
                        .remedy("check the API server and its admission webhooks, then run the upgrade again"),
                ));
            }
            tracing::warn!(object = %place, "could not {verb} {place}, trying again: {}", brief(&trouble));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

impl Api {
    /// 429 and 5xx pass: an overloaded or restarting server, an admission webhook whose Pod is being replaced.
    fn may_pass(&self, status: &Status) -> bool {
        let troubled = *self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        let unsettled = troubled.is_some_and(|since| since.elapsed() < UNSETTLED);
        match status.code {
            401 | 403 => unsettled,
            // It serves custom kinds only once it has read their definitions.
            404 => unsettled && kind_is_missing(status),
            code => code == 429 || code >= 500,
        }
    }

    fn note_trouble(&self) {
        *self.troubled.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

fn requests(collection: &Collection, namespace: &str) -> Request {
    Request::new(collection.path(namespace))
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn refusal(verb: &str, place: &Place, status: &Status) -> Refusal {
    let message = brief(&status.message);
    match (status.code, status.reason.as_str()) {
        (404, _) => Refusal::Absent { kind_is_missing: kind_is_missing(status) },
        (409, "AlreadyExists") => Refusal::Exists,
        (409, _) => Refusal::Conflict,
        (401, _) => other(
            Problem::on(place, format!("the API server does not know us: {message}"), "a valid service account token")
                .remedy("check that the Pod's service account exists and its token is mounted"),
        ),
        (422, _) => Refusal::Invalid(message),
        (403, _) => other(missing_right(verb, place, &message)),
        (code, _) => other(refused(place, &format!("to {verb} it: {message} ({code})"))),
    }
}

fn refused(place: &Place, what: &str) -> Problem {
    Problem::on(place, format!("the API server refuses {what}"), "it accepts")
        .remedy("read the API server's words; an admission webhook or policy may stand in the way")
}

/// The kind, not an object of it: no name is told.
fn kind_is_missing(status: &Status) -> bool {
    status.details.as_ref().is_none_or(|details| details.name.is_empty())
}

/// RBAC, quotas and admission policies all answer 403; only RBAC's answer means a missing right.
fn missing_right(verb: &str, place: &Place, message: &str) -> Problem {
    let Collection { group, plural, namespaced, .. } = place.collection;
    if !message.contains("cannot ") {
        return Problem::on(place, format!("forbidden: {message}"), format!("may {verb} it"))
            .remedy("an admission policy or a quota forbids it; ask whoever set it");
    }
    let role =
        if *namespaced { format!("a Role in namespace {}", place.namespace) } else { "a ClusterRole".to_owned() };
    let there = if *namespaced { format!(" in namespace {}", place.namespace) } else { String::new() };
    let right = format!("the right to {verb} {}{there}", place.collection.resource());
    Problem::on(place, format!("forbidden: {message}"), right).because(Cause::Forbidden).remedy(format!(
        "give the Job's service account {role} with apiGroups: [{group:?}], resources: [{plural}], verbs: [{verb}] \
         (`fleetlift edge manifest` has all that is needed)"
    ))
}

/// A refusal that nobody handled, as a problem of the object.
pub fn explain(refusal: Refusal, place: &Place) -> Problem {
    match refusal {
        Refusal::Absent { kind_is_missing: true } => Problem::on(
            place,
            format!("the API server does not serve {}/{}", place.collection.resource(), place.collection.version),
            "OpenEBS's CustomResourceDefinition of that kind",
        )
        .remedy("install the CRDs of the control plane's version, then run the upgrade again"),
        Refusal::Absent { kind_is_missing: false } => {
            let seen = if place.collection.namespaced {
                format!("it does not exist in namespace {}", place.namespace)
            } else {
                "it does not exist".to_owned()
            };
            Problem::on(place, seen, "it exists").remedy("check the name and the namespace")
        }
        Refusal::Conflict => Problem::on(place, "it changes faster than we can write", "one writer at a time")
            .remedy("look for another executor or operator that changes it"),
        Refusal::Exists => Problem::on(place, "it exists already", "it is ours to create"),
        Refusal::Invalid(words) => refused(place, &format!("what we write: {words} (422)")),
        Refusal::Other(problem) => *problem,
    }
}

fn other(problem: Problem) -> Refusal {
    Refusal::Other(Box::new(problem))
}

/// API servers and webhooks may answer with pages of text.
fn brief(text: &str) -> String {
    text.chars().take(600).collect()
}
