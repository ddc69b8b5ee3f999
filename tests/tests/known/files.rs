//! Attacks by files: inspected programs, and FIFOs in place of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::personality::Persona;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tests::build::run;
use tests::damage::Damage;
use tests::launch::Ending;
use tests::start::Start;
use tests::tracer::Tracee;
use tests::verdict::Complaints;
use tests::workdir::Workdir;
use tests::world::Case;

use crate::victim::{Expected, attacked};

/// Starts the loader with these arguments.
fn loader(case: Case<'_>, arguments: &[&str]) -> Start {
    arguments
        .iter()
        .fold(Start::new(&case.world.stage.loader(), case.user), |start, argument| start.arg(*argument))
}

/// glibc's ldd ran a file with overlapping PT_LOADs, one of which replaced the loader's own code. Overlapping, wrapping
/// and endless segments are refused, in libraries and in programs.
pub(crate) fn inspect_overlapping(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (damage, expected) in [
        ("header load-1 vaddr 0", "PT_LOAD at vaddr 0x0 is out of order or overlaps the one before it"),
        ("header load-1 vaddr 0xfffffffffffff000", "PT_LOAD at vaddr 0xfffffffffffff000 wraps around"),
        ("header load-1 memsz 0xffffffffffffffff", "PT_LOAD at vaddr 0x1000 wraps around"),
        (
            "header load-0 vaddr 0x7ffffffff000",
            "PT_LOAD at vaddr 0x1000 is out of order or overlaps the one before it",
        ),
    ] {
        for name in ["libone.so", "inspected"] {
            let (workdir, _) = case.copy("inspected")?;
            let file = workdir.path().join(name);
            damage.parse::<Damage>()?.apply(&file)?;
            let file = file.display().to_string();
            for option in ["--list", "--verify"] {
                let line = format!("slulrtld: {file}: {expected}");
                let result = loader(case, &[option, &file])
                    .run()
                    .and_then(|outcome| Expected::Refused("", &line).of(&outcome));
                complaints.note(format!("{option} {name}, {damage}"), result);
            }
        }
    }
    complaints.verdict()
}

/// Inspection runs neither the initialiser nor the resolver of a sound library, nor the program.
pub(crate) fn inspect_sound(case: Case<'_>) -> Result<()> {
    let build = case.world.program("inspected")?;
    let (program, library) =
        (build.path().display().to_string(), build.dir().join("libone.so").display().to_string());
    Expected::Ran("resolved\ninitialised\nprogram\n").of(&case.start("inspected")?.run()?).context("run")?;
    let looks = [
        loader(case, &["--list", &program]),
        loader(case, &["--verify", &program]),
        loader(case, &["--list", &library]),
        loader(case, &["--verify", &library]),
        case.start("inspected")?.env("LD_TRACE_LOADED_OBJECTS=1"),
    ];
    for look in looks {
        let outcome = look.run()?;
        let ended = outcome.ending == Ending::Exit(0) && outcome.stderr.is_empty() && !outcome.stdout.is_empty();
        let ran = ["resolved", "initialised", "program\n"].iter().any(|text| outcome.stdout.starts_with(text));
        ensure!(ended && !ran && !outcome.stdout.contains("\ninit"), "{}", outcome.shown("look"));
    }
    Ok(())
}

/// ldd also ran the inspected program's PT_INTERP, whatever it named.
pub(crate) fn inspect_other_interpreter(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    let (source, interpreter) = (workdir.path().join("x.c"), workdir.path().join("interpreter"));
    fs::write(&source, "void _start(void) { __builtin_trap(); }\n")?;
    let gcc = |arguments: &[&str], output: &Path| {
        run(Command::new("gcc")
            .args(["-nostdlib", "-ffreestanding"])
            .args(arguments)
            .arg("-o")
            .arg(output)
            .arg(&source))
    };
    gcc(&["-static-pie"], &interpreter)?;
    let program = workdir.path().join("program");
    gcc(&["-pie", "-fPIE", &format!("-Wl,--dynamic-linker={}", interpreter.display())], &program)?;
    workdir.open_to_all()?;
    let outcome = Start::new(&program, case.user).run()?;
    ensure!(matches!(outcome.ending, Ending::Signal(_)), "its interpreter does not trap: {outcome:?}");
    let program = program.display().to_string();
    for option in ["--list", "--verify"] {
        let outcome = loader(case, &[option, &program]).run()?;
        let looked = outcome.ending == Ending::Exit(0) && outcome.stderr.is_empty() && !outcome.stdout.is_empty();
        ensure!(looked, "{}", outcome.shown(option));
    }
    let line =
        format!("slulrtld: {program}: is for another loader, {}: execute it directly", interpreter.display());
    Expected::Refused("", &line).of(&loader(case, &[&program]).run()?)
}

