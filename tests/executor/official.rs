//! The same UpgradeTask carried out by OpenEBS's own executors and by ours: the objects end up the same, line by line.
//!
//! `official/<scene>.txt` lists what OpenEBS's executors changed on the very objects of these tests, some of them with every
//! field that OpenEBS's operators give them (`support/openebs/released.rs`). What ours changes otherwise is in
//! [`OTHERWISE`], each with the reason why; anything else fails.
//!
//! `FLEETLIFT_OFFICIAL=FOLDER` writes the lists anew: the programs `upgrade-3.6.0` (openebs/upgrade) and `m-upgrade-2.12.2`
//! (openebs/maya) of that folder are run with the kubeconfig named by `KUBECONFIG`. The legacy Jiva volume's Service
//! must be reachable for that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fleetlift::domain::ResourceKind;
use fleetlift::openebs::kinds::{self, Line};
use fleetlift::openebs::names;
use fleetlift::openebs::upgrade_task::{UpgradeTask, UpgradeTaskSpec};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::arrange::{Home, Site, text};
use crate::operators::named_after;
use crate::support::openebs;

/// Every kind of object that an upgrade could touch; the last two are cluster-wide.
const OBJECTS: [(&str, &str); 20] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("v1", "Service"),
    ("openebs.io/v1alpha1", "UpgradeTask"),
    ("cstor.openebs.io/v1", "CStorPoolCluster"),
    ("cstor.openebs.io/v1", "CStorPoolInstance"),
    ("cstor.openebs.io/v1", "CStorVolume"),
    ("cstor.openebs.io/v1", "CStorVolumeReplica"),
    ("cstor.openebs.io/v1", "CStorVolumeConfig"),
    ("cstor.openebs.io/v1", "CStorBackup"),
    ("cstor.openebs.io/v1", "CStorRestore"),
    ("cstor.openebs.io/v1", "CStorCompletedBackup"),
    ("openebs.io/v1", "JivaVolume"),
    ("openebs.io/v1alpha1", "CStorVolume"),
    ("openebs.io/v1alpha1", "CStorVolumeReplica"),
    ("openebs.io/v1alpha1", "CStorBackup"),
    ("openebs.io/v1alpha1", "CStorRestore"),
    ("openebs.io/v1alpha1", "CStorCompletedBackup"),
    ("openebs.io/v1alpha1", "CStorPool"),
    ("openebs.io/v1alpha1", "StoragePoolClaim"),
];

/// As often does a Job begin anew that is told nothing else.
const ATTEMPTS: u32 = 5;

/// The label by which the executors are told of their UpgradeTask.
const LABEL: &str = "upgrade=this";

/// By the beginning of the scene's name, the beginnings of lines that only one of the two has, and why that is better. Each
/// is there to be met.
const OTHERWISE: &[(&str, &str, &str)] = &[
    (
        "cstorPoolCluster",
        "UpgradeTask.openebs.io/upgrade-cstor-cspc-",
        "the record of a pool cluster tells how far its upgrade came; theirs tells how it ended",
    ),
    (
        "storagePoolClaim",
        "UpgradeTask.openebs.io/upgrade-cstor-spc-",
        "the record of a storage pool claim tells how far its upgrade came; theirs tells nothing",
    ),
    (
        "legacyJivaVolume-split-and-moved",
        "Service.v1/pvc-openebs-ctrl-svc /metadata/annotations/openebs.io~1storage-class-ref",
        "the YAML that provisioners write there; theirs is no YAML",
    ),
    (
        "legacyJivaVolume-released-1.8.0",
        "Service.v1/pvc-openebs-ctrl-svc /metadata/annotations/openebs.io~1storage-class-ref",
        "the YAML that provisioners write there; theirs is no YAML",
    ),
];

