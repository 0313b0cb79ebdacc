//! What went wrong between the hub and an edge cluster, told apart by what may be done about it.

use std::time::Duration;

use super::address::Denied;

/// An API server restarts, or finds its database again, within a minute or two.
const PASSES_WITHIN: Duration = Duration::from_mins(1);

/// One enum for every call to a cluster. Texts that a cluster chose are stripped of control characters, cut to length,
/// and free of the credential that was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The hub's own rules forbid the address; nothing was sent.
    #[error("the address of the API server is not allowed: {0}")]
    AddressDenied(#[from] Denied),
    /// No answer, because there was no connection or it broke.
    #[error("the API server cannot be reached: {phase}: {why}")]
    Unreachable {
        /// How far it came.
        phase: Phase,
        /// What the network, the proxy or TLS said.
        why: String,
    },
    /// Connected, but no complete answer within the time that a call has.
    #[error("the API server did not answer within {after:?} ({waiting_for})")]
    TimedOut {
        /// The part of the answer that was missing.
        waiting_for: WaitingFor,
        /// The limit that was reached.
        after: Duration,
    },
    /// The answer, or one line of a watch, is larger than allowed.
    #[error("the API server's answer is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit that was reached.
        bytes_max: usize,
    },
    /// It sent us elsewhere; redirects are never followed.
    #[error("the API server answered with a redirect (HTTP {status}), which is never followed")]
    Redirected {
        /// The HTTP status, 3xx.
        status: u16,
    },
    /// Something answered, but not as Kubernetes does: a login page, a captive portal, another kind of object.
    #[error("what answered is not a Kubernetes API server: {what}")]
    NotKubernetes {
        /// What was seen instead.
        what: String,
    },
    /// The UID of namespace kube-system is not the one that was stored when the cluster was registered.
    #[error("this is another cluster: its kube-system namespace is {seen}, registered was {expected}")]
    AnotherCluster {
        /// The stored UID.
        expected: String,
        /// The UID that the server showed.
        seen: String,
    },
    /// The credential is not accepted (401).
    #[error("the API server does not accept the credential (HTTP 401): it may have expired; rotate it")]
    Unauthorized,
    /// A right is missing (403).
    #[error("the credential lacks the right to {verb} {resource}: {message}")]
    Forbidden {
        /// As in an RBAC rule: `get`, `list`, `watch`, `create`, `patch`, `delete`.
        verb: &'static str,
        /// As in an RBAC rule, with its group and namespace: `jobs.batch in namespace openebs`.
        resource: String,
        /// What the API server said.
        message: String,
    },
    /// The API server itself said that the object does not exist.
    #[error("{resource} does not exist")]
    NotFound {
        /// The object asked for, for example `jobs.batch openebs/fl-x`.
        resource: String,
    },
    /// The API server does not know this kind of object: its CRD is not installed.
    #[error("the cluster has no {resource}: its CustomResourceDefinition is not installed")]
    NoSuchApi {
        /// For example `upgradetasks.openebs.io`.
        resource: String,
    },
    /// The object exists already, or is not as it was when it was read (409).
    #[error("{resource}: {message}")]
    Conflict {
        /// The object.
        resource: String,
        /// Whether an object of that name existed when it was to be created.
        exists: bool,
        /// What the API server said.
        message: String,
    },
    /// The version of a list or watch is too old (410): start it again.
    #[error("the API server no longer has that version of the list")]
    Gone,
    /// The API server wants fewer requests (429).
    #[error("the API server asks to wait {retry_after:?}")]
    Throttled {
        /// What it asked for, at least a second and at most a minute.
        retry_after: Duration,
    },
    /// The API server, or what stands before it, failed (5xx).
    #[error("the API server failed (HTTP {status}): {message}")]
    ServerError {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The API server refused the request for what it is (any other 4xx).
    #[error("the API server refused the request (HTTP {status} {reason}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Kubernetes' one-word reason.
        reason: String,
        /// What it said.
        message: String,
    },
    /// The request could not even be written; nothing was sent.
    #[error("a request that cannot be made: {0}")]
    Impossible(String),
}

/// How far a connection came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the address of the name.
    Resolving,
    /// The TCP connection.
    Connecting,
    /// The tunnel through the egress proxy.
    Tunnelling,
    /// TLS: certificates, names, versions.
    Securing,
    /// Before the request was written, or while the connection was opened as HTTP.
    Opening,
    /// After the request may have been written: whether it was carried out is unknown.
    Answering,
}

