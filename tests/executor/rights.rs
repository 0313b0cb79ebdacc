//! The executor's rights are least: with any one of them taken away, an upgrade that needs it fails and names it. (That
//! they are enough is what every other test here shows.)

use std::collections::BTreeSet;

use fleetlift::domain::ResourceKind as Kind;
use fleetlift::executor::run::termination;
use fleetlift::openebs::names;
use fleetlift::openebs::termination::Termination;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::arrange::{Home, Site, text};
use crate::support::{edge, openebs, until};

/// (API group, resource, verb).
type Right = (&'static str, &'static str, &'static str);

const CSTOR: &str = "cstor.openebs.io";
const OPENEBS: &str = "openebs.io";

/// Which upgrade shows that a right is needed, in the order in which it comes to need them: what fails late is taken
/// away late, so that one resource serves for all.
const NEEDED: &[(Kind, &[Right])] = &[
    (
        Kind::JivaVolume,
        &[
            (OPENEBS, "jivavolumes", "get"),
            (OPENEBS, "upgradetasks", "get"),
            (OPENEBS, "upgradetasks", "create"),
            (OPENEBS, "upgradetasks", "update"),
            ("", "pods", "list"),
            ("apps", "deployments", "list"),
            ("apps", "statefulsets", "list"),
            ("", "services", "list"),
            ("apps", "statefulsets", "get"),
            ("apps", "statefulsets", "patch"),
            ("apps", "deployments", "get"),
            ("apps", "deployments", "patch"),
            ("", "services", "get"),
            ("", "services", "patch"),
            (OPENEBS, "jivavolumes", "patch"),
        ],
    ),
    (
        Kind::CstorPoolInstance,
        &[
            (CSTOR, "cstorpoolinstances", "get"),
            (CSTOR, "cstorvolumereplicas", "list"),
            (CSTOR, "cstorpoolinstances", "patch"),
            (OPENEBS, "cstorbackups", "list"),
            (CSTOR, "cstorbackups", "create"),
            (OPENEBS, "cstorbackups", "delete"),
            (OPENEBS, "cstorrestores", "list"),
            (CSTOR, "cstorrestores", "create"),
            (OPENEBS, "cstorrestores", "delete"),
            (OPENEBS, "cstorcompletedbackups", "list"),
            (CSTOR, "cstorcompletedbackups", "create"),
            (OPENEBS, "cstorcompletedbackups", "delete"),
        ],
    ),
    (
        Kind::CstorPoolCluster,
        &[
            (CSTOR, "cstorpoolclusters", "get"),
            (CSTOR, "cstorpoolinstances", "list"),
            (CSTOR, "cstorpoolclusters", "patch"),
        ],
    ),
    (
        Kind::CstorVolume,
        &[
            (CSTOR, "cstorvolumes", "get"),
            (CSTOR, "cstorvolumeconfigs", "get"),
            ("", "persistentvolumes", "get"),
            (CSTOR, "cstorvolumereplicas", "get"),
            (CSTOR, "cstorvolumereplicas", "patch"),
            (CSTOR, "cstorvolumes", "patch"),
            (CSTOR, "cstorvolumeconfigs", "patch"),
        ],
    ),
    (Kind::CstorPool, &[(OPENEBS, "cstorpools", "get"), (OPENEBS, "cstorpools", "patch")]),
    (
        Kind::StoragePoolClaim,
        &[
            (OPENEBS, "storagepoolclaims", "get"),
            (OPENEBS, "cstorpools", "list"),
            (OPENEBS, "storagepoolclaims", "patch"),
        ],
    ),
    // One from before 1.9, which is split and moves.
    (
        Kind::LegacyJivaVolume,
        &[
            (OPENEBS, "jivavolumes", "get"),
            ("", "persistentvolumes", "get"),
            ("", "pods", "list"),
            ("apps", "deployments", "list"),
            ("", "services", "list"),
            ("apps", "deployments", "get"),
            ("apps", "deployments", "create"),
            ("", "services", "get"),
            ("", "services", "create"),
            ("apps", "deployments", "patch"),
            ("", "services", "delete"),
            ("", "services", "patch"),
            ("apps", "deployments", "delete"),
        ],
    ),
    (
        Kind::LegacyCstorVolume,
        &[
            (OPENEBS, "cstorvolumes", "list"),
            (OPENEBS, "cstorvolumereplicas", "list"),
            (OPENEBS, "cstorvolumes", "get"),
            (OPENEBS, "cstorvolumereplicas", "get"),
            (OPENEBS, "cstorvolumereplicas", "patch"),
            (OPENEBS, "cstorvolumes", "patch"),
        ],
    ),
];

/// Shown by tests of their own below.
const OTHERWISE_SHOWN: [Right; 4] =
    [(OPENEBS, "upgradetasks", "list"), ("", "events", "create"), ("", "pods", "get"), ("batch", "jobs", "get")];

#[test]
fn no_right_is_given_that_no_test_takes_away() {
    let given: BTreeSet<(String, String, String)> =
        manifest_rules().into_iter().flat_map(|rule| rights(&rule)).collect();
    let shown = NEEDED.iter().flat_map(|(_, rights)| rights.iter()).chain(&OTHERWISE_SHOWN);
    let shown = shown.map(|(group, resource, verb)| ((*group).into(), (*resource).into(), (*verb).into())).collect();
    assert_eq!(given, shown);
}

macro_rules! named {
    ($($test:ident: $kind:ident;)*) => {$(
        #[tokio::test]
        async fn $test() {
            each_missing_right_is_named(Kind::$kind).await;
        }
    )*};
}

named! {
    a_jiva_volumes_missing_rights_are_named: JivaVolume;
    a_pool_instances_missing_rights_are_named: CstorPoolInstance;
    a_pool_clusters_missing_rights_are_named: CstorPoolCluster;
    a_cstor_volumes_missing_rights_are_named: CstorVolume;
    a_legacy_pools_missing_rights_are_named: CstorPool;
    a_storage_pool_claims_missing_rights_are_named: StoragePoolClaim;
    a_legacy_cstor_volumes_missing_rights_are_named: LegacyCstorVolume;
    a_legacy_jiva_volumes_missing_rights_are_named: LegacyJivaVolume;
}

async fn each_missing_right_is_named(kind: Kind) {
    let site = match kind {
        Kind::LegacyJivaVolume => Site::to_split(Home::Claim).await,
        _ => Site::with(kind).await,
    };
    if kind == Kind::CstorPoolInstance {
        openebs::on(&site.cluster).old_backups(&site.resource.name, "kept", "v").await;
    }
    let (_, rights) = NEEDED.iter().find(|(of, _)| *of == kind).unwrap();
    each_is_named(site, rights).await;
}

/// The other split: of a volume that was made in OpenEBS's namespace, whose Service stays.
#[tokio::test]
async fn the_missing_rights_of_a_split_in_the_namespace_of_openebs_are_named() {
    let rights = [
        ("", "persistentvolumes", "get"),
        ("apps", "deployments", "create"),
        ("apps", "deployments", "patch"),
        ("apps", "deployments", "delete"),
    ];
    each_is_named(Site::to_split(Home::OpenEbs).await, &rights).await;
}

async fn each_is_named(mut site: Site, rights: &[Right]) {
    site.client = site.client_of_probe().await;
    // All rights first: only what was seen allowed can be seen taken away.
    grant_all_but(&site, None, rights.first().copied()).await;
    let mut before = None;
    for right in rights {
        grant_all_but(&site, Some(*right), before.replace(*right)).await;
        let failure = site.upgrade().await.expect_err(&format!("it needs {right:?}"));
        let (group, resource, verb) = right;
        let named = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        let told = failure.problem.expected.clone();
        let cluster_wide = ["persistentvolumes", "cstorpools", "storagepoolclaims"].contains(resource);
        let places = match cluster_wide {
            true => vec![String::new()],
            false => [&site.cluster.namespace, &site.cluster.claims_namespace]
                .map(|namespace| format!(" in namespace {namespace}"))
                .to_vec(),
        };
        let as_it_is = |place: &String| told == format!("the right to {verb} {named}{place}");
        assert!(places.iter().any(as_it_is), "{}", failure.problem);
        // What the hub reads and `result show` prints, and what `kubectl describe` shows.
        let last_words = termination(&Err(failure.clone())).to_message();
        let read = Termination::read(&last_words).expect("the hub understands it").sentence();
        assert!(read.contains(&told), "{read}");
        if failure.step.is_empty() {
            // The UpgradeTask cannot be written without the rights to itself; and in argument mode it has no name until
            // the engine is told.
            let before = ["upgradetasks", "jivavolumes", "cstorvolumes", "persistentvolumes", "deployments"];
            assert!(before.contains(resource), "{right:?} is not recorded");
        } else {
            let task = site.upgrade_task().await.expect("there is an UpgradeTask");
            let steps = task["status"]["upgradeDetailedStatuses"].as_array().cloned().unwrap_or_default();
            let reason = steps.last().map(|step| text(&step["reason"])).unwrap_or_default();
            assert!(reason.contains(&told), "{right:?} is not in the status: {task}");
        }
        assert!(failure.problem.remedy.contains(&format!("verbs: [{verb}]")), "{}", failure.problem);
    }
    grant_all_but(&site, None, before).await;
    site.upgrade().await.unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!(site.left_behind().await, vec![]);
}

/// In resource mode, which the hub uses, it has its name from the beginning.
#[tokio::test]
async fn the_task_that_a_label_selects_names_the_right_without_which_its_engine_cannot_be_told() {
    let mut site = Site::with(Kind::JivaVolume).await;
    site.client = site.client_of_probe().await;
    let right = (OPENEBS, "jivavolumes", "get");
    grant_all_but(&site, None, Some(right)).await;
    grant_all_but(&site, Some(right), None).await;
    let name = names::upgrade_task(&site.resource);
    let metadata = json!({"name": name, "namespace": site.cluster.namespace, "labels": {"a": "b"}});
    site.cluster
        .apply(&json!({"apiVersion": "openebs.io/v1alpha1", "kind": "UpgradeTask", "metadata": metadata,
            "spec": {"fromVersion": site.from, "toVersion": site.to, "jivaVolume": {"pvName": site.resource.name}}}))
        .await;
    site.execute(&["resource".to_owned(), "--upgrade-task-label=a=b".to_owned()]).await.unwrap_err();
    let task = site.upgrade_task().await.unwrap();
    let told = format!("the right to get jivavolumes.openebs.io in namespace {}", site.cluster.namespace);
    assert!(text(&task["status"]["upgradeDetailedStatuses"][0]["reason"]).contains(&told), "{task}");
    assert_eq!(task["status"]["phase"], "Error");
}

#[tokio::test]
async fn resource_mode_names_the_right_to_list_its_tasks() {
    let mut site = Site::with(Kind::JivaVolume).await;
    site.client = site.client_of_probe().await;
    grant_all_but(&site, None, Some((OPENEBS, "upgradetasks", "list"))).await;
    grant_all_but(&site, Some((OPENEBS, "upgradetasks", "list")), None).await;
    let arguments = ["resource".to_owned(), "--upgrade-task-label=a=b".to_owned()];
    let problem = site.execute(&arguments).await.unwrap_err().problem;
    let there = &site.cluster.namespace;
    assert_eq!(problem.expected, format!("the right to list upgradetasks.openebs.io in namespace {there}"));
}

#[tokio::test]
async fn without_the_right_to_tell_events_the_upgrade_goes_on() {
    let mut site = Site::with(Kind::JivaVolume).await;
    site.client = site.client_of_probe().await;
    grant_all_but(&site, None, Some(("", "events", "create"))).await;
    grant_all_but(&site, Some(("", "events", "create")), None).await;
    site.upgrade().await.unwrap();
    assert_eq!(site.left_behind().await, vec![]);
}

#[tokio::test]
async fn without_the_right_to_see_its_job_the_upgrade_goes_on() {
    for right in [("", "pods", "get"), ("batch", "jobs", "get")] {
        let mut site = Site::with(Kind::JivaVolume).await;
        site.client = site.client_of_probe().await;
        let pod = site.pod_of_a_job(30).await;
        grant_all_but(&site, None, Some(right)).await;
        grant_all_but(&site, Some(right), None).await;
        let mut command = site.command();
        command.push(format!("--pod-name={pod}"));
        site.execute(&command).await.unwrap();
        assert_eq!(site.left_behind().await, vec![]);
    }
}

impl Site {
    /// Speaks as an account that has the rights that [`grant_all_but`] leaves it.
    async fn client_of_probe(&self) -> kube::Client {
        let kubeconfig = self.cluster.admin_kubeconfig();
        let read = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the kubeconfig is our own")]
        let mut config =
            kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        config.auth_info.impersonate = Some(probe(self));
        kube::Client::try_from(config).unwrap()
    }
}

fn probe(site: &Site) -> String {
    format!("probe-of-{}", site.cluster.namespace)
}

/// The rules of the manifest's Role and ClusterRole.
fn manifest_rules() -> Vec<Value> {
    let documents = edge::documents(include_str!("../../deploy/edge/executor.yaml"));
    documents.iter().filter_map(|document| document["rules"].as_array()).flatten().cloned().collect()
}

fn rights(rule: &Value) -> Vec<(String, String, String)> {
    let texts = |field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            for verb in texts("verbs") {
                rights.push((group.clone(), resource.clone(), verb));
            }
        }
    }
    rights
}

