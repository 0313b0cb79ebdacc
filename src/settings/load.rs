//! Puts the sources together: flags over environment over file over defaults.

use std::path::{Path, PathBuf};

use config::builder::DefaultState;
use config::{Config, ConfigBuilder, File, FileFormat};

use super::{Settings, bounds};

/// Where settings come from. Everything is passed in: the composition root alone reads flags and environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config FILE`; it must exist.
    pub file: Option<PathBuf>,
    /// The data folder, whose `fleetlift.toml` is read when no file was named.
    pub data_dir: PathBuf,
    /// The process environment.
    pub environment: Vec<(String, String)>,
    /// Flags, as `(key, value)`: `("api.listen", "127.0.0.1:0")`.
    pub flags: Vec<(&'static str, String)>,
}

/// Why the settings can't be used. Trying again can't help; the text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is missing, unreadable, no TOML, or has a wrong key or value.
    #[error("settings file {}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Which key, and what was expected.
        reason: String,
    },
    /// A variable has a wrong name or value.
    #[error("environment variable {variable}: {reason}")]
    Variable {
        /// The variable's name.
        variable: String,
        /// What was expected.
        reason: String,
    },
    /// A flag has a wrong value.
    #[error("flag for {key}: {reason}")]
    Flag {
        /// The setting's key.
        key: &'static str,
        /// What was expected.
        reason: String,
    },
}

/// Used when neither a file is named nor the data folder has one.
const SYSTEM_FILE: &str = "/etc/fleetlift/fleetlift.toml";

/// A settings file is small; anything larger is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The keys that hold lists: in the environment they are separated by commas.
const LISTS: [&str; 4] = ["edge.allow_networks", "edge.only_networks", "edge.deny_networks", "edge.images"];

/// The effective settings. Each source is tried by itself on top of those below, so that an error names its source.
pub fn load(sources: &Sources) -> Result<Settings, SettingsError> {
    let mut builder = Config::builder();
    if let Some(file) = settings_file(sources) {
        let in_file = |reason: String| SettingsError::File { file: file.clone(), reason };
        let text = read_bounded(&file).map_err(in_file)?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        parse(builder.clone()).map_err(in_file)?;
    }
    for (variable, value) in &sources.environment {
        let wrong = |reason: String| SettingsError::Variable { variable: variable.clone(), reason };
        if let Some(key) = key_of(variable) {
            builder = set(builder, &key, value).map_err(wrong)?;
            parse(builder.clone()).map_err(wrong)?;
        } else if let Some(meant) = meant_by(variable) {
            return Err(wrong(format!("it sets nothing; {meant} is the setting")));
        }
    }
    for (key, value) in &sources.flags {
        let wrong = |reason: String| SettingsError::Flag { key, reason };
        builder = set(builder, key, value).map_err(wrong)?;
        parse(builder.clone()).map_err(wrong)?;
    }
    parse(builder).map_err(|reason| SettingsError::Flag { key: "settings", reason })
}

fn settings_file(sources: &Sources) -> Option<PathBuf> {
    if sources.file.is_some() {
        return sources.file.clone();
    }
    [sources.data_dir.join("fleetlift.toml"), PathBuf::from(SYSTEM_FILE)].into_iter().find(|file| file.is_file())
}

