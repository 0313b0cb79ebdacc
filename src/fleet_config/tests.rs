//! Whole fleet files: what is read, what is refused, and with which words.

use super::*;
use crate::domain::fleet::{Amount, ApprovalRule, Attached, Takes, Uncovered};
use crate::domain::{Seconds, Version};

const SOUND: &str = r#"
apiVersion: fleetlift.io/v1
kind: Fleet
metadata: {name: retail}
spec:
  timeZone: Europe/Berlin
  limits: {running: 300}
  groups:
    - name: stores
      selector: region in (eu, uk), tier=store
      target:
        openebs: 3.6.0
        images: {prefix: registry.example.com/openebs/, tag: 3.6.0-1}
        executor: {use: openebs, image: "registry.example.com:5000/openebs/upgrade:3.6.0", pullSecrets: [edge]}
        resources: {kinds: [cstorPoolCluster, jivaVolume], names: [pvc-1, cspc-a/cspi-x]}
      strategy: careful
      mode: manual
  strategies:
    - name: careful
      waves:
        - {name: canary, size: 5, soak: 30m, approval: after}
        - {name: tenth, size: 10%, start: 2026-12-01T22:00}
        - {name: labs, selector: lab}
        - {name: two, names: [c-1, c-2]}
        - {name: rest}
      limits: {running: 20%, tasksPerCluster: 1, per: [{label: site, running: 2}]}
      failures: {allow: 2%, perWave: 3, atLeastSucceeded: 95%}
      attached: refuse
      deadlines: {task: 45m, cluster: 6h, rollout: 14d}
      retries: {attempts: 4, backoff: {first: 10s, longest: 30m}}
      windows: [nights]
      whenWindowCloses: finish
      lateJoiners: ignore
      uncovered: lastWave
      unreachable: {retryEvery: 15m, minReached: 98%}
  windows:
    - {name: nights, allow: [{days: Mon-Fri, from: "22:00", to: "05:00"}], deny: [{dates: 2026-12-20..2027-01-06, reason: peak season}]}
"#;

fn source(text: &str) -> Source {
    Source { name: "fleet.yaml".into(), text: text.into() }
}