/// Gives the probe everything that the manifest gives, but `missing`; `before` was missing until now. Answers when the
/// API server judges so.
async fn grant_all_but(site: &Site, missing: Option<Right>, before: Option<Right>) {
    let mut rules = Vec::new();
    for right in manifest_rules().iter().flat_map(rights) {
        if !is(&right, missing) {
            let (group, resource, verb) = right;
            rules.push(json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]}));
        }
    }
    // A role for the whole cluster, so that one binding carries all; the namespace is the test's own anyway.
    let name = probe(site);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
    site.cluster.apply(&role).await;
    site.cluster.apply(&binding).await;
    let changed =
        before.map(|right| (owned(right), true)).into_iter().chain(missing.map(|right| (owned(right), false)));
    for (right, wanted) in changed {
        until(&format!("the API server knows that {right:?} is {wanted}"), || async {
            (is_allowed(site, &right).await == wanted).then_some(())
        })
        .await;
    }
}

fn owned((group, resource, verb): Right) -> (String, String, String) {
    (group.into(), resource.into(), verb.into())
}

fn is(right: &(String, String, String), other: Option<Right>) -> bool {
    other.is_some_and(|other| *right == owned(other))
}

async fn is_allowed(site: &Site, (group, resource, verb): &(String, String, String)) -> bool {
    use k8s_openapi::api::authorization::v1::SubjectAccessReview;
    let review = json!({"spec": {"user": probe(site), "resourceAttributes":
        {"namespace": site.cluster.namespace, "group": group, "resource": resource, "verb": verb}}});
    let reviews: kube::Api<SubjectAccessReview> = kube::Api::all(site.cluster.client.clone());
    let review = serde_json::from_value(review).unwrap();
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}
