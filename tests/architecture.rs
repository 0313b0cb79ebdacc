//! Holds the arrows between the modules: which of ours may use which, and who alone may name a driver.
//!
//! The check reads the sources as text. It knows `crate::…` and `fleetlift::…` paths, grouped imports included, and
//! leaves comments, strings and test code (everything from the first `#[cfg(test)]` of a file on, and `*_tests.rs`)
//! alone: a test may wire up what it likes.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

/// Left may use right. `module::part` allows that part alone; every module may use itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli", "telemetry"]),
    (
        "cli",
        &[
            "api",
            "app",
            "audit",
            "cluster",
            "connections",
            "domain",
            "engine",
            "fleet_config",
            "metrics",
            "openebs",
            "planner",
            "plans",
            "seal",
            "settings",
            "sim",
            "store",
            "system",
            "telemetry",
        ],
    ),
    ("api", &["app", "domain", "store", "metrics"]),
    (
        "app",
        &[
            "domain",
            "fleet_config",
            "planner",
            "plans",
            "engine::decide",
            "store",
            "cluster",
            "connections",
            "seal",
            "openebs",
            "audit",
        ],
    ),
    // From a registered cluster's row to a connection: what the engine and the use cases share.
    ("connections", &["cluster", "domain", "store"]),
    // The plans in hand, parsed once for both.
    ("plans", &["domain", "store"]),
    ("engine", &["domain", "openebs", "planner", "plans", "store", "cluster", "connections", "audit", "metrics"]),
    ("store", &["domain", "audit::chain", "metrics"]),
    ("cluster", &["domain", "openebs", "seal", "metrics"]),
    ("audit", &["domain"]),
    ("planner", &["domain", "openebs"]),
    ("fleet_config", &["domain", "openebs"]),
    ("executor", &["domain", "openebs", "system"]),
    ("openebs", &["domain"]),
    ("sim", &["domain", "openebs"]),
    // An observation shows the UpgradeTask's status as it was written, steps and all: the wire type is the noun.
    ("domain", &["openebs::upgrade_task"]),
    ("seal", &["domain"]),
    ("metrics", &["domain"]),
    ("settings", &["domain"]),
    ("telemetry", &["domain"]),
    ("system", &["domain"]),
];

/// Crates that only some places may name, so that everything else stays free of what they bring along.
const DRIVERS: &[(&str, &[&str])] = &[
    ("sqlx", &["store/"]),
    ("kube", &["cluster/", "executor/", "cli/bootstrap"]),
    ("k8s_openapi", &["cluster/", "executor/", "openebs/", "sim/", "cli/bootstrap"]),
    ("axum", &["api/", "sim/"]),
];

