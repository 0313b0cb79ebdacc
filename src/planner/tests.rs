//! Whole plans: order, reasons, waves, and the laws that hold for any fleet.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy as _, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::domain::cluster::{ClusterState, Failing, Reach};
use crate::domain::inventory::{Component, Condition, PastUpgrade, Resource, SeenVersion, UnderWay, Workload};
use crate::domain::{ClusterId, ResourceKind as K, ResourceRef};
use crate::fleet_config::{Source, parse};
use crate::openebs::kinds;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn fleet_with(strategy: &str, target: &str) -> Fleet {
    let text = format!(
        "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {{name: f}}\nspec:\n  groups:\n  - {{name: stores, selector: tier=store, target: {{{target}}}, strategy: s}}\n  - {{name: labs, selector: lab, target: {{openebs: 3.6.0}}, strategy: s}}\n  strategies:\n  - {{name: s, {strategy}}}\n"
    );
    parse(&[Source { name: "f.yaml".into(), text }]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn fleet() -> Fleet {
    fleet_with("waves: [{name: canary, size: 1}, {name: half, size: 50%}, {name: rest}]", "openebs: 3.6.0")
}

fn request() -> Request {
    Request { group: "stores".into(), clusters: vec![], resources: vec![], to: None, at: None }
}

fn rules() -> Rules {
    Rules {
        hub: id("00000000-0000-7000-8000-000000000001"),
        now: NOW,
        max_age: Duration::from_hours(24),
        images: vec![],
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn cluster(number: usize) -> Cluster {
    Cluster {
        id: id::<ClusterId>(&format!("00000000-0000-7000-8000-{number:012}")),
        name: format!("c{number:03}"),
        labels: BTreeMap::from([("tier".to_owned(), "store".to_owned())]),
        time_zone: None,
        namespace: "openebs".into(),
        egress: None,
        server: "https://127.0.0.1:6443".into(),
        tls_verified: true,
        identity: None,
        credential_expires_at: None,
        state: ClusterState::Active,
        reach: Reach::default(),
        registered_at: NOW,
        version: 1,
    }
}

fn resource(kind: K, name: &str, version: &str) -> Resource {
    let version: Version = version.parse().unwrap();
    let label = SeenVersion { object: "x/x".into(), field: "label".into(), version: version.to_string() };
    Resource {
        id: ResourceRef { kind, name: name.into() },
        namespace: "openebs".into(),
        parent: None,
        versions: vec![label],
        version: Some(version),
        health: Condition::Holds,
        half_done: None,
        pools: vec![],
        replicas: None,
        attached_to: None,
        workloads: vec![],
        users_unknown: None,
        details: BTreeMap::new(),
    }
}

fn pool(name: &str, parent: &str, version: &str) -> Resource {
    let parent = Some(ResourceRef { kind: K::CstorPoolCluster, name: parent.into() });
    Resource { parent, pools: vec![name.into()], ..resource(K::CstorPoolInstance, name, version) }
}

fn volume(name: &str, pools: &[&str], version: &str) -> Resource {
    Resource { pools: pools.iter().map(|&pool| pool.to_owned()).collect(), ..resource(K::CstorVolume, name, version) }
}

fn used(mut resource: Resource) -> Resource {
    resource.workloads = vec![Workload { namespace: "shop".into(), pod: "till-0".into() }];
    resource
}

fn mixed(mut resource: Resource, versions: &[&str]) -> Resource {
    let seen = |&version: &&str| SeenVersion { object: "o".into(), field: "f".into(), version: version.into() };
    resource.versions = versions.iter().map(seen).collect();
    resource.version = None;
    resource.half_done = Some("mixed versions".into());
    resource
}

fn inventory(resources: Vec<Resource>) -> Inventory {
    let component =
        |name: &str| Component { name: name.into(), versions: vec!["3.6.0".into()], service_account: "sa".into() };
    Inventory {
        taken_at: NOW,
        kubernetes: "v1.34.4".into(),
        architectures: vec!["amd64".into()],
        namespace: "openebs".into(),
        control_plane: ["cspc-operator", "cvc-operator", "jiva-operator"].map(component).to_vec(),
        resources,
        under_way: vec![],
        history: vec![],
        problems: vec![],
    }
}

/// One pool cluster of two pools, a volume on both, a Jiva volume.
fn usual(version: &str) -> Inventory {
    inventory(vec![
        volume("pvc-1", &["p-a", "p-b"], version),
        pool("p-b", "cspc", version),
        pool("p-a", "cspc", version),
        resource(K::CstorPoolCluster, "cspc", version),
        resource(K::JivaVolume, "pvc-2", version),
    ])
}

fn plan_of(fleet: &Fleet, known: &[(Cluster, Inventory)], request: &Request) -> Result<(Plan, Report), CannotPlan> {
    let known: Vec<Known<'_>> = known
        .iter()
        .map(|(cluster, inventory)| Known { cluster, inventory: Some(inventory), overtaken: false, unreadable: None })
        .collect();
    plan(fleet, &known, request, &rules())
}

/// What is planned for one cluster with this inventory, as `name`s, and what is left out, as `name code`.
fn outcome(fleet: &Fleet, inventory: &Inventory, request: &Request) -> (Vec<String>, BTreeSet<String>) {
    let (plan, report) = plan_of(fleet, &[(cluster(1), inventory.clone())], request).unwrap();
    let tasks = plan.waves.iter().flat_map(|wave| &wave.targets).flat_map(|target| &target.tasks);
    let left_out = report.left_out.iter().map(|left_out| {
        let name = left_out.resource.as_ref().map_or("*", |resource| resource.name.as_str());
        format!("{name} {}", left_out.code)
    });
    (tasks.map(|task| task.resource.name.clone()).collect(), left_out.collect())
}

fn left_out(entries: &[&str]) -> BTreeSet<String> {
    entries.iter().map(|&entry| entry.to_owned()).collect()
}

#[test]
fn pools_come_first_then_their_cluster_then_volumes() {
    let (tasks, left) = outcome(&fleet(), &usual("3.5.0"), &request());
    assert_eq!(tasks, ["p-a", "p-b", "cspc", "pvc-1", "pvc-2"]);
    assert_eq!(left, left_out(&[]));
}

#[test]
fn a_task_says_everything_that_carrying_it_out_needs() {
    let fleet = fleet_with(
        "waves: [{name: all}]",
        "openebs: 3.6.0, images: {prefix: openebs/, tag: 3.6.0-1}, executor: {use: openebs, pullSecrets: [edge]}",
    );
    let mut inventory = usual("3.5.0");
    inventory.resources[0] = used(inventory.resources[0].clone());
    let (plan, _) = plan_of(&fleet, &[(cluster(1), inventory)], &request()).unwrap();
    let target = &plan.waves[0].targets[0];
    let of = |name: &str| target.tasks.iter().find(|task| task.resource.name == name).unwrap();
    let volume = of("pvc-1");
    assert_eq!(
        (volume.image.as_str(), volume.image_prefix.as_str(), volume.image_tag.as_str()),
        ("openebs/upgrade:3.6.0", "openebs/", "3.6.0-1")
    );
    assert_eq!((volume.service_account.as_str(), volume.own_executor), ("sa", false));
    assert_eq!(volume.pull_secrets, ["edge"]);
    assert_eq!(volume.pools, ["p-a", "p-b"]);
    assert_eq!(of("cspc").pools, ["p-a", "p-b"]);
    // Restarting a pool is felt by whoever uses a volume on it.
    assert_eq!(of("p-a").workloads, volume.workloads);
    assert_eq!(volume.workloads.len(), 1);
}

#[test]
fn what_is_there_already_needs_no_plan_and_one_line() {
    let (tasks, left) = outcome(&fleet(), &usual("3.6.0"), &request());
    assert_eq!(tasks, [""; 0]);
    assert_eq!(left, left_out(&["* already_there"]));
}

#[test]
fn one_pool_alone_can_be_chosen_and_leaves_its_cluster_open() {
    let only = Request { resources: vec![ResourceName::parse("cspc/p-a").unwrap()], ..request() };
    let (tasks, left) = outcome(&fleet(), &usual("3.5.0"), &only);
    assert_eq!(tasks, ["p-a"]);
    assert_eq!(left, left_out(&["p-b not_selected", "cspc not_selected", "pvc-1 not_selected", "pvc-2 not_selected"]));
    let group = fleet_with("waves: [{name: all}]", "openebs: 3.6.0, resources: {kinds: [cstorPoolCluster]}");
    assert_eq!(outcome(&group, &usual("3.5.0"), &request()).0, ["p-a", "p-b", "cspc"]);
}

#[test]
fn what_depends_on_a_pool_that_stays_behind_stays_behind_with_it() {
    let mut inventory = usual("3.5.0");
    inventory.resources[2].health = Condition::Fails("OFFLINE".into());
    let (tasks, left) = outcome(&fleet(), &inventory, &request());
    assert_eq!(tasks, ["p-b", "pvc-2"]);
    assert_eq!(left, left_out(&["p-a unhealthy", "cspc pools_behind", "pvc-1 pools_behind"]));
}

#[test]
fn what_a_jiva_volume_was_last_seen_doing_holds_back_only_executors_that_do_not_ask_its_controller() {
    let mut volume = resource(K::JivaVolume, "pvc-j", "3.5.0");
    volume.health = Condition::Fails("volume pvc-j is Syncing (RO)".into());
    let seen = inventory(vec![volume]);
    let by = |maker: &str| fleet_with("waves: [{name: all}]", &format!("openebs: 3.6.0, executor: {{use: {maker}}}"));
    assert_eq!(outcome(&by("fleetlift"), &seen, &request()).0, ["pvc-j"]);
    assert_eq!(outcome(&by("openebs"), &seen, &request()).1, left_out(&["pvc-j unhealthy"]));
}

#[test]
fn a_control_plane_that_is_behind_holds_back_only_what_it_looks_after() {
    let mut inventory = usual("3.5.0");
    inventory.control_plane[2].versions = vec!["3.5.0".into()];
    let (tasks, left) = outcome(&fleet(), &inventory, &request());
    assert_eq!(tasks, ["p-a", "p-b", "cspc", "pvc-1"]);
    assert_eq!(left, left_out(&["pvc-2 control_plane_behind"]));
}

#[test]
fn versions_that_no_executor_takes_are_left_out_with_the_reason() {
    let inventory = inventory(vec![
        resource(K::JivaVolume, "too-old", "1.0.0"),
        resource(K::JivaVolume, "later", "3.7.0"),
        resource(K::LegacyJivaVolume, "legacy", "2.12.0"),
    ]);
    let (_, left) = outcome(&fleet(), &inventory, &request());
    assert_eq!(left, left_out(&["too-old version_jump_unsupported", "later downgrade", "legacy engine_ended"]));
}

#[test]
fn what_other_hands_work_on_is_left_alone() {
    let mut inventory = usual("3.5.0");
    let cspc = ResourceRef { kind: K::CstorPoolCluster, name: "cspc".into() };
    inventory.under_way = vec![UnderWay { by: "Job/mine".into(), resources: vec![cspc] }];
    let (tasks, left) = outcome(&fleet(), &inventory, &request());
    assert_eq!(tasks, ["pvc-2"]);
    assert_eq!(left, left_out(&["p-a busy", "p-b busy", "cspc busy", "pvc-1 pools_behind"]));
}

#[test]
fn what_was_left_half_done_is_planned_as_a_repair_where_its_origin_is_known() {
    let mut there = mixed(resource(K::JivaVolume, "there", "3.6.0"), &["3.6.0"]);
    there.version = Some(Version::new(3, 6, 0));
    let mut inventory = inventory(vec![
        mixed(resource(K::JivaVolume, "mixed", "3.5.0"), &["3.5.0", "3.6.0", "3.5.0"]),
        mixed(resource(K::JivaVolume, "elsewhere", "3.5.0"), &["3.4.0", "3.5.0"]),
        mixed(resource(K::JivaVolume, "garbled", "3.5.0"), &["3.5.0", "latest"]),
        there.clone(),
        Resource { id: ResourceRef { kind: K::JivaVolume, name: "told".into() }, ..there },
    ]);
    inventory.resources[0].health = Condition::Fails("not rolled out".into());
    let told = ResourceRef { kind: K::JivaVolume, name: "told".into() };
    inventory.history = vec![PastUpgrade {
        name: "upgrade-jiva-csi-volume-told".into(),
        resource: Some(told),
        from: "3.3.0".into(),
        to: "3.6.0".into(),
        phase: "Error".into(),
        completed_at: None,
    }];
    let (plan, report) = plan_of(&fleet(), &[(cluster(1), inventory)], &request()).unwrap();
    let tasks: Vec<(String, String, bool)> = plan.waves[0].targets[0]
        .tasks
        .iter()
        .map(|task| (task.resource.name.clone(), task.from.to_string(), task.repair))
        .collect();
    assert_eq!(tasks, [("mixed".into(), "3.5.0".into(), true), ("told".into(), "3.3.0".into(), true)]);
    let codes: Vec<&str> = report.left_out.iter().map(|left_out| left_out.code.as_str()).collect();
    assert_eq!(codes, ["half_done", "half_done", "half_done"]);
}

#[test]
fn a_mixed_pool_cluster_is_finished_and_closed() {
    let mut inventory = usual("3.5.0");
    inventory.resources[1] = pool("p-b", "cspc", "3.6.0");
    inventory.resources[3].half_done = Some("instances of mixed versions".into());
    let (tasks, left) = outcome(&fleet(), &inventory, &request());
    assert_eq!(tasks, ["p-a", "cspc", "pvc-1", "pvc-2"]);
    assert_eq!(left, left_out(&["p-b already_there"]));
}

#[test]
fn volumes_in_use_are_refused_warned_about_or_allowed_as_the_strategy_says() {
    let inventory = inventory(vec![
        pool("p-a", "cspc", "3.5.0"),
        pool("p-b", "cspc", "3.5.0"),
        pool("p-c", "cspc", "3.5.0"),
        used(volume("alone", &["p-a"], "3.5.0")),
        used(volume("twice", &["p-b", "p-c"], "3.5.0")),
        volume("idle", &["p-b"], "3.5.0"),
    ]);
    let by = |attached: &str| fleet_with(&format!("attached: {attached}, waves: [{{name: all}}]"), "openebs: 3.6.0");
    let (tasks, left) = outcome(&by("refuse"), &inventory, &request());
    assert_eq!(tasks, ["p-b", "p-c", "idle"]);
    assert_eq!(left, left_out(&["p-a attached", "alone pools_behind", "twice attached"]));
    for (attached, warnings) in [("warn", 1), ("allow", 0)] {
        let (plan, report) = plan_of(&by(attached), &[(cluster(1), inventory.clone())], &request()).unwrap();
        assert_eq!(plan.waves[0].targets[0].tasks.len(), 6);
        let in_use = report.warnings.iter().filter(|warning| warning.contains("in use")).count();
        assert_eq!(in_use, warnings, "{:?}", report.warnings);
    }
}

#[test]
fn volumes_whose_users_could_not_be_read_are_not_taken_for_idle() {
    let hidden = |resource: Resource| Resource {
        users_unknown: Some("the right to list pods in namespace shop is missing".into()),
        ..resource
    };
    let inventory = inventory(vec![
        pool("p-a", "cspc", "3.5.0"),
        pool("p-b", "cspc", "3.5.0"),
        hidden(volume("alone", &["p-a"], "3.5.0")),
        hidden(used(volume("used", &["p-b"], "3.5.0"))),
        hidden(resource(K::JivaVolume, "pvc-2", "3.5.0")),
    ]);
    let by = |attached: &str| fleet_with(&format!("attached: {attached}, waves: [{{name: all}}]"), "openebs: 3.6.0");
    let (tasks, left) = outcome(&by("refuse"), &inventory, &request());
    assert_eq!(tasks, Vec::<String>::new());
    let codes = ["p-a users_unknown", "alone pools_behind", "p-b attached", "used pools_behind", "pvc-2 users_unknown"];
    assert_eq!(left, left_out(&codes));
    let known = [(cluster(1), inventory)];
    let (_, report) = plan_of(&by("refuse"), &known, &request()).unwrap();
    let why = &report.left_out.iter().find(|left_out| left_out.code == "users_unknown").unwrap().why;
    assert!(why.contains("the right to list pods in namespace shop") && why.contains("cluster check"), "{why}");
    for (attached, warnings) in [("warn", 2), ("allow", 0)] {
        let (plan, report) = plan_of(&by(attached), &known, &request()).unwrap();
        assert_eq!(plan.waves[0].targets[0].tasks.len(), 5);
        let unknown = report.warnings.iter().filter(|warning| warning.contains("is in use is not known")).count();
        assert_eq!(unknown, warnings, "{:?}", report.warnings);
    }
}

#[test]
fn clusters_that_cannot_be_planned_are_left_out_whole_with_the_reason() {
    let mut quarantined = cluster(1);
    quarantined.state = ClusterState::Quarantined { why: "it answered as another".into() };
    let mut removed = cluster(2);
    removed.state = ClusterState::Removed { at: NOW };
    let mut silent = cluster(3);
    silent.reach.failing = Some(Failing { since: NOW, error: "connect timed out".into() });
    let (unread, old, silent_but_read, misread) =
        (cluster(4), cluster(5), Cluster { reach: silent.reach.clone(), ..cluster(6) }, cluster(7));
    let recent = usual("3.5.0");
    let stale = Inventory { taken_at: NOW - Duration::from_hours(25), ..usual("3.5.0") };
    let known = [
        Known { cluster: &quarantined, inventory: Some(&recent), overtaken: false, unreadable: None },
        Known { cluster: &removed, inventory: Some(&recent), overtaken: false, unreadable: None },
        Known { cluster: &silent, inventory: Some(&stale), overtaken: false, unreadable: None },
        Known { cluster: &unread, inventory: None, overtaken: false, unreadable: None },
        Known { cluster: &old, inventory: Some(&stale), overtaken: false, unreadable: None },
        Known { cluster: &misread, inventory: None, overtaken: false, unreadable: Some("an older version's") },
        Known { cluster: &silent_but_read, inventory: Some(&recent), overtaken: false, unreadable: None },
    ];
    let (plan, report) = plan(&fleet(), &known, &request(), &rules()).unwrap();
    let codes: Vec<(&str, &str)> =
        report.left_out.iter().map(|left_out| (left_out.cluster.as_str(), left_out.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            ("c001", "quarantined"),
            ("c003", "unreachable"),
            ("c004", "inventory_missing"),
            ("c005", "inventory_too_old"),
            ("c007", "inventory_unreadable")
        ]
    );
    let way_out = |name: &str| format!("`fleetlift cluster check {name} --release`");
    assert!(report.left_out[0].why.contains(&way_out("c001")), "{:?}", report.left_out[0]);
    assert_eq!(plan.waves[0].targets[0].name, "c006");
    assert!(report.warnings.iter().any(|warning| warning.contains("deferred") && warning.contains("c006")));
}

#[test]
fn a_cluster_in_two_groups_is_an_error_that_names_both() {
    let mut both = cluster(1);
    both.labels.insert("lab".into(), "x".into());
    let error = plan_of(&fleet(), &[(both, usual("3.5.0"))], &request()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "c001 is in groups labs and stores; change a selector or a label so that each cluster has one group"
    );
}

#[test]
fn what_is_asked_for_and_not_there_is_an_error() {
    let known = [(cluster(1), usual("3.5.0"))];
    let strangers = Request { clusters: vec!["c001".into(), "x".into()], ..request() };
    assert!(plan_of(&fleet(), &known, &strangers).unwrap_err().to_string().contains("not in group `stores`: x"));
    let nowhere = Request { group: "shops".into(), ..request() };
    assert!(plan_of(&fleet(), &known, &nowhere).unwrap_err().to_string().contains("the fleet has labs, stores"));
}

#[test]
fn another_version_can_be_asked_for_unless_images_are_pinned() {
    let to = Request { to: Some(Version::new(3, 5, 0)), ..request() };
    let mut inventory = usual("3.4.0");
    for component in &mut inventory.control_plane {
        component.versions = vec!["3.5.0".into()];
    }
    let (plan, _) = plan_of(&fleet(), &[(cluster(1), inventory.clone())], &to).unwrap();
    assert_eq!(plan.to, Version::new(3, 5, 0));
    assert!(plan.waves[0].targets[0].tasks.iter().all(|task| task.to == plan.to));
    let pinned = fleet_with("waves: [{name: all}]", "openebs: 3.6.0, images: {tag: 3.6.0-1}");
    assert!(matches!(plan_of(&pinned, &[(cluster(1), inventory)], &to), Err(CannotPlan::Pinned { .. })));
}

#[test]
fn foreign_images_are_refused_unless_the_daemon_allows_their_repository() {
    let known = [(cluster(1), usual("3.5.0"))];
    let known: Vec<Known<'_>> = known
        .iter()
        .map(|(cluster, inventory)| Known { cluster, inventory: Some(inventory), overtaken: false, unreadable: None })
        .collect();
    let with = |target: &str, images: &[&str]| {
        let fleet = fleet_with("waves: [{name: all}]", &format!("openebs: 3.6.0, {target}"));
        let rules = Rules { images: images.iter().map(|&image| image.to_owned()).collect(), ..rules() };
        plan(&fleet, &known, &request(), &rules).map(|_| ())
    };
    let foreign = "executor: {image: \"evil.example.com/openebs/upgrade:3.6.0\"}";
    assert!(matches!(with(foreign, &[]), Err(CannotPlan::ImageNotAllowed { field: "target.executor.image", .. })));
    assert_eq!(with(foreign, &["evil.example.com/openebs"]), Ok(()));
    assert_eq!(with("executor: {image: \"fleetlift/executor:9\"}", &[]), Ok(()));
    let mirror = "images: {prefix: mirror.example.com/}";
    assert!(matches!(
        with(mirror, &["example.com"]),
        Err(CannotPlan::ImageNotAllowed { field: "target.images.prefix", .. })
    ));
    assert_eq!(with(mirror, &["mirror.example.com"]), Ok(()));
}

#[test]
fn waves_take_what_earlier_ones_left() {
    let known: Vec<(Cluster, Inventory)> = (1..=10).map(|number| (cluster(number), usual("3.5.0"))).collect();
    let names = |plan: &Plan| -> Vec<Vec<String>> {
        plan.waves.iter().map(|wave| wave.targets.iter().map(|target| target.name.clone()).collect()).collect()
    };
    let (plan, report) = plan_of(&fleet(), &known, &request()).unwrap();
    let sizes: Vec<usize> = names(&plan).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 4, 5]);
    assert_eq!(report.warnings, [""; 0]);

    let by = |strategy: &str| plan_of(&fleet_with(strategy, "openebs: 3.6.0"), &known, &request());
    let (plan, report) =
        by("uncovered: warn, waves: [{name: two, names: [c009, c002, c077]}, {name: three, size: 3}]").unwrap();
    assert_eq!(names(&plan), [vec!["c002", "c009"], vec!["c001", "c003", "c004"]]);
    assert_eq!(report.left_out.iter().filter(|left_out| left_out.code == "uncovered").count(), 5);
    assert!(report.warnings.iter().any(|warning| warning.contains("c077")));
    let (plan, _) = by("uncovered: lastWave, waves: [{name: one, size: 1}, {name: two, size: 1}]").unwrap();
    assert_eq!(names(&plan).iter().map(Vec::len).collect::<Vec<_>>(), [1, 9]);
    let error = by("waves: [{name: one, size: 8}]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no wave of strategy `s` takes c009, c010; add a wave without size, selector and names, or set `uncovered`"
    );
}

#[test]
fn a_time_holds_the_first_wave_back() {
    let at = Timestamp::from_micros(NOW.as_micros() + 1_000_000);
    let later = Request { at: Some(at), ..request() };
    let (plan, _) = plan_of(&fleet(), &[(cluster(1), usual("3.5.0"))], &later).unwrap();
    assert_eq!((plan.strategy.waves[0].start, plan.strategy.waves[1].start), (Some(at), None));
}

#[test]
fn what_the_canaries_do_not_exercise_is_said() {
    let mut other = usual("3.5.0");
    other.resources[4] = resource(K::JivaVolume, "pvc-2", "3.4.0");
    let known = [(cluster(1), usual("3.5.0")), (cluster(2), other)];
    let (plan, report) = plan_of(&fleet(), &known, &request()).unwrap();
    assert_eq!(
        report.warnings.last().map(String::as_str),
        Some("wave canary does not exercise jivaVolume from 3.4.0 (1 cluster)")
    );
    let text = summary(&plan, &report);
    for line in [
        "Group stores of fleet f to OpenEBS 3.6.0: 10 tasks in 2 clusters",
        "jivaVolume from 3.4.0: 0 of 1   not exercised",
        "  c001: 5 tasks, about 11m 40s (2 cStor pool instances, 1 cStor pool cluster, 1 cStor volume, 1 Jiva volume)",
        "    3. cstorPoolCluster/cspc 3.5.0 → 3.6.0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_digest_names_the_content_and_survives_a_round_trip() {
    let known = [(cluster(1), usual("3.5.0"))];
    let (plan, _) = plan_of(&fleet(), &known, &request()).unwrap();
    let (body, digest) = plan.canonical().unwrap();
    let again: Plan = serde_json::from_str(&body).unwrap();
    assert_eq!(again.canonical().unwrap(), (body, digest.clone()));
    let (changed, _) = plan_of(&fleet(), &[(cluster(1), usual("3.4.0"))], &request()).unwrap();
    assert_ne!(changed.canonical().unwrap().1, digest);
}

/// Any cluster: pools of both engines, volumes on any of them, at any version, in any condition.
fn any_inventory() -> impl proptest::strategy::Strategy<Value = Inventory> {
    let version = prop::sample::select(vec!["1.0.0", "2.12.0", "3.4.0", "3.5.0", "3.6.0"]);
    let condition = prop::sample::select(vec![
        Condition::Holds,
        Condition::Holds,
        Condition::Holds,
        Condition::Fails("x".into()),
        Condition::Unknown("y".into()),
    ]);
    let part =
        (0_usize..8, 0_usize..4, version, condition, any::<bool>(), prop::collection::vec(0_usize..4, 0..3), 0_u8..6);
    (prop::collection::vec(part, 0..14), any::<bool>()).prop_map(|(parts, is_behind)| {
        let mut resources = BTreeMap::new();
        for (kind, number, version, health, is_used, pools, odd) in parts {
            let kind = K::ALL[kind];
            let mut found = resource(kind, &format!("r{number}"), version);
            found.health = health;
            found.parent = kinds::of(kind).parent.map(|kind| ResourceRef { kind, name: format!("r{}", number / 2) });
            found.pools = pools.iter().map(|pool| format!("r{pool}")).collect();
            if is_used {
                found = used(found);
            }
            if odd == 0 {
                found = mixed(found, &[version, "3.6.0"]);
            }
            resources.insert(found.id.clone(), found);
        }
        let mut inventory = inventory(resources.into_values().collect());
        if is_behind {
            inventory.control_plane[1].versions = vec!["3.5.0".into(), "3.6.0".into()];
        }
        inventory
    })
}

proptest! {
    // Each case plans a whole fleet: enough of them, and the suite stays quick.
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn every_resource_is_planned_or_left_out_with_a_reason_and_never_both(inventory in any_inventory()) {
        let fleet = fleet();
        let group = &fleet.groups["stores"];
        for attached in [crate::domain::fleet::Attached::Warn, crate::domain::fleet::Attached::Refuse] {
            let order = tasks::Order { target: &group.target, also_only: &[], attached };
            let found = tasks::of("c", &inventory, &order);
            let planned = found.tasks.iter().map(|task| task.resource.clone());
            let left = found.left_out.iter().filter_map(|left_out| left_out.resource.clone());
            let mut all: Vec<ResourceRef> = planned.chain(left).collect();
            all.sort();
            let mut expected: Vec<ResourceRef> = inventory.resources.iter().map(|resource| resource.id.clone()).collect();
            expected.sort();
            prop_assert_eq!(all, expected);
            prop_assert!(found.left_out.iter().all(|left_out| !left_out.code.is_empty() && !left_out.why.is_empty()));
        }
    }

    #[test]
    fn nothing_is_planned_before_what_it_needs(inventory in any_inventory()) {
        let fleet = fleet();
        let order = tasks::Order { target: &fleet.groups["stores"].target, also_only: &[], attached: crate::domain::fleet::Attached::Allow };
        let found = tasks::of("c", &inventory, &order);
        let mut ready: BTreeSet<ResourceRef> = inventory.resources.iter()
            .filter(|r| r.half_done.is_none() && r.version == Some(Version::new(3, 6, 0))).map(|r| r.id.clone()).collect();
        for task in &found.tasks {
            let own = inventory.resource(&task.resource).unwrap();
            for child in inventory.resources.iter().filter(|child| child.parent.as_ref() == Some(&task.resource)) {
                prop_assert!(ready.contains(&child.id), "{} before {}", task.resource, child.id);
            }
            if task.resource.kind == K::CstorVolume {
                for pool in &own.pools {
                    let pool = ResourceRef { kind: K::CstorPoolInstance, name: pool.clone() };
                    prop_assert!(ready.contains(&pool), "{} before {}", task.resource, pool);
                }
            }
            prop_assert!(task.from.cmp_release(&task.to).is_lt());
            ready.insert(task.resource.clone());
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_plan_in_whatever_order_they_come(
        inventories in prop::collection::vec(any_inventory(), 1..8), seed in any::<u64>()
    ) {
        let fleet = fleet();
        let known: Vec<(Cluster, Inventory)> = inventories.into_iter().enumerate().map(|(n, inventory)| (cluster(n), inventory)).collect();
        let mut other = known.clone();
        other.sort_by_key(|(cluster, _)| shuffled(&cluster.name, seed));
        for (_, inventory) in &mut other {
            inventory.resources.reverse();
        }
        let (a, a_report) = plan_of(&fleet, &known, &request()).unwrap();
        let (mut b, b_report) = plan_of(&fleet, &other, &request()).unwrap();
        // Only the inventories' digests may tell the order of their resources.
        for (a, b) in a.waves.iter().zip(&mut b.waves) {
            for (a, b) in a.targets.iter().zip(&mut b.targets) {
                b.inventory = a.inventory.clone();
            }
        }
        prop_assert_eq!(a.canonical().unwrap(), b.canonical().unwrap());
        prop_assert_eq!(a_report, b_report);
    }

    #[test]
    fn once_carried_out_the_same_request_plans_nothing_of_it_again(inventory in any_inventory()) {
        let fleet = fleet();
        let (plan, _) = plan_of(&fleet, &[(cluster(1), inventory.clone())], &request()).unwrap();
        let done: BTreeSet<ResourceRef> = plan.waves.iter().flat_map(|wave| &wave.targets).flat_map(|target| &target.tasks)
            .map(|task| task.resource.clone()).collect();
        let mut after = inventory;
        for found in after.resources.iter_mut().filter(|found| done.contains(&found.id)) {
            found.version = Some(Version::new(3, 6, 0));
            found.versions.clear();
            found.half_done = None;
        }
        let (again, _) = plan_of(&fleet, &[(cluster(1), after)], &request()).unwrap();
        let repeated = again.waves.iter().flat_map(|wave| &wave.targets).flat_map(|target| &target.tasks)
            .filter(|task| done.contains(&task.resource)).count();
        prop_assert_eq!(repeated, 0);
    }

    #[test]
    fn each_cluster_is_in_one_wave_at_most(size in 1_u32..9, percent in 1_u8..=100, count in 1_usize..30) {
        let strategy = format!("waves: [{{name: a, size: {size}}}, {{name: b, size: {percent}%}}], uncovered: lastWave");
        let fleet = fleet_with(&strategy, "openebs: 3.6.0");
        let known: Vec<(Cluster, Inventory)> = (0..count).map(|n| (cluster(n), usual("3.5.0"))).collect();
        let (plan, _) = plan_of(&fleet, &known, &request()).unwrap();
        let names: Vec<&str> = plan.waves.iter().flat_map(|wave| &wave.targets).map(|target| target.name.as_str()).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        prop_assert_eq!((names.len(), distinct.len()), (count, count));
    }
}

/// A place in an order that depends on nothing but the seed.
fn shuffled(name: &str, seed: u64) -> crate::domain::PlanDigest {
    crate::domain::PlanDigest::of(format!("{name}{seed}").as_bytes())
}
