//! The promises, one function each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleetlift::audit::chain;
use fleetlift::domain::Timestamp;
use fleetlift::domain::attempt::Outcome;
use fleetlift::domain::budget::{Claim, Scope, Usage};
use fleetlift::domain::cluster::{ClusterState, Failing, Reach, SealedCredential, Sealing, StoredCredential};
use fleetlift::domain::event::{Event, EventType, Subject};
use fleetlift::domain::observation::ResourceSeen;
use fleetlift::domain::rollout::{Approval, PauseCause, RolloutState, Verdict, Wave};
use fleetlift::domain::target::{Deferral, SkipReason, Target, TargetState, Task, TaskState};
use fleetlift::domain::{InventoryDigest, PlanDigest, Revision};
use fleetlift::store::{
    InventoryTurn, NewHub, ResultQuery, Retry, RolloutChange, SlotHolder, Store, StoreError, StoredFleet,
    StoredInventory, StoredToken,
};
use fleetlift::system::SystemEntropy;
use futures::future::join_all;

use crate::arrange::*;

macro_rules! promises {
    ($backend:expr) => {
        super::contract::promises!(@each $backend;
            the_hub_keeps_its_first_id,
            a_cluster_comes_back_as_it_was_registered,
            each_cluster_is_registered_or_refused_by_itself,
            one_cluster_has_one_name,
            one_identity_elsewhere_is_another_cluster,
            of_two_daemons_one_names_a_cluster,
            a_cluster_is_changed_only_by_who_read_it_last,
            a_removed_cluster_keeps_its_row_but_not_its_credential_or_name,
            a_replaced_credential_does_not_come_back,
            clusters_come_in_pages_by_name,
            inventories_are_shared_out_once_and_never_go_back,
            a_silent_cluster_is_tried_ever_more_rarely_and_apart_from_the_others,
            an_inventory_is_read_again_at_once_when_a_rollout_is_done_with_its_cluster,
            inventories_can_be_asked_for_anew_and_are_named_by_their_content,
            whoever_holds_a_slot_is_named_with_its_rollout,
            fleets_and_plans_come_back_as_they_were,
            a_fleet_is_replaced_only_over_the_one_that_was_read,
            a_rollout_comes_back_as_it_was_started,
            a_rollout_is_followed_by_what_changed,
            a_plan_is_carried_out_by_one_rollout_at_a_time,
            a_rollout_is_changed_only_by_who_read_it_last,
            a_rollout_takes_waiting_targets_with_it_or_nothing,
            nothing_starts_in_a_rollout_that_is_not_running,
            budgets_are_never_exceeded,
            the_first_full_scope_is_named_and_nothing_is_taken,
            slots_are_given_back_exactly_once,
            a_due_target_is_given_out_once,
            a_step_under_way_survives_that_its_target_is_given_out_again,
            a_step_that_goes_on_is_given_out_to_nobody,
            a_call_during_a_step_is_answered_by_another_step,
            a_target_says_whose_it_is,
            a_step_that_lost_its_fence_writes_nothing,
            a_target_passes_to_another_daemon_when_its_lease_ends,
            a_released_lease_frees_its_targets_at_once,
            a_slow_daemon_that_nobody_missed_keeps_its_epoch,
            an_attempt_is_written_before_and_closed_once,
            one_attempt_of_a_task_is_open_and_no_more_than_allowed,
            an_attempt_that_was_not_begun_costs_none,
            a_failed_target_can_be_tried_again,
            a_running_target_is_not_tried_again,
            a_finished_rollout_runs_again_with_what_is_tried_again_or_stays_as_it_is,
            results_come_in_the_order_of_the_plan,
            events_form_one_chain_whoever_writes,
            a_refused_change_leaves_no_event,
            followers_are_woken_by_commits,
            events_can_be_read_by_rollout,
            a_clusters_history_in_a_rollout_is_its_last_events,
            tokens_are_found_by_their_hash_and_revoked_once,
            the_last_administrators_token_is_never_revoked,
            an_answer_is_kept_for_the_first_who_gives_it,
        );
    };
    (@each $backend:expr; $($name:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let backend = $backend;
            super::contract::$name(&backend).await;
        }
    )*};
}
pub(crate) use promises;

pub async fn the_hub_keeps_its_first_id(backend: &dyn Backend) {
    let (one, other) = (backend.open().await, backend.open().await);
    let first = one.hub(NewHub { id: hub_id(), at: NOW }).await.unwrap();
    let second = other.hub(NewHub { id: hub_id(), at: NOW + Duration::from_secs(1) }).await.unwrap();
    assert_eq!(first, second);
    one.set_sealing_check("check").await.unwrap();
    one.set_sealing_check("check").await.unwrap();
    assert!(is_conflict(one.set_sealing_check("another").await));
    let rotated = || vec![event(EventType::SealingKeyRotated)];
    assert!(is_conflict(one.replace_sealing_check("never", "another", rotated()).await));
    one.replace_sealing_check("check", "another", rotated()).await.unwrap();
    one.set_sealing_check("another").await.unwrap();
    assert_eq!(one.hub(NewHub { id: hub_id(), at: NOW }).await.unwrap().sealing_check.as_deref(), Some("another"));
    assert_eq!(one.events(0, None, 10).await.unwrap().len(), 2);
}

pub async fn a_cluster_comes_back_as_it_was_registered(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut new = new_cluster("berlin");
    new.cluster.time_zone = Some("Europe/Berlin".into());
    new.cluster.egress = Some("vpn".into());
    // Postgres has no NUL in its texts.
    new.cluster.identity = Some("u\0id".into());
    new.cluster.credential_expires_at = Some(NOW);
    new.cluster.labels.insert("größe".into(), "\u{1}\"' $1 🚂".into());
    let (mut cluster, credential) = (new.cluster.clone(), new.credential.clone());
    cluster.identity = Some("u\u{fffd}id".into());
    store.register_clusters(vec![new]).await.unwrap().remove(0).unwrap();
    assert_eq!(store.cluster_named("berlin").await.unwrap(), cluster);
    assert_eq!(store.credential(cluster.id).await.unwrap().sealed, credential);
    let failing = Some(Failing { since: NOW, error: "refused\0 by a hostile one".into() });
    let reach = Reach { seen_at: Some(NOW), failing, back_at: Some(NOW) };
    store.record_reach(cluster.id, &reach).await.unwrap();
    assert_eq!(store.cluster(cluster.id).await.unwrap(), fleetlift::domain::cluster::Cluster { reach, ..cluster });
    assert!(matches!(store.cluster_named("rome").await, Err(StoreError::NotFound { what: "cluster", .. })));
    assert!(matches!(store.cluster(cluster_id()).await, Err(StoreError::NotFound { what: "cluster", .. })));
}

pub async fn each_cluster_is_registered_or_refused_by_itself(backend: &dyn Backend) {
    let store = backend.open().await;
    let new = ["a", "b", "a", "c"].map(new_cluster).to_vec();
    let answers = store.register_clusters(new).await.unwrap();
    let refused: Vec<_> = answers.iter().map(|answer| matches!(answer, Err(StoreError::Exists { .. }))).collect();
    assert_eq!(refused, [false, false, true, false]);
    assert_eq!(store.events(0, None, 10).await.unwrap().len(), 3);
    assert_eq!(store.count_clusters().await.unwrap().into_iter().collect::<Vec<_>>(), [("active".to_owned(), 3)]);
}

fn identified(name: &str, identity: &str) -> fleetlift::store::NewCluster {
    let mut new = new_cluster(name);
    new.cluster.identity = Some(identity.to_owned());
    new
}

