//! The effective settings as TOML, with secrets masked.

use std::fmt::Write as _;

use serde_json::Value;

use super::Settings;

/// One `section.key = value` a line, in the order of [`Settings`]; reads back as a settings file (but for secrets).
pub fn effective(settings: &Settings) -> String {
    let mut lines = String::new();
    if let Ok(value) = serde_json::to_value(settings) {
        write_under("", &value, &mut lines);
    }
    lines
}

fn write_under(path: &str, value: &Value, lines: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                write_under(&below, member, lines);
            }
        }
        // TOML has no null: an unset key is a comment.
        Value::Null => drop(writeln!(lines, "# {path} is not set")),
        other => drop(writeln!(lines, "{path} = {other}")),
    }
}
