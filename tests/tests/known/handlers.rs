//! Attacks by binfmt_misc, and loops of loaders that execute themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use abi::arch::NATIVE;
use abi::marker::{self, MARKER};
use abi::paths::{BINFMT_SYSTEMD, RUNSLUL, SLULBIN};
use anyhow::{Context, Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::linked::{Link, Programs};
use tests::machine::is_for_this_machine;
use tests::recipe::SUCCESS;
use tests::root::{Holds, Namespaces, Root};
use tests::stage::LOADER;
use tests::start::Start;
use tests::tracer::Tracee;
use tests::world::Case;

use crate::victim::Expected;

/// The stubs' message without a loader.
const NOT_INSTALLED: &str = "slulrtld: can not run /lib/slulrtld-x86_64.so.1: install slulrtld";

const WITH_BINFMT: Holds = Holds { binfmt: true, ..Holds::ALL };

/// Runs a set-id report as an ordinary user; the rule by magic has the flag `C`.
fn with_credentials(case: Case<'_>, link: Link, file: &str, mark: bool, mode: u32) -> Result<Outcome> {
    let programs = Programs::new(&case.world.stage)?;
    let root = Root::new(&case.world.stage, WITH_BINFMT)?;
    install(&programs.launcher(), &root.work("launch"))?;
    let report = root.work(file);
    programs.report(link, false, &[], &report)?;
    if mark {
        let linked = root.work("linked");
        fs::rename(&report, &linked)?;
        let mut slulbin = Command::new(case.world.stage.file(SLULBIN));
        run(slulbin.arg("mark").arg(&linked).arg("-o").arg(&report))?;
    }
    fs::set_permissions(&report, fs::Permissions::from_mode(mode))?;
    let path = format!("/work/{file}");
    let words = ["cwd=/work", "id=65534", "--", &path, "report", "last"];
    root.launch_as(Namespaces::AllIds, &["register --credentials"], &words)
}

/// Checks that the report ran and has all of these lines.
fn says(outcome: &Outcome, lines: &[&str]) -> Result<()> {
    let ran = outcome.ending == Ending::Exit(SUCCESS) && outcome.stderr.is_empty();
    let all = lines.iter().all(|line| outcome.stdout.lines().any(|found| found == *line));
    ensure!(ran && all, "{lines:?}: {}", outcome.shown("report"));
    Ok(())
}

/// Every user can give a set-id program of the system a name with the extension: that rule gives no privileges.
pub(crate) fn credentials_extension(case: Case<'_>) -> Result<()> {
    let outcome = with_credentials(case, Link::Interpreter, "report.slulb", false, 0o4755)?;
    says(&outcome, &["AT_SECURE: 0", "/proc/self/exe: /lib/slulrtld-x86_64.so.1"])
}

/// A set-id program without the marker is not run by the handler; with the marker it is, with its privileges.
pub(crate) fn credentials_unmarked(case: Case<'_>) -> Result<()> {
    let outcome = with_credentials(case, Link::Interpreter, "report", false, 0o4755)?;
    says(&outcome, &["AT_SECURE: 1", "/proc/self/exe: /work/report"])?;
    let outcome = with_credentials(case, Link::Interpreter, "report", true, 0o4755)?;
    says(&outcome, &["AT_SECURE: 1", "/proc/self/exe: /lib/slulrtld-x86_64.so.1"])
}

/// An unreadable program by the flag `O`: the process is not dumpable, so that its user can not read its memory.
pub(crate) fn unreadable_binfmt(case: Case<'_>) -> Result<()> {
    let outcome = with_credentials(case, Link::Bare, "report", true, 0o755)?;
    says(&outcome, &["dumpable: 1"])?;
    let outcome = with_credentials(case, Link::Bare, "report", true, 0o711)?;
    let dumpable = fs::read_to_string("/proc/sys/fs/suid_dumpable")?;
    says(&outcome, &[&format!("dumpable: {}", dumpable.trim())])
}

/// The bytes of a string such as `\x7f\x45`.
fn unescaped(text: &str) -> Result<Vec<u8>> {
    text.split("\\x").skip(1).map(|digits| Ok(u8::from_str_radix(digits, 16)?)).collect()
}

/// No program of this machine, set-id or not, matches the rule that is shipped. Of the machine it is assumed that it has some
/// programs of its own class, byte order and processor; others, such as 32-bit ones, are not matched at all.
pub(crate) fn credentials_system_programs(case: Case<'_>) -> Result<()> {
    let rules = fs::read_to_string(case.world.stage.file(BINFMT_SYSTEMD))?;
    let rule = rules.lines().find(|line| line.starts_with(":slul:M:0:")).context("no rule by magic")?;
    let fields: Vec<&str> = rule.split(':').collect();
    let [_, _, _, _, magic, mask, _, flags] = fields[..] else { anyhow::bail!("{rule}: not eight fields") };
    let (magic, mask) = (unescaped(magic)?, unescaped(mask)?);
    ensure!(!flags.contains('C'), "{rule}: has the flag C");
    ensure!(rules.lines().filter(|line| line.contains(":E:")).all(|line| line.ends_with(":PF")), "{rules}");
    let matches = |bytes: &[u8]| {
        bytes.len() >= magic.len()
            && bytes.iter().zip(magic.iter().zip(&mask)).all(|(byte, (magic, mask))| byte & mask == magic & mask)
    };
    let mut count = 0;
    let place = marker::offset(NATIVE.class, NATIVE.byte_order);
    for directory in ["/usr/bin", "/usr/sbin", "/usr/lib/dbus-1.0", "/usr/lib/openssh"] {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            // The targets of links are there, too.
            let path = entry?.path();
            let Ok(bytes) = fs::read(&path) else { continue };
            if bytes.starts_with(b"\x7fELF") {
                ensure!(!matches(&bytes), "{}: matches", path.display());
                if !is_for_this_machine(&bytes) {
                    continue;
                }
                let mut marked = bytes.clone();
                marked.get_mut(place).map(|byte| *byte = MARKER).context("a short file")?;
                ensure!(matches(&marked), "{}: does not match even with the marker", path.display());
                count += 1;
            }
        }
    }
    ensure!(count > 50, "{count} programs");
    Ok(())
}