pub async fn one_cluster_has_one_name(backend: &dyn Backend) {
    let store = backend.open().await;
    let new = vec![identified("a", "x"), identified("b", "x"), new_cluster("c")];
    let answers = store.register_clusters(new).await.unwrap();
    let is_a = |refused: &StoreError| matches!(refused, StoreError::SameCluster { name } if name == "a");
    assert!(matches!(&answers[..], [Ok(()), Err(refused), Ok(())] if is_a(refused)), "{answers:?}");
    let c = store.cluster_named("c").await.unwrap();
    let told = || vec![event(EventType::ClusterIdentified)];
    assert!(is_a(&store.identify_cluster(c.id, "x", told()).await.unwrap_err()));
    let posing = fleetlift::domain::cluster::Cluster { identity: Some("x".into()), ..c.clone() };
    assert!(is_a(&store.change_cluster(&posing, vec![]).await.unwrap_err()));
    let known = store.identify_cluster(c.id, "y", told()).await.unwrap();
    assert_eq!((known.identity.as_deref(), known.version), (Some("y"), c.version + 1));
    // Once, and only by its own event.
    assert_eq!(store.identify_cluster(c.id, "z", told()).await.unwrap(), known);
    assert_eq!(store.events(0, None, 10).await.unwrap().len(), 3);
    let a = store.cluster_named("a").await.unwrap();
    let removed = fleetlift::domain::cluster::Cluster { state: ClusterState::Removed { at: NOW }, ..a };
    store.change_cluster(&removed, vec![]).await.unwrap();
    store.register_clusters(vec![identified("d", "x")]).await.unwrap().remove(0).unwrap();
}

pub async fn one_identity_elsewhere_is_another_cluster(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut cloned = identified("cloned", "x");
    cloned.cluster.server = "https://192.0.2.8:6443".into();
    let mut beside = identified("beside", "x");
    beside.cluster.namespace = "storage".into();
    for answer in store.register_clusters(vec![identified("a", "x"), cloned, beside]).await.unwrap() {
        answer.unwrap();
    }
}

