//! One cluster, ready to be asked: a client, the namespace of OpenEBS, and the few verbs that everything is made of.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::params::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::{EdgeAccess, Trust};
use super::account::AccountToken;
use super::address::AddressPolicy;
use super::dial::Dialer;
use super::egress::Egress;
use super::inventory::in_time;
use super::link::Link;
use super::lookup::Lookups;
use super::nouns::Noun;
use super::tls::TlsProblem;
use super::transport::{Identity, Transport, Within};
use super::{EdgeError, Limits};
use crate::domain::Clock;
use crate::metrics::Metrics;

/// Written into `metadata.managedFields` by everything that we change.
pub(super) const FIELD_MANAGER: &str = "fleetlift";
/// Objects of one page: a Pod has some 10 KiB, so that a page stays well below [`Limits::body_bytes`].
const PAGE: u32 = 250;
/// Objects of one list: more than any edge cluster has of one kind.
const LIST_MAX: usize = 20_000;

/// What all clusters share.
#[derive(Clone)]
pub struct Surroundings {
    /// Which addresses may be connected to.
    pub policy: Arc<AddressPolicy>,
    /// How names become addresses.
    pub lookups: Arc<Lookups>,
    /// What calls may take.
    pub limits: Limits,
    /// The hub's clock.
    pub clock: Arc<dyn Clock>,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// One cluster. Connects when first asked, and again whenever needed; clones share the connection.
#[derive(Clone)]
pub struct Edge {
    client: kube::Client,
    transport: Transport,
    namespace: String,
    clock: Arc<dyn Clock>,
    limits: Limits,
    own_token: Option<Arc<AccountToken>>,
    proven: bool,
}

impl Edge {
    /// Prepares the connection; nothing is sent yet. `kube_system_uid` is what was stored when the cluster was
    /// registered; `None` only while registering, when the first answer is learned.
    ///
    /// Must be called within a Tokio runtime.
    pub fn new(
        access: &EdgeAccess,
        egress: Option<Egress>,
        namespace: &str,
        kube_system_uid: Option<String>,
        around: &Surroundings,
    ) -> Result<Self, TlsProblem> {
        let Surroundings { policy, lookups, limits, clock, metrics } = around;
        let dialer = Dialer::new(access, Arc::clone(policy), Arc::clone(lookups), egress, limits.connect)?;
        let link = Link::new(dialer, *limits);
        let identity = kube_system_uid.map_or_else(|| Identity::Learned(OnceLock::new()), Identity::Expected);
        let server = access.server.clone();
        let transport = Transport::new(link, server, &access.credential, *limits, identity, Arc::clone(metrics));
        Ok(Self {
            client: kube::Client::new(transport.clone(), namespace),
            transport,
            namespace: namespace.to_owned(),
            clock: Arc::clone(clock),
            limits: *limits,
            own_token: AccountToken::of(&access.credential).map(Arc::new),
            proven: access.trust != Trust::Waived,
        })
    }

    /// The same cluster, with OpenEBS in another namespace: a rollout stays where its plan put it.
    #[must_use]
    pub fn within(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    /// What the credential says of itself, if it is a service account's token: whether it should be renewed.
    pub fn own_token(&self) -> Option<&AccountToken> {
        self.own_token.as_deref()
    }

    /// Whether the server must prove itself by a CA.
    pub fn server_is_proven(&self) -> bool {
        self.proven
    }

    /// What it may take.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// For kube's own `Api`; errors become [`EdgeError`] by `From`.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Where OpenEBS lives in this cluster.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The hub's clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Whether a connection is open at this moment.
    pub fn is_connected(&self) -> bool {
        self.transport.is_open()
    }

    /// Connects if need be, and tells the UID of namespace kube-system.
    pub async fn identify(&self) -> Result<String, EdgeError> {
        self.version().await?;
        // Every connection is verified before the first answer comes over it.
        let identity = self.transport.identity().unwrap_or_default();
        Ok(identity.to_owned())
    }

    /// The API server's version, for example `v1.34.4`.
    pub async fn version(&self) -> Result<String, EdgeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let request = Request::get("/version").body(Vec::new()).map_err(impossible)?;
        let version: Version = decode(&self.send(request, None).await?)?;
        Ok(super::text::plain(&version.git_version, 64))
    }

    /// The object of that name.
    pub async fn get<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<T, EdgeError> {
        let request = at(noun, namespace)?.get(checked(name)?, &GetParams::default()).map_err(impossible)?;
        decode_kind(&self.send(request, None).await?, noun.kind)
    }

