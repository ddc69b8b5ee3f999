//! The template's file: it marks processes with a brought-in libc for debuggers.

use std::path::Path;
use std::process::Command;

use abi::notice::NOTICE;
use anyhow::Result;

use crate::repo::Repo;
use crate::run::run;

/// Assembles and links it. It has no relocations: its bytes do not depend on the machine that builds it.
pub(crate) fn build(repo: &Repo, to: &Path) -> Result<()> {
    let source =
        |extension| repo.root().join(format!("libc-template/executable/{}.{extension}", repo.arch().name));
    let soname = NOTICE.to_string_lossy();
    run(Command::new("gcc")
        .args([
            "-shared",
            "-nostdlib",
            "-g0",
            "-s",
            "-Wl,-e,_start",
            "-Wl,--hash-style=gnu",
            "-Wl,--build-id=sha1",
        ])
        .args(["-Wl,-z,noexecstack", "-Wl,-z,norelro"])
        .arg(format!("-Wl,-soname,{soname}"))
        .arg("-T")
        .arg(source("ld"))
        .arg("-o")
        .args([to, &source("S")]))
}
