//! Clusters that misbehave as they were told to.

use std::time::{Duration, Instant};

use fleetlift::sim::oracle::What;
use fleetlift::sim::{Behaviour, Manner, Moment, Outage, RequestFault, Trouble};
use kube::api::{ListParams, PostParams};

use crate::arrange::{ONE, behaving, cluster, code, hub, jiva, jobs, sleeper, start};
use crate::until::until;

fn on(method: &str, path: &str, what: Trouble) -> Behaviour {
    let fault = RequestFault {
        method: Some(method.into()),
        path: Some(path.into()),
        after: 0,
        times: Some(1),
        per_mille: 1_000,
        what,
    };
    Behaviour { requests: vec![fault], ..Behaviour::default() }
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_the_job_behind() {
    let fleet = behaving(on("POST", "/jobs", Trouble::ResetAfter));
    let client = hub(&fleet).await;
    let lost = jobs(&client).create(&PostParams::default(), &sleeper("a", "0")).await.unwrap_err();
    assert_eq!(code(&lost), 0, "no answer at all: {lost}");
    assert!(jobs(&client).get("a").await.is_ok());
    let told = fleet.oracle().records().into_iter().find_map(|record| match record.what {
        What::Request(request) => Some((request.code, request.trouble)),
        _ => None,
    });
    assert_eq!(told, Some((201, "ResetAfter".to_owned())));
}

#[tokio::test]
async fn a_reset_before_the_request_leaves_nothing_behind() {
    let fleet = behaving(on("POST", "/jobs", Trouble::ResetBefore));
    let client = hub(&fleet).await;
    jobs(&client).create(&PostParams::default(), &sleeper("a", "0")).await.unwrap_err();
    assert_eq!(code(&jobs(&client).get("a").await.unwrap_err()), 404);
    assert!(jobs(&client).create(&PostParams::default(), &sleeper("a", "0")).await.is_ok());
}

#[tokio::test]
async fn answers_are_wrong_in_every_way_that_is_asked_for() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    for (what, expected) in [
        (Trouble::Status(429), 429),
        (Trouble::Status(503), 503),
        (Trouble::Html, 0),
        (Trouble::HalfBody, 0),
        (Trouble::Redirect("http://127.0.0.1:1/".into()), 0),
    ] {
        assert!(fleet.behave(ONE, on("GET", "/jobs", what.clone())));
        let answer = jobs(&client).list(&ListParams::default()).await;
        match answer {
            Err(error) => assert_eq!(code(&error), expected, "{what:?}: {error:?}"),
            Ok(list) => panic!("{what:?} came as {list:?}"),
        }
        assert!(jobs(&client).list(&ListParams::default()).await.is_ok(), "{what:?} strikes once");
    }
}

#[tokio::test]
async fn a_refusing_outage_ends_by_itself_on_the_same_port() {
    let outage = Outage { from: Moment::Changes(1), lasting_ms: 400, manner: Manner::Refuse };
    let fleet = behaving(Behaviour { outages: vec![outage], ..Behaviour::default() });
    let client = hub(&fleet).await;
    assert!(jobs(&client).create(&PostParams::default(), &sleeper("a", "0")).await.is_ok());
    until("it cannot be reached", || async { jobs(&client).get("a").await.err() }).await;
    until("it can be reached", || async { jobs(&client).get("a").await.ok() }).await;
}

#[tokio::test]
async fn a_blackhole_swallows_requests_and_gives_them_back() {
    let fleet = start(cluster(jiva()));
    let client = hub(&fleet).await;
    jobs(&client).list(&ListParams::default()).await.unwrap();
    assert!(fleet.set_outage(ONE, Some(Manner::Blackhole)));
    let asked = jobs(&client);
    let waiting = tokio::spawn(async move { asked.list(&ListParams::default()).await });
    let nothing = tokio::time::timeout(Duration::from_millis(300), jobs(&client).get("a")).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert!(!waiting.is_finished());
    assert!(fleet.set_outage(ONE, None));
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_slow_cluster_answers_later() {
    let fleet = behaving(Behaviour { latency_ms: 120, ..Behaviour::default() });
    let client = hub(&fleet).await;
    let begun = Instant::now();
    jobs(&client).list(&ListParams::default()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(120));
}
