//! gdb by every way in: breakpoints that were set before the start are hit in the program, in its library and in a native one,
//! and those are listed with the names of their files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use abi::arch::NATIVE;
use abi::stub::{ENTRY, defines};
use anyhow::{Context, Result, ensure};
use tests::build;
use tests::stage::{self, Stage};
use tests::workdir::Workdir;

use crate::backtrace::{SETTINGS, function};

/// How the program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By PT_INTERP.
    Interpreter,
    /// gdb executes the loader, which is told the program's path.
    ByName,
    /// A program that gdb executes executes the loader with the program's path, as a shell does where binfmt_misc is set.
    Executed,
    /// By `rt0.o`.
    Rt0,
    /// By `rt0-map.o`.
    Map,
    /// By `rt0-embed.o`.
    Embed,
}

pub(crate) const ALL: [Way; 6] = [Way::Interpreter, Way::ByName, Way::Executed, Way::Rt0, Way::Map, Way::Embed];

/// What the program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Library,
    Native,
    Both,
}

pub(crate) const NEEDS: [Needs; 4] = [Needs::Nothing, Needs::Library, Needs::Native, Needs::Both];

const STOP: &str = "==== stop";
const LIBRARY: &str = "libcalled.so";

impl Needs {
    const fn library(self) -> bool {
        matches!(self, Self::Library | Self::Both)
    }

    const fn native(self) -> bool {
        matches!(self, Self::Native | Self::Both)
    }

    /// The functions that gdb stops in, and the end of the path of the file that each is in; the program's has none.
    fn stops(self) -> Vec<(&'static str, Option<&'static str>)> {
        let mut stops = vec![("in_program", None)];
        stops.extend(self.library().then_some(("in_library", Some(LIBRARY))));
        stops.extend(self.native().then_some(("crc32", Some("libz.so.1"))));
        stops
    }
}

/// Builds the program, and runs it under gdb.
pub(crate) fn run(way: Way, needs: Needs, stage: &Stage) -> Result<()> {
    let dir = Workdir::new()?;
    let program = build(way, needs, stage, dir.path())?;
    let stops = needs.stops();
    let printed = gdb(way, &program, stage, &stops)?;
    let check = || -> Result<()> {
        let mut parts = printed.split(STOP).skip(1);
        for &(name, library) in &stops {
            let answers = parts.next().with_context(|| format!("there is no stop in {name}"))?;
            let frames: Vec<&str> = answers.lines().filter(|line| line.starts_with('#')).collect();
            ensure!(frames.first().and_then(|line| function(line)) == Some(name), "gdb has not stopped in {name}");
            ensure!(frames.iter().any(|line| function(line) == Some("_start")), "_start has not called {name}");
            // The program is a library to gdb where the loader was executed.
            let hidden = matches!(way, Way::ByName | Way::Executed | Way::Rt0).then_some("/called");
            for file in hidden.into_iter().chain(library) {
                let count = answers.lines().filter(|line| line.starts_with("0x") && line.ends_with(file)).count();
                ensure!(count == 1, "{file} is listed {count} times");
            }
        }
        ensure!(printed.contains("exited with code 021"), "the program did not end as it is to end");
        ensure!(!printed.contains("Corrupted"), "gdb finds a list corrupted");
        Ok(())
    };
    check().with_context(|| format!("gdb printed\n{printed}"))
}

/// Builds the program for a way in.
fn build(way: Way, needs: Needs, stage: &Stage, dir: &Path) -> Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gdb/programs/called.c");
    let compiler = || {
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib"]);
        gcc.args(["-nostartfiles", "-fno-stack-protector", "-fno-omit-frame-pointer"]);
        gcc.arg("-I").arg(stage.include()).arg("-I").arg(stage::fixtures()).current_dir(dir);
        gcc
    };
    if needs.library() {
        build::run(compiler().args(["-shared", "-fPIC", "-DLIBRARY", "-o", LIBRARY, source]))?;
    }
    let mut gcc = compiler();
    gcc.args(["-fPIE", "-pie", "-o", "called", source]);
    match way {
        Way::Interpreter | Way::ByName | Way::Executed => {
            gcc.arg(format!("-Wl,--dynamic-linker={}", stage.loader().display()));
        }
        Way::Rt0 | Way::Map | Way::Embed => {
            gcc.arg(format!("-Wl,--no-dynamic-linker,-e,{ENTRY}")).arg(stub(way, stage, dir)?);
        }
    }
    if needs.library() {
        gcc.args(["-DNEEDS", "-fno-plt", "-L.", "-l:libcalled.so"]).arg(format!("-Wl,-rpath,{}", dir.display()));
    }
    if needs.native() {
        // Without a PLT, which has symbols of the same names.
        gcc.args(["-DNATIVE", "-fno-plt", "-l:libz.so.1", "-lc"]);
    }
    build::run(&mut gcc)?;
    Ok(dir.join("called"))
}

/// The stub, which looks for the staged loader.
fn stub(way: Way, stage: &Stage, dir: &Path) -> Result<PathBuf> {
    if way == Way::Embed {
        // Takes the loader that it carries, or an installed one that is as good.
        return Ok(stage.file(NATIVE.paths.rt0_embed));
    }
    let name = if way == Way::Rt0 { "rt0" } else { "map" };
    let source = stage::fixtures().join(format!("../../rt0/asm/{}/{name}.S", NATIVE.name));
    let to = dir.join("stub.o");
    let mut gcc = Command::new("gcc");
    gcc.arg("-c").args(defines(&NATIVE).map(|(name, value)| format!("-D{name}={value}")));
    gcc.arg(format!("-DSLUL_LOADER=\"{}\"", stage.loader().display()));
    build::run(gcc.arg("-o").arg(&to).arg(source))?;
    Ok(to)
}

/// gdb's output.
fn gdb(way: Way, program: &Path, stage: &Stage, stops: &[(&str, Option<&str>)]) -> Result<String> {
    let mut commands = SETTINGS.map(str::to_owned).to_vec();
    if way == Way::Rt0 {
        // gdb disables breakpoints in a program that executes another one.
        commands.extend(["tcatch exec", "run"].map(str::to_owned));
    }
    commands.extend(stops.iter().map(|(name, _)| format!("tbreak {name}")));
    commands.push(if way == Way::Rt0 { "continue" } else { "run" }.to_owned());
    for _ in stops {
        let questions = [&format!("echo {STOP}\\n"), "backtrace", "info sharedlibrary", "continue"];
        commands.extend(questions.map(str::to_owned));
    }
    let loader = stage.loader().into_os_string();
    let words: Vec<OsString> = match way {
        Way::ByName => vec![loader, program.into()],
        Way::Executed => vec!["/usr/bin/env".into(), loader, program.into()],
        _ => vec![program.into()],
    };
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch"]).args(commands.iter().flat_map(|command| ["-ex", command])).arg("--args");
    let output = command.args(words).stdin(Stdio::null()).output().context("gdb")?;
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(format!("{printed}and on standard error\n{errors}"))
}
