//! What becomes of a credential that somebody had a hand in, and how its uses are counted.

use secrecy::SecretString;
use sqlx::Connection as _;

use super::*;
use crate::cluster::{AddressPolicy, Credential, Limits, Trust};
use crate::domain::cluster::{Reach, SealedCredential};
use crate::domain::{Clock, HubId};
use crate::metrics::Metrics;
use crate::seal::{Keyring, SealingKey};
use crate::store::{NewCluster, Options};
use crate::system::{SystemClock, SystemEntropy};

fn access() -> EdgeAccess {
    let certified = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    EdgeAccess {
        server: "https://10.0.0.1:6443".parse().unwrap(),
        trust: Trust::Ca(certified.cert.pem()),
        tls_server_name: None,
        credential: Credential::Token(SecretString::from("canary")),
        namespace: None,
        context: String::new(),
    }
}

const HUB: &str = "0190b3f0-0000-7000-8000-000000000001";

/// A store with one cluster whose credential was sealed twice, and whatever somebody else does to its rows.
struct Place {
    folder: tempfile::TempDir,
    connections: Connections,
    cluster: Cluster,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SealingKey::generate(&SystemEntropy);
        let connections = Self::connections(&folder, key).await;
        let now = connections.around.clock.now();
        let access = access();
        let cluster = Cluster {
            id: ClusterId::new(now, &SystemEntropy),
            name: "berlin".into(),
            labels: BTreeMap::new(),
            time_zone: None,
            namespace: "openebs".into(),
            egress: None,
            server: access.server.as_str().into(),
            tls_verified: true,
            identity: None,
            credential_expires_at: None,
            state: ClusterState::Active,
            reach: Reach::default(),
            registered_at: now,
            version: 1,
        };
        let place = Self { folder, connections, cluster };
        let (credential, event) = place.seal(1, &access, EventType::ClusterRegistered);
        let new = NewCluster { cluster: place.cluster.clone(), credential, events: vec![event] };
        place.connections.store.register_clusters(vec![new]).await.unwrap().remove(0).unwrap();
        place.edit("create table kept as select * from credentials").await;
        let (credential, event) = place.seal(2, &access, EventType::CredentialRotated);
        let store = &place.connections.store;
        let cluster = store.replace_credential(&place.cluster, credential, vec![event]).await.unwrap();
        Self { cluster, ..place }
    }

    async fn connections(folder: &tempfile::TempDir, key: SealingKey) -> Connections {
        let store = crate::store::open(&Self::database(folder), Options::default()).await.unwrap();
        let vault = Vault::new(Keyring::new(key, None), HUB.parse::<HubId>().unwrap());
        let around = Surroundings {
            policy: Arc::new(AddressPolicy::default()),
            lookups: Arc::default(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new()),
        };
        Connections::new(store, vault, around, BTreeMap::new())
    }

    fn database(folder: &tempfile::TempDir) -> String {
        folder.path().join("hub.db").display().to_string()
    }

    fn seal(&self, version: i64, access: &EdgeAccess, kind: EventType) -> (SealedCredential, Event) {
        let id = self.cluster.id;
        let (sealed, sealing) = self.connections.vault.seal(id, version, access, &SystemEntropy).unwrap();
        let about = Subject { cluster: Some(id), ..Subject::default() };
        (sealed, sealing.told_by(Event::new(self.cluster.registered_at, kind, Actor::engine(), about)))
    }

    /// What somebody with the database in hand does.
    async fn edit(&self, statement: &'static str) {
        let mut database =
            sqlx::SqliteConnection::connect(&format!("sqlite:{}", Self::database(&self.folder))).await.unwrap();
        sqlx::query(statement).execute(&mut database).await.unwrap();
    }

    /// How the cluster stands after somebody wanted to connect to it, and what was said.
    async fn connect(&self) -> (Option<String>, ClusterState) {
        let store = &self.connections.store;
        let there = store.cluster(self.cluster.id).await.unwrap();
        let refused = self.connections.to(&there, Purpose::Inventory).await.err();
        (refused.map(|error| error.to_string()), store.cluster(there.id).await.unwrap().state)
    }
}

#[tokio::test]
async fn a_credential_that_was_put_back_into_its_row_is_noticed() {
    let place = Place::new().await;
    assert_eq!(place.connect().await, (None, ClusterState::Active));
    place.edit("delete from credentials").await;
    place.edit("insert into credentials select * from kept").await;
    let (refused, state) = place.connect().await;
    let refused = refused.unwrap();
    assert!(refused.contains("version 1 is stored, and the audit tells of version 2"), "{refused}");
    assert_eq!(state, ClusterState::Quarantined { why: refused });
    let events = place.connections.store.events(0, None, 10).await.unwrap();
    assert!(events.last().unwrap().body.contains("cluster.quarantined"), "{events:?}");
    // The way out gives it a version that was never used.
    assert_eq!(place.connections.store.credential(place.cluster.id).await.unwrap().next_version(), 3);
}

#[tokio::test]
async fn a_server_that_was_changed_beside_its_credential_is_noticed() {
    let place = Place::new().await;
    place.edit("update clusters set server = 'https://10.0.0.2:6443'").await;
    let (refused, state) = place.connect().await;
    assert_eq!(state, ClusterState::Quarantined { why: refused.unwrap() });
}

#[tokio::test]
async fn a_key_that_this_daemon_lacks_is_nobodys_tampering() {
    let mut place = Place::new().await;
    let key = SealingKey::generate(&SystemEntropy);
    place.connections = Place::connections(&place.folder, key).await;
    let (refused, state) = place.connect().await;
    assert!(refused.is_some_and(|why| why.contains("was not given")), "another key opens nothing");
    assert_eq!(state, ClusterState::Active);
}

/// Shows what it is set to: seconds after the epoch.
#[derive(Default)]
struct Hand(std::sync::atomic::AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(std::sync::atomic::Ordering::Relaxed) * 1_000_000)
    }
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_look_and_when_all_is_done_only_for_the_inventory() {
    let mut place = Place::new().await;
    let hand = Arc::new(Hand::default());
    place.connections.around.clock = hand.clone();
    let Place { connections, cluster, .. } = &place;
    let kept_at = |seconds| {
        hand.0.store(seconds, std::sync::atomic::Ordering::Relaxed);
        connections.let_unused_go();
        lock(&connections.kept).len()
    };
    connections.to(cluster, Purpose::Rollout).await.unwrap();
    assert_eq!((kept_at(59), kept_at(60)), (1, 0));
    connections.to(cluster, Purpose::Rollout).await.unwrap();
    connections.done_with(cluster.id);
    assert_eq!(kept_at(62), 1);
    connections.to(cluster, Purpose::Inventory).await.unwrap();
    assert_eq!(kept_at(65), 1, "it is being read");
    connections.done_with(cluster.id);
    assert_eq!(kept_at(68), 0);
}

#[test]
fn every_use_is_reported_in_the_end_whoever_else_is_used_meanwhile() {
    let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
    let (one, other) = (ClusterId::new(at(0), &SystemEntropy), ClusterId::new(at(0), &SystemEntropy));
    let mut uses = Uses::default();
    let mut note = |cluster, minutes| uses.note(cluster, Purpose::Inventory, at(minutes));
    assert_eq!((note(one, 0), note(one, 15), note(one, 30)), (Some(0), None, None));
    assert_eq!(note(other, 90), Some(0));
    assert_eq!((note(one, 91), note(one, 92)), (Some(2), None));
}