/// What waits for its upgrade.
#[derive(Debug, Clone, Copy)]
enum Scene {
    /// One release behind.
    Behind(ResourceKind),
    /// From a release with particulars of its own.
    Since(ResourceKind, &'static str),
    /// A pool instance with records of restores and completed backups in the old group. Those of backups under way are
    /// more than OpenEBS's executor can do: it sends their resourceVersion along, and no API server takes that.
    WithBackups,
    /// A pool instance whose images have the old names for one architecture.
    WithOldImages,
    /// To images of a private registry with a port, and a tag of its own.
    Mirrored(ResourceKind),
    /// A Jiva volume with one Deployment for all its replicas.
    Split(Home),
    /// As the operators of that release made it, with every field.
    Released(ResourceKind, &'static str),
}

impl Scene {
    fn file(self) -> String {
        match self {
            Self::Behind(kind) => kind.name().to_owned(),
            Self::Since(kind, version) => format!("{}-{version}", kind.name()),
            Self::WithBackups => "cstorPoolInstance-backups".to_owned(),
            Self::WithOldImages => "cstorPoolInstance-amd64".to_owned(),
            Self::Mirrored(kind) => format!("{}-mirrored", kind.name()),
            Self::Split(Home::OpenEbs) => "legacyJivaVolume-split".to_owned(),
            Self::Split(Home::Claim) => "legacyJivaVolume-split-and-moved".to_owned(),
            Self::Released(kind, version) => format!("{}-released-{version}", kind.name()),
        }
    }

    async fn site(self) -> Site {
        match self {
            Self::Behind(kind) | Self::Mirrored(kind) => Site::with(kind).await,
            Self::Since(kind, version) => Site::since(kind, version).await,
            Self::WithBackups => {
                let site = Site::with(ResourceKind::CstorPoolInstance).await;
                openebs::on(&site.cluster).old_backups(&site.resource.name, "nightly", "pvc-1").await;
                let backups = site.cluster.kind("openebs.io/v1alpha1", "CStorBackup");
                backups.delete("nightly-pvc-1", &DeleteParams::default()).await.unwrap();
                site
            }
            Self::WithOldImages => {
                let site = Site::with(ResourceKind::CstorPoolInstance).await;
                let images =
                    [("cstor-pool", "openebs/cstor-pool-amd64"), ("maya-exporter", "quay.io/openebs/m-exporter-amd64")];
                let containers: Vec<Value> = images
                    .iter()
                    .map(|(name, image)| json!({"name": name, "image": format!("{image}:{}", site.from)}))
                    .collect();
                let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                let deployments = site.cluster.kind("apps/v1", "Deployment");
                deployments
                    .patch(&site.resource.name, &PatchParams::default(), &Patch::Strategic(patch))
                    .await
                    .unwrap();
                openebs::all_rolled_out(&site.cluster).await;
                site
            }
            Self::Split(home) => Site::to_split(home).await,
            Self::Released(kind, version) => Site::released(kind, version).await,
        }
    }

    /// The UpgradeTask as the hub would create it.
    async fn order(self, site: &Site) {
        let mut spec = UpgradeTaskSpec::naming(&site.resource);
        site.from.clone_into(&mut spec.from_version);
        site.to.clone_into(&mut spec.to_version);
        site.to.clone_into(&mut spec.image_tag);
        if let Self::Mirrored(_) = self {
            "registry.local:5000/mirror/".clone_into(&mut spec.image_prefix);
            spec.image_tag.push_str("-1");
        }
        let mut task = UpgradeTask::named(&site.cluster.namespace, &names::upgrade_task(&site.resource), spec);
        let (name, value) = LABEL.split_once('=').unwrap();
        task.metadata.labels = Some(BTreeMap::from([(name.to_owned(), value.to_owned())]));
        let mut task = serde_json::to_value(task).unwrap();
        task.as_object_mut().unwrap().remove("status");
        site.cluster.apply(&task).await;
    }
}

/// What is there, by kind and name: without what the API server and the controllers add of their own.
async fn objects(site: &Site) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut seen = BTreeMap::new();
    for (api_version, kind) in OBJECTS {
        let mut example = json!({"apiVersion": api_version, "kind": kind});
        if matches!(kind, "CStorPool" | "StoragePoolClaim") {
            note(site, &example, &mut seen).await;
            continue;
        }
        for namespace in [&site.cluster.namespace, &site.cluster.claims_namespace] {
            example["metadata"] = json!({"namespace": namespace});
            note(site, &example, &mut seen).await;
        }
    }
    seen
}

/// Notes what there is of a kind that is the cluster's.
async fn note(site: &Site, example: &Value, seen: &mut BTreeMap<String, BTreeMap<String, String>>) {
    let (api_version, kind) = (text(&example["apiVersion"]), text(&example["kind"]));
    let home = example.pointer("/metadata/namespace").map(text);
    for object in site.cluster.like(example).list(&ListParams::default()).await.unwrap() {
        let name = object.name_any();
        if home.is_none() && !named_after(&site.cluster.namespace, &name) {
            continue;
        }
        let mut object = serde_json::to_value(object).unwrap();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| matches!(field.as_str(), "labels" | "annotations" | "finalizers"));
        if !api_version.contains("openebs.io") {
            object.as_object_mut().unwrap().remove("status");
        }
        let neutral = |words: &str| words.replace(&site.cluster.namespace, "openebs");
        let object: Value = serde_json::from_str(&neutral(&object.to_string())).unwrap();
        let mut leaves = BTreeMap::new();
        flatten("", &object, &mut leaves);
        leaves.retain(|place, _| !place.starts_with("/metadata/annotations/deployment.kubernetes.io"));
        let place = home.as_deref().filter(|home| **home != site.cluster.namespace);
        let place = place.map(|home| format!("{home}/")).unwrap_or_default();
        let group = api_version.split('/').next().unwrap_or_default();
        seen.insert(neutral(&format!("{kind}.{group}/{place}{name}")), leaves);
    }
}

