//! A user's kubeconfig → [`EdgeAccess`], by allow-list.
//!
//! A kubeconfig can run programs, read files and send them elsewhere. So it never reaches the Kubernetes library: it is
//! read here, field by field, and what is not known to be harmless is refused by name, with all problems at once. No
//! value of the file is ever repeated in a message.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_saphyr::{Budget, Options};
use zeroize::Zeroizing;

use super::access::{Credential, EdgeAccess, ServerUrl, Trust};
use super::kubeconfig_file::{self as file, File};
use super::tls;

/// The largest kubeconfig that is read: one of a few hundred contexts fits.
pub const KUBECONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Values of the whole file (mappings, lists and scalars): some 1,000 contexts.
const NODES_MAX: usize = 20_000;
/// A kubeconfig nests five deep.
const DEPTH_MAX: usize = 16;
/// Certificates in one CA bundle.
const CA_CERTIFICATES_MAX: usize = 64;
/// A service account's token has about a thousand characters, some OIDC tokens ten times that.
const TOKEN_BYTES_MAX: usize = 32 * 1024;

/// The kubeconfig was not taken: every problem that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, for example `users[0].user.exec`; empty where it is the file as a whole.
    pub field: String,
    /// The line in the file, counted from 1; 0 where it is not known.
    pub line: u64,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kubeconfig was refused")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, line, what, remedy } = self;
        if *line > 0 {
            write!(f, "line {line}: ")?;
        }
        if !field.is_empty() {
            write!(f, "{field} ")?;
        }
        write!(f, "{what}; {remedy}")
    }
}

/// Whether a server must be proven by the kubeconfig's CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It must.
    Required,
    /// An administrator waived it for this one cluster, whose kubeconfig names no CA.
    Waived,
}

/// Reads `yaml` and takes what `context` names, or the file's current context.
pub fn read(yaml: &[u8], context: Option<&str>) -> Result<EdgeAccess, Refused> {
    read_with(yaml, context, Proof::Required)
}

/// The same, where the server's proof may have been waived.
pub fn read_with(yaml: &[u8], context: Option<&str>, proof: Proof) -> Result<EdgeAccess, Refused> {
    let file = parse(yaml)?;
    let mut problems = Problems::default();
    for problem in &file.problems {
        problems.refuse_field(problem);
    }
    let Some(context) = choose(&file, context, &mut problems) else { return Err(problems.into_refused()) };
    let namespace = context.namespace.as_ref().map(|namespace| namespace.value.clone());
    let server = find(&file.clusters, context.cluster.as_ref(), "clusters", &mut problems);
    let user = find(&file.users, context.user.as_ref(), "users", &mut problems);
    for problem in &context.problems {
        problems.refuse_field(problem);
    }
    let server = server.and_then(|cluster| read_cluster(cluster, proof, &mut problems));
    let credential = user.and_then(|user| read_user(user, &mut problems));
    let (Some((server, trust, tls_server_name)), Some(credential)) = (server, credential) else {
        return Err(problems.into_refused());
    };
    if !problems.0.is_empty() {
        return Err(problems.into_refused());
    }
    Ok(EdgeAccess { server, trust, tls_server_name, credential, namespace, context: context.name.clone() })
}

fn parse(yaml: &[u8]) -> Result<File, Refused> {
    let whole = |what: String, line: u64, remedy: &'static str| Refused {
        problems: vec![Problem { field: String::new(), line, what, remedy }],
    };
    if yaml.len() > KUBECONFIG_BYTES_MAX {
        return Err(whole(
            format!("the file is larger than {} KiB", KUBECONFIG_BYTES_MAX / 1024),
            0,
            "extract the one context: kubectl config view --minify --flatten --raw",
        ));
    }
    let Ok(text) = std::str::from_utf8(yaml) else {
        return Err(whole("the file is not UTF-8 text".into(), 0, "give a kubeconfig in YAML or JSON"));
    };
    let mut budget = Budget::default();
    budget.max_nodes = NODES_MAX;
    budget.max_events = NODES_MAX * 3;
    budget.max_depth = DEPTH_MAX;
    budget.flow_nesting_limit = DEPTH_MAX;
    // The second one is refused by name, not as a budget.
    budget.max_documents = 2;
    // kubectl writes neither anchors nor merge keys; they only make small files large.
    budget.max_anchors = 0;
    budget.max_aliases = 0;
    budget.max_merge_keys = 0;
    budget.max_inclusion_depth = 0;
    budget.max_total_scalar_bytes = KUBECONFIG_BYTES_MAX;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    serde_saphyr::from_str_with_options::<File>(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let (what, remedy) = file::syntax_problem(&error);
        whole(what.into(), line, remedy)
    })
}

