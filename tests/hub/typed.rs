//! The operator's story, typed: real daemons and the commands beside them, over real API servers.

use std::process::Stdio;
use std::time::Duration;

use kube::api::ListParams;
use serde_json::json;

use crate::site::Site;
use crate::support::crew::Play;
use crate::support::hub::{BINARY, Daemon, Place};
use crate::support::openebs::upgrade_task::Told;
use crate::support::postgres::Postgres;
use crate::support::{openebs, until};

const FLEET: &str = "
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {name: retail}
spec:
  timeZone: Europe/Berlin
  groups:
    - {name: stores, selector: tier=store, target: {openebs: 3.6.0, executor: {use: openebs}}, strategy: steady}
  strategies:
    - name: steady
      waves: [{name: canary, size: 1}, {name: rest}]
      failures: {allow: 0}
      deadlines: {task: 5m}
      retries: {attempts: 2, backoff: {first: 1s, longest: 1s}}
      unreachable: {retryEvery: 2s}
";

/// Registers the site under that name, checks it, and looks at what it runs.
fn add(place: &Place, site: &Site, name: &str, kubeconfig: &str) {
    let kubeconfig = place.write(&format!("{name}.yaml"), kubeconfig);
    let add = ["cluster", "add", name, "--kubeconfig", &kubeconfig, "--namespace", &site.cluster.namespace];
    place.ok(&[&add[..], &["--label", "tier=store", "--label", &format!("site={name}")]].concat());
    let checked = place.ok(&["cluster", "check", name, "-o", "json"]).json();
    assert_ne!(checked["level"], "fail", "{checked:#}");
    place.ok(&["cluster", "resources", name, "--refresh"]);
}

/// Applies the fleet and plans for it; gives the plan's file.
fn plan(place: &Place) -> String {
    let fleet = place.write("fleet.yaml", FLEET);
    place.ok(&["fleet", "apply", &fleet]);
    let plan = place.file("plan.json").display().to_string();
    place.ok(&["plan", "--group", "stores", "--out", &plan]);
    plan
}

/// A second daemon is started by mistake on the same Postgres; the one that works is frozen for longer than its lease,
/// goes on as if nothing had happened, and is killed in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_on_one_postgres_upgrade_everything_once() {
    let everything = Site::with_everything("pvc-typed-c", "pvc-typed-j").await;
    let volumes = ["pvc-typed-0", "pvc-typed-1", "pvc-typed-2"];
    let (alone, _plane) = Site::alone(&volumes).await;
    alone.crew.plan("pvc-typed-0", &[Play::Hangs]);

    let mut first = Place::on(&Postgres::shared().database());
    first.ok(&["migrate"]);
    let mut second = Place::beside(&first);
    let mut daemons = vec![Daemon::start(&first)];
    let token = first.token().unwrap();
    first.set("FLEETLIFT_TOKEN", &token);
    second.set("FLEETLIFT_TOKEN", &token);
    add(&first, &alone, "berlin-1", &alone.cluster.hub_kubeconfig().await);
    add(&first, &everything, "rome-1", &everything.cluster.hub_kubeconfig().await);
    daemons.push(Daemon::start(&second));
    let plan = plan(&first);
    first.ok(&["rollout", "start", &plan]);
    let again = second.run(&["rollout", "start", &plan]);
    assert!(again.code != 0 && again.err.contains("of this plan exists already"), "{again:?}");
    let watch = second.program(BINARY).args(["rollout", "watch", "latest"]).stdout(Stdio::piped()).spawn().unwrap();

    let hanging = until("the canary's first Job runs", || async {
        let account = alone.witness.accounts().remove("jivaVolume/pvc-typed-0")?;
        account.jobs.into_iter().next()
    })
    .await;
    alone.node.running_pod(&hanging).await;
    // Whichever has it: both are frozen in turn for longer than a lease, each while the other is free to take over.
    for daemon in &daemons {
        daemon.signal("-STOP");
        tokio::time::sleep(Duration::from_secs(6)).await;
        daemon.signal("-CONT");
    }
    let volume = fleetlift::domain::ResourceRef {
        kind: fleetlift::domain::ResourceKind::JivaVolume,
        name: "pvc-typed-0".to_owned(),
    };
    openebs::bring_to(&alone.cluster, &volume, "3.6.0").await;
    openebs::all_rolled_out(&alone.cluster).await;
    alone.node.end(&hanging, crate::support::Ending::Succeeds).await;
    until("the second cluster is at work", || async { (!everything.crew.done().is_empty()).then_some(()) }).await;
    daemons.remove(0).kill();

    let status = second.finished();
    assert_eq!(status["verdict"], "succeeded", "{status:#}");
    let watched = tokio::task::block_in_place(|| watch.wait_with_output().unwrap());
    assert!(watched.status.success(), "{watched:?}");
    let results = second.ok(&["result", "list", "latest", "-o", "json"]).json();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), 8, "{results:#?}");
    for result in results {
        assert_eq!((&result["outcome"], &result["attempts"]), (&json!("succeeded"), &json!(1)), "{result:#}");
    }
    for site in [&alone, &everything] {
        site.witness.assert_never_two_at_once();
        for (resource, account) in site.witness.accounts() {
            assert_eq!(account.jobs.len(), 1, "{resource}: {account:?}");
        }
    }
    second.ok(&["audit", "verify"]);
    let shown = second.ok(&["result", "show", "latest", "berlin-1"]).out;
    assert!(shown.contains("evidence") && shown.contains(&hanging), "{shown}");
}