pub async fn of_two_daemons_one_names_a_cluster(backend: &dyn Backend) {
    let (one, other) = (backend.open().await, backend.open().await);
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    let register = |(store, name): (&Arc<dyn Store>, &String)| {
        let (store, new) = (Arc::clone(store), identified(name, "x"));
        async move { store.register_clusters(vec![new]).await.unwrap().remove(0) }
    };
    let answers = join_all([&one, &other].into_iter().cycle().zip(&names).map(register)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(one.clusters(None, 100).await.unwrap().len(), 1);
}

pub async fn a_cluster_is_changed_only_by_who_read_it_last(backend: &dyn Backend) {
    let store = backend.open().await;
    store.register_clusters(vec![new_cluster("a")]).await.unwrap().remove(0).unwrap();
    let mut cluster = store.cluster_named("a").await.unwrap();
    cluster.state = ClusterState::Quarantined { why: "it is another one".into() };
    let changed = store.change_cluster(&cluster, vec![event(EventType::ClusterQuarantined)]).await.unwrap();
    assert_eq!(changed.version, cluster.version + 1);
    assert!(is_conflict(store.change_cluster(&cluster, vec![event(EventType::ClusterChanged)]).await));
    assert_eq!(store.cluster(cluster.id).await.unwrap(), changed);
    assert_eq!(store.events(0, None, 10).await.unwrap().len(), 2);
}

pub async fn a_removed_cluster_keeps_its_row_but_not_its_credential_or_name(backend: &dyn Backend) {
    let store = backend.open().await;
    store.register_clusters(vec![new_cluster("a")]).await.unwrap().remove(0).unwrap();
    let mut cluster = store.cluster_named("a").await.unwrap();
    cluster.state = ClusterState::Removed { at: NOW };
    let removed = store.change_cluster(&cluster, vec![]).await.unwrap();
    assert!(matches!(store.credential(cluster.id).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.cluster_named("a").await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.cluster(cluster.id).await.unwrap(), removed);
    assert_eq!(store.clusters(None, 10).await.unwrap(), []);
    assert!(is_conflict(store.change_cluster(&removed, vec![]).await));
    store.register_clusters(vec![new_cluster("a")]).await.unwrap().remove(0).unwrap();
    assert_ne!(store.cluster_named("a").await.unwrap().id, cluster.id);
}

pub async fn a_replaced_credential_does_not_come_back(backend: &dyn Backend) {
    let store = backend.open().await;
    store.register_clusters(vec![new_cluster("a")]).await.unwrap().remove(0).unwrap();
    let cluster = store.cluster_named("a").await.unwrap();
    let newer =
        SealedCredential { version: 2, envelope: vec![9], ca_pem: "c1".into(), tls_server_name: Some("edge".into()) };
    let sealing = Sealing { version: 2, ciphertext_sha256: "c1".into() };
    let mut told = sealing.told_by(event(EventType::CredentialRotated));
    told.subject.cluster = Some(cluster.id);
    let cluster = store.replace_credential(&cluster, newer.clone(), vec![told]).await.unwrap();
    let old =
        SealedCredential { version: 2, envelope: vec![8], ca_pem: "c2".into(), tls_server_name: Some("edge".into()) };
    assert!(is_conflict(store.replace_credential(&cluster, old, vec![]).await));
    let stored = store.credential(cluster.id).await.unwrap();
    assert_eq!(stored, StoredCredential { sealed: newer, last: Some(sealing) });
    let sealed = stored.sealed;
    store.rewrap_credential(cluster.id, &sealed, vec![9; 8]).await.unwrap();
    assert_eq!(
        store.credential(cluster.id).await.unwrap().sealed,
        SealedCredential { envelope: vec![9; 8], ..sealed.clone() }
    );
    assert!(is_conflict(store.rewrap_credential(cluster.id, &sealed, vec![8; 8]).await));
    // The refused replacement left the row beside it alone, too.
    assert_eq!(store.cluster(cluster.id).await.unwrap().version, cluster.version);
}

pub async fn clusters_come_in_pages_by_name(backend: &dyn Backend) {
    let store = backend.open().await;
    // Byte order, the same on both databases whatever their locale.
    let names = ["a", "B", "b-1", "b.1", "é", "Z"];
    for registered in store.register_clusters(names.map(new_cluster).to_vec()).await.unwrap() {
        registered.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.clusters(after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page.into_iter().map(|cluster| cluster.name));
    }
    assert_eq!(seen, ["B", "Z", "a", "b-1", "b.1", "é"]);
}

pub async fn inventories_are_shared_out_once_and_never_go_back(backend: &dyn Backend) {
    let scene = Scene::new(backend, 6).await;
    let other = backend.open().await;
    let claim = |store: std::sync::Arc<dyn Store>| async move {
        let earlier = NOW - Duration::from_mins(1);
        store.claim_inventories(turn(NOW, earlier, NOW)).await.unwrap()
    };
    let claims = join_all([claim(scene.store.clone()), claim(other.clone())]).await.concat();
    let mut claims: Vec<_> = [claims, claim(other.clone()).await].concat();
    let claimed = claims.len();
    claims.sort_unstable();
    claims.dedup();
    assert_eq!((claims.len(), claimed), (6, 6));
    let cluster = scene.targets[0].cluster;
    let inventory = |seconds: u64, body: &str| StoredInventory {
        taken_at: NOW + Duration::from_secs(seconds),
        digest: InventoryDigest::of(body.as_bytes()),
        body: body.to_owned(),
        overtaken: false,
    };
    assert_eq!(other.inventory(cluster).await.unwrap(), None);
    other.save_inventory(cluster, inventory(2, "later")).await.unwrap();
    other.save_inventory(cluster, inventory(1, "earlier")).await.unwrap();
    assert_eq!(other.inventory(cluster).await.unwrap(), Some(inventory(2, "later")));
    let later = NOW + Duration::from_secs(1);
    let due = other.claim_inventories(InventoryTurn { limit: 10, ..turn(later, later, later) }).await.unwrap();
    assert!(!due.contains(&cluster) && due.len() == 5, "{due:?}");
}

fn turn(before: Timestamp, tried_before: Timestamp, now: Timestamp) -> InventoryTurn {
    InventoryTurn { before, tried_before, now, silent: false, limit: 4 }
}

pub async fn a_silent_cluster_is_tried_ever_more_rarely_and_apart_from_the_others(backend: &dyn Backend) {
    let store = backend.open().await;
    for registered in store.register_clusters(["a", "b", "c"].map(new_cluster).to_vec()).await.unwrap() {
        registered.unwrap();
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| store.cluster_named(name));
    let (a, b, c) = (a.await.unwrap().id, b.await.unwrap().id, c.await.unwrap().id);
    let silent_since = |minutes: u64| Reach {
        seen_at: None,
        failing: Some(Failing { since: NOW + Duration::from_mins(minutes), error: "no route".into() }),
        back_at: None,
    };
    // As the engine asks: inventories are read every quarter of an hour, and nobody twice in a minute.
    let due = |silent: bool, minutes: u64| {
        let (store, now) = (Arc::clone(&store), NOW + Duration::from_mins(minutes));
        let turn = turn(now - Duration::from_mins(15), now - Duration::from_mins(1), now);
        async move { store.claim_inventories(InventoryTurn { silent, ..turn }).await.unwrap() }
    };
    store.record_reach(a, &silent_since(0)).await.unwrap();
    let answering = due(false, 1).await;
    assert!(answering.len() == 2 && answering.contains(&b) && answering.contains(&c), "{answering:?}");
    let mut tried = Vec::new();
    for minute in 1..=80 {
        if due(true, minute).await == [a] {
            tried.push(minute);
        }
    }
    assert_eq!(tried, [1, 3, 6, 12, 24, 40, 56, 72]);
    // Whoever was tried longest ago comes first, whatever its inventory's age.
    store.record_reach(b, &silent_since(0)).await.unwrap();
    let order = due(true, 100).await;
    assert_eq!(order, [b, a]);
    store.record_reach(a, &Reach { seen_at: Some(NOW), failing: None, back_at: None }).await.unwrap();
    let answering = due(false, 102).await;
    assert!(answering.contains(&a) && !answering.contains(&b), "{answering:?}");
}

pub async fn inventories_can_be_asked_for_anew_and_are_named_by_their_content(backend: &dyn Backend) {
    let scene = Scene::new(backend, 2).await;
    let store = &scene.store;
    let at = |seconds: u64| NOW + Duration::from_secs(seconds);
    let (fresh, old) = (scene.targets[0].cluster, scene.targets[1].cluster);
    for (cluster, taken_at, body) in [(fresh, at(9), "{}"), (old, at(3), "[]")] {
        let digest = InventoryDigest::of(body.as_bytes());
        let inventory = StoredInventory { taken_at, digest, body: body.to_owned(), overtaken: false };
        store.save_inventory(cluster, inventory).await.unwrap();
    }
    let mut digests = store.inventory_digests().await.unwrap();
    digests.sort_unstable_by_key(|(cluster, _)| *cluster != fresh);
    assert_eq!(digests, [(fresh, InventoryDigest::of(b"{}")), (old, InventoryDigest::of(b"[]"))]);
    let long_ago = NOW - Duration::from_hours(1);
    assert_eq!(store.claim_inventories(turn(long_ago, long_ago, at(10))).await.unwrap(), []);
    store.refresh_inventories(vec![fresh, old], at(5), at(11)).await.unwrap();
    assert_eq!(store.claim_inventories(turn(long_ago, long_ago, at(12))).await.unwrap(), [old]);
}

pub async fn whoever_holds_a_slot_is_named_with_its_rollout(backend: &dyn Backend) {
    let scene = Scene::new(backend, 2).await;
    let berlin = Scope::Label { key: "site".into(), value: "berlin".into() };
    let claims = vec![Claim { scope: berlin.clone(), limit: 2 }, Claim { scope: Scope::Hub, limit: 9 }];
    scene.store.start_target(scene.start(1, scene.lease, claims), vec![]).await.unwrap();
    let holders = scene.store.slot_holders(vec![berlin.key(), "label/site=rome".into()]).await.unwrap();
    let rollout = scene.rollout.id;
    assert_eq!(holders, [SlotHolder { budget: berlin.key(), cluster: "edge-0001".into(), rollout }]);
}

pub async fn an_inventory_is_read_again_at_once_when_a_rollout_is_done_with_its_cluster(backend: &dyn Backend) {
    let scene = Scene::new(backend, 2).await;
    let store = &scene.store;
    let cluster = scene.targets[0].cluster;
    let at = |seconds: u64| NOW + Duration::from_secs(seconds);
    let long_ago = NOW - Duration::from_hours(1);
    let due = |now: u64| async move { store.claim_inventories(turn(long_ago, long_ago, at(now))).await.unwrap() };
    let taken = |seconds: u64| StoredInventory {
        taken_at: at(seconds),
        digest: InventoryDigest::of(b"{}"),
        body: "{}".to_owned(),
        overtaken: false,
    };
    assert_eq!(due(0).await.len(), 2);
    for target in &scene.targets {
        store.save_inventory(target.cluster, taken(0)).await.unwrap();
    }
    assert_eq!(due(1).await, []);
    // Given up before anything was begun: it runs what it ran.
    let given_up = TargetState::Deferred { reason: Deferral::Refused { error: "it forbids".into() }, retry_at: at(2) };
    let fence = scene.running(1).await;
    let step = fleetlift::store::TargetCommit { state: Some(given_up), at: at(2), ..scene.step(1, fence) };
    store.commit_target(step, vec![]).await.unwrap();
    assert!(!store.inventory(scene.targets[1].cluster).await.unwrap().unwrap().overtaken);
    assert_eq!(due(3).await, []);
    let fence = scene.running(0).await;
    let step = fleetlift::store::TargetCommit {
        state: Some(TargetState::Succeeded { at: at(5) }),
        at: at(5),
        ..scene.step(0, fence)
    };
    store.commit_target(step, vec![]).await.unwrap();
    assert!(store.inventory(cluster).await.unwrap().unwrap().overtaken);
    assert_eq!(due(6).await, [cluster]);
    // Once: whether it could be read or not.
    assert_eq!(due(7).await, []);
    // A reading that had begun before tells nothing new.
    store.save_inventory(cluster, taken(4)).await.unwrap();
    assert!(store.inventory(cluster).await.unwrap().unwrap().overtaken);
    store.save_inventory(cluster, taken(6)).await.unwrap();
    assert_eq!(store.inventory(cluster).await.unwrap().unwrap(), taken(6));
    assert_eq!(due(8).await, []);
}

pub async fn fleets_and_plans_come_back_as_they_were(backend: &dyn Backend) {
    let store = backend.open().await;
    store.hub(NewHub { id: hub_id(), at: NOW }).await.unwrap();
    assert_eq!(store.current_fleet().await.unwrap(), None);
    let first = stored_plan(store.as_ref(), "{\"n\":1}").await;
    let second = stored_plan(store.as_ref(), "{\"n\":2}").await;
    assert_eq!(store.current_fleet().await.unwrap().unwrap().revision, first.revision);
    assert_eq!(store.fleet(&first.revision).await.unwrap().applied_by, "me");
    assert_eq!(store.plan(&first.digest).await.unwrap(), first);
    let before = store.audit_head().await.unwrap().0;
    store.save_plan(first.clone(), vec![event(EventType::PlanMade)]).await.unwrap();
    assert_eq!(store.audit_head().await.unwrap().0, before);
    assert_eq!(store.plans(&second.digest.as_str()[..8], 10).await.unwrap(), [second]);
    assert_eq!(store.plans("", 10).await.unwrap().len(), 2);
    let unknown = PlanDigest::of(b"unknown");
    assert!(matches!(store.plan(&unknown).await, Err(StoreError::NotFound { what: "plan", .. })));
}

pub async fn a_fleet_is_replaced_only_over_the_one_that_was_read(backend: &dyn Backend) {
    let store = backend.open().await;
    store.hub(NewHub { id: hub_id(), at: NOW }).await.unwrap();
    let fleet = |body: &str| StoredFleet {
        revision: Revision::of(body.as_bytes()),
        body: body.to_owned(),
        applied_at: NOW,
        applied_by: "me".into(),
    };
    let (one, two, three) = (fleet("1"), fleet("2"), fleet("3"));
    let over_none = store.apply_fleet(two.clone(), Some(one.revision.clone()), vec![]).await;
    assert!(is_conflict(over_none), "there is none yet");
    store.apply_fleet(one.clone(), None, vec![]).await.unwrap();
    store.apply_fleet(two.clone(), Some(one.revision.clone()), vec![]).await.unwrap();
    let before = store.audit_head().await.unwrap().0;
    let late = store.apply_fleet(three, Some(one.revision), vec![event(EventType::FleetApplied)]).await;
    assert!(is_conflict(late));
    assert_eq!(store.current_fleet().await.unwrap(), Some(two));
    assert_eq!(store.audit_head().await.unwrap().0, before);
}

pub async fn a_rollout_comes_back_as_it_was_started(backend: &dyn Backend) {
    let scene = Scene::new(backend, 300).await;
    let snapshot = scene.store.snapshot(scene.rollout.id).await.unwrap();
    assert_eq!(snapshot.rollout, scene.rollout);
    assert_eq!(snapshot.targets, scene.targets);
    assert_eq!(snapshot.waves.len(), 1);
    assert_eq!(scene.store.unfinished_rollouts().await.unwrap(), [scene.rollout.id]);
    assert_eq!(scene.store.rollouts(None, 10).await.unwrap(), std::slice::from_ref(&scene.rollout));
    assert_eq!(scene.store.rollouts(Some(scene.rollout.id), 10).await.unwrap(), []);
    let work = scene.store.target_work(scene.targets[7].id).await.unwrap();
    assert_eq!((work.target, work.rollout), (scene.targets[7].clone(), scene.rollout.clone()));
    assert_eq!((work.tasks, work.open_attempt), (vec![scene.tasks[7].clone()], None));
}

pub async fn a_rollout_is_followed_by_what_changed(backend: &dyn Backend) {
    let scene = Scene::new(backend, 3).await;
    let id = scene.rollout.id;
    let before = scene.store.snapshot(id).await.unwrap();
    assert_eq!(scene.store.snapshot_since(id, before.end).await.unwrap().targets, []);
    let started = &scene.targets[1];
    let subject = Subject { cluster: Some(started.cluster), rollout: Some(id), ..Subject::default() };
    let told = vec![Event { subject, ..event(EventType::TargetStarted) }];
    scene.store.start_target(scene.start(1, scene.lease, vec![]), told).await.unwrap();
    scene.store.record(vec![event(EventType::RequestDenied)]).await.unwrap();
    let news = scene.store.snapshot_since(id, before.end).await.unwrap();
    let whole = scene.store.snapshot(id).await.unwrap();
    assert_eq!(news.targets, [whole.targets[1].clone()]);
    assert_eq!((news.end, &news.rollout, &news.waves), (before.end + 2, &whole.rollout, &whole.waves));
    assert_eq!(scene.store.snapshot_since(id, news.end).await.unwrap().targets, []);
}

pub async fn a_plan_is_carried_out_by_one_rollout_at_a_time(backend: &dyn Backend) {
    let stores = [backend.open().await, backend.open().await];
    stores[0].hub(NewHub { id: hub_id(), at: NOW }).await.unwrap();
    let plan = stored_plan(stores[0].as_ref(), "{}").await;
    let starts = (0..16).map(|n| {
        let (store, new) = (Arc::clone(&stores[n % 2]), new_rollout(&plan, &[]));
        tokio::spawn(async move { store.start_rollout(new, vec![event(EventType::RolloutStarted)]).await })
    });
    let started: Vec<_> = futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(started.iter().filter(|started| started.is_ok()).count(), 1, "{started:?}");
    let refused = started.iter().filter(|one| matches!(one, Err(StoreError::Exists { what: "rollout", .. }))).count();
    assert_eq!(refused, 15, "{started:?}");
    let [unfinished] = stores[0].unfinished_rollouts().await.unwrap()[..] else { panic!("one was started") };
    let change = RolloutChange {
        rollout: unfinished,
        version: 1,
        state: Some(RolloutState::Finished { verdict: Verdict::Failed { reason: "it did".into() } }),
        finished_at: Some(NOW),
        waves: vec![],
        targets: vec![],
    };
    stores[0].change_rollout(change, vec![]).await.unwrap();
    stores[1].start_rollout(new_rollout(&plan, &[]), vec![]).await.unwrap();
}

pub async fn a_rollout_is_changed_only_by_who_read_it_last(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let wave = Wave {
        position: 0,
        name: "all".into(),
        opened_at: Some(NOW),
        settled_at: None,
        passed_at: None,
        approval: Some(Approval { by: "me".into(), at: NOW, remark: "looked at".into() }),
    };
    let cause = PauseCause::Operator { by: "me".into(), remark: String::new() };
    let paused = RolloutState::Paused { cause, accepted_failures: 0 };
    let change = RolloutChange {
        rollout: scene.rollout.id,
        version: 1,
        state: Some(paused.clone()),
        finished_at: None,
        waves: vec![wave.clone()],
        targets: vec![],
    };
    scene.store.change_rollout(change.clone(), vec![event(EventType::RolloutPaused)]).await.unwrap();
    assert!(is_conflict(scene.store.change_rollout(change.clone(), vec![]).await));
    let snapshot = scene.store.snapshot(scene.rollout.id).await.unwrap();
    assert_eq!((snapshot.rollout.version, snapshot.rollout.state, snapshot.waves), (2, paused, vec![wave]));
    let finished = RolloutState::Finished { verdict: Verdict::Failed { reason: "it did".into() } };
    let change = RolloutChange { version: 2, state: Some(finished), finished_at: Some(NOW), ..change };
    scene.store.change_rollout(change.clone(), vec![]).await.unwrap();
    assert_eq!(scene.store.unfinished_rollouts().await.unwrap(), []);
    // What is finished stays so.
    assert!(is_conflict(scene.store.change_rollout(RolloutChange { version: 3, ..change }, vec![]).await));
}

pub async fn a_rollout_takes_waiting_targets_with_it_or_nothing(backend: &dyn Backend) {
    let scene = Scene::new(backend, 40).await;
    let skipped: Vec<Target> = scene.targets.iter().map(aborted).collect();
    let change = RolloutChange {
        rollout: scene.rollout.id,
        version: 1,
        state: None,
        finished_at: None,
        waves: vec![],
        targets: skipped,
    };
    scene.running(39).await;
    assert!(is_conflict(scene.store.change_rollout(change.clone(), vec![event(EventType::RolloutAborted)]).await));
    let untouched = scene.store.snapshot(scene.rollout.id).await.unwrap();
    assert_eq!(untouched.rollout.version, 1);
    assert_eq!(untouched.targets[..39], scene.targets[..39]);
    let without = RolloutChange { targets: change.targets[..39].to_vec(), ..change };
    scene.store.change_rollout(without, vec![]).await.unwrap();
    let states = scene.store.snapshot(scene.rollout.id).await.unwrap().targets;
    assert_eq!(states.iter().filter(|target| target.state.name() == "skipped" && target.version == 2).count(), 39);
}

fn aborted(target: &Target) -> Target {
    Target { state: TargetState::Skipped { at: NOW, reason: SkipReason::Aborted }, ..target.clone() }
}

pub async fn nothing_starts_in_a_rollout_that_is_not_running(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let change = RolloutChange {
        rollout: scene.rollout.id,
        version: 1,
        state: Some(RolloutState::Paused { cause: PauseCause::Restored, accepted_failures: 0 }),
        finished_at: None,
        waves: vec![],
        targets: vec![],
    };
    scene.store.change_rollout(change, vec![]).await.unwrap();
    let start = scene.start(0, scene.lease, vec![hub_claim(1)]);
    assert!(is_conflict(scene.store.start_target(start, vec![event(EventType::TargetStarted)]).await));
    assert_eq!(scene.store.usage().await.unwrap(), []);
}

pub async fn budgets_are_never_exceeded(backend: &dyn Backend) {
    let scene = Scene::new(backend, 40).await;
    let (other, hub, region) = (backend.open().await, 7, 5);
    let lease = other.renew_lease(daemon_id(), LEASE).await.unwrap();
    let north = Scope::Label { key: "region".into(), value: "north".into() };
    let starts = (0..40).map(|n| {
        let mut claims = vec![hub_claim(hub)];
        if n % 2 == 0 {
            claims.insert(0, Claim { scope: north.clone(), limit: region });
        }
        let (store, lease) = if n % 3 == 0 { (&other, lease) } else { (&scene.store, scene.lease) };
        let start = scene.start(n, lease, claims);
        async move { store.start_target(start, vec![event(EventType::TargetStarted)]).await }
    });
    let answers = join_all(starts).await;
    let started = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(started, hub as usize);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(StoreError::BudgetUsedUp { .. }))));
    let usage = scene.store.usage().await.unwrap();
    let of = |scope: &Scope| usage.iter().find(|usage| usage.scope == *scope).map_or(0, |usage| usage.in_use);
    assert_eq!(of(&Scope::Hub), hub);
    assert!(of(&north) <= region);
    let running = scene.store.snapshot(scene.rollout.id).await.unwrap().targets;
    assert_eq!(running.iter().filter(|target| target.state.name() == "running").count(), started);
}