/// The part of an answer that did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// Status and headers.
    Headers,
    /// The next bytes of the body.
    MoreBody,
    /// The end of the body.
    End,
}

/// Whether the same call can succeed later without a person doing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes.
    Later,
    /// No.
    Never,
}

impl EdgeError {
    /// Whether trying again later can help.
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            // A login page or a proxy's error page tends to go away again.
            | Self::NotKubernetes { .. }
            | Self::Conflict { .. }
            | Self::Gone
            | Self::Throttled { .. }
            | Self::ServerError { .. } => Retry::Later,
            Self::AddressDenied(_)
            | Self::TooLarge { .. }
            | Self::Redirected { .. }
            | Self::AnotherCluster { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoSuchApi { .. }
            | Self::Refused { .. }
            | Self::Impossible(_) => Retry::Never,
        }
    }

    /// How soon an API server that answers, but not just now, may be asked again; `None` where only time, the network or
    /// a person can help.
    pub const fn passes_within(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after } => Some(*retry_after),
            Self::Conflict { .. } | Self::Gone | Self::ServerError { .. } => Some(PASSES_WITHIN),
            Self::AddressDenied(_)
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Redirected { .. }
            | Self::NotKubernetes { .. }
            | Self::AnotherCluster { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoSuchApi { .. }
            | Self::Refused { .. }
            | Self::Impossible(_) => None,
        }
    }

    /// Whether the cluster's own API server was seen to answer. What is not reached is unseen, never failed.
    pub const fn reached(&self) -> bool {
        !matches!(
            self,
            Self::AddressDenied(_)
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::NotKubernetes { .. }
                | Self::Redirected { .. }
                | Self::AnotherCluster { .. }
                | Self::Impossible(_)
        )
    }

    /// For writes: whether the server may have carried it out all the same. Settled by reading, never by repeating.
    pub const fn ambiguous(&self) -> bool {
        match self {
            Self::Unreachable { phase, .. } => matches!(phase, Phase::Answering),
            Self::TimedOut { .. } | Self::TooLarge { .. } | Self::NotKubernetes { .. } | Self::ServerError { .. } => {
                true
            }
            Self::AddressDenied(_)
            | Self::Redirected { .. }
            | Self::AnotherCluster { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoSuchApi { .. }
            | Self::Conflict { .. }
            | Self::Gone
            | Self::Throttled { .. }
            | Self::Refused { .. }
            | Self::Impossible(_) => false,
        }
    }

    /// One word for metrics and tables; a closed set.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AddressDenied(_) => "address_denied",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLarge { .. } => "too_large",
            Self::Redirected { .. } => "redirected",
            Self::NotKubernetes { .. } => "not_kubernetes",
            Self::AnotherCluster { .. } => "another_cluster",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::NoSuchApi { .. } => "no_such_api",
            Self::Conflict { .. } => "conflict",
            Self::Gone => "gone",
            Self::Throttled { .. } => "throttled",
            Self::ServerError { .. } => "server_error",
            Self::Refused { .. } => "refused",
            Self::Impossible(_) => "impossible",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolving => "looking up its name",
            Self::Connecting => "connecting",
            Self::Tunnelling => "going through the egress proxy",
            Self::Securing => "setting up TLS",
            Self::Opening => "opening the connection",
            Self::Answering => "the connection broke before the answer was complete",
        })
    }
}

impl std::fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Headers => "waiting for the first byte of the answer",
            Self::MoreBody => "waiting for more of the answer",
            Self::End => "waiting for the end of the answer",
        })
    }
}

/// For callers that use kube's own `Api` over our transport: the transport's verdict is inside.
impl From<kube::Error> for EdgeError {
    fn from(error: kube::Error) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(edge) = cause.downcast_ref::<Self>() {
                return edge.clone();
            }
            source = cause.source();
        }
        match error {
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::NotKubernetes { what: "an answer that is not what was asked for".to_owned() }
            }
            kube::Error::BuildRequest(error) => Self::Impossible(error.to_string()),
            _ => Self::Unreachable { phase: Phase::Answering, why: "the client gave up".to_owned() },
        }
    }
}
