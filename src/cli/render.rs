//! The only printer: tables for people, JSON and YAML for programs, colours and progress on terminals only.
//!
//! Whatever comes from a hub may come from an edge cluster in the end: control characters are stripped from every text
//! that is shown (JSON escapes them by itself).

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

/// How answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// The printer of one command.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    colour: bool,
}

/// One column of a table of `T`.
pub struct Column<T> {
    title: &'static str,
    wide: bool,
    cell: fn(&T) -> String,
}

impl<T> Column<T> {
    /// A column that every table has.
    pub const fn new(title: &'static str, cell: fn(&T) -> String) -> Self {
        Self { title, wide: false, cell }
    }

    /// A column of `--output wide`.
    pub const fn wide(title: &'static str, cell: fn(&T) -> String) -> Self {
        Self { title, wide: true, cell }
    }
}

/// A colour with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is as it should be.
    Good,
    /// Somebody should look.
    Odd,
    /// It failed.
    Bad,
    /// A heading.
    Strong,
    /// Less important.
    Dim,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Odd => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Dim => "2",
        }
    }

    /// The tone of a state's name.
    pub fn of(state: &str) -> Option<Self> {
        match state {
            "succeeded" | "reachable" | "passed" | "ok" | "registered" | "succeeded_with_debt" => Some(Self::Good),
            "failed" | "breached" | "quarantined" | "refused" | "aborted" | "fail" => Some(Self::Bad),
            "deferred" | "paused" | "unreachable" | "awaiting_approval" | "warn" | "waiting" | "stopping" => {
                Some(Self::Odd)
            }
            _ => None,
        }
    }
}

impl Output {
    /// A printer to standard output; colours when that is a terminal and `NO_COLOR` is not set.
    pub fn new(format: Format, no_colour: bool) -> Self {
        Self { format, colour: !no_colour && io::stdout().is_terminal() }
    }

    /// Whether a person reads (and no program).
    pub fn for_people(self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Whether a person wants to read more than the usual.
    pub const fn is_wide(self) -> bool {
        matches!(self.format, Format::Wide)
    }

    /// Whether standard output is a terminal that shows colours: where a live view makes sense.
    pub const fn live(self) -> bool {
        self.colour
    }

    /// Writes a list.
    pub fn list<T: Serialize>(self, items: &[T], columns: &[Column<T>]) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Wide => self.write(&self.table(items, columns)),
            Format::Json | Format::Yaml => self.value(&items),
        }
    }

    /// Writes one thing: `text` for people, the whole value for programs.
    pub fn one<T: Serialize>(self, value: &T, text: impl FnOnce(Self) -> String) -> io::Result<()> {
        match self.format {
            Format::Table | Format::Wide => self.write(&text(self)),
            Format::Json | Format::Yaml => self.value(value),
        }
    }

    fn value<T: Serialize>(self, value: &T) -> io::Result<()> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(io::Error::other)?,
            _ => serde_json::to_string_pretty(value).map_err(io::Error::other)?,
        };
        write_out(&text)
    }

    /// The table of `items` as text.
    pub fn table<T>(self, items: &[T], columns: &[Column<T>]) -> String {
        let wide = self.format == Format::Wide;
        let shown: Vec<&Column<T>> = columns.iter().filter(|column| wide || !column.wide).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|column| self.cell(column.title, Some(Tone::Strong))));
        for item in items {
            table.add_row(shown.iter().map(|column| {
                let text = (column.cell)(item);
                self.cell(&text, Tone::of(&text))
            }));
        }
        let last = shown.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { 3 }));
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn cell(self, text: &str, tone: Option<Tone>) -> Cell {
        let cell = Cell::new(one_line(text));
        match tone {
            Some(Tone::Good) => cell.fg(comfy_table::Color::Green),
            Some(Tone::Odd) => cell.fg(comfy_table::Color::Yellow),
            Some(Tone::Bad) => cell.fg(comfy_table::Color::Red),
            Some(Tone::Strong) => cell.add_attribute(comfy_table::Attribute::Bold),
            Some(Tone::Dim) => cell.add_attribute(comfy_table::Attribute::Dim),
            None => cell,
        }
    }

    /// `text` in a tone, where colours are shown. The text is cleaned first.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let text = plain(text);
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text }
    }

    /// A state's name in its tone.
    pub fn state(self, state: &str) -> String {
        Tone::of(state).map_or_else(|| plain(state), |tone| self.tone(tone, state))
    }

    /// A sentence for people on standard output; for programs nothing is said.
    pub fn say(self, text: &str) -> io::Result<()> {
        if self.for_people() { self.write(&format!("{text}\n")) } else { Ok(()) }
    }

    /// Text as it is, on standard output, whatever the format: documents, not answers.
    pub fn document(self, text: &str) -> io::Result<()> {
        write_out(text)
    }

    /// Our own text, coloured already.
    fn write(self, text: &str) -> io::Result<()> {
        write_out(text)
    }

    /// A remark beside the answer, on standard error.
    pub fn note(self, text: &str) {
        // Nobody reads: nothing to do about it.
        let _ = writeln!(io::stderr().lock(), "{}", plain(text));
    }

    /// What went wrong, on standard error.
    pub fn error(self, text: &str) {
        let head = if io::stderr().is_terminal() { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
        let _ = writeln!(io::stderr().lock(), "{head} {}", plain(text));
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Asks on the terminal; `false` where nobody can answer.
pub fn confirm(question: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut err = io::stderr().lock();
    write!(err, "{} [y/N] ", plain(question))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `text` without control characters other than line ends and tabs, and without what turns writing direction around.
pub fn plain(text: &str) -> String {
    text.chars().filter(|&c| matches!(c, '\n' | '\t') || !(c.is_control() || turns_direction(c))).collect()
}

/// The same in one line.
fn one_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        state: &'static str,
    }

    const COLUMNS: [Column<Row>; 3] = [
        Column::new("NAME", |row: &Row| row.name.to_owned()),
        Column::new("STATE", |row: &Row| row.state.to_owned()),
        Column::wide("LENGTH", |row: &Row| row.name.len().to_string()),
    ];

    #[test]
    fn control_characters_are_stripped() {
        let output = Output { format: Format::Table, colour: false };
        let rows = [Row { name: "a\u{1b}[31mb\nc\u{202e}", state: "failed" }];
        assert_eq!(output.table(&rows, &COLUMNS), "NAME       STATE\na[31mb c   failed\n");
        assert_eq!(output.tone(Tone::Bad, "x\u{7}y\u{9b}z"), "xyz");
    }

    #[test]
    fn wide_tables_have_more_columns() {
        let rows = [Row { name: "a", state: "ok" }];
        assert!(!Output { format: Format::Table, colour: false }.table(&rows, &COLUMNS).contains("LENGTH"));
        assert!(Output { format: Format::Wide, colour: false }.table(&rows, &COLUMNS).contains("LENGTH"));
    }
}
