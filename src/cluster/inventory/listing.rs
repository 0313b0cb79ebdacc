//! Reading objects, a page at a time and never without end. What the cluster does not serve is empty; what we may not
//! read is a gap that is carried along, so that nobody takes it for empty.

use kube::core::Request;
use kube::core::params::ListParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::budget::Budget;
use super::objects::Object;
use crate::cluster::edge::{checked, decode, impossible};
use crate::cluster::text::plain;
use crate::cluster::{Edge, EdgeError};
use crate::domain::fleet::check_object_name;
use crate::openebs::UpgradeTask;
use crate::openebs::kinds::ApiObject;

/// The most objects that one list may have; beyond it the rest is a gap.
const ITEMS_MAX: usize = 50_000;

/// What an API server answers quickly, and what stays far below the limit of a body.
const PAGE: u32 = 500;

/// A page of objects so large that even four of them exceed the limit of a body has no honest reason.
const PAGE_MIN: u32 = 4;

/// What was read of one kind of object.
#[derive(Debug, Clone)]
pub(super) struct Listing<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Why this may not be all, in a sentence.
    pub gap: Option<String>,
    /// Whether the cluster serves this kind at all.
    pub served: bool,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { items: Vec::new(), gap: None, served: true }
    }
}

impl<T> Listing<T> {
    /// Both together.
    pub fn extend(&mut self, other: Self) {
        self.items.extend(other.items);
        self.gap = self.gap.take().or(other.gap);
        self.served |= other.served;
    }
}

/// Reads objects of one cluster.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    edge: &'a Edge,
    budget: &'a Budget,
    around_failures: bool,
}

/// The name that an object must have to be believed.
pub(super) trait HasName {
    fn object_name(&self) -> &str;
}

impl<T: Object> HasName for T {
    fn object_name(&self) -> &str {
        &self.meta().name
    }
}

impl HasName for UpgradeTask {
    fn object_name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

impl<'a> Reader<'a> {
    pub fn new(edge: &'a Edge, budget: &'a Budget) -> Self {
        Self { edge, budget, around_failures: false }
    }

    /// Takes it for a gap where the API server fails for one kind of OpenEBS's: a broken conversion of its CRD must not
    /// hide all the rest. Where a kind of Kubernetes's own fails, everything would look empty that is only unread.
    pub fn around_failures(self) -> Self {
        Self { around_failures: true, ..self }
    }

    /// What takes the place of an answer that did not come, if anything may.
    fn gap<T>(
        &self,
        error: EdgeError,
        verb: &str,
        object: &ApiObject,
        namespace: Option<&str>,
    ) -> Result<Listing<T>, EdgeError> {
        let gap = match error {
            EdgeError::Forbidden { .. } => forbidden(verb, object, namespace),
            EdgeError::ServerError { status, .. } if self.around_failures && object.group.ends_with("openebs.io") => {
                format!("the API server fails to {verb} {} (HTTP {status})", object.qualified())
            }
            error => return Err(error),
        };
        Ok(Listing { items: Vec::new(), gap: Some(gap), served: true })
    }

    async fn ask(&self, request: http::Request<Vec<u8>>) -> Result<Vec<u8>, EdgeError> {
        let body = self.edge.send(request, None).await?;
        self.budget.spend(body.len())?;
        Ok(body)
    }