/// Same address, same certificates, and nothing of what was known: not to be touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_that_answers_as_another_one_is_explained_and_left_alone() {
    let (site, plane) = Site::alone(&["pvc-typed-rebuilt"]).await;
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    // A certificate outlives a cluster, a token does not.
    add(&place, &site, "berlin-1", &site.cluster.admin_kubeconfig());
    let plan = plan(&place);
    plane.rebuild().await;
    place.ok(&["rollout", "start", &plan]);
    place.explains("berlin-1", &["waiting", "quarantined", "another cluster"]);
    let renewed = place.write("renewed.yaml", &site.cluster.admin_kubeconfig());
    let refused = place.run(&["cluster", "rotate", "berlin-1", "--kubeconfig", &renewed]);
    assert!(refused.code != 0 && refused.err.contains("another cluster"), "{refused:?}");
    let tasks = site.cluster.kind("openebs.io/v1alpha1", "UpgradeTask").list(&ListParams::default()).await;
    assert!(tasks.is_err(), "nobody brought even the definitions back: {tasks:?}");
    place.ok(&["audit", "verify"]);
}

/// An UpgradeTask alone says nothing about who is at work. Its place is taken, and what it said is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upgrade_task_of_another_owner_is_explained_and_what_it_said_is_kept() {
    let site = Site::with_volumes(&["pvc-typed-theirs"]).await;
    let tasks = site.cluster.kind("openebs.io/v1alpha1", "UpgradeTask");
    let name = "upgrade-jiva-csi-volume-pvc-typed-theirs";
    site.cluster
        .apply(&json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask",
            "metadata": {"name": name, "namespace": site.cluster.namespace,
                "labels": {"app.kubernetes.io/managed-by": "kurl"}},
            "spec": {"fromVersion": "3.4.0", "toVersion": "3.5.0", "jivaVolume": {"pvName": "pvc-typed-theirs"}}}))
        .await;
    let theirs = tasks.get(name).await.unwrap().metadata.uid.unwrap();
    openebs::upgrade_task::tell(
        &site.cluster,
        name,
        fleetlift::domain::ResourceKind::JivaVolume,
        Told::GaveUp("their replica was lost"),
    )
    .await;
    let place = Place::embedded();
    let _daemon = Daemon::start(&place);
    add(&place, &site, "berlin-1", &site.cluster.hub_kubeconfig().await);
    let plan = plan(&place);
    place.ok(&["rollout", "start", &plan]);
    assert_eq!(place.finished()["verdict"], "succeeded");
    let said = place.explains("berlin-1", &["upgrade_task.deleted", name, "left by managed by kurl"]);
    assert!(said.contains("upgrade_task.created"), "{said}");
    assert_ne!(tasks.get(name).await.unwrap().metadata.uid.unwrap(), theirs);
    let audit = place.ok(&["audit", "list", "-o", "json"]).json();
    let gone = audit.as_array().unwrap().iter().find(|event| event["type"] == "upgrade_task.deleted").unwrap();
    let kept = gone["data"].to_string();
    assert!(kept.contains("their replica was lost") && kept.contains(&theirs), "{gone:#}");
}
