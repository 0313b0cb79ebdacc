//! The raw shape of a kubeconfig file: which fields are read, which are refused by name, and where each stands.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::Spanned;
use zeroize::Zeroizing;

/// A whole file. Nothing in it has been judged yet, but for the names of its fields.
#[derive(Default)]
pub(super) struct File {
    pub current_context: Option<Text>,
    pub contexts: Vec<Context>,
    pub clusters: Vec<Cluster>,
    pub users: Vec<User>,
    pub problems: Vec<RefusedField>,
}

#[derive(Default)]
pub(super) struct Context {
    pub place: Place,
    pub name: String,
    pub cluster: Option<Text>,
    pub user: Option<Text>,
    pub namespace: Option<Text>,
    pub problems: Vec<RefusedField>,
}

#[derive(Default)]
pub(super) struct Cluster {
    pub place: Place,
    pub name: String,
    pub server: Option<Text>,
    pub certificate_authority_data: Option<Text>,
    /// Where `insecure-skip-tls-verify` says anything but false.
    pub insecure_on_line: Option<u64>,
    pub tls_server_name: Option<Text>,
    pub problems: Vec<RefusedField>,
}

#[derive(Default)]
pub(super) struct User {
    pub place: Place,
    pub name: String,
    pub token: Option<Secret>,
    pub client_certificate_data: Option<Secret>,
    pub client_key_data: Option<Secret>,
    pub problems: Vec<RefusedField>,
}

/// Where an entry stands: `users[0]`, and its line.
#[derive(Default)]
pub(super) struct Place {
    pub path: String,
    pub line: u64,
}

/// A value and its line.
pub(super) struct Text {
    pub value: String,
    pub line: u64,
}

/// A value that is wiped when dropped, and its line.
pub(super) struct Secret {
    pub value: Zeroizing<String>,
    pub line: u64,
}

/// A field that may not be there.
pub(super) struct RefusedField {
    pub field: String,
    pub line: u64,
    pub what: &'static str,
    pub remedy: &'static str,
}

pub(super) trait Named {
    fn name(&self) -> &str;
}

