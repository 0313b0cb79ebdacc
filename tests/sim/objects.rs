//! Objects over the wire: discovery, lists, versions, watches, rights.

use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher;
use serde_json::json;

use crate::arrange::{ONE, admin, behaving, client, cluster, code, hub, jiva, jobs, kind, sleeper, start};
use fleetlift::sim::Behaviour;

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"n": value}}, "data": {"v": value}})).unwrap()
}

#[tokio::test]
async fn it_tells_its_version_its_kinds_and_who_it_is() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    assert_eq!(client.apiserver_version().await.unwrap().git_version, "v1.34.1");
    let groups = client.list_api_groups().await.unwrap().groups;
    assert!(groups.iter().any(|group| group.name == "cstor.openebs.io"));
    let kinds = client.list_api_group_resources("openebs.io/v1alpha1").await.unwrap().resources;
    assert!(kinds.iter().any(|kind| kind.name == "upgradetasks" && kind.namespaced));
    assert!(!kinds.iter().any(|kind| kind.name == "upgradetasks/status"));
    let namespaces: Api<Namespace> = Api::all(client);
    let uid = namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap();
    let again = start(cluster(jiva()));
    let namespaces: Api<Namespace> = Api::all(hub(&again).await);
    assert_eq!(
        namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap(),
        uid,
        "the same seed, the same cluster"
    );
}

#[tokio::test]
async fn a_kind_without_its_definition_is_not_served() {
    let mut spec = cluster(Vec::new());
    spec.contents.maya = None;
    let fleet = start(spec);
    let pools = kind(&admin(&fleet).await, "openebs.io/v1alpha1", "CStorPool", "cstorvolumes");
    assert_eq!(code(&pools.list(&ListParams::default()).await.unwrap_err()), 404);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_missing_rights_are_named() {
    let fleet = start(cluster(jiva()));
    let config = fleet.kubeconfigs()[0].kubeconfig.clone();
    let begin = config.find("\"sim-").unwrap();
    let mut wrong = config.clone();
    wrong.replace_range(begin..=begin + 4, "\"bad-");
    let denied = jobs(&client(&wrong).await).list(&ListParams::default()).await.unwrap_err();
    assert_eq!(code(&denied), 401);
    let secrets: Api<Secret> = Api::namespaced(hub(&fleet).await, "openebs");
    let refused = secrets.list(&ListParams::default()).await.unwrap_err();
    assert_eq!(code(&refused), 403);
    assert!(refused.to_string().contains("cannot list resource \"secrets\""), "{refused}");
    let plan = Behaviour { denied: vec!["create jobs.batch".into()], ..Behaviour::default() };
    assert!(fleet.behave(ONE, plan));
    let refused = jobs(&hub(&fleet).await).create(&PostParams::default(), &sleeper("x", "1")).await.unwrap_err();
    assert_eq!(code(&refused), 403);
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_by_metadata_alone() {
    let fleet = start(cluster(Vec::new()));
    let maps: Api<ConfigMap> = Api::namespaced(admin(&fleet).await, "openebs");
    for number in 0..7 {
        maps.create(&PostParams::default(), &map(&format!("m{number}"), &(number % 2).to_string())).await.unwrap();
    }
    let mut params = ListParams::default().limit(3);
    let mut names = Vec::new();
    loop {
        let page = maps.list(&params).await.unwrap();
        names.extend(page.items.into_iter().filter_map(|one| one.metadata.name));
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params.continue_token = Some(token),
            _ => break,
        }
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    let odd = maps.list_metadata(&ListParams::default().labels("n in (1)")).await.unwrap();
    assert_eq!(odd.items.len(), 3);
    let one = maps.list(&ListParams::default().fields("metadata.name=m5")).await.unwrap();
    assert_eq!(one.items.len(), 1);
}

#[tokio::test]
async fn a_write_that_means_an_older_version_is_a_conflict() {
    let fleet = start(cluster(Vec::new()));
    let maps: Api<ConfigMap> = Api::namespaced(admin(&fleet).await, "openebs");
    let first = maps.create(&PostParams::default(), &map("m", "1")).await.unwrap();
    let mut second = first.clone();
    second.data.as_mut().unwrap().insert("v".into(), "2".into());
    let second = maps.replace("m", &PostParams::default(), &second).await.unwrap();
    assert_ne!(second.metadata.resource_version, first.metadata.resource_version);
    let stale = maps.replace("m", &PostParams::default(), &first).await.unwrap_err();
    assert_eq!(code(&stale), 409);
    let same = maps.replace("m", &PostParams::default(), &second).await.unwrap();
    assert_eq!(same.metadata.resource_version, second.metadata.resource_version, "nothing changed, no new version");
    let taken = maps.create(&PostParams::default(), &map("m", "1")).await.unwrap_err();
    assert!(matches!(&taken, kube::Error::Api(status) if status.reason == "AlreadyExists"), "{taken}");
}

#[tokio::test]
async fn apply_creates_and_then_changes() {
    let fleet = start(cluster(Vec::new()));
    let maps: Api<ConfigMap> = Api::namespaced(admin(&fleet).await, "openebs");
    let applied =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"v": value}});
    let params = PatchParams::apply("tests").force();
    maps.patch("m", &params, &Patch::Apply(applied("1"))).await.unwrap();
    let second = maps.patch("m", &params, &Patch::Apply(applied("2"))).await.unwrap();
    assert_eq!(second.data.unwrap()["v"], "2");
}

#[tokio::test]
async fn a_watch_tells_each_change_of_what_is_selected_and_nothing_else() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let from = jobs(&client).list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let params = WatchParams::default().fields("metadata.name=seen").timeout(20);
    let events = jobs(&client).watch(&params, &from).await.unwrap();
    for name in ["other", "seen"] {
        jobs(&client).create(&PostParams::default(), &sleeper(name, "0")).await.unwrap();
    }
    let mut events = pin!(events);
    let mut told = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        let (kind, job) = match event {
            WatchEvent::Added(job) => ("added", job),
            WatchEvent::Modified(job) => ("modified", job),
            other => panic!("{other:?}"),
        };
        assert_eq!(job.metadata.name.as_deref(), Some("seen"));
        told.push(kind);
        let conditions = job.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|one| one.type_ == "Complete") {
            break;
        }
    }
    assert_eq!(told[0], "added");
    assert!(told.len() > 3 && told[1..].iter().all(|kind| *kind == "modified"), "{told:?}");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_is_told_so() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    let events = jobs(&client).watch(&WatchParams::default(), "1").await.unwrap();
    let first = pin!(events).try_next().await.unwrap();
    assert!(matches!(&first, Some(WatchEvent::Error(status)) if status.code == 410), "{first:?}");
}

#[tokio::test]
async fn kubes_own_watcher_follows_a_cluster_whose_watches_end_all_the_time() {
    let fleet = behaving(Behaviour { watch_ms_max: 60, ..Behaviour::default() });
    let client = hub(&fleet).await;
    let mut seen = pin!(watcher(jobs(&client), watcher::Config::default()));
    for name in ["a", "b", "c"] {
        jobs(&client).create(&PostParams::default(), &sleeper(name, "0")).await.unwrap();
        loop {
            let event = seen.next().await.unwrap().unwrap();
            let (watcher::Event::Apply(job) | watcher::Event::InitApply(job)) = event else { continue };
            let job: Job = job;
            if job.metadata.name.as_deref() == Some(name) {
                break;
            }
        }
    }
}
