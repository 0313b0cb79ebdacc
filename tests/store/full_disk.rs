//! A disk that is full: no promise, no half-written change, and everything goes on when there is room again.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which ends with the process.

use std::path::Path;
use std::process::Command;

use fleetlift::audit::Verifier;
use fleetlift::domain::event::EventType;
use fleetlift::store::{Options, StoreError};
use futures::future::join_all;
use sqlx::{Connection as _, Row as _};

use crate::arrange::event;

const FOLDER: &str = "STORE_TEST_FOLDER";

#[test]
fn a_full_disk_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@""#;
    let victim = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "full_disk::it_fills_its_disk", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&victim.stdout);
    assert!(victim.status.success(), "{said}{}", String::from_utf8_lossy(&victim.stderr));
    assert!(said.contains("it was full, and went on"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a small disk: the test above gives it one"]
#[expect(clippy::disallowed_methods, reason = "a process is told where to write by its environment")]
async fn it_fills_its_disk() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let ballast = Path::new(&folder).join("ballast");
    std::fs::write(&ballast, vec![1; 512 << 10]).unwrap();
    let path = Path::new(&folder).join("fleetlift.db").display().to_string();
    let store = fleetlift::store::open(&path, Options::default()).await.unwrap();
    let long = "x".repeat(8 << 10);
    let write = || {
        let writes = (0..8).map(|_| store.record(vec![event(EventType::RequestDenied).because(long.clone())]));
        join_all(writes)
    };
    let (mut promised, mut refused) = (0, 0);
    while refused < 20 {
        for answer in write().await {
            match answer {
                Ok(()) => promised += 1,
                Err(StoreError::Full(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(promised < 10_000, "the disk never fills");
    }
    // It still reads, and what it says is what was promised.
    assert_eq!(store.audit_head().await.unwrap().0, promised);
    std::fs::remove_file(&ballast).unwrap();
    for answer in write().await {
        answer.unwrap();
        promised += 1;
    }
    let mut verifier = Verifier::from_the_beginning([]);
    for event in store.events(0, None, 100_000).await.unwrap() {
        verifier.check(&event).unwrap();
    }
    assert_eq!(verifier.finish().unwrap().head.seq, promised);
    let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
    let checked = sqlx::query("pragma integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(checked.get::<String, _>(0), "ok");
    println!("it was full, and went on");
}
