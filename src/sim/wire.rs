//! Requests: who asks for what, whether they may, and what becomes of it.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::cluster::Cluster;
use super::discovery;
use super::object::{Key, Object, text};
use super::patch::{self, PatchKind};
use super::path::{Path, Target};
use super::problem::Problem;
use super::query::{self, Query};
use super::resources::Resource;
use super::rights::{self, Caller, Wish};
use super::shape::Shape;
use super::store::{Deleted, Deletion, Part, Propagation};
use super::watch::Watch;

/// As etcd has it: what is larger is no object.
const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// One request, with its body.
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What was done, for the log.
#[derive(Default)]
pub(super) struct Done {
    /// The object's name.
    pub name: String,
    /// The object afterwards, where there is one.
    pub object: Option<Arc<Object>>,
}

impl Call {
    /// Reads a request to its end; the error is the answer to one that is too large or breaks off.
    pub async fn read(request: Request<Incoming>) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Problem::TooLarge)?;
        Ok(Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.to_bytes().to_vec(),
        })
    }

    /// Whether it would change something. Reviews are questions, although they are posted.
    pub fn changes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS) && !self.path.contains("reviews")
    }

    fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::BadRequest(format!(
                "the object provided is unrecognized (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }

    fn json_or_none(&self) -> Result<Value, Problem> {
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }
}

/// Answers a request.
pub(super) fn answer(cluster: &Arc<Cluster>, call: &Call, done: &mut Done) -> Response<Body> {
    answered(cluster, call, done).unwrap_or_else(|problem| answer::refusal(&problem))
}

fn answered(cluster: &Arc<Cluster>, call: &Call, done: &mut Done) -> Result<Response<Body>, Problem> {
    let token = call.header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default().trim();
    let caller = cluster.caller(token).ok_or(Problem::Unauthorized)?;
    let read_only = call.method == Method::GET;
    match Path::of(&call.path) {
        Path::Health => Ok(answer::text(200, "ok")),
        Path::Version if read_only => Ok(answer::json(200, &discovery::version(&cluster.spec.kubernetes))),
        Path::Core if read_only => Ok(answer::json(200, &discovery::core())),
        Path::Groups if read_only => Ok(answer::json(200, &cluster.with(true, |store, _| discovery::groups(store)))),
        Path::Group(group) if read_only => told(cluster.with(true, |store, _| discovery::group(store, group))),
        Path::Kinds(group, version) if read_only => {
            told(cluster.with(true, |store, _| discovery::kinds(store, group, version)))
        }
        Path::Review(kind) if call.method == Method::POST => review(cluster, caller, kind, call),
        Path::Objects(target) => {
            let served = cluster.with(true, |store, _| discovery::is_served(store, target.resource));
            if !served {
                return Err(Problem::NoSuchPath);
            }
            objects(cluster, caller, &target, call, done)
        }
        Path::Unknown => Err(Problem::NoSuchPath),
        _ => Err(Problem::NotAllowed),
    }
}

fn told(found: Option<Value>) -> Result<Response<Body>, Problem> {
    found.map(|found| answer::json(200, &found)).ok_or(Problem::NoSuchPath)
}

fn review(cluster: &Arc<Cluster>, caller: Caller, kind: &str, call: &Call) -> Result<Response<Body>, Problem> {
    let mut review = call.json()?;
    review["status"] = match kind {
        "selfsubjectaccessreviews" => {
            let wish = rights::asked(&review);
            let allowed = may(cluster, caller, &wish);
            json!({"allowed": allowed, "reason": if allowed { "RBAC: allowed" } else { "" }})
        }
        "selfsubjectrulesreviews" => {
            let rules = rights::rules(caller, cluster.openebs(), text(&review["spec"], "namespace"));
            json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false})
        }
        "selfsubjectreviews" => json!({"userInfo": {"username": caller.user(), "groups": ["system:authenticated"]}}),
        _ => return Err(Problem::NoSuchPath),
    };
    Ok(answer::json(201, &review))
}

/// By the rights, less those that the cluster's plan denies.
fn may(cluster: &Cluster, caller: Caller, wish: &Wish<'_>) -> bool {
    let behaviour = cluster.behaviour();
    let denied = caller == Caller::Hub
        && behaviour.denied.iter().any(|denied| {
            let (verb, what) = denied.split_once(' ').unwrap_or(("*", denied));
            let resource = if wish.group.is_empty() {
                wish.resource.to_owned()
            } else {
                format!("{}.{}", wish.resource, wish.group)
            };
            (verb == "*" || verb == wish.verb) && what == resource
        });
    !denied && rights::allowed(caller, cluster.openebs(), wish)
}