fn read_bounded(file: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{bytes} bytes is too large for a settings file (at most {FILE_BYTES_MAX})"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// `FLEETLIFT_EDGE__ALLOW_NETWORKS` is `edge.allow_networks`; `None` for what is no setting.
fn key_of(variable: &str) -> Option<String> {
    let key = variable.strip_prefix("FLEETLIFT_")?;
    key.contains("__").then(|| key.to_ascii_lowercase().replace("__", "."))
}

/// The settings that a variable without `__` surely means: `FLEETLIFT_DATABASE_URL`, or all of `FLEETLIFT_DATABASE`.
fn meant_by(variable: &str) -> Option<String> {
    let named = variable.strip_prefix("FLEETLIFT_")?.to_ascii_lowercase();
    let sections = serde_json::to_value(Settings::default()).ok()?;
    let in_section = |(section, keys): (&String, &serde_json::Value)| {
        let key = match named.strip_prefix(section.as_str())? {
            "" => {
                let keys = keys.as_object()?;
                keys.get_key_value("url").map(|(key, _)| key).or_else(|| keys.keys().next())?.clone()
            }
            rest => rest.strip_prefix('_').filter(|key| keys.get(key).is_some())?.to_owned(),
        };
        Some(format!("FLEETLIFT_{section}__{key}").to_ascii_uppercase())
    };
    sections.as_object()?.iter().find_map(in_section)
}

fn set(builder: ConfigBuilder<DefaultState>, key: &str, value: &str) -> Result<ConfigBuilder<DefaultState>, String> {
    let set = if LISTS.contains(&key) {
        let items: Vec<String> =
            value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect();
        builder.set_override(key, items)
    } else {
        builder.set_override(key, value)
    };
    set.map_err(|error| error.to_string())
}

fn parse(builder: ConfigBuilder<DefaultState>) -> Result<Settings, String> {
    let settings = builder.build().map_err(|error| without_source(&error.to_string()))?;
    let settings: Settings = settings.try_deserialize().map_err(|error| error.to_string())?;
    bounds::check(&settings)?;
    Ok(settings)
}

/// What is wrong with a file's syntax, without the line that it stands in: that may hold a password.
fn without_source(reason: &str) -> String {
    let quotes =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim().starts_with('|');
    let told: Vec<&str> = reason.lines().filter(|line| !quotes(line)).map(str::trim).collect();
    told.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Period, effective};

    fn with(environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("fleetlift.toml"), "[engine]\nmax_running = 7\n[plan]\nmax_age = \"2d\"\n")
            .unwrap();
        load(&Sources {
            file: None,
            data_dir: folder.path().to_owned(),
            environment: environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            flags: flags.iter().map(|&(key, value)| (key, value.to_owned())).collect(),
        })
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let settings = with(
            &[("FLEETLIFT_ENGINE__MAX_RUNNING", "8"), ("FLEETLIFT_API__LISTEN", "127.0.0.1:1")],
            &[("api.listen", "127.0.0.1:2")],
        )
        .unwrap();
        assert_eq!(settings.api.listen.port(), 2);
        assert_eq!(settings.engine.max_running, 8);
        assert_eq!(settings.plan.max_age, Period::from_secs(2 * 86_400));
        assert_eq!(settings.api.requests_per_second, 200);
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let settings = with(&[("FLEETLIFT_EDGE__ALLOW_NETWORKS", "127.0.0.0/8, ::1/128")], &[]).unwrap();
        assert_eq!(settings.edge.allow_networks, ["127.0.0.0/8", "::1/128"]);
    }

    #[test]
    fn an_egress_keeps_its_name() {
        let settings = with(&[("FLEETLIFT_EDGE__EGRESS__BERLIN", "socks5://u:canary@10.0.0.1:1080")], &[]).unwrap();
        assert_eq!(settings.edge.egress["berlin"].reveal(), "socks5://u:canary@10.0.0.1:1080");
        assert!(!effective(&settings).contains("canary"));
    }

    #[test]
    fn variables_of_a_kubernetes_service_are_no_settings() {
        assert!(with(&[("FLEETLIFT_SERVICE_HOST", "10.0.0.1"), ("FLEETLIFT_PORT", "tcp://10.0.0.1:80")], &[]).is_ok());
        assert!(
            with(&[("FLEETLIFT_DATABASE_SERVICE_HOST", "10.0.0.1"), ("FLEETLIFT_API_PORT", "tcp://x")], &[]).is_ok()
        );
    }

    /// Or a hub that should be on Postgres would quietly remember elsewhere.
    #[test]
    fn a_variable_that_only_lacks_an_underscore_is_refused() {
        for variable in ["FLEETLIFT_DATABASE_URL", "FLEETLIFT_DATABASE"] {
            let error = with(&[(variable, "postgres://u:canary@db/x")], &[]).unwrap_err().to_string();
            assert!(error.contains(variable) && error.contains("FLEETLIFT_DATABASE__URL"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
        let error = with(&[("FLEETLIFT_ENGINE_MAX_RUNNING", "8")], &[]).unwrap_err().to_string();
        assert!(error.contains("FLEETLIFT_ENGINE__MAX_RUNNING"), "{error}");
    }

    #[test]
    fn a_number_out_of_its_bounds_is_an_error_that_names_its_source() {
        let error = with(&[("FLEETLIFT_ENGINE__INVENTORY_RUNNING", "0")], &[]).unwrap_err().to_string();
        assert!(error.contains("FLEETLIFT_ENGINE__INVENTORY_RUNNING") && error.contains("at least 1"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, "[api]\nrequest_deadline = \"0s\"\n").unwrap();
        let error = load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
        assert!(error.contains("hub.toml") && error.contains("api.request_deadline"), "{error}");
    }

    #[test]
    fn the_statement_cache_is_switched_off_for_a_bouncer_that_cannot_bear_it() {
        assert!(with(&[], &[]).unwrap().database.statement_cache);
        let settings = with(&[("FLEETLIFT_DATABASE__STATEMENT_CACHE", "false")], &[]).unwrap();
        assert!(!settings.database.statement_cache);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_source() {
        let error = with(&[("FLEETLIFT_ENGINE__MAXRUNNING", "8")], &[]).unwrap_err().to_string();
        assert!(error.contains("FLEETLIFT_ENGINE__MAXRUNNING") && error.contains("maxrunning"), "{error}");
        let error = with(&[("FLEETLIFT_ENGINE__MAX_RUNNING", "many")], &[]).unwrap_err().to_string();
        assert!(error.contains("FLEETLIFT_ENGINE__MAX_RUNNING"), "{error}");
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, "[engine]\nmax_runing = 7\n").unwrap();
        let error = load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
        assert!(error.contains("hub.toml") && error.contains("max_runing"), "{error}");
    }

    #[test]
    fn a_line_that_is_no_toml_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, "[database]\nurl = postgres://u:canary@db/x\n").unwrap();
        let error = load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().to_string();
        assert!(error.contains("hub.toml") && error.contains("line 2") && !error.contains("canary"), "{error}");
    }

    #[test]
    fn what_is_printed_reads_back() {
        let settings = with(&[], &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("printed.toml");
        std::fs::write(&file, effective(&settings)).unwrap();
        let again = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        assert_eq!(effective(&again), effective(&settings));
    }
}