/// Every leaf of a JSON value by its pointer. Moments look all alike; what is empty is as good as not there, since
/// OpenEBS's executors write whole objects back, with every field that they know.
fn flatten(place: &str, value: &Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&format!("{place}/{}", name.replace('/', "~1")), member, leaves);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                flatten(&format!("{place}/{number}"), item, leaves);
            }
        }
        Value::String(moment) if moment.parse::<Timestamp>().is_ok() => {
            leaves.insert(place.to_owned(), "a moment".to_owned());
        }
        Value::Null | Value::Bool(false) => {}
        Value::String(empty) if empty.is_empty() => {}
        Value::Number(zero) if zero.as_i64() == Some(0) => {}
        leaf => {
            leaves.insert(place.to_owned(), leaf.to_string());
        }
    }
}

/// What differs, a line each.
fn changes(
    before: &BTreeMap<String, BTreeMap<String, String>>,
    after: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeSet<String> {
    let (none, mut lines) = (BTreeMap::new(), BTreeSet::new());
    // Services have other addresses in each run; that one keeps its own is told all the same.
    let addresses: BTreeSet<&String> = before.values().filter_map(|leaves| leaves.get("/spec/clusterIP")).collect();
    let neutral = |line: String| addresses.iter().fold(line, |line, address| line.replace(*address, "its address"));
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
        for place in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
            let of = |side: &BTreeMap<String, String>| side.get(place).cloned().unwrap_or_else(|| "nothing".to_owned());
            if was.get(place) != is.get(place) {
                lines.insert(neutral(format!("{name} {place}: {} -> {}", of(was), of(is))));
            }
        }
    }
    lines
}

async fn by_ours(scene: Scene) -> BTreeSet<String> {
    let site = scene.site().await;
    scene.order(&site).await;
    let before = objects(&site).await;
    let ended = site.execute(&["resource".to_owned(), format!("--upgrade-task-label={LABEL}")]).await;
    ended.unwrap_or_else(|failure| panic!("{failure:?}"));
    changes(&before, &objects(&site).await)
}

async fn by_the_official(scene: Scene, folder: &Path) -> BTreeSet<String> {
    let site = scene.site().await;
    scene.order(&site).await;
    let before = objects(&site).await;
    let name = if kinds::of(site.resource.kind).line == Line::Legacy { "m-upgrade" } else { "upgrade" };
    let program = folder.join(format!("{name}-{}", site.to));
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(kubeconfig.path(), site.cluster.admin_kubeconfig()).unwrap();
    let mut command = tokio::process::Command::new(program);
    command.arg("resource").kill_on_drop(true).env("KUBECONFIG", kubeconfig.path());
    command.env("OPENEBS_NAMESPACE", &site.cluster.namespace).env("UPGRADE_TASK_LABEL", LABEL);
    let mut told = String::new();
    for _ in 0..ATTEMPTS {
        let ended = command.output().await.unwrap();
        told.push_str(&String::from_utf8_lossy(&ended.stderr));
        if ended.status.success() {
            return changes(&before, &objects(&site).await);
        }
    }
    panic!("{told}");
}

