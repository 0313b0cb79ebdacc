//! Raw documents to a checked fleet: what is missing, doubled, unknown, contradictory or not carried out yet.

use std::collections::BTreeMap;

use super::problem::{At, nearest};
use super::raw::{RawDocument, RawExecutor, RawGroup, RawImages, RawKind, RawMaker, RawMode, RawResources, RawTarget};
use super::{scalars, strategy, windows};
use crate::domain::fleet::{
    ExecutorMaker, ExecutorSpec, Fleet, Group, Images, Limits, ResourceFilter, ResourceName, TargetSpec,
    check_object_name,
};
use crate::domain::{Selector, Zone};
use crate::openebs;

/// The most groups, strategies or windows of a fleet.
pub const NAMED_MAX: usize = 1_000;

/// The fleet that the documents make together; `None` after something that makes no sense was reported.
///
/// With `is_complete` unset there were files that could not be read: what they may hold is not reported as missing.
pub fn fleet(documents: &[(RawDocument, At<'_>)], is_complete: bool) -> Option<Fleet> {
    let name = one_name(documents);
    let time_zone = time_zone(documents);
    let limits = fleet_limits(documents);

    let mut windows =
        Named::new("window", is_complete && is_whole(documents, "windows", |spec| spec.windows.as_ref().map(Vec::len)));
    for (raw, at) in each(documents, "windows", |spec| spec.windows.as_deref()) {
        windows.add(raw.name.as_deref(), &at, || windows::window(raw, &at));
    }
    let mut strategies = Named::new(
        "strategy",
        is_complete && is_whole(documents, "strategies", |spec| spec.strategies.as_ref().map(Vec::len)),
    );
    for (raw, at) in each(documents, "strategies", |spec| spec.strategies.as_deref()) {
        strategies.add(raw.name.as_deref(), &at, || strategy::strategy(raw, &at, &time_zone, &windows));
    }
    let mut groups =
        Named::new("group", is_complete && is_whole(documents, "groups", |spec| spec.groups.as_ref().map(Vec::len)));
    for (raw, at) in each(documents, "groups", |spec| spec.groups.as_deref()) {
        groups.add(raw.name.as_deref(), &at, || group(raw, &at, &strategies));
    }
    if groups.places.is_empty()
        && groups.is_complete
        && let Some((_, at)) = documents.first()
        && at.field("spec").field("groups").is_clean()
    {
        at.field("spec")
            .field("groups")
            .problem("a fleet needs at least one group: say which clusters, which version and which strategy");
    }
    Some(Fleet {
        name: name?,
        time_zone,
        groups: groups.checked,
        strategies: strategies.checked,
        windows: windows.checked,
        limits,
    })
}

/// Every element of one list of all documents, with its place.
fn each<'d, 'a, T: 'd>(
    documents: &'d [(RawDocument, At<'a>)],
    list: &'static str,
    of: impl Fn(&'d super::raw::RawSpec) -> Option<&'d [T]> + Copy + 'd,
) -> impl Iterator<Item = (&'d T, At<'a>)> {
    documents.iter().flat_map(move |(raw, at)| {
        let at = at.field("spec").field(list);
        let elements = raw.spec.as_ref().and_then(of).unwrap_or_default();
        if elements.len() > NAMED_MAX {
            at.problem(format!("at most {NAMED_MAX} are possible, found {}", elements.len()));
        }
        elements.iter().take(NAMED_MAX).zip(at.elements())
    })
}