fn parsed(text: &str) -> Fleet {
    parse(&[source(text)]).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> Vec<Problem> {
    parse(&[source(text)]).unwrap_err().problems
}

/// The only problem with the sound fleet after `from` was replaced by `to`.
fn problem_after(from: &str, to: &str) -> Problem {
    assert!(SOUND.contains(from), "{from}");
    let problems = problems(&SOUND.replacen(from, to, 1));
    assert_eq!(problems.len(), 1, "{from} → {to}: {problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn everything_that_is_carried_out_is_read() {
    let fleet = parsed(SOUND);
    let stores = &fleet.groups["stores"];
    let careful = fleet.strategy_of(stores).unwrap();
    assert_eq!(stores.target.openebs, Version::new(3, 6, 0));
    assert_eq!(stores.target.resources.names[0].to_string(), "pvc-1");
    assert_eq!(careful.waves[0].soak, Seconds(1_800));
    assert_eq!(careful.waves[0].approval, ApprovalRule::After);
    assert_eq!(careful.waves[1].takes, Takes::Percent(10));
    assert_eq!(careful.waves[1].start.unwrap().to_string(), "2026-12-01T21:00:00Z");
    assert_eq!(careful.waves[4].takes, Takes::Rest);
    assert_eq!(careful.limits.running, Some(Amount::Percent(20)));
    assert_eq!(careful.attached, Attached::Refuse);
    assert_eq!(careful.uncovered, Uncovered::LastWave);
    assert_eq!(careful.windows[0].name, "nights");
    assert_eq!(fleet.limits.running, Some(Amount::Number(300)));
}

#[test]
fn twelve_mistakes_give_twelve_messages_each_with_its_place() {
    let text = r#"apiVersion: fleetlift.io/v2
kind: Fleet
metadata: {name: retail}
spec:
  timezone: Europe/Berlin
  groups:
    - name: stores
      selector: region in eu
      target: {openebs: 1.10}
      strategy: carefull
    - name: stores
      selector: tier=lab
      target: {openebs: 3.6.0}
      strategy: careful
      mode: auto
  strategies:
    - name: careful
      waves:
        - {name: canary, size: 120%}
        - {name: rest}
        - {name: late, size: 5, soak: half an hour}
      failures: [1, 2]
      attached: refuze
      windows: [nights]
  windows:
    - {name: nites, allow: [{from: "22:00", to: "22:00"}]}
"#;
    let found: Vec<(u64, u64, String)> =
        problems(text).into_iter().map(|problem| (problem.line, problem.column, problem.field)).collect();
    let expected = [
        (1, 13, "apiVersion"),
        (5, 3, "spec.timezone"),
        (8, 17, "spec.groups[0].selector"),
        (9, 25, "spec.groups[0].target.openebs"),
        (10, 17, "spec.groups[0].strategy"),
        (11, 13, "spec.groups[1].name"),
        (15, 13, "spec.groups[1].mode"),
        (19, 32, "spec.strategies[0].waves[0].size"),
        (21, 11, "spec.strategies[0].waves[2]"),
        (21, 39, "spec.strategies[0].waves[2].soak"),
        (22, 17, "spec.strategies[0].failures"),
        (23, 17, "spec.strategies[0].attached"),
        (24, 17, "spec.strategies[0].windows[0]"),
        (26, 49, "spec.windows[0].allow[0].to"),
    ];
    let expected: Vec<_> = expected.iter().map(|&(line, column, field)| (line, column, field.to_owned())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_problem_reads_with_file_line_column_remedy_and_the_line() {
    let problem = problem_after("mode: manual", "mod: manual");
    assert_eq!(
        problem.to_string(),
        "fleet.yaml:17:7: spec.groups[0].mod: unknown field: did you mean `mode`?\n     17 |       mod: manual\n        |       ^"
    );
}

#[test]
fn each_mistake_is_explained_with_its_remedy() {
    for (from, to, field, words) in [
        ("3.6.0\n", "1.10\n", "spec.groups[0].target.openebs", "write for example 1.10.0"),
        ("openebs: 3.6.0\n", "openebs: 4.1.0\n", "spec.groups[0].target.openebs", "last release here is 3.6.0"),
        ("openebs/, tag", "openebs, tag", "spec.groups[0].target.images.prefix", "end it with a /"),
        ("openebs/upgrade:3.6.0", "openebs/upgrade", "spec.groups[0].target.executor.image", "no tag and no digest"),
        (
            "kinds: [cstorPoolCluster",
            "kinds: [cstorPoolClaster",
            "spec.groups[0].target.resources.kinds[0]",
            "did you mean `cstorPoolCluster`?",
        ),
        ("pvc-1, ", "PVC-1, ", "spec.groups[0].target.resources.names[0]", "cannot name a Kubernetes object"),
        ("strategy: careful", "strategy: carful", "spec.groups[0].strategy", "did you mean `careful`?"),
        (
            "selector: region in (eu, uk), tier=store",
            "selector: ''",
            "spec.groups[0].selector",
            "selects every cluster",
        ),
        ("{name: canary, size: 5", "{name: canary, size: 0", "spec.strategies[0].waves[0].size", "at least 1"),
        ("size: 10%,", "size: 100%,", "spec.strategies[0].waves[2]", "takes all that is left"),
        ("size: 5, soak", "size: 5, names: [x], soak", "spec.strategies[0].waves[0].names", "keep one of size, names"),
        (
            "names: [c-1, c-2]",
            "names: [c-1, c-1]",
            "spec.strategies[0].waves[3].names[1]",
            "named in wave `two` already",
        ),
        ("name: tenth", "name: canary", "spec.strategies[0].waves[1].name", "give this one another name"),
        ("start: 2026-12-01T22:00", "start: soon", "spec.strategies[0].waves[1].start", "add an offset"),
        ("task: 45m", "task: 7h", "spec.strategies[0].deadlines.task", "longer than its cluster's"),
        ("cluster: 6h", "cluster: 15d", "spec.strategies[0].deadlines.cluster", "longer than the rollout's"),
        ("attempts: 4", "attempts: 0", "spec.strategies[0].retries.attempts", "1 to 20"),
        ("attempts: 4", "attempts: many", "spec.strategies[0].retries.attempts", "not a whole number"),
        ("first: 10s", "first: 1h", "spec.strategies[0].retries.backoff.first", "swap them"),
        ("windows: [nights]", "windows: [days]", "spec.strategies[0].windows[0]", "there is nights"),
        ("windows: [nights]", "windows: nights", "spec.strategies[0].windows", "expected a list"),
        ("days: Mon-Fri", "days: Mo-Fr", "spec.windows[0].allow[0].days", "Mon-Fri or Sat,Sun"),
        ("to: \"05:00\"", "to: \"25:00\"", "spec.windows[0].allow[0].to", "\"22:00\""),
        (", to: \"05:00\"", "", "spec.windows[0].allow[0].to", "is missing"),
        ("2026-12-20..2027-01-06", "2027-01-06..2026-12-20", "spec.windows[0].deny[0].dates", "swap the two dates"),
        ("{dates: 2026-12-20..2027-01-06, reason", "{days: Mon-Sun, reason", "spec.windows[0].deny[0]", "never opens"),
        ("days: Mon-Fri", "days: Mon, dates: 2026-12-26", "spec.windows[0].allow[0]", "no Mon lies in"),
        ("running: 300", "running: 10%", "spec.limits.running", "write a number"),
        ("label: site", "label: s/i/te", "spec.strategies[0].limits.per[0].label", "no label key"),
        (
            "label: site, running: 2",
            "label: site, running: 5%",
            "spec.strategies[0].limits.per[0].running",
            "write a number",
        ),
        ("allow: 2%", "allow: 2.5%", "spec.strategies[0].failures.allow", "whole numbers"),
        ("timeZone: Europe/Berlin", "timeZone: Berlin", "spec.timeZone", "Europe/Berlin"),
        ("metadata: {name: retail}", "metadata: {name: Retail Stores}", "metadata.name", "lowercase"),
        ("      strategy: careful\n", "", "spec.groups[0].strategy", "is missing"),
        (
            "uncovered: lastWave",
            "uncovered: lastWave\n      uncovered: fail",
            "spec.strategies[0].uncovered",
            "given twice",
        ),
    ] {
        let problem = problem_after(from, to);
        assert_eq!(problem.field, field, "{problem}");
        assert!(problem.message.contains(words), "{problem}");
        assert!(problem.line > 0 && problem.column > 0 && !problem.snippet.is_empty(), "{problem}");
    }
}

#[test]
fn what_is_not_carried_out_yet_is_refused_and_never_ignored() {
    for (from, to, field) in [
        ("mode: manual", "mode: propose", "spec.groups[0].mode"),
        ("mode: manual", "mode: auto", "spec.groups[0].mode"),
        ("lateJoiners: ignore", "lateJoiners: append", "spec.strategies[0].lateJoiners"),
        ("lateJoiners: ignore", "lateJoiners: catchUp", "spec.strategies[0].lateJoiners"),
        ("whenWindowCloses: finish", "whenWindowCloses: stopAfterTask", "spec.strategies[0].whenWindowCloses"),
        ("tasksPerCluster: 1", "tasksPerCluster: 2", "spec.strategies[0].limits.tasksPerCluster"),
        ("attached: refuse", "gates: {before: [{prometheus: up}]}", "spec.strategies[0].gates"),
        ("  limits: {running: 300}", "  debt: {giveUpAfter: 30d}", "spec.debt"),
    ] {
        let problem = problem_after(from, to);
        assert_eq!(problem.field, field);
        assert!(problem.message.contains("not carried out by this version"), "{problem}");
    }
}

#[test]
fn several_files_make_one_fleet_and_their_order_changes_nothing() {
    let base = source(
        "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {name: x}\nspec: {strategies: [{name: s, waves: [{name: all}]}]}\n",
    );
    let group = |name: &str| Source {
        name: format!("{name}.yaml"),
        text: format!(
            "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {{name: x}}\nspec:\n  groups: [{{name: {name}, selector: g={name}, target: {{openebs: 3.6.0}}, strategy: s}}]\n"
        ),
    };
    let one = parse(&[base.clone(), group("a"), group("b")]).unwrap();
    let other = parse(&[group("b"), base.clone(), group("a")]).unwrap();
    assert_eq!(one, other);
    assert_eq!(one.revision(), other.revision());
    assert_ne!(one.revision(), parse(&[base.clone(), group("a")]).unwrap().revision());
    let mut stranger = group("c");
    stranger.text = stranger.text.replace("{name: x}", "{name: y}");
    let problems = parse(&[base, group("a"), group("a"), stranger]).unwrap_err();
    assert_eq!(problems.problems.len(), 2, "{problems}");
}

#[test]
fn what_is_no_fleet_says_so() {
    for text in [
        "",
        "# nothing\n",
        "---\n",
        "- a\n",
        "just text",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
        "a: [",
        "spec: {groups: 7}",
    ] {
        let problems = parse(&[source(text)]).unwrap_err();
        assert!(!problems.problems.is_empty(), "{text}");
    }
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let text = SOUND
        .replace("selector: region in (eu, uk), tier=store", "selector: [a]")
        .replace("size: 5,", "size: {a: 1},")
        .replace("attached: refuse", "attached: 7");
    let fields: Vec<String> = problems(&text).into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["spec.groups[0].selector", "spec.strategies[0].waves[0].size", "spec.strategies[0].attached"]);
}

#[test]
fn an_unreadable_element_does_not_shift_the_places_of_those_after_it() {
    let text = SOUND
        .replace("- {name: canary, size: 5, soak: 30m, approval: after}", "- canary")
        .replace("size: 10%", "size: ten");
    let found: Vec<(u64, String)> = problems(&text).into_iter().map(|problem| (problem.line, problem.field)).collect();
    assert_eq!(found, [(21, "spec.strategies[0].waves[0]".into()), (22, "spec.strategies[0].waves[1].size".into())]);
}

#[test]
fn what_an_unreadable_part_may_hold_is_not_reported_as_missing() {
    let strategies = SOUND.find("  strategies:").unwrap();
    let base = Source { name: "a.yaml".into(), text: SOUND[..strategies].into() };
    let head = "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {name: retail}\nspec:\n";
    let broken = Source {
        name: "b.yaml".into(),
        text: format!("{head}{}", &SOUND[strategies..].replace("[nights]", "[nights")),
    };
    assert_eq!(parse(&[base, broken]).unwrap_err().problems.len(), 1);
    let misnamed = problems(&SOUND.replace("careful", "Careful"));
    assert_eq!(misnamed.len(), 1, "{misnamed:#?}");
    assert_eq!(misnamed[0].field, "spec.strategies[0].name");
}

#[test]
fn hostile_files_are_refused_in_reasonable_time() {
    let head = "apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {name: x}\nspec:\n";
    let unknown: String = (0..30_000).fold(String::new(), |text, n| text + &format!("  unknwon{n}: 1\n"));
    let repeated = "  timeZone: UTC\n".repeat(30_000);
    let groups = format!("  groups:\n{}", "  - {name: [a], selector: [b], target: 7}\n".repeat(7_000));
    let names = format!("  strategies:\n  - {{name: s, waves: [{{name: w, names: [{}]}}]}}\n", "c,".repeat(30_000));
    for text in [unknown, repeated, groups, names] {
        let text = format!("{head}{text}");
        let problems = parse(&[source(&text)]).unwrap_err();
        assert!(problems.more > 0, "{}", &text[text.len() - 60..]);
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_fleet() {
    let fleet = parsed(SOUND);
    let again = parsed(&show(&fleet));
    assert_eq!(again, fleet);
    assert_eq!(again.revision(), fleet.revision());
}

#[test]
fn a_comment_or_a_default_written_out_changes_no_revision() {
    let fleet = parsed(SOUND);
    let edited = parsed(&SOUND.replace("      mode: manual\n", "      # people decide\n"));
    assert_eq!(fleet.revision(), edited.revision());
    assert_eq!(diff(Some(&fleet), &edited), []);
}

#[test]
fn a_diff_names_what_changes_and_nothing_else() {
    let fleet = parsed(SOUND);
    let edited = parsed(
        &SOUND
            .replace("openebs: 3.6.0\n", "openebs: 3.5.0\n")
            .replace("size: 10%", "size: 20%")
            .replace("        - {name: labs, selector: lab}\n", ""),
    );
    let lines: Vec<String> = diff(Some(&fleet), &edited).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "~ group stores: target.openebs: 3.6.0 → 3.5.0",
            "- strategy careful: waves.labs.name: labs",
            "- strategy careful: waves.labs.selector: lab",
            "~ strategy careful: waves.tenth.size: 10% → 20%",
        ]
    );
    assert!(diff(None, &fleet).len() > 20);
}

#[test]
fn the_order_of_waves_is_part_of_the_diff() {
    let fleet = parsed(SOUND);
    let (labs, two) = ("        - {name: labs, selector: lab}\n", "        - {name: two, names: [c-1, c-2]}\n");
    let edited = parsed(&SOUND.replace(&format!("{labs}{two}"), &format!("{two}{labs}")));
    let lines: Vec<String> = diff(Some(&fleet), &edited).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["~ strategy careful: waves (order): canary, tenth, labs, two, rest → canary, tenth, two, labs, rest"]
    );
}

#[test]
fn the_schema_knows_every_field_and_which_are_needed() {
    let schema = schema();
    let text = schema.to_string();
    assert!(!text.contains("Raw"), "{text}");
    for field in ["timeZone", "atLeastSucceeded", "whenWindowCloses", "pullSecrets", "giveUpAfter", "minReached"] {
        assert!(text.contains(&format!("\"{field}\"")), "{field}");
    }
    assert_eq!(schema["required"], serde_json::json!(["apiVersion", "kind", "metadata", "spec"]));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    assert_eq!(schema["$defs"]["Group"]["required"], serde_json::json!(["name", "selector", "target", "strategy"]));
}

#[test]
fn input_is_bounded() {
    let long = Source { name: "long.yaml".into(), text: " ".repeat(BYTES_MAX + 1) };
    assert!(parse(&[long]).unwrap_err().to_string().contains("more than a fleet may have"));
    let many = vec![source("---\n"); FILES_MAX + 1];
    assert!(parse(&many).unwrap_err().to_string().contains("files"));
    let groups = "    - {name: g, selecter: a}\n".repeat(3_000);
    let text = format!("apiVersion: fleetlift.io/v1\nkind: Fleet\nmetadata: {{name: x}}\nspec:\n  groups:\n{groups}");
    let problems = parse(&[source(&text)]).unwrap_err();
    assert_eq!(problems.problems.len(), Problems::REPORTED_MAX);
    assert!(problems.more > 0);
}

#[test]
fn the_example_fleet_is_sound() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fleet-config");
    let fleet = parse(&read(&folder).unwrap()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(fleet.groups.contains_key("stores"));
    assert!(fleet.strategies.contains_key("demo"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail_otherwise_than_with_problems(
        cut in 0_usize..2_000, insert in "[\\[\\]{}:,\"'&*!|>%@`#~ \n\t a-z0-9-]{0,12}"
    ) {
        let cut = SOUND.char_indices().map(|(at, _)| at).nth(cut.min(SOUND.len() - 1)).unwrap_or(0);
        let text = format!("{}{insert}{}", &SOUND[..cut], &SOUND[cut..]);
        if let Err(problems) = parse(&[source(&text)]) {
            proptest::prop_assert!(!problems.problems.is_empty());
            proptest::prop_assert!(!problems.to_string().is_empty());
        }
    }
}