async fn ends_the_same(scene: Scene) {
    let list = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/executor/official/{}.txt", scene.file()));
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so")]
    if let Some(folder) = std::env::var_os("FLEETLIFT_OFFICIAL") {
        let lines = by_the_official(scene, Path::new(&folder)).await;
        std::fs::write(&list, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let told = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let theirs: BTreeSet<String> = told.lines().map(str::to_owned).collect();
    let ours = by_ours(scene).await;
    let mut differ: BTreeSet<&String> = theirs.symmetric_difference(&ours).collect();
    for (_, place, why) in OTHERWISE.iter().filter(|(of, ..)| scene.file().starts_with(of)) {
        let all = differ.len();
        differ.retain(|line| !line.starts_with(place));
        assert!(differ.len() < all, "nothing differs at {place}: {why}");
    }
    let told: Vec<String> =
        differ.iter().map(|line| format!("{}: {line}", if ours.contains(*line) { "ours" } else { "theirs" })).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

macro_rules! ends_the_same {
    ($($test:ident: $scene:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            ends_the_same($scene).await;
        }
    )*};
}

ends_the_same! {
    a_jiva_volume_ends_as_by_openebs: Scene::Behind(ResourceKind::JivaVolume);
    a_pool_instance_ends_as_by_openebs: Scene::Behind(ResourceKind::CstorPoolInstance);
    a_pool_cluster_ends_as_by_openebs: Scene::Behind(ResourceKind::CstorPoolCluster);
    a_cstor_volume_ends_as_by_openebs: Scene::Behind(ResourceKind::CstorVolume);
    a_legacy_pool_ends_as_by_openebs: Scene::Behind(ResourceKind::CstorPool);
    a_storage_pool_claim_ends_as_by_openebs: Scene::Behind(ResourceKind::StoragePoolClaim);
    a_legacy_cstor_volume_ends_as_by_openebs: Scene::Behind(ResourceKind::LegacyCstorVolume);
    a_legacy_jiva_volume_ends_as_by_openebs: Scene::Behind(ResourceKind::LegacyJivaVolume);
    a_legacy_pool_of_1_6_ends_as_by_openebs: Scene::Since(ResourceKind::CstorPool, "1.6.0");
    a_legacy_pool_of_1_8_ends_as_by_openebs: Scene::Since(ResourceKind::CstorPool, "1.8.0");
    a_legacy_cstor_volume_of_1_6_ends_as_by_openebs: Scene::Since(ResourceKind::LegacyCstorVolume, "1.6.0");
    a_pool_instance_of_1_10_ends_as_by_openebs: Scene::Since(ResourceKind::CstorPoolInstance, "1.10.0");
    a_cstor_volume_of_1_10_ends_as_by_openebs: Scene::Since(ResourceKind::CstorVolume, "1.10.0");
    records_of_backups_end_as_by_openebs: Scene::WithBackups;
    images_with_old_names_end_as_by_openebs: Scene::WithOldImages;
    a_mirrored_jiva_volume_ends_as_by_openebs: Scene::Mirrored(ResourceKind::JivaVolume);
    a_mirrored_pool_instance_ends_as_by_openebs: Scene::Mirrored(ResourceKind::CstorPoolInstance);
    a_mirrored_legacy_pool_ends_as_by_openebs: Scene::Mirrored(ResourceKind::CstorPool);
    a_jiva_volume_that_is_split_ends_as_by_openebs: Scene::Split(Home::OpenEbs);
    a_jiva_volume_that_is_split_and_moved_ends_as_by_openebs: Scene::Split(Home::Claim);
    a_pool_instance_made_by_2_0_ends_as_by_openebs: Scene::Released(ResourceKind::CstorPoolInstance, "2.0.0");
    a_pool_cluster_made_by_3_5_ends_as_by_openebs: Scene::Released(ResourceKind::CstorPoolCluster, "3.5.0");
    a_cstor_volume_made_by_2_0_ends_as_by_openebs: Scene::Released(ResourceKind::CstorVolume, "2.0.0");
    a_cstor_volume_made_by_3_5_ends_as_by_openebs: Scene::Released(ResourceKind::CstorVolume, "3.5.0");
    a_jiva_volume_made_by_2_11_ends_as_by_openebs: Scene::Released(ResourceKind::JivaVolume, "2.11.0");
    a_jiva_volume_made_by_3_5_ends_as_by_openebs: Scene::Released(ResourceKind::JivaVolume, "3.5.0");
    a_legacy_pool_made_by_2_11_ends_as_by_openebs: Scene::Released(ResourceKind::CstorPool, "2.11.0");
    a_storage_pool_claim_made_by_1_9_ends_as_by_openebs: Scene::Released(ResourceKind::StoragePoolClaim, "1.9.0");
    a_legacy_cstor_volume_made_by_1_8_ends_as_by_openebs: Scene::Released(ResourceKind::LegacyCstorVolume, "1.8.0");
    a_legacy_jiva_volume_made_by_1_8_ends_as_by_openebs: Scene::Released(ResourceKind::LegacyJivaVolume, "1.8.0");
    a_legacy_jiva_volume_made_by_2_11_ends_as_by_openebs: Scene::Released(ResourceKind::LegacyJivaVolume, "2.11.0");
}
