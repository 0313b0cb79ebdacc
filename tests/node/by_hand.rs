//! One cluster without the daemon: what `deploy/README.md` tells its administrator to type, typed as it stands there.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::attempt::IMAGE;
use crate::hub::CALM;
use crate::operators::Operators;
use crate::real_node::RealNode;
use crate::support::hub::Place;
use crate::support::{TestCluster, openebs};

const README: &str = include_str!("../../deploy/README.md");

/// The commands of the first block, and the last line, which goes on until somebody has seen enough.
fn commands() -> (String, String) {
    let (_, block) = README.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let filled_in = block.replace("REGISTRY/fleetlift-executor:VERSION", IMAGE);
    assert!(filled_in.contains(IMAGE), "the README names the image that is to be filled in");
    let (script, last) = filled_in.rsplit_once('\n').unwrap();
    (script.to_owned(), last.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: tests/node/run"]
async fn an_administrator_without_the_daemon_follows_one_pools_upgrade_to_success() {
    RealNode::shared().await;
    let cluster = TestCluster::untouched("openebs", "nobody").await;
    let objects = openebs::on(&cluster);
    objects.csi_operators("3.6.0").await;
    objects.pool_cluster("cspc-a", "3.5.0", &["x7k2", "y8l3"]).await;
    openebs::all_rolled_out(&cluster).await;
    let _operators = Operators::looking_every(CALM, &cluster);
    let place = Place::embedded();
    let kubeconfig = place.write("kubeconfig", &cluster.admin_kubeconfig());
    let typed = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("KUBECONFIG", &kubeconfig).stdin(Stdio::null());
        command
    };

    let (script, watch) = commands();
    let done = typed("bash").args(["-e", "-c", &script]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let words: Vec<&str> = watch.split(' ').collect();
    assert_eq!(words[0], "kubectl", "{watch}");
    let mut following = typed(words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let shown = tokio::task::block_in_place(|| {
        let mut shown = Vec::new();
        for line in lines {
            shown.push(line.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            if shown.last().is_some_and(|row| row.iter().any(|word| word == "Success" || word == "Error")) {
                break;
            }
        }
        shown
    });
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(shown[0], ["NAME", "PHASE", "FROM", "TO", "AGE"]);
    let last = shown.last().unwrap();
    assert_eq!(last[..4], ["upgrade-cstor-cspi-cspc-a-x7k2", "Success", "3.5.0", "3.6.0"], "{shown:?}");

    let current = async |pool: &str| {
        let pool = cluster.get("cstor.openebs.io/v1", "CStorPoolInstance", pool).await.unwrap();
        pool.pointer("/versionDetails/status/current").unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!((current("cspc-a-x7k2").await, current("cspc-a-y8l3").await), ("3.6.0".to_owned(), "3.5.0".to_owned()));
}