    /// The object of that name, `None` if the API server says that it does not exist.
    pub async fn find<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, EdgeError> {
        match self.get(noun, namespace, name).await {
            Ok(found) => Ok(Some(found)),
            Err(EdgeError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects whose labels match `selector` (empty: all), page by page. `T` may be a slim struct: decoding what is
    /// not needed is what lists cost most.
    pub async fn list<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<T>, EdgeError> {
        let list_kind = format!("{}List", noun.kind);
        self.pages(noun, namespace, selector, &list_kind, kube::core::Request::list).await
    }

    /// Like [`Self::list`], but only names, labels, annotations and owners: a quarter of the cost.
    pub async fn list_metadata<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<T>, EdgeError> {
        let list_kind = "PartialObjectMetadataList";
        self.pages(noun, namespace, selector, list_kind, kube::core::Request::list_metadata).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        selector: &str,
        list_kind: &str,
        request: BuildList,
    ) -> Result<Vec<T>, EdgeError> {
        let reading = Box::pin(self.pages_in_any_time(noun, namespace, selector, list_kind, request));
        in_time(self.limits.reading, reading).await
    }

    async fn pages_in_any_time<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: Option<&str>,
        selector: &str,
        list_kind: &str,
        request: BuildList,
    ) -> Result<Vec<T>, EdgeError> {
        let mut params = ListParams::default().limit(PAGE);
        if !selector.is_empty() {
            params = params.labels(selector);
        }
        let mut all = Vec::new();
        for _ in 0..self.limits.reading_pages {
            let asked = request(&at(noun, namespace)?, &params).map_err(impossible)?;
            let page: Page<T> = decode(&self.send(asked, None).await?)?;
            if page.kind != list_kind {
                return Err(wrong_kind(list_kind));
            }
            all.extend(page.items.unwrap_or_default());
            if all.len() > LIST_MAX {
                // Bounded, whatever the server goes on to say.
                return Err(EdgeError::NotKubernetes { what: format!("a list of more than {LIST_MAX} objects") });
            }
            match page.metadata.r#continue {
                Some(token) if !token.is_empty() => params = params.continue_token(&token),
                _ => return Ok(all),
            }
        }
        // Pages may be empty: counting objects alone would never end.
        Err(EdgeError::NotKubernetes { what: format!("a list of more than {} pages", self.limits.reading_pages) })
    }

    /// Creates `object` and returns what the server made of it.
    pub(super) async fn create<T: Serialize + DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: &str,
        object: &T,
    ) -> Result<T, EdgeError> {
        let body = serde_json::to_vec(object).map_err(impossible)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = at(noun, Some(namespace))?.create(&params, body).map_err(impossible)?;
        decode_kind(&self.send(request, None).await?, noun.kind)
    }

    /// Creates a subresource of `name`: a token of a service account, for example.
    pub(super) async fn create_sub<T: Serialize, R: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: &T,
    ) -> Result<R, EdgeError> {
        let body = serde_json::to_vec(object).map_err(impossible)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = at(noun, Some(namespace))?
            .create_subresource(subresource, checked(name)?, &params, body)
            .map_err(impossible)?;
        decode(&self.send(request, None).await?)
    }

    /// Changes what `merge` (a JSON merge patch) names. With `metadata.uid` or `metadata.resourceVersion` in it, only
    /// that very object, as it was read.
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        noun: &Noun,
        namespace: &str,
        name: &str,
        merge: &serde_json::Value,
    ) -> Result<T, EdgeError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request =
            at(noun, Some(namespace))?.patch(checked(name)?, &params, &Patch::Merge(merge)).map_err(impossible)?;
        decode_kind(&self.send(request, None).await?, noun.kind)
    }

    /// Deletes that very object. Absent already is success; another UID is a conflict.
    pub(super) async fn delete(
        &self,
        noun: &Noun,
        namespace: &str,
        name: &str,
        uid: &str,
        propagation: PropagationPolicy,
    ) -> Result<(), EdgeError> {
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let request = at(noun, Some(namespace))?.delete(checked(name)?, &params).map_err(impossible)?;
        match self.send(request, None).await {
            Ok(_) | Err(EdgeError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and collects its answer.
    pub(super) async fn send(&self, request: Request<Vec<u8>>, within: Option<Duration>) -> Result<Vec<u8>, EdgeError> {
        collect(self.open(request, within).await?).await
    }

    /// Sends one request; its answer is still to be read.
    pub(super) async fn open(
        &self,
        request: Request<Vec<u8>>,
        within: Option<Duration>,
    ) -> Result<http::Response<Body>, EdgeError> {
        let mut request = request.map(Body::from);
        if let Some(within) = within {
            request.extensions_mut().insert(Within(within));
        }
        Ok(self.client.send(request).await?)
    }
}

/// One of kube's two ways to ask for a list.
type BuildList = fn(&kube::core::Request, &ListParams) -> Result<Request<Vec<u8>>, kube::core::request::Error>;

/// One page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: PageMeta,
    // A list without objects is `null` on some servers.
    items: Option<Vec<T>>,
}

#[derive(Deserialize, Default)]
struct PageMeta {
    #[serde(default)]
    r#continue: Option<String>,
}

pub(super) fn at(noun: &Noun, namespace: Option<&str>) -> Result<kube::core::Request, EdgeError> {
    Ok(kube::core::Request::new(noun.path(namespace.map(checked).transpose()?)))
}

/// Names come from clusters too: one with a slash in it would ask for something else.
pub(super) fn checked(name: &str) -> Result<&str, EdgeError> {
    const NAME_BYTES_MAX: usize = 253;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(name);
    }
    Err(EdgeError::Impossible(format!("`{}` is not a name in Kubernetes", super::text::plain(name, 80))))
}

/// The whole body of an answer; the transport bounds its length and time.
pub(super) async fn collect(answer: http::Response<Body>) -> Result<Vec<u8>, EdgeError> {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, EdgeError> {
    // serde_json's own words repeat parts of the answer; where it went wrong is enough.
    serde_json::from_slice(body).map_err(|error| EdgeError::NotKubernetes {
        what: format!("an answer that is not what was asked for (line {}, column {})", error.line(), error.column()),
    })
}

fn decode_kind<T: DeserializeOwned>(body: &[u8], kind: &str) -> Result<T, EdgeError> {
    #[derive(Deserialize)]
    struct KindOnly {
        #[serde(default)]
        kind: String,
    }
    let found: KindOnly = decode(body)?;
    if found.kind == kind { decode(body) } else { Err(wrong_kind(kind)) }
}

fn wrong_kind(wanted: &str) -> EdgeError {
    EdgeError::NotKubernetes { what: format!("another kind of object than the {wanted} that was asked for") }
}

pub(super) fn impossible(error: impl std::fmt::Display) -> EdgeError {
    EdgeError::Impossible(error.to_string())
}