fn choose<'a>(file: &'a File, wanted: Option<&str>, problems: &mut Problems) -> Option<&'a file::Context> {
    let current = file.current_context.as_ref().map(|name| name.value.as_str()).filter(|name| !name.is_empty());
    let Some(name) = wanted.or(current) else {
        // One context needs no choice; kubectl would ask for current-context all the same.
        if let [only] = file.contexts.as_slice() {
            return Some(only);
        }
        problems.add("current-context", 0, "is not set", "name one of the file's contexts with --context");
        return None;
    };
    let mut named = file.contexts.iter().filter(|context| context.name == name);
    let Some(context) = named.next() else {
        problems.add("contexts", 0, "has no context of the chosen name", "see kubectl config get-contexts");
        return None;
    };
    if named.next().is_some() {
        problems.add("contexts", context.place.line, "has two contexts of the chosen name", "remove one of them");
        return None;
    }
    Some(context)
}

fn find<'a, T: file::Named>(
    all: &'a [T],
    wanted: Option<&file::Text>,
    list: &str,
    problems: &mut Problems,
) -> Option<&'a T> {
    let Some(wanted) = wanted else {
        problems.add(list, 0, "is not referred to by the context", "complete the context");
        return None;
    };
    let mut named = all.iter().filter(|entry| entry.name() == wanted.value);
    let found = named.next();
    if found.is_none() {
        problems.add(list, wanted.line, "has no entry of the name that the context refers to", "complete the file");
    }
    if named.next().is_some() {
        problems.add(list, wanted.line, "has two entries of the name that the context refers to", "remove one of them");
        return None;
    }
    found
}

fn read_cluster(
    cluster: &file::Cluster,
    proof: Proof,
    problems: &mut Problems,
) -> Option<(ServerUrl, Trust, Option<String>)> {
    let at = |field: &str| format!("{}.cluster.{field}", cluster.place.path);
    let count_before = problems.0.len();
    for problem in &cluster.problems {
        problems.refuse_field(problem);
    }
    if let (Some(line), Proof::Required) = (cluster.insecure_on_line, proof) {
        problems.add(
            &at("insecure-skip-tls-verify"),
            line,
            "would trust any server",
            "remove it and give certificate-authority-data (`--insecure-skip-tls-verify` registers it all the same)",
        );
    }
    let server = match &cluster.server {
        None => {
            problems.add(&at("server"), cluster.place.line, "is missing", "name the API server: https://HOST:PORT");
            None
        }
        Some(server) => server
            .value
            .parse::<ServerUrl>()
            .map_err(|why| why.to_string())
            .and_then(|url| match rustls::pki_types::ServerName::try_from(url.host()) {
                Ok(_) => Ok(url),
                Err(_) => Err("its host is neither a DNS name nor an address".to_owned()),
            })
            .map_err(|why| problems.add(&at("server"), server.line, &why, "give https://HOST[:PORT][/PATH]"))
            .ok(),
    };
    let trust = match &cluster.certificate_authority_data {
        None if proof == Proof::Waived => Some(Trust::Waived),
        Some(data) if proof == Proof::Waived => {
            problems.add(
                &at("certificate-authority-data"),
                data.line,
                "proves the server, so there is nothing to waive",
                "register the cluster without --insecure-skip-tls-verify, or remove the CA",
            );
            None
        }
        None => {
            if !cluster.problems.iter().any(|problem| problem.field.ends_with("certificate-authority")) {
                problems.add(
                    &at("certificate-authority-data"),
                    cluster.place.line,
                    "is missing",
                    "add the CA that signed the server's certificate (the system's own CAs are never trusted)",
                );
            }
            None
        }
        Some(data) => read_ca(&data.value)
            .map(Trust::Ca)
            .map_err(|what| {
                problems.add(
                    &at("certificate-authority-data"),
                    data.line,
                    &what,
                    "give the base64 of PEM certificates, as kubectl config view --flatten --raw does",
                );
            })
            .ok(),
    };
    let tls_server_name = cluster.tls_server_name.as_ref().filter(|name| !name.value.is_empty());
    if let Some(name) = tls_server_name
        && rustls::pki_types::ServerName::try_from(name.value.as_str()).is_err()
    {
        problems.add(&at("tls-server-name"), name.line, "is neither a DNS name nor an address", "correct or remove it");
    }
    if problems.0.len() > count_before {
        return None;
    }
    Some((server?, trust?, tls_server_name.map(|name| name.value.clone())))
}