pub async fn the_first_full_scope_is_named_and_nothing_is_taken(backend: &dyn Backend) {
    let scene = Scene::new(backend, 3).await;
    let cluster = |n: usize, limit| Claim { scope: Scope::Cluster { cluster: scene.targets[n].cluster }, limit };
    let rollout = Claim { scope: Scope::Rollout { rollout: scene.rollout.id }, limit: 1 };
    let claims = vec![rollout.clone(), hub_claim(9), cluster(0, 1)];
    scene.store.start_target(scene.start(0, scene.lease, claims), vec![]).await.unwrap();
    let before = scene.store.usage().await.unwrap();
    let claims = vec![rollout.clone(), hub_claim(9), hub_claim(9), cluster(1, 1)];
    match scene.store.start_target(scene.start(1, scene.lease, claims), vec![]).await {
        Err(StoreError::BudgetUsedUp { scope, in_use: 1, limit: 1 }) => assert_eq!(scope, rollout.scope),
        other => panic!("{other:?}"),
    }
    match scene.store.start_target(scene.start(1, scene.lease, vec![cluster(1, 0)]), vec![]).await {
        Err(StoreError::BudgetUsedUp { in_use: 0, limit: 0, .. }) => {}
        other => panic!("{other:?}"),
    }
    // Of two claims on one scope the smaller binds.
    match scene.store.start_target(scene.start(1, scene.lease, vec![hub_claim(5), hub_claim(1)]), vec![]).await {
        Err(StoreError::BudgetUsedUp { scope: Scope::Hub, in_use: 1, limit: 1 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.store.usage().await.unwrap(), before);
}

pub async fn slots_are_given_back_exactly_once(backend: &dyn Backend) {
    let scene = Scene::new(backend, 2).await;
    for n in [0, 1] {
        scene.store.start_target(scene.start(n, scene.lease, vec![hub_claim(2)]), vec![]).await.unwrap();
    }
    let first = scene_fence(&scene, scene.targets[0].id).await;
    let mut commit = scene.step(0, first);
    let reason = Deferral::Busy { by: "somebody".into() };
    commit.state = Some(TargetState::Deferred { reason, retry_at: NOW });
    scene.store.commit_target(commit.clone(), vec![]).await.unwrap();
    let usage = scene.store.usage().await.unwrap();
    assert_eq!(usage, [Usage { scope: Scope::Hub, in_use: 1 }]);
    assert!(is_conflict(scene.store.commit_target(commit, vec![]).await));
    assert_eq!(scene.store.usage().await.unwrap(), usage);
    // A deferred target is started again under its new version and may hold other slots.
    let version = scene.store.target_work(scene.targets[0].id).await.unwrap().target.version;
    let mut start = scene.start(0, scene.lease, vec![hub_claim(2)]);
    start.version = version;
    scene.store.start_target(start, vec![]).await.unwrap();
    assert_eq!(scene.store.usage().await.unwrap(), [Usage { scope: Scope::Hub, in_use: 2 }]);
}

async fn scene_fence(scene: &Scene, id: fleetlift::domain::TargetId) -> fleetlift::store::Fence {
    let version = scene.store.target_work(id).await.unwrap().target.version;
    fleetlift::store::Fence { lease: scene.lease, version }
}

pub async fn a_due_target_is_given_out_once(backend: &dyn Backend) {
    let scene = Scene::new(backend, 3).await;
    for n in 0..3 {
        scene.store.start_target(scene.start(n, scene.lease, vec![]), vec![]).await.unwrap();
    }
    assert_eq!(scene.store.next_due(&scene.lease).await.unwrap(), Some(NOW));
    let (one, two) =
        futures::join!(scene.store.claim_due(&scene.lease, NOW, 2), scene.store.claim_due(&scene.lease, NOW, 2));
    let claimed = [one.unwrap(), two.unwrap()].concat();
    let ids: BTreeSet<_> = claimed.iter().map(|claimed| claimed.target).collect();
    assert_eq!((claimed.len(), ids.len()), (3, 3));
    assert_eq!(scene.store.claim_due(&scene.lease, NOW, 10).await.unwrap(), []);
    let n = scene.targets.iter().position(|target| target.id == claimed[0].target).unwrap();
    let due = NOW + Duration::from_secs(5);
    let commit = fleetlift::store::TargetCommit { due_at: Some(due), ..scene.step(n, claimed[0].fence) };
    scene.store.commit_target(commit, vec![]).await.unwrap();
    assert_eq!(scene.store.next_due(&scene.lease).await.unwrap(), Some(due));
    assert_eq!(scene.store.claim_due(&scene.lease, due - Duration::from_micros(1), 10).await.unwrap(), []);
    assert_eq!(scene.store.claim_due(&scene.lease, due, 10).await.unwrap().len(), 1);
    // A step that was lost is made up for.
    let later = NOW + Duration::from_hours(1);
    assert_eq!(scene.store.claim_due(&scene.lease, later, 10).await.unwrap().len(), 3);
}

pub async fn a_step_under_way_survives_that_its_target_is_given_out_again(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    // The step committed its intent and goes on; meanwhile the target is due and given out.
    let commit = fleetlift::store::TargetCommit { due_at: Some(NOW), ..scene.step(0, fence) };
    scene.store.commit_target(commit, vec![]).await.unwrap();
    assert_eq!(scene.store.claim_due(&scene.lease, NOW, 10).await.unwrap().len(), 1);
    let fence = fleetlift::store::Fence { version: fence.version + 1, ..fence };
    scene.store.commit_target(scene.step(0, fence), vec![]).await.unwrap();
    assert_eq!(scene.store.next_due(&scene.lease).await.unwrap(), Some(NOW + Duration::from_mins(1)));
}

pub async fn a_step_that_goes_on_is_given_out_to_nobody(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    let halfway = |fence| fleetlift::store::TargetCommit { due_at: None, ..scene.step(0, fence) };
    scene.store.commit_target(halfway(fence), vec![]).await.unwrap();
    assert_eq!(scene.store.claim_due(&scene.lease, NOW, 10).await.unwrap(), []);
    // Who calls meanwhile is heard when the step is over, not when it is half done.
    let called = NOW + Duration::from_secs(1);
    scene.store.wake(scene.rollout.id, None, called).await.unwrap();
    let fence = fleetlift::store::Fence { version: fence.version + 1, ..fence };
    scene.store.commit_target(halfway(fence), vec![]).await.unwrap();
    assert_eq!(scene.store.claim_due(&scene.lease, called, 10).await.unwrap(), []);
    let fence = fleetlift::store::Fence { version: fence.version + 1, ..fence };
    scene.store.commit_target(scene.step(0, fence), vec![]).await.unwrap();
    assert_eq!(scene.store.next_due(&scene.lease).await.unwrap(), Some(called));
}

pub async fn a_target_says_whose_it_is(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let target = scene.targets[0].id;
    assert_eq!(scene.store.target_work(target).await.unwrap().owner, None);
    scene.running(0).await;
    assert_eq!(scene.store.target_work(target).await.unwrap().owner, Some(scene.lease));
    scene.store.release_lease(&scene.lease).await.unwrap();
    assert_eq!(scene.store.target_work(target).await.unwrap().owner, None);
}

pub async fn a_call_during_a_step_is_answered_by_another_step(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    let called = NOW + Duration::from_secs(1);
    scene.store.wake(scene.rollout.id, None, called).await.unwrap();
    // The step under way is not disturbed …
    assert_eq!(scene.store.claim_due(&scene.lease, called, 10).await.unwrap(), []);
    scene.store.commit_target(scene.step(0, fence), vec![]).await.unwrap();
    // … but the next one comes at once, although that step asked for a minute.
    assert_eq!(scene.store.next_due(&scene.lease).await.unwrap(), Some(called));
    let again = scene.store.claim_due(&scene.lease, called, 10).await.unwrap();
    scene.store.commit_target(scene.step(0, again[0].fence), vec![]).await.unwrap();
    assert_eq!(scene.store.claim_due(&scene.lease, called, 10).await.unwrap(), []);
    scene.store.wake(scene.rollout.id, Some(scene.targets[0].id), called).await.unwrap();
    assert_eq!(scene.store.claim_due(&scene.lease, called, 10).await.unwrap().len(), 1);
}

pub async fn a_step_that_lost_its_fence_writes_nothing(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    let head = scene.store.audit_head().await.unwrap();
    let stale = fleetlift::store::Fence { version: fence.version - 1, ..fence };
    let stranger = fleetlift::store::Lease { daemon: daemon_id(), ..fence.lease };
    let other_epoch = fleetlift::store::Lease { epoch: fence.lease.epoch + 1, ..fence.lease };
    for wrong in [
        stale,
        fleetlift::store::Fence { lease: stranger, ..fence },
        fleetlift::store::Fence { lease: other_epoch, ..fence },
    ] {
        let mut commit = scene.step(0, wrong);
        commit.attempt = Some(scene.attempt(0, 1));
        commit.tasks = vec![(scene.tasks[0].id, TaskState::Running { since: NOW })];
        assert!(is_conflict(scene.store.commit_target(commit, vec![event(EventType::AttemptIntended)]).await));
    }
    assert_eq!(scene.store.audit_head().await.unwrap(), head);
    assert_eq!(scene.store.attempts(scene.tasks[0].id).await.unwrap(), []);
    assert_eq!(scene.store.target_work(scene.targets[0].id).await.unwrap().tasks, [scene.tasks[0].clone()]);
    scene.store.commit_target(scene.step(0, fence), vec![]).await.unwrap();
}

pub async fn a_target_passes_to_another_daemon_when_its_lease_ends(backend: &dyn Backend) {
    let scene = Scene::new(backend, 2).await;
    let (store, other) = (&scene.store, backend.open().await);
    let fence = scene.running(0).await;
    let heir = other.renew_lease(daemon_id(), LEASE).await.unwrap();
    assert_eq!(other.claim_due(&heir, NOW, 10).await.unwrap(), []);
    // The owner is not heard of: its lease runs out by the database's clock.
    store.renew_lease(scene.lease.daemon, Duration::ZERO).await.unwrap();
    assert!(other.next_due(&heir).await.unwrap().is_some_and(|due| due <= NOW));
    let taken = other.claim_due(&heir, NOW, 10).await.unwrap();
    assert_eq!(taken.iter().map(|claimed| claimed.target).collect::<Vec<_>>(), [scene.targets[0].id]);
    // It comes back and finds that it may write nothing more, nor start anything.
    assert!(is_conflict(store.commit_target(scene.step(0, fence), vec![]).await));
    assert!(is_conflict(store.start_target(scene.start(1, scene.lease, vec![]), vec![]).await));
    assert_eq!(store.claim_due(&scene.lease, NOW + LEASE, 10).await.unwrap(), []);
    let renewed = store.renew_lease(scene.lease.daemon, LEASE).await.unwrap();
    assert!(renewed.epoch > scene.lease.epoch);
    assert!(is_conflict(store.commit_target(scene.step(0, fence), vec![]).await));
    store.start_target(scene.start(1, renewed, vec![]), vec![]).await.unwrap();
    other.commit_target(scene.step(0, taken[0].fence), vec![]).await.unwrap();
}

pub async fn a_released_lease_frees_its_targets_at_once(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    scene.store.release_lease(&scene.lease).await.unwrap();
    assert!(is_conflict(scene.store.release_lease(&scene.lease).await));
    assert!(is_conflict(scene.store.commit_target(scene.step(0, fence), vec![]).await));
    let heir = scene.store.renew_lease(daemon_id(), LEASE).await.unwrap();
    let now = fleetlift::domain::Clock::now(&fleetlift::system::SystemClock);
    assert_eq!(scene.store.claim_due(&heir, now, 10).await.unwrap().len(), 1);
}

pub async fn a_slow_daemon_that_nobody_missed_keeps_its_epoch(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    scene.store.renew_lease(scene.lease.daemon, Duration::ZERO).await.unwrap();
    let renewed = scene.store.renew_lease(scene.lease.daemon, LEASE).await.unwrap();
    assert_eq!(renewed, scene.lease);
    scene.store.commit_target(scene.step(0, fence), vec![]).await.unwrap();
}

pub async fn an_attempt_is_written_before_and_closed_once(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    let mut attempt = scene.attempt(0, 1);
    attempt.resource_before = Some(ResourceSeen::Gone);
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(attempt.clone());
    commit.tasks = vec![(scene.tasks[0].id, TaskState::Running { since: NOW })];
    scene.store.commit_target(commit, vec![event(EventType::AttemptIntended)]).await.unwrap();
    let work = scene.store.target_work(scene.targets[0].id).await.unwrap();
    assert_eq!(work.open_attempt, Some(attempt.clone()));
    assert_eq!((work.tasks[0].attempts, work.tasks[0].open_attempt), (1, Some(attempt.id)));
    attempt.job_uid = Some("uid".into());
    // The Job's own time counts from its creation, and what it left may settle: a restarted daemon must know until when.
    attempt.deadline = attempt.deadline + Duration::from_mins(40);
    attempt.completed_seen_at = Some(NOW);
    attempt.held_up = Some("Pod fl-1 waits: ImagePullBackOff".into());
    let fence = scene_fence(&scene, scene.targets[0].id).await;
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(attempt.clone());
    scene.store.commit_target(commit, vec![]).await.unwrap();
    let work = scene.store.target_work(scene.targets[0].id).await.unwrap();
    assert_eq!(work.open_attempt, Some(attempt.clone()));
    // What was intended is not rewritten.
    let fence = scene_fence(&scene, scene.targets[0].id).await;
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(fleetlift::domain::Attempt { job_name: "another".into(), ..attempt.clone() });
    assert!(is_conflict(scene.store.commit_target(commit, vec![]).await));
    let closed = ended(&attempt);
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(closed.clone());
    scene.store.commit_target(commit, vec![event(EventType::AttemptJudged)]).await.unwrap();
    assert_eq!(scene.store.attempts(scene.tasks[0].id).await.unwrap(), [closed]);
    // What ended stays so.
    let fence = scene_fence(&scene, scene.targets[0].id).await;
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(attempt);
    assert!(is_conflict(scene.store.commit_target(commit, vec![]).await));
    assert_eq!(scene.store.target_work(scene.targets[0].id).await.unwrap().open_attempt, None);
}

pub async fn one_attempt_of_a_task_is_open_and_no_more_than_allowed(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    scene.running(0).await;
    let (first, second, third) = (scene.attempt(0, 1), scene.attempt(0, 2), scene.attempt(0, 3));
    let commit = |attempt: fleetlift::domain::Attempt| {
        let scene = &scene;
        async move {
            let mut commit = scene.step(0, scene_fence(scene, scene.targets[0].id).await);
            commit.attempt = Some(attempt);
            scene.store.commit_target(commit, vec![]).await
        }
    };
    assert!(is_conflict(commit(second.clone()).await), "attempts are numbered without gaps");
    commit(first.clone()).await.unwrap();
    assert!(is_conflict(commit(second.clone()).await), "one is open");
    commit(ended(&first)).await.unwrap();
    commit(ended(&second)).await.unwrap();
    assert!(is_conflict(commit(third).await), "two were allowed");
    assert_eq!(scene.store.attempts(scene.tasks[0].id).await.unwrap().len(), 2);
}

pub async fn an_attempt_that_was_not_begun_costs_none(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let fence = scene.running(0).await;
    let allowed = scene.tasks[0].attempts_allowed;
    let mut closed = ended(&scene.attempt(0, 1));
    if let Some(end) = &mut closed.end {
        end.outcome = Outcome::NotBegun { reason: "Job/theirs is working on it".into() };
    }
    let mut commit = scene.step(0, fence);
    commit.attempt = Some(closed);
    scene.store.commit_target(commit, vec![]).await.unwrap();
    let task = scene.store.target_work(scene.targets[0].id).await.unwrap().tasks.remove(0);
    assert_eq!((task.attempts, task.attempts_allowed), (1, allowed + 1), "its number is used up, its try is not");
}

/// The first target of a scene, failed; with its task.
async fn one_failed(scene: &Scene) -> (Target, Task) {
    let fence = scene.running(0).await;
    let mut commit = scene.step(0, fence);
    commit.state = Some(TargetState::Failed { at: NOW, reason: "its Job failed".into() });
    commit.tasks = vec![(scene.tasks[0].id, TaskState::Failed { at: NOW, reason: "its Job failed".into() })];
    scene.store.commit_target(commit, vec![event(EventType::TargetFailed)]).await.unwrap();
    let mut failed = scene.store.target_work(scene.targets[0].id).await.unwrap();
    (failed.target, failed.tasks.remove(0))
}

/// What tries it again in a rollout of that version.
fn again(scene: &Scene, version: i64, (target, task): (&Target, &Task)) -> Retry {
    Retry {
        rollout: scene.rollout.id,
        version,
        reopened: None,
        waves: vec![],
        targets: vec![Target { state: TargetState::Pending, ..target.clone() }],
        tasks: vec![Task {
            state: TaskState::Pending { not_before: None },
            attempts_allowed: task.attempts_allowed + 2,
            ..task.clone()
        }],
    }
}

pub async fn a_failed_target_can_be_tried_again(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let (failed, task) = one_failed(&scene).await;
    let retry = again(&scene, 1, (&failed, &task));
    let attempted = Retry { tasks: vec![Task { attempts: 1, ..retry.tasks[0].clone() }], ..retry.clone() };
    assert!(is_conflict(scene.store.retry(attempted, vec![event(EventType::TargetRetried)]).await));
    let untouched = scene.store.target_work(failed.id).await.unwrap();
    assert_eq!((untouched.target, &untouched.tasks[0]), (failed, &task), "all of it or nothing");
    scene.store.retry(retry.clone(), vec![event(EventType::TargetRetried)]).await.unwrap();
    assert!(is_conflict(scene.store.retry(retry.clone(), vec![]).await), "the rollout's version was raised");
    let newer = Retry { version: 2, ..retry.clone() };
    assert!(is_conflict(scene.store.retry(newer, vec![]).await), "the target's version was raised");
    let work = scene.store.target_work(retry.targets[0].id).await.unwrap();
    assert_eq!((work.target.state, work.tasks), (TargetState::Pending, retry.tasks));
    assert_eq!(work.target.first_started_at, Some(NOW));
}

pub async fn a_running_target_is_not_tried_again(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    scene.running(0).await;
    let mut running = scene.store.target_work(scene.targets[0].id).await.unwrap();
    let retry = again(&scene, 1, (&running.target, &running.tasks.remove(0)));
    assert!(is_conflict(scene.store.retry(retry, vec![]).await));
}

pub async fn a_finished_rollout_runs_again_with_what_is_tried_again_or_stays_as_it_is(backend: &dyn Backend) {
    let scene = Scene::new(backend, 1).await;
    let (failed, task) = one_failed(&scene).await;
    let waves = scene.store.snapshot(scene.rollout.id).await.unwrap().waves;
    let passed = Wave { opened_at: Some(NOW), settled_at: Some(NOW), passed_at: Some(NOW), ..waves[0].clone() };
    let finished = RolloutChange {
        rollout: scene.rollout.id,
        version: 1,
        state: Some(RolloutState::Finished { verdict: Verdict::Failed { reason: "it did".into() } }),
        finished_at: Some(NOW),
        waves: vec![passed.clone()],
        targets: vec![],
    };
    scene.store.change_rollout(finished.clone(), vec![]).await.unwrap();
    let running = RolloutState::Running { accepted_failures: 0 };
    let open = Wave { settled_at: None, passed_at: None, ..passed };
    let without = again(&scene, 2, (&failed, &task));
    assert!(is_conflict(scene.store.retry(without.clone(), vec![]).await), "a finished rollout takes nothing up");
    let retry = Retry { reopened: Some(running.clone()), waves: vec![open.clone()], ..without };

    // Another one of its plan was started: two would work on the same clusters.
    let plan = scene.store.plan(&scene.rollout.plan).await.unwrap();
    let other = new_rollout(&plan, &[]);
    let id = other.rollout.id;
    scene.store.start_rollout(other, vec![]).await.unwrap();
    let refused = scene.store.retry(retry.clone(), vec![event(EventType::RolloutResumed)]).await;
    assert!(matches!(refused, Err(StoreError::Exists { what: "rollout", .. })), "{refused:?}");
    let untouched = scene.store.snapshot(scene.rollout.id).await.unwrap();
    assert_eq!((untouched.rollout.version, untouched.targets), (2, vec![failed]));

    let ended = RolloutChange { rollout: id, waves: vec![], ..finished };
    scene.store.change_rollout(ended, vec![]).await.unwrap();
    scene.store.retry(retry.clone(), vec![event(EventType::RolloutResumed)]).await.unwrap();
    let seen = scene.store.snapshot(scene.rollout.id).await.unwrap();
    assert_eq!((seen.rollout.state, seen.rollout.finished_at, seen.rollout.version), (running, None, 3));
    assert_eq!((seen.waves, seen.targets[0].state.clone()), (vec![open], TargetState::Pending));
    assert_eq!(scene.store.unfinished_rollouts().await.unwrap(), [scene.rollout.id]);
    assert!(is_conflict(scene.store.retry(Retry { version: 3, ..retry }, vec![]).await), "it runs already");
}

pub async fn results_come_in_the_order_of_the_plan(backend: &dyn Backend) {
    let scene = Scene::new(backend, 5).await;
    let fence = scene.running(2).await;
    let attempt = scene.attempt(2, 1);
    let mut commit = scene.step(2, fence);
    commit.attempt = Some(attempt.clone());
    scene.store.commit_target(commit, vec![]).await.unwrap();
    let query = ResultQuery { rollout: scene.rollout.id, cluster: None, after: None, limit: 3 };
    let first = scene.store.results(query.clone()).await.unwrap();
    let after = Some(first[2].task.id);
    let rest = scene.store.results(ResultQuery { after, limit: 10, ..query.clone() }).await.unwrap();
    let names: Vec<_> = first.iter().chain(&rest).map(|row| row.cluster_name.as_str()).collect();
    assert_eq!(names, ["edge-0000", "edge-0001", "edge-0002", "edge-0003", "edge-0004"]);
    assert_eq!(first[2].last_attempt, Some(attempt));
    assert_eq!(first[1].last_attempt, None);
    let cluster = Some(scene.targets[4].cluster);
    let one = scene.store.results(ResultQuery { cluster, ..query }).await.unwrap();
    assert_eq!(one.iter().map(|row| row.target.id).collect::<Vec<_>>(), [scene.targets[4].id]);
}

pub async fn events_form_one_chain_whoever_writes(backend: &dyn Backend) {
    let stores = [backend.open().await, backend.open().await];
    let writes = (0..300).map(|n| {
        let store = &stores[n % 2];
        let events = vec![event(EventType::CredentialUnsealed).because(format!("{n}")); n % 3 + 1];
        async move { store.record(events).await.unwrap() }
    });
    join_all(writes).await;
    let events = stores[0].events(0, None, 10_000).await.unwrap();
    assert_eq!(events.len(), 600);
    let mut head = chain::Head::empty();
    for event in events {
        assert_eq!(head.append(event.schema, event.body.clone()), event);
    }
    assert_eq!(stores[1].audit_head().await.unwrap(), (head.seq, head.hash));
}

pub async fn a_refused_change_leaves_no_event(backend: &dyn Backend) {
    let scene = Scene::new(backend, 30).await;
    let before = scene.store.audit_head().await.unwrap().0;
    // In one group: every second command is refused, the others count.
    let starts = (0..30).map(|n| {
        let mut start = scene.start(n, scene.lease, vec![hub_claim(100)]);
        start.version += i64::try_from(n % 2).unwrap();
        let event = event(EventType::TargetStarted).because(format!("{n}"));
        async { scene.store.start_target(start, vec![event]).await }
    });
    let refused: Vec<bool> = join_all(starts).await.into_iter().map(is_conflict).collect();
    assert!(refused.iter().enumerate().all(|(n, refused)| *refused == (n % 2 == 1)), "{refused:?}");
    let events = scene.store.events(before, None, 100).await.unwrap();
    let told: BTreeSet<u32> = events
        .iter()
        .map(|event| serde_json::from_str::<Event>(&event.body).unwrap().reason.parse().unwrap())
        .collect();
    assert_eq!(told, (0..30).step_by(2).collect());
    assert_eq!(scene.store.usage().await.unwrap(), [Usage { scope: Scope::Hub, in_use: 15 }]);
}

pub async fn followers_are_woken_by_commits(backend: &dyn Backend) {
    let store = backend.open().await;
    let mut committed = store.committed();
    let before = *committed.borrow_and_update();
    store.record(vec![event(EventType::RequestDenied)]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), committed.changed()).await.unwrap().unwrap();
    assert_eq!(*committed.borrow_and_update(), before + 1);
}

pub async fn events_can_be_read_by_rollout(backend: &dyn Backend) {
    let store = backend.open().await;
    let about = |rollout| Event { subject: Subject { rollout, ..Subject::default() }, ..event(EventType::WaveOpened) };
    let (one, other) = (rollout_id(), rollout_id());
    store.record(vec![about(Some(one)), about(None), about(Some(other)), about(Some(one))]).await.unwrap();
    let seqs = |events: Vec<fleetlift::domain::event::StoredEvent>| -> Vec<i64> {
        events.into_iter().map(|event| event.seq).collect()
    };
    assert_eq!(seqs(store.events(0, Some(one), 10).await.unwrap()), [1, 4]);
    assert_eq!(seqs(store.events(1, Some(one), 10).await.unwrap()), [4]);
    assert_eq!(seqs(store.events(0, None, 2).await.unwrap()), [1, 2]);
    assert_eq!(seqs(store.events(2, None, 10).await.unwrap()), [3, 4]);
}

pub async fn a_clusters_history_in_a_rollout_is_its_last_events(backend: &dyn Backend) {
    let store = backend.open().await;
    let about = |cluster, rollout| {
        let subject = Subject { cluster: Some(cluster), rollout, ..Subject::default() };
        Event { subject, ..event(EventType::JobCreated) }
    };
    let (berlin, rome) = (cluster_id(), cluster_id());
    let (one, other) = (Some(rollout_id()), Some(rollout_id()));
    let all = [(berlin, one), (rome, one), (berlin, one), (berlin, None), (berlin, other), (berlin, one)];
    store.record(all.into_iter().map(|(cluster, rollout)| about(cluster, rollout)).collect()).await.unwrap();
    let last = store.history(berlin, one.unwrap(), 2).await.unwrap();
    assert_eq!(last.into_iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 6]);
}