fn objects(
    cluster: &Arc<Cluster>,
    caller: Caller,
    target: &Target<'_>,
    call: &Call,
    done: &mut Done,
) -> Result<Response<Body>, Problem> {
    let query = Query::read(&call.query, target.resource)?;
    let row = target.resource.row();
    let watches = query.watch && target.name.is_empty();
    let verb = match (&call.method, target.name.is_empty()) {
        (&Method::GET, true) if watches => "watch",
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, false) => "delete",
        (&Method::DELETE, true) => "deletecollection",
        _ => return Err(Problem::NotAllowed),
    };
    let wish = Wish {
        verb,
        group: row.group,
        resource: row.plural,
        subresource: target.part,
        namespace: target.namespace,
        name: target.name,
    };
    if !may(cluster, caller, &wish) {
        return Err(rights::forbidden(caller, target.resource, &wish));
    }
    target.name.clone_into(&mut done.name);
    let shape = Shape::of(call.header(ACCEPT));
    let namespace = (row.namespaced && !target.namespace.is_empty()).then_some(target.namespace);
    let key = Key::new(target.resource, target.namespace, target.name);
    match (verb, target.part) {
        ("watch", "") => {
            let watch = Watch::new(Arc::clone(cluster), target.resource, namespace, query, shape)?;
            Ok(answer::stream(watch.lines()))
        }
        ("list", "") => list(cluster, target.resource, namespace, &query, shape),
        ("get", "" | "status") => {
            let object = cluster.with(true, |store, _| store.find(&key).cloned())?;
            Ok(shown(200, shape, &object))
        }
        ("get", "log") if target.resource == Resource::Pods => log(cluster, &key, &query),
        ("create", "") if row.namespaced && target.namespace.is_empty() => Err(Problem::NotAllowed),
        ("create", "") if target.name.is_empty() => create(cluster, target, call, shape, done),
        ("create", "token") if target.resource == Resource::ServiceAccounts => make_token(cluster, &key),
        ("create", "binding") if target.resource == Resource::Pods => bind(cluster, &key, call, done),
        ("update", part) => {
            let part = part_of(&key, part)?;
            let new = call.json()?;
            check_identity(&key, &new)?;
            let object = cluster.with(true, |store, _| {
                let old = store.find(&key)?;
                let meant = text(&new["metadata"], "uid");
                if !meant.is_empty() && meant != &*old.uid {
                    let why = format!(
                        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
                         Precondition failed: UID in precondition: {meant}, UID in object meta: {}",
                        key.path_in_etcd(),
                        old.uid
                    );
                    return Err(Problem::Conflict(key.resource, key.name.to_string(), why));
                }
                store.replace(&key, part, new)
            })?;
            done.object = Some(Arc::clone(&object));
            Ok(shown(200, shape, &object))
        }
        ("patch", part) => patch(cluster, target, part, call, shape, done),
        ("delete", "") => delete(cluster, &key, &query, call, shape, done),
        ("deletecollection", "") => delete_all(cluster, target.resource, namespace, &query, call),
        _ => Err(Problem::NoSuchPath),
    }
}

fn part_of(key: &Key, part: &str) -> Result<Part, Problem> {
    match part {
        "" => Ok(Part::Main),
        "status" if key.resource.row().status => Ok(Part::Status),
        // A custom resource whose definition has no status subresource.
        "status" if key.resource.row().custom => Err(Problem::NotFound(key.resource, key.name.to_string())),
        _ => Err(Problem::NoSuchPath),
    }
}

fn shown(code: u16, shape: Shape, object: &Object) -> Response<Body> {
    let mut body = Vec::new();
    shape.write_one(&mut body, object);
    answer::bytes(code, body)
}