/// Certificates only, encoded anew: whatever else was in the bundle is not kept.
fn read_ca(base64: &str) -> Result<String, String> {
    let pem = decode(base64).ok_or("is not base64")?;
    let certificates = tls::certificates(&pem).map_err(|why| why.to_string())?;
    if certificates.len() > CA_CERTIFICATES_MAX {
        return Err(format!("holds more than {CA_CERTIFICATES_MAX} certificates"));
    }
    let normalized: String = certificates.iter().map(|certificate| certificate_pem(certificate)).collect();
    tls::roots(normalized.as_bytes()).map_err(|why| why.to_string())?;
    Ok(normalized)
}

/// One certificate as PEM.
pub(super) fn certificate_pem(der: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn read_user(user: &file::User, problems: &mut Problems) -> Option<Credential> {
    let at = |field: &str| format!("{}.user.{field}", user.place.path);
    let count_before = problems.0.len();
    for problem in &user.problems {
        problems.refuse_field(problem);
    }
    let certificate = user.client_certificate_data.as_ref();
    let key = user.client_key_data.as_ref();
    let credential = match (&user.token, certificate, key) {
        (Some(token), None, None) => read_token(token, &at("token"), problems),
        (None, Some(certificate), Some(key)) => {
            let (certificate_at, key_at) = (at("client-certificate-data"), at("client-key-data"));
            read_certificate(certificate, &certificate_at, key, &key_at, problems)
        }
        (Some(token), _, _) => {
            problems.add(&at("token"), token.line, "stands beside a client certificate", "keep only one of the two");
            None
        }
        (None, Some(half), None) | (None, None, Some(half)) => {
            problems.add(
                &at("client-certificate-data"),
                half.line,
                "and client-key-data belong together and one is missing",
                "give both",
            );
            None
        }
        (None, None, None) => {
            // A refused exec or tokenFile has been said; "nothing is there" beside it would only confuse.
            if user.problems.is_empty() {
                problems.add(
                    &at("token"),
                    user.place.line,
                    "is missing, and so is a client certificate",
                    "give a token or client-certificate-data with client-key-data; \
                     `fleetlift cluster add --bootstrap` makes a token from any kubeconfig that works with kubectl",
                );
            }
            None
        }
    };
    if problems.0.len() > count_before { None } else { credential }
}

fn read_token(token: &file::Secret, at: &str, problems: &mut Problems) -> Option<Credential> {
    let text = token.value.trim();
    let sound = !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !sound {
        problems.add(at, token.line, "is empty, too long, or has characters that no token has", "give a bearer token");
        return None;
    }
    Some(Credential::Token(SecretString::from(text)))
}

fn read_certificate(
    certificate: &file::Secret,
    certificate_at: &str,
    key: &file::Secret,
    key_at: &str,
    problems: &mut Problems,
) -> Option<Credential> {
    let text = |secret: &file::Secret| {
        let bytes = decode(&secret.value)?;
        std::str::from_utf8(&bytes).ok().map(SecretString::from)
    };
    let chain = text(certificate);
    if chain.is_none() {
        problems.add(certificate_at, certificate.line, "is not the base64 of PEM", "give a PEM certificate in base64");
    }
    let key_pem = text(key);
    if key_pem.is_none() {
        problems.add(key_at, key.line, "is not the base64 of PEM", "give a PEM private key in base64");
    }
    let (chain, key_pem) = (chain?, key_pem?);
    let chain_pem = secrecy::ExposeSecret::expose_secret(&chain).to_owned();
    let credential = Credential::ClientCertificate { chain_pem, key_pem };
    match tls::check_credential(&credential) {
        Ok(()) => Some(credential),
        Err(why @ tls::TlsProblem::Certificates) => {
            problems.add(certificate_at, certificate.line, &why.to_string(), "give a PEM certificate in base64");
            None
        }
        Err(why) => {
            problems.add(key_at, key.line, &why.to_string(), "give the certificate's own PEM private key in base64");
            None
        }
    }
}

/// Standard base64, line breaks allowed.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
    compact.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut bytes = Zeroizing::new(Vec::with_capacity(compact.len()));
    STANDARD.decode_vec(compact.as_slice(), &mut bytes).ok()?;
    Some(bytes)
}

/// Collects, so that a person repairs the file once.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, line: u64, what: &str, remedy: &'static str) {
        self.0.push(Problem { field: field.to_owned(), line, what: what.to_owned(), remedy });
    }

    fn refuse_field(&mut self, refused: &file::RefusedField) {
        let file::RefusedField { field, line, what, remedy } = refused;
        self.add(field, *line, what, remedy);
    }

    fn into_refused(self) -> Refused {
        Refused { problems: self.0 }
    }
}