pub async fn tokens_are_found_by_their_hash_and_revoked_once(backend: &dyn Backend) {
    let store = backend.open().await;
    let token = |name: &str, hash: &str| StoredToken {
        id: fleetlift::domain::TokenId::new(NOW, &SystemEntropy),
        name: name.into(),
        hash: hash.into(),
        role: "operator".into(),
        selector: Some("region=north".into()),
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
    };
    let first = token("ci", "aa");
    store.create_token(first.clone(), vec![event(EventType::TokenCreated)]).await.unwrap();
    let again = store.create_token(token("ci", "bb"), vec![event(EventType::TokenCreated)]).await;
    assert!(matches!(again, Err(StoreError::Exists { what: "token", .. })));
    assert_eq!(store.token_by_hash("aa").await.unwrap(), Some(first.clone()));
    assert_eq!(store.token_by_hash("bb").await.unwrap(), None);
    store.revoke_token(first.id, NOW, vec![event(EventType::TokenRevoked)]).await.unwrap();
    store.revoke_token(first.id, NOW + LEASE, vec![event(EventType::TokenRevoked)]).await.unwrap();
    let unknown = token("x", "cc").id;
    assert!(matches!(store.revoke_token(unknown, NOW, vec![]).await, Err(StoreError::NotFound { .. })));
    let second = StoredToken { created_at: NOW + LEASE, ..token("ci", "bb") };
    store.create_token(second, vec![]).await.unwrap();
    let revoked: Vec<Option<Timestamp>> = store.tokens().await.unwrap().iter().map(|token| token.revoked_at).collect();
    assert_eq!(revoked, [Some(NOW), None]);
    assert_eq!(store.audit_head().await.unwrap().0, 2);
}