fn list(
    cluster: &Arc<Cluster>,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    shape: Shape,
) -> Result<Response<Body>, Problem> {
    cluster.with(true, |store, _| {
        let after = query.page.as_ref().map(|(_, namespace, name)| Key::new(resource, namespace, name));
        let version = match &query.page {
            Some((version, ..)) if store.since(*version).is_none() => {
                let gone = "The provided continue parameter is too old to display a consistent list result.";
                return Err(Problem::Expired(gone.to_owned()));
            }
            Some((version, ..)) => *version,
            None => store.version(),
        };
        // Pages that follow show what was there with the first.
        let then = query.page.as_ref().and_then(|_| store.list_at(version, resource, namespace)).unwrap_or_default();
        let all: Box<dyn Iterator<Item = &Arc<Object>>> = match &after {
            Some(after) => Box::new(then.iter().filter(move |object| object.key > *after)),
            None => Box::new(store.list(resource, namespace, None)),
        };
        let mut fitting = all.filter(|object| query.matches(object));
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let page: Vec<&Arc<Object>> = fitting.by_ref().take(limit).collect();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if resource.row().custom && shape == Shape::Whole {
            metadata["continue"] = json!("");
        }
        let left = fitting.count();
        if let Some(last) = page.last().filter(|_| left > 0) {
            metadata["continue"] = json!(query::token(version, &last.key));
            if !query.selects() {
                metadata["remainingItemCount"] = json!(left);
            }
        }
        Ok(answer::bytes(200, shape.list(resource, page.iter().map(|object| &***object), &metadata)))
    })
}

fn create(
    cluster: &Arc<Cluster>,
    target: &Target<'_>,
    call: &Call,
    shape: Shape,
    done: &mut Done,
) -> Result<Response<Body>, Problem> {
    let new = call.json()?;
    let inside = text(&new["metadata"], "namespace");
    if !inside.is_empty() && target.resource.row().namespaced && inside != target.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Problem::BadRequest(why.to_owned()));
    }
    text(&new["metadata"], "name").clone_into(&mut done.name);
    let object = cluster.with(true, |store, now| store.create(target.resource, target.namespace, new, now))?;
    done.object = Some(Arc::clone(&object));
    Ok(shown(201, shape, &object))
}

fn check_identity(key: &Key, new: &Value) -> Result<(), Problem> {
    let name = text(&new["metadata"], "name");
    if !name.is_empty() && name != &*key.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", key.name);
        return Err(Problem::BadRequest(why));
    }
    Ok(())
}

fn patch(
    cluster: &Arc<Cluster>,
    target: &Target<'_>,
    part: &str,
    call: &Call,
    shape: Shape,
    done: &mut Done,
) -> Result<Response<Body>, Problem> {
    let key = Key::new(target.resource, target.namespace, target.name);
    let part = part_of(&key, part)?;
    let content_type = call.header(CONTENT_TYPE);
    let kind = PatchKind::of(content_type).ok_or_else(|| Problem::UnsupportedType(content_type.to_owned()))?;
    if kind == PatchKind::Strategic && target.resource.row().custom {
        return Err(Problem::UnsupportedType(content_type.to_owned()));
    }
    let body = call.json()?;
    let (code, object) = cluster.with(true, |store, now| {
        let Some(old) = store.get(&key).cloned() else {
            if kind == PatchKind::Apply && part == Part::Main {
                let made = store.create(target.resource, target.namespace, body.clone(), now)?;
                return Ok((201, made));
            }
            return Err(Problem::NotFound(key.resource, key.name.to_string()));
        };
        let mut new = old.value();
        // Without this a patch would seem to mean the version that it found.
        new["metadata"]["resourceVersion"] = Value::from("");
        patch::apply(kind, &mut new, &body).map_err(|why| Problem::Invalid(key.resource, key.name.to_string(), why))?;
        check_identity(&key, &new)?;
        let meant = text(&new["metadata"], "uid");
        if meant != &*old.uid {
            let why = format!("metadata.uid: Invalid value: {meant:?}: field is immutable");
            return Err(Problem::Invalid(key.resource, key.name.to_string(), why));
        }
        Ok((200, store.replace(&key, part, new)?))
    })?;
    done.object = Some(Arc::clone(&object));
    Ok(shown(code, shape, &object))
}

fn deletion(query: &Query, call: &Call) -> Result<Deletion, Problem> {
    let options = call.json_or_none()?;
    let word = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let preconditions = &options["preconditions"];
    let propagation = word(&options, "propagationPolicy").unwrap_or_else(|| query.word("propagationPolicy").to_owned());
    let propagation = match propagation.as_str() {
        "Foreground" => Some(Propagation::Foreground),
        "Background" => Some(Propagation::Background),
        "Orphan" => Some(Propagation::Orphan),
        _ => None,
    };
    let grace = options["gracePeriodSeconds"].as_i64().or_else(|| query.word("gracePeriodSeconds").parse().ok());
    Ok(Deletion {
        uid: word(preconditions, "uid"),
        version: word(preconditions, "resourceVersion"),
        propagation,
        grace,
    })
}