/// Whether every element of one list of all documents could be read.
fn is_whole(
    documents: &[(RawDocument, At<'_>)],
    list: &str,
    read: impl Fn(&super::raw::RawSpec) -> Option<usize>,
) -> bool {
    documents.iter().all(|(raw, at)| {
        let read = raw.spec.as_ref().and_then(&read).unwrap_or_default();
        at.field("spec").is_readable() && at.field("spec").field(list).is_readable_list_of(read)
    })
}

/// What has been read of one kind of named thing.
pub struct Named<'a, T> {
    kind: &'static str,
    /// Whether all of them could be read, sound or not.
    is_complete: bool,
    /// What is sound, by name.
    pub checked: BTreeMap<String, T>,
    /// Where each name was first given, sound or not.
    places: BTreeMap<String, At<'a>>,
}

impl<'a, T> Named<'a, T> {
    fn new(kind: &'static str, is_complete: bool) -> Self {
        Self { kind, is_complete, checked: BTreeMap::new(), places: BTreeMap::new() }
    }

    fn add(&mut self, name: Option<&str>, at: &At<'a>, read: impl FnOnce() -> Option<T>) {
        let value = read();
        let Some(name) = checked_name(name, at) else {
            // Whoever names it means this one: the bad name is the one mistake.
            self.places.extend(name.map(|bad| (bad.to_owned(), at.clone())));
            return;
        };
        if let Some(first) = self.places.get(&name) {
            at.field("name").problem(format!(
                "there is already a {} `{name}` at {}: give this one another name",
                self.kind,
                first.location()
            ));
            return;
        }
        self.places.insert(name.clone(), at.clone());
        if let Some(value) = value {
            self.checked.insert(name, value);
        }
    }

    /// The one called `name`, or a problem at `at` if there is none. One that is itself wrong is not reported again.
    pub fn find(&self, name: &str, at: &At<'_>) -> Option<&T> {
        if self.is_complete && !self.places.contains_key(name) {
            let known: Vec<&str> = self.places.keys().map(String::as_str).collect();
            let remedy = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => format!("there is none at all: add one called `{}`", scalars::shown(name)),
                None => format!("there is {}", known.iter().take(10).copied().collect::<Vec<_>>().join(", ")),
            };
            at.problem(format!("there is no {} `{}`; {remedy}", self.kind, scalars::shown(name)));
        }
        self.checked.get(name)
    }
}

/// The name of something, or a problem.
pub fn checked_name(name: Option<&str>, at: &At<'_>) -> Option<String> {
    let at = at.field("name");
    read(require(name, &at, "every one needs a name")?, &at, scalars::name)
}

/// The value, or a problem that says what it is for. A field that was there but could not be read was reported already.
pub fn require<'v, T: ?Sized>(value: Option<&'v T>, at: &At<'_>, what: &str) -> Option<&'v T> {
    if value.is_none() && at.is_clean() {
        at.problem(format!("is missing: {what}"));
    }
    value
}

/// What `parse` makes of the text, or a problem.
pub fn read<T>(text: &str, at: &At<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    parse(text).map_err(|message| at.problem(message)).ok()
}

/// What `parse` makes of the text if there is any; a problem is reported, and leaves `None`, too.
pub fn read_optional<T>(text: Option<&str>, at: &At<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    text.and_then(|text| read(text, at, parse))
}

/// Refuses what is understood but not carried out: ignoring it would promise what does not happen.
pub fn not_yet(at: &At<'_>, instead: &str) {
    at.problem(format!(
        "is understood, but not carried out by this version of Fleetlift, and is therefore refused: {instead}"
    ));
}

