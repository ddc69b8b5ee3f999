//! Results of a bench: printed as Markdown, written as JSON, and put into the documentation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::machine::Machine;
use super::spread::Spread;

/// One field of a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(u64),
    /// A measured figure, and its number of significant decimal places.
    Figure(f64, usize),
    /// A ratio.
    Ratio(Spread),
    /// A figure, and the goal as its maximum.
    AtMost(f64, f64),
    /// A figure, and the goal as its minimum.
    AtLeast(f64, f64),
    /// An empty field.
    None,
}

impl Cell {
    /// Words.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A count, or an empty field.
    pub(crate) fn count(count: Option<u64>) -> Self {
        count.map_or(Self::None, Self::Count)
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Figure(value, places) => format!("{value:.places$}"),
            Self::Ratio(spread) => spread.to_string(),
            Self::AtMost(value, goal) if value <= goal => format!("≤ {goal}: met"),
            Self::AtMost(value, goal) => format!("≤ {goal}: **missed by {}**", percent(value / goal - 1.0)),
            Self::AtLeast(value, goal) if value >= goal => format!("≥ {goal}: met"),
            Self::AtLeast(value, goal) => format!("≥ {goal}: **missed by {}**", percent(1.0 - value / goal)),
            Self::None => String::new(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(count) => json!(count),
            Self::Figure(value, _) => json!(value),
            Self::Ratio(spread) => json!({ "median": spread.median, "p10": spread.p10, "p90": spread.p90 }),
            Self::AtMost(value, goal) => json!({ "value": value, "at_most": goal, "met": value <= goal }),
            Self::AtLeast(value, goal) => json!({ "value": value, "at_least": goal, "met": value >= goal }),
            Self::None => Value::Null,
        }
    }
}

fn percent(part: f64) -> String {
    match part * 100.0 {
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}

/// Rows under a header.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    caption: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(caption: impl Into<String>, header: &[&'static str]) -> Self {
        Self { caption: caption.into(), header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, which should have a cell for each column.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.header.len(), "{}", self.caption);
        self.rows.push(row);
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{}\n\n", self.caption);
        text += &line(self.header.iter().map(|&name| name.to_owned()).collect());
        text += &line(self.header.iter().map(|_| "---".to_owned()).collect());
        for row in &self.rows {
            text += &line(row.iter().map(Cell::shown).collect());
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Cell>| {
            let fields = self.header.iter().zip(row).map(|(name, cell)| ((*name).to_owned(), cell.json()));
            Value::Object(fields.collect())
        };
        json!({ "caption": self.caption, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// The result of one bench.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Programs and numbers of runs, in one clause.
    pub(crate) method: String,
    /// The figures.
    pub(crate) tables: Vec<Table>,
    /// Explanations of the figures, a sentence or two each.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// The text of the bench's section in `docs/performance.md`.
    pub(crate) fn markdown(&self, machine: &Machine) -> String {
        let mut text =
            format!("{}, `cargo xtask bench {}`: {}. {machine}.\n", machine.date, self.name, self.method);
        for table in &self.tables {
            text += &format!("\n{}", table.markdown());
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text += &format!("- {note}\n");
        }
        text
    }

    /// Writes `<name>.json` in a directory.
    pub(crate) fn write_json(&self, directory: &Path, machine: &Machine) -> Result<PathBuf> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let path = directory.join(format!("{}.json", self.name));
        let value = json!({
            "bench": self.name,
            "machine": machine.json(),
            "method": self.method,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "notes": self.notes,
        });
        let text = serde_json::to_string_pretty(&value).context("JSON")?;
        fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Puts a report's Markdown between its markers in a document.
pub(crate) fn update(document: &Path, name: &str, markdown: &str) -> Result<()> {
    let text = fs::read_to_string(document).with_context(|| format!("read {}", document.display()))?;
    let text = replaced(&text, name, markdown).with_context(|| document.display().to_string())?;
    fs::write(document, text).with_context(|| format!("write {}", document.display()))
}

fn replaced(text: &str, name: &str, markdown: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench {name} -->\n"), format!("<!-- end of bench {name} -->"));
    let before = text.split_once(&begin);
    let after = before.and_then(|(_, rest)| rest.split_once(&end));
    match (before, after) {
        (Some((before, _)), Some((_, after))) => Ok(format!("{before}{begin}\n{markdown}\n{end}{after}")),
        _ => bail!("no place for the figures of {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_says_by_how_much() {
        assert_eq!(Cell::AtMost(1.05, 1.05).shown(), "≤ 1.05: met");
        assert_eq!(Cell::AtMost(1.1, 1.0).shown(), "≤ 1: **missed by 10 %**");
        assert_eq!(Cell::AtLeast(10.0, 10.0).shown(), "≥ 10: met");
        assert_eq!(Cell::AtLeast(5.0, 10.0).shown(), "≥ 10: **missed by 50 %**");
    }

    #[test]
    fn a_table_is_markdown_and_json() {
        let mut table = Table::new("Times", &["what", "ns", "goal"]);
        table.push(vec![Cell::text("a"), Cell::Figure(1.25, 1), Cell::AtMost(1.0, 2.0)]);
        assert_eq!(
            table.markdown(),
            "Times\n\n| what | ns | goal |\n| --- | --- | --- |\n| a | 1.2 | ≤ 2: met |\n"
        );
        let row = json!({ "what": "a", "ns": 1.25, "goal": { "value": 1.0, "at_most": 2.0, "met": true } });
        assert_eq!(table.json(), json!({ "caption": "Times", "rows": [row] }));
    }

    #[test]
    fn figures_are_replaced_between_their_markers() {
        let text = "a\n<!-- bench x -->\nold\n<!-- end of bench x -->\nb\n";
        let new = replaced(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench x -->\n\nnew\n\n<!-- end of bench x -->\nb\n");
        assert_eq!(replaced(&new, "x", "new\n").unwrap(), new);
        assert!(replaced(text, "y", "new").is_err());
    }
}
