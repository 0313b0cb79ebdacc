//! What official Jobs carry is understood.

use super::*;

fn parse(arguments: &[&str]) -> Arguments {
    let program = std::iter::once("fleetlift-executor");
    Arguments::try_parse_from(program.chain(arguments.iter().copied())).unwrap()
}

fn order() -> Order {
    Order {
        versions: Versions::parse("3.5.0", "3.6.0").unwrap(),
        images: Images { prefix: String::new(), tag: "3.6.0".into() },
        step_timeout: None,
    }
}

#[test]
fn the_documented_job_of_the_csi_executor_is_understood() {
    let arguments = parse(&["cstor-cspc", "--from-version=3.5.0", "--to-version=3.6.0", "cspc-a", "cspc-b", "--v=4"]);
    let cluster = |name: &str| Named::Exactly(ResourceRef { kind: ResourceKind::CstorPoolCluster, name: name.into() });
    assert_eq!(arguments.request(), Ok(Request::Named(order(), vec![cluster("cspc-a"), cluster("cspc-b")])));
    assert_eq!(arguments.verbosity(), 4);
}

#[test]
fn the_documented_jobs_of_the_legacy_executor_are_understood() {
    let arguments = parse(&["jiva-volume", "--from-version=3.5.0", "--to-version=3.6.0", "--pv-name=pvc-1", "--v=4"]);
    assert_eq!(arguments.request(), Ok(Request::Named(order(), vec![Named::JivaVolume("pvc-1".into())])));
    let arguments = parse(&["cstor-spc", "--spc-name=s", "--from-version=3.5.0", "--to-version=3.6.0"]);
    let claim = ResourceRef { kind: ResourceKind::StoragePoolClaim, name: "s".into() };
    assert_eq!(arguments.request(), Ok(Request::Named(order(), vec![Named::Exactly(claim)])));
}

#[test]
fn flags_may_stand_before_the_sub_command_and_klogs_are_accepted() {
    let arguments = parse(&[
        "--logtostderr",
        "--stderrthreshold=INFO",
        "-v",
        "2",
        "--from-version",
        "3.5.0",
        "--to-version",
        "3.6.0",
        "cstor-volume",
        "pvc-1",
        "--alsologtostderr=false",
    ]);
    assert_eq!(arguments.request(), Ok(Request::Named(order(), vec![Named::CstorVolume("pvc-1".into())])));
}

#[test]
fn single_pools_have_sub_commands_of_their_own() {
    for (word, kind) in
        [("cstor-pool-instance", ResourceKind::CstorPoolInstance), ("cstor-pool", ResourceKind::CstorPool)]
    {
        let arguments = parse(&[word, "--from-version=3.5.0", "--to-version=3.6.0", "p"]);
        let pool = Named::Exactly(ResourceRef { kind, name: "p".into() });
        assert_eq!(arguments.request(), Ok(Request::Named(order(), vec![pool])));
    }
}

#[test]
fn resource_mode_takes_its_selector_from_the_environments_variable() {
    let selected = Tasks { upgrade_task_label: Some("resource=x".into()), upgrade_task: None };
    assert_eq!(super::selected(&selected), Ok(Request::Selected("resource=x".into())));
    let named = Tasks { upgrade_task_label: None, upgrade_task: Some("t".into()) };
    assert_eq!(super::selected(&named), Ok(Request::Task("t".into())));
}

#[test]
fn an_empty_selector_is_refused_because_it_selects_all() {
    for label in [None, Some(String::new()), Some("  ".to_owned())] {
        let problem = super::selected(&Tasks { upgrade_task_label: label, upgrade_task: None }).unwrap_err();
        assert!(problem.seen.contains("every UpgradeTask"), "{problem}");
    }
}

#[test]
fn what_is_missing_or_odd_is_refused_by_its_name() {
    let refused = |arguments: &[&str]| parse(arguments).request().unwrap_err().object.clone();
    assert_eq!(refused(&["jiva-volume", "--to-version=3.6.0", "p"]), "--from-version");
    assert_eq!(refused(&["jiva-volume", "--from-version=3.5.0", "p"]), "--to-version");
    assert_eq!(refused(&["jiva-volume", "--from-version=3.5.0", "--to-version=3.6.0"]), "arguments");
    assert_eq!(refused(&["jiva-volume", "--from-version=3.5.0", "--to-version=3.6.0", "../x"]), "name");
    assert_eq!(refused(&["jiva-volume", "--from-version=x", "--to-version=3.6.0", "p"]), "fromVersion");
}
