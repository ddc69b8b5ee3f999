//! The table of `docs/ways-in.md`: differences between the ways in.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

/// The cells of one way in, by the table's columns.
pub(crate) type Row = BTreeMap<String, String>;

/// The rows of the table, by their ways in.
pub(crate) fn read() -> Result<BTreeMap<String, Row>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ways-in.md");
    let text = fs::read_to_string(path).context(path)?;
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| way in |")).map_while(cells);
    let columns = lines.next().context("docs/ways-in.md has no table of the ways in")?;
    let mut rows = BTreeMap::new();
    for cells in lines.skip(1) {
        ensure!(cells.len() == columns.len(), "{cells:?}: not as many cells as columns");
        let mut cells = columns.iter().cloned().zip(cells);
        let (_, way) = cells.next().context("an empty row")?;
        rows.insert(way.trim_matches('`').to_owned(), cells.collect());
    }
    Ok(rows)
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}