impl Named for Cluster {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for User {
    fn name(&self) -> &str {
        &self.name
    }
}

const BOOTSTRAP: &str = "use a token or certificate data; `fleetlift cluster add --bootstrap` makes a token with your own \
                         kubeconfig, on your own machine";
const FLATTEN: &str = "embed the file: kubectl config view --minify --flatten --raw";
const EGRESS: &str =
    "remove it and register the cluster with a proxy of the hub's own: --egress NAME (`edge.egress.NAME`)";
const IMPERSONATION: &str = "remove it and give a credential that has the rights itself";
const REMOVE: &str = "remove it";

/// Fields that other tools know and that are refused, with the reason: (field, what, remedy).
const REFUSED: &[(&str, &str, &str)] = &[
    ("exec", "would run a program", BOOTSTRAP),
    ("auth-provider", "would run a sign-in of its own", BOOTSTRAP),
    ("as", "impersonates somebody", IMPERSONATION),
    ("as-uid", "impersonates somebody", IMPERSONATION),
    ("as-groups", "impersonates somebody", IMPERSONATION),
    ("as-user-extra", "impersonates somebody", IMPERSONATION),
    ("proxy-url", "would choose the hub's way through the network", EGRESS),
    ("tokenFile", "is a path to a file", "put the token itself into `token`"),
    ("certificate-authority", "is a path to a file", FLATTEN),
    ("client-certificate", "is a path to a file", FLATTEN),
    ("client-key", "is a path to a file", FLATTEN),
    ("username", "is basic authentication, which Kubernetes no longer has", BOOTSTRAP),
    ("password", "is basic authentication, which Kubernetes no longer has", BOOTSTRAP),
    ("extensions", "is nothing that Fleetlift reads", REMOVE),
];

impl RefusedField {
    fn new(field: &str, line: u64) -> Self {
        let known = REFUSED.iter().find(|(name, ..)| *name == field);
        let (what, remedy) =
            known.map_or(("is not a field that is known", REMOVE), |(_, what, remedy)| (*what, *remedy));
        Self { field: quotable(field).to_owned(), line, what, remedy }
    }
}

/// A name as it may be repeated: a value at a name's place (a token, say) is not.
fn quotable(field: &str) -> &str {
    const FIELD_BYTES_MAX: usize = 40;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !field.is_empty() && field.len() <= FIELD_BYTES_MAX && field.bytes().all(plain) {
        field
    } else {
        "(unprintable)"
    }
}

/// A mapping that is read field by field.
trait Fields: Default {
    /// Reads the value of `field`, or says that there is no such field.
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error>;
    fn refuse(&mut self, refused: RefusedField);
}

enum Taken {
    Yes,
    No,
}

struct FieldsOf<T>(T);

impl<'de, T: Fields> Deserialize<'de> for FieldsOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Fields> Visitor<'de> for Reader<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
                let mut value = T::default();
                while let Some(field) = map.next_key::<String>()? {
                    if matches!(value.take(&field, &mut map)?, Taken::Yes) {
                        continue;
                    }
                    let found = map.next_value::<Spanned<Option<IgnoredAny>>>()?;
                    if found.value.is_some() {
                        value.refuse(RefusedField::new(&field, found.referenced.line()));
                    }
                }
                Ok(value)
            }
        }

        deserializer.deserialize_map(Reader(PhantomData)).map(Self)
    }
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut file = FieldsOf::<Self>::deserialize(deserializer)?.0;
        let File { current_context: _, contexts, clusters, users, problems: _ } = &mut file;
        let place = |list: &str, index: usize, place: &mut Place, problems: &mut [RefusedField]| {
            place.path = format!("{list}[{index}]");
            for problem in problems {
                problem.field = format!("{}.{}", place.path, problem.field);
            }
        };
        for (index, entry) in contexts.iter_mut().enumerate() {
            place("contexts", index, &mut entry.place, &mut entry.problems);
        }
        for (index, entry) in clusters.iter_mut().enumerate() {
            place("clusters", index, &mut entry.place, &mut entry.problems);
        }
        for (index, entry) in users.iter_mut().enumerate() {
            place("users", index, &mut entry.place, &mut entry.problems);
        }
        Ok(file)
    }
}