pub async fn the_last_administrators_token_is_never_revoked(backend: &dyn Backend) {
    let (one, other) = (backend.open().await, backend.open().await);
    let token = |name: &str, role: &str, expires_at: Option<Timestamp>| StoredToken {
        id: fleetlift::domain::TokenId::new(NOW, &SystemEntropy),
        name: name.into(),
        hash: name.into(),
        role: role.into(),
        selector: None,
        created_at: NOW,
        expires_at,
        revoked_at: None,
    };
    let (first, second) = (token("first", "admin", None), token("second", "admin", Some(NOW + LEASE)));
    let (late, operator) = (token("late", "admin", Some(NOW)), token("operator", "operator", None));
    for token in [&first, &second, &late, &operator] {
        one.create_token(token.clone(), vec![]).await.unwrap();
    }
    // Two administrators revoke each other at the same moment.
    let (mine, yours) = tokio::join!(
        one.revoke_token(first.id, NOW, vec![event(EventType::TokenRevoked)]),
        other.revoke_token(second.id, NOW, vec![event(EventType::TokenRevoked)]),
    );
    assert_eq!([mine.is_ok(), yours.is_ok()].iter().filter(|revoked| **revoked).count(), 1);
    assert!(is_conflict(mine.and(yours)));
    // What is no good any more, and what never administered, goes.
    one.revoke_token(late.id, NOW, vec![]).await.unwrap();
    one.revoke_token(operator.id, NOW, vec![]).await.unwrap();
    let good = one.tokens().await.unwrap().into_iter().filter(|token| token.revoked_at.is_none()).count();
    assert_eq!((good, one.audit_head().await.unwrap().0), (1, 1));
}

pub async fn an_answer_is_kept_for_the_first_who_gives_it(backend: &dyn Backend) {
    let store = backend.open().await;
    assert_eq!(store.idempotent("me", "k", None, NOW).await.unwrap(), None);
    assert_eq!(store.idempotent("me", "k", Some("first"), NOW).await.unwrap(), None);
    assert_eq!(store.idempotent("me", "k", Some("second"), NOW).await.unwrap().as_deref(), Some("first"));
    assert_eq!(store.idempotent("me", "k", None, NOW).await.unwrap().as_deref(), Some("first"));
    assert_eq!(store.idempotent("you", "k", None, NOW).await.unwrap(), None);
    let later = NOW + Duration::from_hours(48);
    assert_eq!(store.idempotent("me", "k", Some("third"), later).await.unwrap(), None);
}