/// All documents must speak of one fleet, in our words.
fn one_name(documents: &[(RawDocument, At<'_>)]) -> Option<String> {
    let mut first: Option<(String, &At<'_>)> = None;
    for (raw, at) in documents {
        let version_at = at.field("apiVersion");
        match require(raw.api_version.as_deref(), &version_at, "write `apiVersion: fleetlift.io/v1`") {
            Some("fleetlift.io/v1") | None => {}
            Some(other) => {
                version_at.problem(format!("`{}` is not known: write fleetlift.io/v1", scalars::shown(other)));
            }
        }
        let kind_at = at.field("kind");
        match require(raw.kind.as_deref(), &kind_at, "write `kind: Fleet`") {
            Some("Fleet") | None => {}
            Some(other) => kind_at.problem(format!("`{}` is not known: write Fleet", scalars::shown(other))),
        }
        require(raw.spec.as_ref(), &at.field("spec"), "it holds groups, strategies and windows");
        let name_at = at.field("metadata");
        let Some(name) = checked_name(raw.metadata.as_ref().and_then(|m| m.name.as_deref()), &name_at) else {
            continue;
        };
        match &first {
            Some((known, place)) if *known != name => name_at.field("name").problem(format!(
                "these files make one fleet, called `{known}` at {}: use the same name, or keep `{name}` in another folder",
                place.location()
            )),
            Some(_) => {}
            None => first = Some((name, at)),
        }
    }
    first.map(|(name, _)| name)
}

fn time_zone(documents: &[(RawDocument, At<'_>)]) -> Zone {
    let mut first: Option<(Zone, At<'_>)> = None;
    for (raw, at) in documents {
        let at = at.field("spec").field("timeZone");
        let Some(text) = raw.spec.as_ref().and_then(|spec| spec.time_zone.as_deref()) else { continue };
        if let Some((_, place)) = &first {
            at.problem(format!("is given already at {}: keep one", place.location()));
            continue;
        }
        let zone = read(text, &at, |text| text.parse::<Zone>().map_err(|error| error.to_string()));
        first = Some((zone.unwrap_or_else(Zone::utc), at));
    }
    first.map_or_else(Zone::utc, |(zone, _)| zone)
}

fn fleet_limits(documents: &[(RawDocument, At<'_>)]) -> Limits {
    let mut first: Option<(Limits, At<'_>)> = None;
    for (raw, at) in documents {
        let Some(spec) = &raw.spec else { continue };
        let at = at.field("spec");
        if spec.debt.is_some() {
            not_yet(&at.field("debt"), "remove it; what a rollout still owes at its deadline is listed in its result");
        }
        let at = at.field("limits");
        let Some(raw) = &spec.limits else { continue };
        if let Some((_, place)) = &first {
            at.problem(format!("are given already at {}: keep one", place.location()));
            continue;
        }
        let limits = strategy::limits(raw, &at);
        if let Some(crate::domain::fleet::Amount::Percent(_)) = limits.running {
            at.field("running").problem(
                "a share is possible in a strategy's limits only, where the plan says of how many: write a number",
            );
        }
        first = Some((limits, at));
    }
    first.map(|(limits, _)| limits).unwrap_or_default()
}

fn group(raw: &RawGroup, at: &At<'_>, strategies: &Named<'_, crate::domain::Strategy>) -> Option<Group> {
    let RawGroup { name, selector, target: raw_target, strategy, mode } = raw;
    match mode {
        None | Some(RawMode::Manual) => {}
        Some(RawMode::Propose | RawMode::Auto) => {
            not_yet(&at.field("mode"), "write `mode: manual`, and make plans by `fleetlift plan`");
        }
    }
    let selector_at = at.field("selector");
    let selector = require(selector.as_deref(), &selector_at, "write a label selector such as tier=store")
        .and_then(|text| read(text, &selector_at, |text| text.parse::<Selector>().map_err(|error| error.to_string())));
    if selector.as_ref().is_some_and(Selector::is_empty) {
        selector_at.problem("selects every cluster: name at least one label, so that a new cluster joins on purpose");
    }
    let target_at = at.field("target");
    let target = require(raw_target.as_ref(), &target_at, "write at least `openebs:` and a release")
        .and_then(|raw| target(raw, &target_at));
    let strategy_at = at.field("strategy");
    let strategy = require(strategy.as_deref(), &strategy_at, "write the name of a strategy");
    if let Some(strategy) = strategy {
        strategies.find(strategy, &strategy_at);
    }
    Some(Group { name: name.clone()?, selector: selector?, target: target?, strategy: strategy?.to_owned() })
}

fn target(raw: &RawTarget, at: &At<'_>) -> Option<TargetSpec> {
    let RawTarget { openebs, images: raw_images, executor: raw_executor, resources: raw_resources } = raw;
    let version_at = at.field("openebs");
    let openebs = require(openebs.as_deref(), &version_at, "write the OpenEBS release, for example 3.6.0")
        .and_then(|text| read(text, &version_at, scalars::version));
    if openebs.as_ref().is_some_and(|version| version.numbers().0 >= 4) {
        version_at.problem(
            "OpenEBS 4 has no cStor and Jiva and is not upgraded by UpgradeTasks: the last release here is 3.6.0",
        );
    }
    let images = raw_images.as_ref().map(|raw| images(raw, &at.field("images")));
    let default_executor = RawExecutor::default();
    let executor = executor(raw_executor.as_ref().unwrap_or(&default_executor), &at.field("executor"));
    let resources = raw_resources.as_ref().map(|raw| resources(raw, &at.field("resources"))).unwrap_or_default();
    Some(TargetSpec { openebs: openebs?, images, executor, resources })
}

fn images(raw: &RawImages, at: &At<'_>) -> Images {
    let RawImages { prefix, tag } = raw;
    let prefix = read_optional(prefix.as_deref(), &at.field("prefix"), |text| {
        if !text.ends_with('/') {
            return Err(format!(
                "`{0}` is put directly before each image's name: end it with a /, `{0}/`",
                scalars::shown(text)
            ));
        }
        image_text(text)
    });
    let tag = read_optional(tag.as_deref(), &at.field("tag"), |text| {
        let sound = !text.is_empty()
            && text.len() <= 128
            && !text.starts_with(['.', '-'])
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if sound { Ok(text.to_owned()) } else { Err(format!("`{}` is no image tag", scalars::shown(text))) }
    });
    Images { prefix, tag }
}

fn executor(raw: &RawExecutor, at: &At<'_>) -> ExecutorSpec {
    let RawExecutor { maker, image, pull_secrets } = raw;
    let maker = match maker {
        Some(RawMaker::Openebs) => ExecutorMaker::Openebs,
        Some(RawMaker::Fleetlift) | None => ExecutorMaker::Fleetlift,
    };
    let image_at = at.field("image");
    let image = read_optional(image.as_deref(), &image_at, |text| {
        let last = text.rsplit('/').next().unwrap_or_default();
        if !last.contains(':') && !text.contains('@') {
            return Err(format!(
                "`{}` names no tag and no digest: pin one, so that every cluster runs the same",
                scalars::shown(text)
            ));
        }
        image_text(text)
    });
    let secrets_at = at.field("pullSecrets");
    let mut secrets = Vec::new();
    for (secret, at) in pull_secrets.iter().flatten().zip(secrets_at.elements()) {
        secrets.extend(read(secret, &at, |text| check_object_name(text).map(|()| text.to_owned())));
    }
    if secrets.len() > 10 {
        secrets_at.problem("more than ten pull secrets: name those that the executor's image needs");
    }
    ExecutorSpec { maker, image, pull_secrets: secrets }
}

fn image_text(text: &str) -> Result<String, String> {
    let sound = text.len() <= 255
        && !text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b':' | b'@'));
    if sound { Ok(text.to_owned()) } else { Err(format!("`{}` is no image reference", scalars::shown(text))) }
}

fn resources(raw: &RawResources, at: &At<'_>) -> ResourceFilter {
    let RawResources { kinds, names } = raw;
    let mut filter = ResourceFilter::default();
    let mut families: Vec<RawKind> = Vec::new();
    for (kind, at) in kinds.iter().flatten().zip(at.field("kinds").elements()) {
        if families.contains(kind) {
            at.problem(format!("`{}` is named twice: keep one", kind.family()));
        }
        families.push(*kind);
        filter.kinds.extend(openebs::kinds::selected_by(kind.family()).unwrap_or_default());
    }
    filter.kinds.sort();
    filter.kinds.dedup();
    for (name, at) in names.iter().flatten().zip(at.field("names").elements()) {
        filter.names.extend(read(name, &at, ResourceName::parse));
    }
    filter.names.sort();
    filter.names.dedup();
    for (list, is_empty) in
        [("kinds", kinds.as_ref().is_some_and(Vec::is_empty)), ("names", names.as_ref().is_some_and(Vec::is_empty))]
    {
        if is_empty && at.field(list).is_clean() {
            at.field(list).problem("is empty, which would select nothing: remove it to select everything");
        }
    }
    filter
}