impl Fields for File {
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error> {
        match field {
            "apiVersion" => {
                let version = map.next_value::<Spanned<String>>()?;
                if version.value != "v1" {
                    self.refuse(RefusedField {
                        field: field.to_owned(),
                        line: version.referenced.line(),
                        what: "is not v1",
                        remedy: "give a kubeconfig of version v1",
                    });
                }
            }
            "kind" => {
                let kind = map.next_value::<Spanned<String>>()?;
                if kind.value != "Config" {
                    self.refuse(RefusedField {
                        field: field.to_owned(),
                        line: kind.referenced.line(),
                        what: "is not Config",
                        remedy: "give a kubeconfig",
                    });
                }
            }
            "current-context" => self.current_context = text(map)?,
            // kubectl's own display settings: an empty mapping in every file that it writes.
            "preferences" => drop(map.next_value::<IgnoredAny>()?),
            "contexts" => self.contexts = entries(map)?,
            "clusters" => self.clusters = entries(map)?,
            "users" => self.users = entries(map)?,
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    fn refuse(&mut self, refused: RefusedField) {
        self.problems.push(refused);
    }
}

/// One element of `contexts`, `clusters` or `users`: a name, and a mapping under the key that `T` knows.
trait Entry: Fields {
    const KEY: &'static str;
    fn set(&mut self, name: String, line: u64);
}

fn entries<'de, T: Entry, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<T>, A::Error> {
    struct Outer<T> {
        name: Option<Text>,
        inner: Option<T>,
        problems: Vec<RefusedField>,
    }

    impl<T> Default for Outer<T> {
        fn default() -> Self {
            Self { name: None, inner: None, problems: Vec::new() }
        }
    }

    impl<T: Entry> Fields for Outer<T> {
        fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error> {
            if field == "name" {
                self.name = text(map)?;
            } else if field == T::KEY {
                self.inner = map.next_value::<Option<FieldsOf<T>>>()?.map(|fields| fields.0);
            } else {
                return Ok(Taken::No);
            }
            Ok(Taken::Yes)
        }

        fn refuse(&mut self, refused: RefusedField) {
            self.problems.push(refused);
        }
    }

    let entries = map.next_value::<Option<Vec<FieldsOf<Outer<T>>>>>()?.unwrap_or_default();
    let entries = entries.into_iter().map(|FieldsOf(Outer { name, inner, problems })| {
        let mut entry = inner.unwrap_or_default();
        for problem in problems {
            entry.refuse(problem);
        }
        let (name, line) = name.map_or((String::new(), 0), |name| (name.value, name.line));
        entry.set(name, line);
        entry
    });
    Ok(entries.collect())
}

impl Fields for Context {
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error> {
        match field {
            "cluster" => self.cluster = text(map)?,
            "user" => self.user = text(map)?,
            "namespace" => self.namespace = text(map)?,
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    fn refuse(&mut self, mut refused: RefusedField) {
        refused.field = format!("context.{}", refused.field);
        self.problems.push(refused);
    }
}

impl Entry for Context {
    const KEY: &'static str = "context";

    fn set(&mut self, name: String, line: u64) {
        self.name = name;
        self.place.line = line;
    }
}

impl Fields for Cluster {
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error> {
        match field {
            "server" => self.server = text(map)?,
            "certificate-authority-data" => self.certificate_authority_data = text(map)?,
            "tls-server-name" => self.tls_server_name = text(map)?,
            // The hub never asks for compression.
            "disable-compression" => drop(map.next_value::<IgnoredAny>()?),
            "insecure-skip-tls-verify" => {
                let insecure = map.next_value::<Spanned<String>>()?;
                if insecure.value != "false" {
                    self.insecure_on_line = Some(insecure.referenced.line());
                }
            }
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    fn refuse(&mut self, mut refused: RefusedField) {
        refused.field = format!("cluster.{}", refused.field);
        self.problems.push(refused);
    }
}

impl Entry for Cluster {
    const KEY: &'static str = "cluster";

    fn set(&mut self, name: String, line: u64) {
        self.name = name;
        self.place.line = line;
    }
}

impl Fields for User {
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, map: &mut A) -> Result<Taken, A::Error> {
        match field {
            "token" => self.token = secret(map)?,
            "client-certificate-data" => self.client_certificate_data = secret(map)?,
            "client-key-data" => self.client_key_data = secret(map)?,
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    fn refuse(&mut self, mut refused: RefusedField) {
        refused.field = format!("user.{}", refused.field);
        self.problems.push(refused);
    }
}

impl Entry for User {
    const KEY: &'static str = "user";

    fn set(&mut self, name: String, line: u64) {
        self.name = name;
        self.place.line = line;
    }
}

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Text>, A::Error> {
    let found = map.next_value::<Spanned<Option<String>>>()?;
    let line = found.referenced.line();
    Ok(found.value.map(|value| Text { value, line }))
}

fn secret<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Secret>, A::Error> {
    let found = map.next_value::<Spanned<Option<String>>>()?;
    let line = found.referenced.line();
    Ok(found.value.map(|value| Secret { value: Zeroizing::new(value), line }))
}

/// What a parser's error means, in words that repeat nothing of the file: (what, remedy).
pub(super) fn syntax_problem(error: &serde_saphyr::Error) -> (&'static str, &'static str) {
    use serde_saphyr::Error;
    match error {
        Error::DuplicateMappingKey { .. } => ("a field is given twice", "remove one of the two"),
        Error::Budget { .. } => (
            "the file has too many entries, or anchors and aliases",
            "extract the one context: kubectl config view --minify --flatten --raw",
        ),
        Error::MultipleDocuments { .. } => ("there is more than one YAML document", "give one kubeconfig a file"),
        Error::Eof { .. } => ("the file ends too early", "give a whole kubeconfig"),
        _ => (
            "is not YAML, or a value does not have the shape that its field has",
            "give a kubeconfig as kubectl writes it",
        ),
    }
}
