//! A log with a wrong in it is never passed over.

use super::*;

fn job(name: &str, state: JobState, resource: &str) -> What {
    What::Job(JobRecord {
        name: name.into(),
        uid: format!("uid-{name}"),
        state,
        resources: vec![resource.into()],
        labels: BTreeMap::new(),
    })
}

fn pod(name: &str, job: &str, living: bool, resource: &str) -> What {
    What::Pod(PodRecord {
        name: name.into(),
        uid: format!("uid-{name}"),
        job_uid: format!("uid-{job}"),
        living,
        resources: vec![resource.into()],
    })
}

fn log(what: impl IntoIterator<Item = (&'static str, What)>) -> Vec<Record> {
    let record = |(at, (cluster, what)): (i64, (&str, What))| Record { at_us: at, cluster: cluster.into(), what };
    (0..).zip(what).map(record).collect()
}

fn wrongs(records: &[Record], limits: &Limits) -> Vec<Wrong> {
    verify(records, limits).into_iter().map(|violation| violation.wrong).collect()
}

#[test]
fn two_unfinished_jobs_for_one_resource_are_found() {
    let two = log([("c", job("a", JobState::Active, "r")), ("c", job("b", JobState::Active, "r"))]);
    let wrong = Wrong::TwoJobs { resource: "r".into(), jobs: ["a".into(), "b".into()] };
    assert_eq!(wrongs(&two, &Limits::default()), [wrong]);
    let elsewhere = log([("c", job("a", JobState::Active, "r")), ("d", job("b", JobState::Active, "r"))]);
    assert_eq!(wrongs(&elsewhere, &Limits::default()), []);
    let after = log([
        ("c", job("a", JobState::Active, "r")),
        ("c", job("a", JobState::Failed, "r")),
        ("c", job("b", JobState::Active, "r")),
    ]);
    assert_eq!(wrongs(&after, &Limits::default()), []);
}

#[test]
fn a_suspended_job_is_finished_only_when_its_pod_is_gone() {
    let early = log([
        ("c", job("a", JobState::Active, "r")),
        ("c", pod("p", "a", true, "r")),
        ("c", job("a", JobState::Suspended, "r")),
        ("c", job("b", JobState::Active, "r")),
    ]);
    assert_eq!(wrongs(&early, &Limits::default()).len(), 1);
    let in_time = log([
        ("c", job("a", JobState::Active, "r")),
        ("c", pod("p", "a", true, "r")),
        ("c", job("a", JobState::Suspended, "r")),
        ("c", pod("p", "a", false, "r")),
        ("c", job("b", JobState::Active, "r")),
    ]);
    assert_eq!(wrongs(&in_time, &Limits::default()), []);
}

#[test]
fn an_orphaned_pod_beside_a_new_one_is_found() {
    let two = log([
        ("c", job("a", JobState::Active, "r")),
        ("c", pod("p", "a", true, "r")),
        ("c", job("a", JobState::Deleted, "r")),
        ("c", job("b", JobState::Active, "r")),
        ("c", pod("q", "b", true, "r")),
    ]);
    let found = wrongs(&two, &Limits::default());
    assert!(found.contains(&Wrong::TwoPods { resource: "r".into(), pods: ["p".into(), "q".into()] }), "{found:?}");
    assert!(matches!(found[0], Wrong::TwoJobs { .. }), "the deleted Job has not ended while its Pod lives");
}

#[test]
fn limits_are_counted_over_the_fleet_and_over_labels() {
    let labels = |site: &str| What::Cluster { labels: BTreeMap::from([("site".to_owned(), site.to_owned())]) };
    let records = log([
        ("c", labels("x")),
        ("d", labels("x")),
        ("e", labels("y")),
        ("c", job("a", JobState::Active, "r")),
        ("d", job("b", JobState::Active, "r")),
        ("e", job("f", JobState::Active, "r")),
    ]);
    let limits = Limits { running: Some(2), per_label: vec![("site".into(), 1)], ..Limits::default() };
    let over = |limit: &str, allowed, seen| Wrong::Over { limit: limit.into(), allowed, seen };
    assert_eq!(wrongs(&records, &limits), [over("site=x", 1, 2), over("running", 2, 3)]);
    assert_eq!(summary(&records).peak, 3);
}

#[test]
fn a_client_that_writes_the_task_of_a_running_job_is_found() {
    let task = |by_client| {
        What::UpgradeTask(TaskRecord {
            name: "t".into(),
            uid: "u".into(),
            by_client,
            deleted: false,
            resources: vec!["r".into()],
            phase: String::new(),
        })
    };
    let records = |by_client| log([("c", job("a", JobState::Active, "r")), ("c", task(by_client))]);
    assert_eq!(wrongs(&records(true), &Limits::default()).len(), 1);
    assert_eq!(wrongs(&records(false), &Limits::default()), []);
}

#[test]
fn attempts_are_counted_for_what_a_job_is_for() {
    let tries = log([
        ("c", job("a", JobState::Failed, "r")),
        ("c", job("a", JobState::Deleted, "r")),
        ("c", job("b", JobState::Active, "r")),
    ]);
    assert_eq!(wrongs(&tries, &Limits { attempts: Some(2), ..Limits::default() }), []);
    assert_eq!(wrongs(&tries, &Limits { attempts: Some(1), ..Limits::default() }).len(), 1);
}

#[test]
fn a_record_is_read_as_it_was_written() {
    for record in log([("c", job("a", JobState::Active, "r")), ("c", pod("p", "a", true, "r"))]) {
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
    }
}
