//! The demo, as somebody who tries Fleetlift runs it.

use crate::arrange::bare;

#[test]
fn the_demo_runs_to_its_end_and_the_clusters_agree() {
    let folder = tempfile::tempdir().unwrap();
    let demo = bare(folder.path(), &["demo", "--clusters", "20"]);
    assert_eq!(demo.code, 0, "{demo:?}");
    for told in [
        "20 registered",
        "fleetlift plan --group stores",
        "rollout finished",
        "image pull back-off",
        "entries verified",
        "the clusters' own log agrees",
        "to try next",
    ] {
        assert!(demo.out.contains(told), "{told} is missing in {}", demo.out);
    }
}
