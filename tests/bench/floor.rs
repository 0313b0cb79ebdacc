//! The floor: a bare loop in a process of its own, with kube's client as it is usually written, and no store.
//!
//! For each cluster a client from its kubeconfig, and then: create the UpgradeTask, create the Job, wait by kube's own
//! watcher until the Job has ended, read the volume. It knows each volume's name beforehand, and nothing that it learns
//! outlives the process.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use fleetlift::domain::Clock as _;
use fleetlift::sim::{ClusterSpec, Mix};
use fleetlift::system::SystemClock;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions::is_job_completed};
use kube::{Client, Config};
use serde_json::json;
use tokio::process::Command;

use crate::Work;
use crate::edges::{Edges, TARGET};
use crate::figures::{Known, Run};
use crate::process::Process;

const NAMESPACE: &str = "openebs";

/// Starts the loop as a process of its own and watches it from here.
pub async fn measure(edges: &Edges, work: Work) -> anyhow::Result<Run> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--floor").arg(edges.kubeconfigs()).args(["--running", &work.running.to_string()]);
    let mut process = Process::start(&mut command)?;
    ensure!(process.line().await? == "ready", "the bare loop is not ready");
    let before = process.usage_and_forget_peak()?;
    let began = Instant::now();
    process.say("go").await?;
    ensure!(process.line().await? == "done", "the bare loop is not done");
    let (wall, after) = (began.elapsed(), process.usage()?);
    process.say("tell").await?;
    let ended: Vec<(String, i64)> = serde_json::from_str(&process.line().await?)?;
    let freed_us = ended.iter().map(|(_, at)| *at).collect();
    Ok(Run { wall, before, after, freed_us, known: Known::ByCluster(ended.into_iter().collect()), counted: None })
}

/// The loop itself.
pub async fn run(kubeconfigs: &Path, running: usize) -> anyhow::Result<()> {
    let mut clusters = Vec::new();
    for entry in std::fs::read_dir(kubeconfigs)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).context("a file without a name")?.to_owned();
        clusters.push((name, std::fs::read_to_string(&path)?));
    }
    let mut words = std::io::stdin().lines();
    println!("ready");
    ensure!(words.next().transpose()?.as_deref() == Some("go"), "not told to go");
    let upgrades = futures::stream::iter(clusters).map(|(name, kubeconfig)| tokio::spawn(upgrade(name, kubeconfig)));
    let ended: Vec<(String, i64)> = upgrades.buffer_unordered(running).map(|joined| joined?).try_collect().await?;
    println!("done");
    ensure!(words.next().transpose()?.as_deref() == Some("tell"), "not asked for the times");
    println!("{}", serde_json::to_string(&ended)?);
    Ok(())
}

/// One cluster, from its kubeconfig to the last read's time.
async fn upgrade(name: String, kubeconfig: String) -> anyhow::Result<(String, i64)> {
    let number: usize = name.rsplit('-').next().unwrap_or_default().parse()?;
    let spec = ClusterSpec::generated(number, Mix::OneVolume, 1);
    let volume = &spec.contents.items.first().context("a cluster without a volume")?.name;

    #[expect(clippy::disallowed_methods, reason = "the kubeconfig is the simulator's")]
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&kubeconfig)?, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let task_name = format!("upgrade-jiva-volume-{volume}");
    let labels = json!({"upgrade": task_name});
    let task = json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
        "metadata": {"name": task_name, "labels": labels},
        "spec": {"fromVersion": "3.5.0", "toVersion": TARGET, "jivaVolume": {"pvName": volume}}});
    let selector = format!("upgrade={task_name}");
    let job = json!({"metadata": {"name": task_name, "labels": labels}, "spec": {"backoffLimit": 0, "template": {"spec": {
        "serviceAccountName": "jiva-operator", "restartPolicy": "Never", "containers": [{
            "name": "upgrade", "image": format!("openebs/upgrade:{TARGET}"), "args": ["resource", "--v=4"],
            "env": [{"name": "UPGRADE_TASK_LABEL", "value": selector}]}]}}}});

    let tasks = of_kind(&client, "v1alpha1", "UpgradeTask", "upgradetasks");
    tasks.create(&PostParams::default(), &serde_json::from_value(task)?).await?;
    let jobs: Api<Job> = Api::namespaced(client.clone(), NAMESPACE);
    jobs.create(&PostParams::default(), &serde_json::from_value(job)?).await?;
    await_condition(jobs, &task_name, is_job_completed()).await?;
    let volume = of_kind(&client, "v1", "JivaVolume", "jivavolumes").get(volume).await?;
    ensure!(volume.data["versionDetails"]["status"]["current"] == TARGET, "{name} was not upgraded");
    Ok((name, SystemClock.now().as_micros()))
}

fn of_kind(client: &Client, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("openebs.io", version, kind), plural);
    Api::namespaced_with(client.clone(), NAMESPACE, &resource)
}
