//! `libslulrtld.so`: programs are linked with it in place of the loader.
//!
//! Linkers refuse an executable as an input, and the loader is one. The stub has the loader's soname and its exported
//! names with their types and version, and no code. A program that is linked with it has the loader in DT_NEEDED, which
//! is always mapped.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use abi::export::VersionScript;
use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol, SymbolKind};

use crate::repo::Repo;
use crate::run::run;

/// Makes the stub of a built loader.
pub(crate) fn build(repo: &Repo, loader: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(loader).with_context(|| format!("read {}", loader.display()))?;
    let source = to.with_extension("S");
    fs::write(&source, assembly(&bytes)?).with_context(|| format!("write {}", source.display()))?;
    let script = to.with_extension("map");
    fs::write(&script, VersionScript.to_string()).with_context(|| format!("write {}", script.display()))?;
    let built = run(Command::new("gcc")
        .args(["-shared", "-nostdlib", "-Wl,-z,noexecstack", "-Wl,--build-id=none"])
        .arg(format!("-Wl,-soname,{}", repo.arch().paths.soname))
        .arg(format!("-Wl,--version-script={}", script.display()))
        .arg("-o")
        .args([to, &source]));
    for made in [source, script] {
        fs::remove_file(&made).with_context(|| format!("remove {}", made.display()))?;
    }
    built
}

/// A label for each exported symbol, of its kind and size.
fn assembly(loader: &[u8]) -> Result<String> {
    let file = object::File::parse(loader).context("parse the loader")?;
    let mut text = String::new();
    for symbol in file.dynamic_symbols().filter(|symbol| symbol.is_definition()) {
        let name = symbol.name().context("name of an exported symbol")?;
        let (section, kind) = match symbol.kind() {
            SymbolKind::Data => (".data", "object"),
            _ => (".text", "function"),
        };
        let size = symbol.size();
        writeln!(
            text,
            "{section}\n.globl {name}\n.type {name}, @{kind}\n.size {name}, {size}\n{name}:\n.zero {size}"
        )?;
    }
    ensure!(!text.is_empty(), "the loader exports nothing");
    Ok(text)
}