    /// All objects of a kind that the label selector matches, in the newest version that the cluster serves.
    pub async fn list<T: DeserializeOwned + HasName>(
        &self,
        object: &ApiObject,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Listing<T>, EdgeError> {
        for version in object.versions {
            match self.list_version(object, version, namespace, selector).await {
                Err(EdgeError::NoSuchApi { .. } | EdgeError::NotFound { .. }) => {}
                Err(error) => return self.gap(error, "list", object, namespace),
                answer => return answer,
            }
        }
        Ok(Listing { served: false, ..Listing::default() })
    }

    /// One object by name: a listing of one or none.
    pub async fn get<T: DeserializeOwned + HasName>(
        &self,
        object: &ApiObject,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Listing<T>, EdgeError> {
        let mut served = false;
        for version in object.versions {
            match self.get_version(object, version, namespace, name).await {
                Err(EdgeError::NoSuchApi { .. }) => {}
                Err(EdgeError::NotFound { .. }) => served = true,
                Err(error) => return self.gap(error, "get", object, namespace),
                Ok(found) => return Ok(Listing { items: vec![found], gap: None, served: true }),
            }
        }
        Ok(Listing { served, ..Listing::default() })
    }

    async fn get_version<T: DeserializeOwned>(
        &self,
        object: &ApiObject,
        version: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<T, EdgeError> {
        let request = Request::new(path(object, version, namespace)?)
            .get(checked(name)?, &kube::api::GetParams::default())
            .map_err(impossible)?;
        decode(&self.ask(request).await?)
    }

    async fn list_version<T: DeserializeOwned + HasName>(
        &self,
        object: &ApiObject,
        version: &str,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Listing<T>, EdgeError> {
        let request = Request::new(path(object, version, namespace)?);
        let mut found = Listing::default();
        let mut page = PAGE;
        let mut from = String::new();
        let mut restarted = false;
        loop {
            let params = ListParams {
                label_selector: (!selector.is_empty()).then(|| selector.to_owned()),
                limit: Some(page),
                continue_token: (!from.is_empty()).then(|| from.clone()),
                ..ListParams::default()
            };
            let asked = request.list(&params).map_err(impossible)?;
            let body = match self.ask(asked).await {
                Err(EdgeError::TooLarge { .. }) if page > PAGE_MIN => {
                    page = (page / 5).max(PAGE_MIN);
                    continue;
                }
                // The list went out of date between two pages; once more from its beginning.
                Err(EdgeError::Gone) if !restarted && !from.is_empty() => {
                    (found, from, restarted) = (Listing::default(), String::new(), true);
                    continue;
                }
                answer => answer?,
            };
            let read = parse::<T>(object, &body)?;
            found.items.extend(read.items);
            found.gap = found.gap.or(read.gap);
            if found.items.len() > ITEMS_MAX {
                found.items.truncate(ITEMS_MAX);
                found.gap = Some(format!("there are more than {ITEMS_MAX} {}", object.qualified()));
                return Ok(found);
            }
            // A server that answers with the same token for ever would keep us for ever.
            if read.next.is_empty() || read.next == from {
                return Ok(found);
            }
            from = read.next;
        }
    }
}

fn forbidden(verb: &str, object: &ApiObject, namespace: Option<&str>) -> String {
    let place = namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    format!("the right to {verb} {}{place} is missing", object.qualified())
}

/// Where a right is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Lacking<'a> {
    /// In this namespace.
    Namespace(&'a str),
    /// In the cluster as a whole.
    Cluster,
}

/// Where a right is missing, if that is what a problem of an inventory says.
pub(in crate::cluster) fn missing_right(problem: &str) -> Option<Lacking<'_>> {
    let (_, right) = problem.strip_suffix(" is missing")?.split_once("the right to ")?;
    let Some((_, namespace)) = right.split_once(" in namespace ") else { return Some(Lacking::Cluster) };
    // It becomes part of a command, and clusters name their namespaces.
    check_object_name(namespace).is_ok().then_some(Lacking::Namespace(namespace))
}

fn path(object: &ApiObject, version: &str, namespace: Option<&str>) -> Result<String, EdgeError> {
    let root = match object.group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    match namespace.filter(|_| object.namespaced) {
        Some(namespace) => Ok(format!("{root}/namespaces/{}/{}", checked(namespace)?, object.plural)),
        None => Ok(format!("{root}/{}", object.plural)),
    }
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    items: Vec<T>,
    gap: Option<String>,
    next: String,
}

#[derive(Deserialize)]
struct Raw<T> {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: RawMeta,
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// The objects of one page. One that cannot be read, or has no proper name, is a gap, not the end of all.
pub(super) fn parse<T: DeserializeOwned + HasName>(object: &ApiObject, body: &[u8]) -> Result<Page<T>, EdgeError> {
    let mut gap = None;
    let (next, items) = match serde_json::from_slice::<Raw<T>>(body) {
        Ok(raw) if raw.kind.ends_with("List") => (raw.metadata.next, raw.items.unwrap_or_default()),
        Ok(_) => return Err(not_a_list(object)),
        Err(_) => {
            let raw: Raw<serde_json::Value> = serde_json::from_slice(body).map_err(|_| not_a_list(object))?;
            if !raw.kind.ends_with("List") {
                return Err(not_a_list(object));
            }
            let mut items = Vec::new();
            for item in raw.items.unwrap_or_default() {
                match serde_json::from_value(item) {
                    Ok(item) => items.push(item),
                    Err(error) => {
                        gap = Some(format!("a {} cannot be read: {}", object.kind, plain(&error.to_string(), 200)));
                    }
                }
            }
            (raw.metadata.next, items)
        }
    };
    let (items, odd): (Vec<T>, Vec<T>) =
        items.into_iter().partition(|item| check_object_name(item.object_name()).is_ok());
    if !odd.is_empty() {
        gap = Some(format!("{} of {} have names that Kubernetes does not allow", odd.len(), object.qualified()));
    }
    Ok(Page { items, gap, next: next.unwrap_or_default() })
}

fn not_a_list(object: &ApiObject) -> EdgeError {
    EdgeError::NotKubernetes { what: format!("an answer that is no list of {}", object.qualified()) }
}

#[cfg(test)]
mod tests {
    use super::super::objects::{DEPLOYMENTS, Workload};
    use super::*;

    #[test]
    fn one_broken_object_is_a_gap_and_the_others_are_read() {
        let text = r#"{"kind":"DeploymentList","metadata":{"continue":"next"},"items":[
            {"metadata":{"name":"a"}}, {"metadata":{"name":"b","generation":"many"}}, {"metadata":{"name":"../c"}}]}"#;
        let page = parse::<Workload>(&DEPLOYMENTS, text.as_bytes()).unwrap();
        let names: Vec<&str> = page.items.iter().map(HasName::object_name).collect();
        assert_eq!(names, ["a"]);
        assert!(page.gap.is_some());
        assert_eq!(page.next, "next");
    }

    #[test]
    fn of_annotations_only_what_is_read_is_kept() {
        let text = r#"{"kind":"DeploymentList","items":[{"metadata":{"name":"a","annotations":
            {"kubectl.kubernetes.io/last-applied-configuration":"{}","pv.kubernetes.io/provisioned-by":"x"}}}]}"#;
        let page = parse::<Workload>(&DEPLOYMENTS, text.as_bytes()).unwrap();
        assert_eq!(page.items[0].metadata.annotations.keys().collect::<Vec<_>>(), ["pv.kubernetes.io/provisioned-by"]);
    }

    #[test]
    fn go_writes_null_for_none() {
        let text = r#"{"kind":"DeploymentList","metadata":{},"items":null}"#;
        assert_eq!(parse::<Workload>(&DEPLOYMENTS, text.as_bytes()).unwrap().items.len(), 0);
        let text = r#"{"kind":"DeploymentList","metadata":{},"items":[{"metadata":{"name":"a","labels":null},"status":{"conditions":null}}]}"#;
        let page = parse::<Workload>(&DEPLOYMENTS, text.as_bytes()).unwrap();
        assert_eq!((page.items.len(), page.gap), (1, None));
    }

    #[test]
    fn what_is_no_list_is_not_taken_for_an_empty_one() {
        for text in ["<html>", "{}", r#"{"kind":"Status","message":"x"}"#, "[]"] {
            assert!(parse::<Workload>(&DEPLOYMENTS, text.as_bytes()).is_err(), "{text}");
        }
    }
}
