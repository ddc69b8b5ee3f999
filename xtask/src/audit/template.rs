//! Requirements on the template's file.

use std::fs;
use std::path::Path;
use std::process::Command;

use abi::notice::{FRAME, NOTICE};
use anyhow::{Context, Result};

use super::image::Image;
use super::table::Row;
use super::{elf, exports};
use crate::repo::Repo;
use crate::template;

/// Its exit status when it is executed by mistake.
const STATUS: i32 = 127;

/// All checks.
pub(crate) fn check(repo: &Repo, installed: &Path) -> Result<Vec<Row>> {
    let image = Image::read(installed)?;
    let mut rows = elf::check(&image, &NOTICE.to_string_lossy());
    rows.push(exports::names(&image.exports, &[FRAME]));
    rows.push(
        Row::new("nothing to relocate", image.relative.len())
            .require(image.relative.is_empty(), || "it is mapped and left as it is".to_owned()),
    );

    let again = repo.fresh_dir("audit-template")?.join("another-name");
    template::build(repo, &again)?;
    let (first, second) = (read(installed)?, read(&again)?);
    rows.push(reproducible(&first, &second));

    let output = Command::new(installed).output().with_context(|| installed.display().to_string())?;
    rows.push(executed(output.status.code(), &String::from_utf8_lossy(&output.stderr)));
    Ok(rows)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn reproducible(first: &[u8], second: &[u8]) -> Row {
    Row::new("built again, the same bytes", format!("{} bytes", first.len()))
        .require(first == second, || "built elsewhere it is another file".to_owned())
}

fn executed(status: Option<i32>, said: &str) -> Row {
    let is_line = said.starts_with("slulrtld: ") && said.ends_with('\n') && said.lines().count() == 1;
    Row::new("executed, it says what it is", format!("status {}", status.unwrap_or(-1)))
        .require(status == Some(STATUS) && is_line, || format!("should be {STATUS}, after one line: {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_fail() {
        assert_eq!(reproducible(b"ab", b"ab").failure, None);
        assert!(reproducible(b"ab", b"ac").failure.is_some());
    }

    #[test]
    fn what_it_says_when_executed() {
        assert_eq!(executed(Some(127), "slulrtld: x\n").failure, None);
        assert!(executed(Some(0), "slulrtld: x\n").failure.is_some());
        assert!(executed(None, "slulrtld: x\n").failure.is_some());
        assert!(executed(Some(127), "").failure.is_some());
        assert!(executed(Some(127), "slulrtld: x\ny\n").failure.is_some());
    }
}
