//! A fleet of simulated clusters in this process: started, asked about, made to misbehave, stopped.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::behaviour::{Behaviour, Manner, Moment};
use super::cluster::{Cluster, ClusterSpec, Pace, World};
use super::contents::Mix;
use super::oracle::{Oracle, Record, What};
use super::seed::Seed;
use super::serving::Server;
use super::tls::{Keys, TlsError};
use crate::domain::Clock;

/// How often the log is handed to the operating system.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// What a fleet shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetSpec {
    /// Its clusters; names are unique.
    pub clusters: Vec<ClusterSpec>,
    /// How fast they are.
    pub pace: Pace,
}

impl FleetSpec {
    /// `count` clusters that behave, made from `seed`.
    pub fn generated(count: usize, mix: Mix, seed: u64) -> Self {
        Self {
            clusters: (0..count).map(|number| ClusterSpec::generated(number, mix, seed)).collect(),
            pace: Pace::default(),
        }
    }
}

/// Running clusters; they stop with [`Fleet::stop`], or with the runtime.
pub struct Fleet {
    servers: Vec<Arc<Server>>,
    world: Arc<World>,
}

/// How to reach one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The cluster's name.
    pub name: String,
    /// The labels that it is to be registered with.
    pub labels: std::collections::BTreeMap<String, String>,
    /// A kubeconfig of the hub's account.
    pub kubeconfig: String,
}

/// A fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Out of descriptors or ports, as a rule: trying again with fewer clusters can help.
    #[error("cluster {cluster} cannot listen on loopback")]
    Listen {
        /// Which one.
        cluster: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Keys could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Fleet {
    /// Starts every cluster of `spec` on a port of its own. What is random follows from `seed`. Must be called within a
    /// Tokio runtime.
    pub fn start(spec: FleetSpec, clock: Arc<dyn Clock>, oracle: Oracle, seed: u64) -> Result<Self, StartError> {
        let keys = Arc::new(Keys::new()?);
        let world = Arc::new(World {
            clock,
            oracle,
            pace: spec.pace,
            seed: Seed::new(seed),
            tasks: TaskTracker::new(),
            stopped: CancellationToken::new(),
        });
        let mut servers = Vec::with_capacity(spec.clusters.len());
        for cluster in spec.clusters {
            let name = cluster.name.clone();
            let at_us = world.clock.now().as_micros();
            let what = What::Cluster { labels: cluster.labels.clone() };
            world.oracle.note([Record { at_us, cluster: name.clone(), what }]);
            let cluster = Arc::new(Cluster::new(cluster, Arc::clone(&world)));
            let (server, listener) = Server::bind(cluster, Arc::clone(&keys))
                .map_err(|source| StartError::Listen { cluster: name, source })?;
            world.tasks.spawn(Arc::clone(&server).serve(listener));
            for outage in &server.cluster.spec.behaviour.outages {
                if let Moment::StartedMs(after) = outage.from {
                    begin_later(&world, &server, after, outage.manner, outage.lasting_ms);
                }
            }
            servers.push(server);
        }
        world.tasks.spawn(flush(world.oracle.clone(), world.stopped.clone()));
        Ok(Self { servers, world })
    }

    /// How to reach each cluster, with the hub's account.
    pub fn kubeconfigs(&self) -> Vec<Access> {
        let access = |server: &Arc<Server>| Access {
            name: server.cluster.spec.name.clone(),
            labels: server.cluster.spec.labels.clone(),
            kubeconfig: kubeconfig(server, &server.cluster.token),
        };
        self.servers.iter().map(access).collect()
    }

    /// A kubeconfig that may do everything in that cluster; `None` if there is none of that name.
    pub fn admin_kubeconfig(&self, cluster: &str) -> Option<String> {
        self.find(cluster).map(|server| kubeconfig(server, &server.cluster.admin_token))
    }

    /// Writes `NAME.yaml` for each cluster into `folder`, which is made.
    pub fn write_kubeconfigs(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for access in self.kubeconfigs() {
            fs::write(folder.join(format!("{}.yaml", access.name)), &access.kubeconfig)?;
        }
        Ok(())
    }

    /// Writes the clusters' labels to `file`, as `cluster import --labels` reads them.
    pub fn write_labels(&self, file: &Path) -> io::Result<()> {
        let mut keys: Vec<&String> = self.servers.iter().flat_map(|server| server.cluster.spec.labels.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut csv = String::from("name");
        for key in &keys {
            csv.push(',');
            csv.push_str(key);
        }
        csv.push('\n');
        for server in &self.servers {
            let ClusterSpec { name, labels, .. } = &server.cluster.spec;
            csv.push_str(name);
            for key in &keys {
                csv.push(',');
                csv.push_str(labels.get(*key).map_or("", String::as_str));
            }
            csv.push('\n');
        }
        fs::write(file, csv)
    }

    /// What really happened.
    pub fn oracle(&self) -> &Oracle {
        &self.world.oracle
    }

    /// That cluster behaves like this from now on, but for outages; `false` if there is none of that name.
    pub fn behave(&self, cluster: &str, behaviour: Behaviour) -> bool {
        self.find(cluster).map(|server| server.cluster.behave(behaviour)).is_some()
    }

    /// That cluster cannot be reached from now on, or can again with `None`; `false` if there is none of that name.
    pub fn set_outage(&self, cluster: &str, manner: Option<Manner>) -> bool {
        self.find(cluster).map(|server| server.set_outage(manner)).is_some()
    }

    /// Ends everything and waits until it has ended.
    pub async fn stop(self) {
        self.world.stopped.cancel();
        self.world.tasks.close();
        self.world.tasks.wait().await;
        self.world.oracle.flush();
    }

    fn find(&self, cluster: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.cluster.spec.name == cluster)
    }
}

fn begin_later(world: &Arc<World>, server: &Arc<Server>, after_ms: u64, manner: Manner, lasting_ms: u64) {
    let (server, stopped) = (Arc::clone(server), world.stopped.clone());
    world.tasks.spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(after_ms)) => {
                server.begin_outage(manner, Duration::from_millis(lasting_ms));
            }
        }
    });
}

async fn flush(oracle: Oracle, stopped: CancellationToken) {
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = tokio::time::sleep(FLUSH_EVERY) => oracle.flush(),
        }
    }
}

/// JSON, which is YAML as well.
fn kubeconfig(server: &Server, token: &str) -> String {
    let name = &server.cluster.spec.name;
    let cluster = json!({"server": format!("https://{}", server.address),
        "certificate-authority-data": STANDARD.encode(&server.authority.pem)});
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "user"}}]});
    config.to_string()
}