/// glibc's ld.so executes a static program that it is given: under a rule of binfmt_misc, itself again. The handler
/// maps the program.
pub(crate) fn loop_binfmt(case: Case<'_>) -> Result<()> {
    let programs = Programs::new(&case.world.stage)?;
    let root = Root::new(&case.world.stage, WITH_BINFMT)?;
    install(&programs.launcher(), &root.work("launch"))?;
    programs.report(Link::Bare, false, &[], &root.work("linked"))?;
    let mut slulbin = Command::new(case.world.stage.file(SLULBIN));
    run(slulbin.arg("mark").arg(root.work("linked")).arg("-o").arg(root.work("report")))?;
    fs::copy(root.work("report"), root.work("report.slulb"))?;
    for words in [
        ["cwd=/work", "--", "/work/report", "report", "last"],
        ["cwd=/work", "--", "/work/report.slulb", "report", "last"],
        ["cwd=/work", "--", RUNSLUL, "runslul", "/work/report"],
    ] {
        says(&root.launch(&words)?, &["/proc/self/exe: /lib/slulrtld-x86_64.so.1"])?;
    }
    Ok(())
}

/// A program whose stub executes the loader is installed in the loader's place.
pub(crate) fn loop_rt0_as_loader(case: Case<'_>) -> Result<()> {
    let programs = Programs::new(&case.world.stage)?;
    for stub in ["rt0.o", "rt0-map.o", "rt0-embed.o"] {
        let root = Root::new(&case.world.stage, Holds::ALL)?;
        install(&programs.launcher(), &root.work("launch"))?;
        programs.report(Link::Stub(stub), false, &[], &root.work("report"))?;
        fs::copy(root.work("report"), root.path().join("lib").join(LOADER))?;
        let outcome = root.launch(&["cwd=/work", "--", "./report", "report", "last"])?;
        match stub {
            "rt0-embed.o" => says(&outcome, &["argv[0]: report"])?,
            _ => Expected::Refused("", "slulrtld: can not run /lib/slulrtld-x86_64.so.1: install slulrtld")
                .of(&outcome)
                .context(stub)?,
        }
    }
    Ok(())
}

/// A program whose stub maps the loader is installed there: it maps itself once, not until there is no room.
pub(crate) fn loop_map_once(case: Case<'_>) -> Result<()> {
    let programs = Programs::new(&case.world.stage)?;
    let root = Root::new(&case.world.stage, Holds::ALL)?;
    programs.report(Link::Stub("rt0-map.o"), false, &[], &root.work("report"))?;
    fs::copy(root.work("report"), root.path().join("lib").join(LOADER))?;
    let mut tracee = Tracee::start(&Start::new("/work/report".as_ref(), case.user).chroot(root.path()))?;
    let mut calls = 0;
    while tracee.next_call()?.is_some() {
        calls += 1;
        // open, fstat, mmap and close of a file, a message in two writes, and the exit.
        ensure!(calls <= 7, "more system calls than one mapping takes");
        if tracee.finish_call()?.is_none() {
            break;
        }
    }
    Expected::Refused("", NOT_INSTALLED).of(&tracee.finish()?)
}

/// The loader as its own program, and as the program of a program's interpreter.
pub(crate) fn loop_loader_as_program(case: Case<'_>) -> Result<()> {
    let loader = case.world.stage.loader();
    let path = loader.display().to_string();
    for count in 1..4 {
        let start = (0..count).fold(Start::new(&loader, case.user), |start, _| start.arg(&path));
        Expected::Refused("", &format!("slulrtld: {path}: is the loader itself")).of(&start.run()?)?;
    }
    Ok(())
}