#[test]
fn every_arrow_between_modules_is_in_the_table() {
    let problems: Vec<Problem> = sources().iter().flat_map(|(path, text)| problems_of(path, text)).collect();
    assert!(
        problems.is_empty(),
        "the tree is the architecture; either the code belongs elsewhere or the table in tests/architecture.rs \
         (and the design) must change first:\n{}",
        problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn every_module_of_the_tree_has_a_row_in_the_table() {
    let known: BTreeSet<&str> = ARROWS.iter().map(|(module, _)| *module).collect();
    let unknown: BTreeSet<String> =
        sources().iter().map(|(path, _)| module_of(path)).filter(|module| !known.contains(module.as_str())).collect();
    assert!(unknown.is_empty(), "give these modules a row in ARROWS: {unknown:?}");
}

#[test]
fn a_planted_arrow_is_found_with_its_line() {
    let found = problems_of("domain/plan.rs", "//! A plan.\n\nuse crate::store::Store;\n");
    assert_eq!(
        found,
        [Problem {
            path: "domain/plan.rs".into(),
            line: 3,
            fault: Fault::Arrow { from: "domain".into(), to: "store".into() }
        }]
    );
}

#[test]
fn arrows_hide_neither_in_groups_nor_in_plain_paths() {
    let text = "use crate::{domain::{Plan, ids::Id}, store::{\n    Store,\n}};\nfn f() { let _ = crate::cli::run; }\n";
    let found: Vec<String> = problems_of("planner/mod.rs", text).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["src/planner/mod.rs:1: `planner` may not use `store`", "src/planner/mod.rs:4: `planner` may not use `cli`",]
    );
}

#[test]
fn a_part_that_is_allowed_does_not_open_its_whole_module() {
    assert_eq!(problems_of("app/explain.rs", "use crate::engine::decide::Decision;\n"), []);
    assert_eq!(problems_of("app/explain.rs", "use crate::{domain::Plan, engine::decide};\n"), []);
    assert_eq!(problems_of("app/explain.rs", "use crate::engine::worker::Worker;\n").len(), 1);
    assert_eq!(problems_of("app/explain.rs", "use crate::engine::{decide, worker};\n").len(), 1);
}

#[test]
fn a_planted_driver_is_found() {
    let found: Vec<String> = problems_of("app/list.rs", "use sqlx::Row;\n").iter().map(ToString::to_string).collect();
    assert_eq!(found, ["src/app/list.rs:1: `sqlx` is named outside store/"]);
    assert_eq!(problems_of("store/rows.rs", "use sqlx::Row;\n"), []);
}

#[test]
fn comments_strings_and_tests_are_not_arrows() {
    let text = "// crate::store is not used\n/// See [`crate::cli`].\nconst S: &str = \"crate::store\";\n\
                #[cfg(test)]\nmod tests { use crate::store::Store; }\n";
    assert_eq!(problems_of("domain/plan.rs", text), []);
    assert_eq!(problems_of("domain/plan_tests.rs", "use crate::store::Store;\n"), []);
}

/// One line that draws an arrow it may not.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    path: String,
    line: usize,
    fault: Fault,
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Arrow { from: String, to: String },
    Driver { name: &'static str, allowed: &'static [&'static str] },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: ", self.path, self.line)?;
        match &self.fault {
            Fault::Arrow { from, to } => write!(f, "`{from}` may not use `{to}`"),
            Fault::Driver { name, allowed } => write!(f, "`{name}` is named outside {}", allowed.join(", ")),
        }
    }
}

/// Everything wrong with one file; `path` is relative to `src`.
fn problems_of(path: &str, text: &str) -> Vec<Problem> {
    if path.ends_with("_tests.rs") || path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let code = code_only(text);
    let from = module_of(path);
    let allowed = ARROWS.iter().find(|(module, _)| *module == from).map_or(&[][..], |(_, allowed)| allowed);
    let mut problems = Vec::new();
    for (line, used) in own_paths(&code) {
        let module = used.split("::").next().unwrap_or_default();
        let known = ARROWS.iter().any(|(row, _)| *row == module);
        let fine = module == from
            || !known
            || allowed.iter().any(|right| used == *right || used.starts_with(&format!("{right}::")));
        if !fine {
            problems.push(Problem {
                path: path.into(),
                line,
                fault: Fault::Arrow { from: from.clone(), to: shown(&used, allowed) },
            });
        }
    }
    for (name, allowed) in DRIVERS {
        if allowed.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        let says = |line: &str| {
            line.match_indices(&format!("{name}::")).any(|(at, _)| !line[..at].ends_with(is_name_or_colon))
        };
        for (number, _) in code.lines().enumerate().filter(|(_, line)| says(line)) {
            problems.push(Problem { path: path.into(), line: number + 1, fault: Fault::Driver { name, allowed } });
        }
    }
    problems.dedup();
    problems
}

/// The module, and its part too where another part of it would have been allowed.
fn shown(used: &str, allowed: &[&str]) -> String {
    let module = used.split("::").next().unwrap_or_default();
    let parts = if allowed.iter().any(|right| right.starts_with(&format!("{module}::"))) { 2 } else { 1 };
    used.split("::").take(parts).collect::<Vec<_>>().join("::")
}

/// The module that a file belongs to: its folder, or its own name at the top. (The executor's `main.rs` is a
/// composition root of its own, inside its module; hence its arrow to `system`.)
fn module_of(path: &str) -> String {
    path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Every path into our own crate, one entry for each leaf of a group, with its line (of the path's beginning).
fn own_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "fleetlift::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(is_name_or_colon) {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            for leaf in leaves(&code[at + root.len()..]) {
                found.push((line, leaf));
            }
        }
    }
    found.sort();
    found
}

/// `a::{b, c::d}` → `a::b`, `a::c::d`; stops where the path ends.
fn leaves(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    if !rest.starts_with('{') {
        return vec![path.trim_end_matches(':').to_owned()];
    }
    let mut depth = 0_usize;
    let mut item = String::new();
    let mut items = Vec::new();
    for c in rest.chars() {
        match c {
            '{' if depth == 0 => depth = 1,
            '{' => {
                depth += 1;
                item.push(c);
            }
            '}' if depth == 1 => break,
            '}' => {
                depth -= 1;
                item.push(c);
            }
            ',' if depth == 1 => items.push(std::mem::take(&mut item)),
            c if c.is_whitespace() => {}
            c => item.push(c),
        }
    }
    items.push(item);
    items
        .iter()
        .filter(|item| !item.is_empty())
        .flat_map(|item| leaves(item).into_iter().map(|leaf| format!("{path}{leaf}")).collect::<Vec<_>>())
        .collect()
}

/// The text without comments, strings and test code, line for line.
fn code_only(text: &str) -> String {
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(|line| {
            let line = without_strings(line);
            line.split("//").next().unwrap_or_default().to_owned()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Drops what stands between double quotes on one line; enough for paths, which never span lines inside strings.
fn without_strings(line: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    let mut escaped = false;
    for c in line.chars() {
        match c {
            '"' if !escaped => inside = !inside,
            _ if !inside => kept.push(c),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    kept
}

fn is_name_or_colon(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// All Rust files under `src`, by their path there.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it lies under src").to_string_lossy().into_owned();
                files.push((name, std::fs::read_to_string(&path).expect("a source file can be read")));
            }
        }
    }
    files.sort();
    files
}