/// An ET_EXEC file with the loader's address, which every user knows without randomisation.
pub(crate) fn inspect_onto_loader(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    let (source, program) = (workdir.path().join("x.c"), workdir.path().join("program"));
    fs::write(&source, "void _start(void) { __builtin_trap(); }\n")?;
    let path = program.display().to_string();
    let looks =
        ["--list", "--verify"].map(|option| loader(case, &[option, &path]).persona(Persona::ADDR_NO_RANDOMIZE));
    for look in looks {
        let place = Tracee::start(&look)?.loader()?.0;
        let mut gcc = Command::new("gcc");
        gcc.args(["-nostdlib", "-ffreestanding", "-no-pie", "-static", "-Wl,--build-id=none"]);
        run(gcc.arg(format!("-Wl,-Ttext-segment={place:#x}")).arg("-o").arg(&program).arg(&source))?;
        workdir.open_to_all()?;
        Expected::Refused("", &format!("slulrtld: {path}: can not be mapped: EEXIST")).of(&look.run()?)?;
    }
    Ok(())
}

/// A FIFO in the place of a library.
fn fifo_as(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(mkfifo(path, Mode::from_bits_truncate(0o666))?)
}

const NO_FILE: &str = "can not be opened: not a regular file";

/// A FIFO found by the search: by the program's own path, and by LD_LIBRARY_PATH before that.
pub(crate) fn fifo_searched(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("inspected")?;
    let library = workdir.path().join("libone.so");
    let directory = Workdir::new()?;
    fifo_as(&directory.path().join("libone.so"))?;
    let variable = format!("LD_LIBRARY_PATH={}", directory.path().display());
    let line = format!("slulrtld: {}: {NO_FILE}", directory.path().join("libone.so").display());
    let outcome = Start::new(&program, case.user).env(&variable).run()?;
    Expected::Refused("", &line).of(&outcome).context("by LD_LIBRARY_PATH")?;
    fifo_as(&library)?;
    let line = format!("slulrtld: {}: {NO_FILE}", library.display());
    Expected::Refused("", &line).of(&Start::new(&program, case.user).run()?).context("by DT_RUNPATH")
}

/// A FIFO with a native library's name: libc would wait for a writer.
pub(crate) fn fifo_native(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("calling")?;
    let library = workdir.path().join("libz.so.1");
    Expected::Ran("program\n").of(&Start::new(&program, case.user).run()?).context("without one")?;
    fifo_as(&library)?;
    let line = format!("slulrtld: {}: {NO_FILE}", library.display());
    Expected::Refused("", &line).of(&Start::new(&program, case.user).run()?)
}

/// A FIFO by its absolute path, from a set-id program that opens the path it is given.
pub(crate) fn fifo_opened(case: Case<'_>) -> Result<()> {
    let directory = Workdir::new()?;
    let library = directory.path().join("libone.so");
    fifo_as(&library)?;
    let program = case.world.program("opener/path")?.path();
    let library = library.display().to_string();
    let expected = format!("program\n{library}: {NO_FILE}\n");
    attacked(case, program, |start| start.arg(&library), Expected::Ran(&expected))
}

/// A FIFO as the program for `--list`, for `--verify` and for a start.
pub(crate) fn fifo_inspected(case: Case<'_>) -> Result<()> {
    let directory = Workdir::new()?;
    let path: PathBuf = directory.path().join("program");
    fifo_as(&path)?;
    let path = path.display().to_string();
    for arguments in [&["--list", path.as_str()][..], &["--verify", &path], &[&path]] {
        let outcome = loader(case, arguments).run()?;
        Expected::Refused("", &format!("slulrtld: {path}: {NO_FILE}"))
            .of(&outcome)
            .context(format!("{arguments:?}"))?;
    }
    Ok(())
}