fn delete(
    cluster: &Arc<Cluster>,
    key: &Key,
    query: &Query,
    call: &Call,
    shape: Shape,
    done: &mut Done,
) -> Result<Response<Body>, Problem> {
    let deletion = deletion(query, call)?;
    let deleted = cluster.with(true, |store, now| store.delete(key, &deletion, now))?;
    match deleted {
        Deleted::Gone(object) => {
            done.object = Some(Arc::clone(&object));
            // Pods and a few others are answered with themselves, everything else with a Status.
            if matches!(key.resource, Resource::Pods | Resource::Services | Resource::ServiceAccounts) {
                return Ok(shown(200, shape, &object));
            }
            let row = key.resource.row();
            let details = json!({"name": object.name(), "group": row.group, "kind": row.plural, "uid": &*object.uid});
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": details});
            Ok(answer::json(200, &status))
        }
        Deleted::Pending(object) => {
            done.object = Some(Arc::clone(&object));
            Ok(shown(200, shape, &object))
        }
    }
}

fn delete_all(
    cluster: &Arc<Cluster>,
    resource: Resource,
    namespace: Option<&str>,
    query: &Query,
    call: &Call,
) -> Result<Response<Body>, Problem> {
    let deletion = deletion(query, call)?;
    cluster.with(true, |store, now| {
        let all = store.list(resource, namespace, None).filter(|object| query.matches(object));
        let keys: Vec<Key> = all.map(|object| object.key.clone()).collect();
        for key in keys {
            store.delete(&key, &deletion, now)?;
        }
        Ok(())
    })?;
    list(cluster, resource, namespace, query, Shape::Whole)
}

fn log(cluster: &Arc<Cluster>, key: &Key, query: &Query) -> Result<Response<Body>, Problem> {
    let pod = cluster.with(true, |store, _| store.find(key).cloned())?;
    if text(&pod.value()["status"], "phase") == "Pending" {
        let why = format!("container \"upgrade\" in pod \"{}\" is waiting to start: ContainerCreating", key.name);
        return Err(Problem::BadRequest(why));
    }
    let log = cluster.log(&pod.uid);
    let lines: Vec<&str> = log.lines().collect();
    let wanted = query.word("tailLines").parse().unwrap_or(lines.len());
    let mut tail = lines[lines.len().saturating_sub(wanted)..].join("\n");
    if !tail.is_empty() {
        tail.push('\n');
    }
    Ok(answer::text(200, &tail))
}

fn make_token(cluster: &Arc<Cluster>, key: &Key) -> Result<Response<Body>, Problem> {
    let (account, now) = cluster.with(true, |store, now| store.find(key).cloned().map(|account| (account, now)))?;
    if (&*account.key.namespace, account.name()) != (rights::ACCOUNT_NAMESPACE, rights::ACCOUNT) {
        return Err(Problem::BadRequest("the simulator makes tokens for the hub's account alone".to_owned()));
    }
    let expires = now + std::time::Duration::from_hours(1);
    let answer = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": account.name(), "namespace": &*account.key.namespace}, "spec": {"audiences": []},
        "status": {"token": cluster.make_token(), "expirationTimestamp": expires.to_string()}});
    Ok(answer::json(201, &answer))
}

fn bind(cluster: &Arc<Cluster>, key: &Key, call: &Call, done: &mut Done) -> Result<Response<Body>, Problem> {
    let binding = call.json()?;
    let node = text(&binding["target"], "name").to_owned();
    let object = cluster.with(true, |store, _| {
        let mut pod = store.find(key)?.value();
        if !text(&pod["spec"], "nodeName").is_empty() {
            let why = format!("pod {} is already assigned to node {node:?}", key.name);
            return Err(Problem::Conflict(key.resource, key.name.to_string(), why));
        }
        pod["spec"]["nodeName"] = Value::from(node.as_str());
        store.replace(key, Part::Main, pod)
    })?;
    done.object = Some(object);
    Ok(answer::json(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}
