//! A core file from the kernel: gdb's backtrace goes from the fault to the frame of the notice, and the core file's
//! list of mapped files has the notice.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit};
use tests::build::Build;
use tests::recipe::Recipe;
use tests::stage::{Stage, TEMPLATE};

use crate::backtrace::{FUNCTIONS, NOTICE, function};

/// The reason for which the kernel writes no core file into the current directory, if there is one.
pub(crate) fn lacks() -> Option<&'static str> {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let limit = getrlimit(Resource::RLIMIT_CORE).map_or(0, |(_, hard)| hard);
    let elsewhere = pattern.trim().is_empty() || pattern.contains(['|', '/']);
    (elsewhere || limit == 0).then_some("core files go elsewhere, or nowhere")
}

/// Lets the program crash, and runs gdb on its core file.
pub(crate) fn run(recipe: &Recipe, stage: &Stage) -> Result<()> {
    let build = Build::new(recipe, stage)?;
    let directory = build.dir().join("core");
    fs::create_dir(&directory)?;
    let mut crash = Command::new("sh");
    crash.args(["-c", "ulimit -S -c $(ulimit -H -c) && exec \"$0\""]).arg(build.path()).current_dir(&directory);
    crash.stdin(Stdio::null()).status().context("sh")?;
    let core = fs::read_dir(&directory)?.next().context("the program has left no core file")??.path();
    let printed = look(build.path(), &core)?;
    let check = || -> Result<()> {
        let frames: Vec<&str> = printed.lines().filter(|line| line.starts_with('#')).collect();
        let found = frames.iter().filter_map(|line| function(line)).filter(|name| FUNCTIONS.contains(name));
        // The first frame is shown twice.
        let mut found: Vec<&str> = found.collect();
        found.dedup();
        ensure!(found == FUNCTIONS, "the backtrace has {found:?}");
        ensure!(
            frames.last().is_some_and(|line| line.ends_with(TEMPLATE)),
            "it does not end in the template's file"
        );
        let (libraries, mappings) = printed.split_once("Mapped address spaces:").context("no list of files")?;
        for (list, name) in [libraries, mappings].into_iter().flat_map(|list| [(list, NOTICE), (list, TEMPLATE)]) {
            let mut names = list.lines().map(|line| line.trim_end_matches(" (deleted)"));
            ensure!(names.any(|line| !line.starts_with('#') && line.ends_with(name)), "{name} is not listed");
        }
        Ok(())
    };
    check().with_context(|| format!("gdb printed\n{printed}"))
}

/// gdb's output about a core file.
fn look(program: &Path, core: &Path) -> Result<String> {
    let commands = [
        "set debuginfod enabled off",
        "set width 0",
        "set backtrace past-entry on",
        "backtrace",
        "info sharedlibrary",
        "info proc mappings",
    ];
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch"]).args(commands.iter().flat_map(|command| ["-ex", command]));
    let output = gdb.arg(program).arg(core).stdin(Stdio::null()).output().context("gdb")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
