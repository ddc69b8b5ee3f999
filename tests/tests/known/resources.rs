//! Attacks by limits of memory and stack.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::start::Start;
use tests::tracer::{Begun, Call, Tracee};
use tests::verdict::{Complaints, Verdict, judge};
use tests::world::Case;

use crate::victim::{Expected, Lair};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A search path that exceeds the stack several times after each `$ORIGIN` in it is replaced.
fn long_path() -> String {
    "$ORIGIN/x:".repeat(6 << 10)
}

/// glibc copied search paths to the stack, and a long one over the memory below it.
fn stack_clash(start: &Start) -> Result<()> {
    for (stack, variables) in [(256 * KIB, 1), (MIB, 3), (8 * MIB, 3)] {
        let names = ["LD_LIBRARY_PATH", "LD_PRELOAD", "LD_LIBRARY_PATH"].iter().take(variables);
        let start = names.fold(start.clone(), |start, name| start.env(&format!("{name}={}", long_path())));
        let outcome = start.limit("stack", stack).run()?;
        Expected::Ran("library\nprogram\n").of(&outcome).with_context(|| format!("{stack} bytes of stack"))?;
    }
    Ok(())
}

/// A set-id program: the path is not read.
pub(crate) fn stack_clash_secure(case: Case<'_>) -> Result<()> {
    stack_clash(&case.start("victim/library")?)
}

/// An ordinary program: all of the path is searched.
pub(crate) fn stack_clash_ordinary(case: Case<'_>) -> Result<()> {
    stack_clash(&case.start("searching")?)
}

/// Runs the victim under each value of a limit: whichever allocation fails, the environment has no effect. Values with
/// which the kernel can not start the program are skipped.
fn limited(start: &Start, limit: &str, values: impl Iterator<Item = u64>, evil: &str) -> Result<()> {
    let (mut complaints, mut ran, mut refused) = (Complaints::default(), 0, 0);
    let least = if limit == "as" { Tracee::start(start)?.size()? } else { 0 };
    for value in values.map(|value| least + value) {
        let Begun::Stopped(tracee) = Tracee::try_start(&start.clone().limit(limit, value))? else { continue };
        let outcome = tracee.finish()?;
        let about = format!("{limit} {value}");
        if outcome.stdout.contains("evil") || outcome.stderr.contains(evil) {
            complaints.push(format!("{about}: {outcome:?}"));
        }
        match complaints.note(about, judge(&outcome, "library\nprogram\n", &[""])) {
            Some(Verdict::Ran) => ran += 1,
            Some(Verdict::Refused(_)) => refused += 1,
            None => {}
        }
    }
    complaints.verdict()?;
    ensure!(ran > 3 && refused > 3, "{limit}: {ran} ran, {refused} refused");
    Ok(())
}

/// Limits in bytes: first in steps of a page, so that each allocation fails once.
fn sizes() -> impl Iterator<Item = u64> {
    (0..160).map(|pages| pages * 4 * KIB).chain((0..8).map(|power| MIB << power))
}

/// OpenBSD's loader did not remove LD_LIBRARY_PATH if there was no memory to split it.
pub(crate) fn allocation_limits(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let evil = lair.path().display().to_string();
    let start = Start::new(case.world.program("victim/library")?.path(), case.user);
    let start = start.env(&format!("LD_LIBRARY_PATH={evil}")).env(&format!("LD_PRELOAD={evil}/libone.so"));
    for limit in ["as", "data"] {
        limited(&start, limit, sizes(), &evil)?;
    }
    Ok(())
}

/// The exploit's way to exhaust memory: a path of many entries.
pub(crate) fn allocation_long_path(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let evil = lair.path().display().to_string();
    let path = format!("{evil}{}", ":".repeat(100 << 10));
    let start = Start::new(case.world.program("victim/library")?.path(), case.user);
    let start = start.env(&format!("LD_LIBRARY_PATH={path}"));
    for limit in ["as", "data"] {
        limited(&start, limit, sizes().step_by(4), &evil)?;
    }
    Ok(())
}

/// A library that does not fit into an address space of 512 MiB is refused.
fn no_room(case: Case<'_>, name: &str) -> Result<()> {
    let program = case.world.program(name)?;
    let limited = |bytes: u64| {
        let start = Start::new(Path::new("/usr/bin/prlimit"), case.user);
        start.arg(format!("--as={bytes}")).arg(program.path().display().to_string()).run()
    };
    Expected::Ran("program\n").of(&limited(2048 * MIB)?).context("with enough")?;
    let line = format!("slulrtld: {}: can not be mapped: ENOMEM", program.dir().join("libone.so").display());
    Expected::Refused("", &line).of(&limited(512 * MIB)?)
}

/// A library without room, in an ordinary program.
pub(crate) fn no_room_ordinary(case: Case<'_>) -> Result<()> {
    no_room(case, "large/ordinary")
}

/// A library without room, in a set-id program.
pub(crate) fn no_room_secure(case: Case<'_>) -> Result<()> {
    no_room(case, "large/secure")
}

/// Runs a program to its end, which must be a success, and gives each system call and its result to `look`.
fn each_call(case: Case<'_>, name: &str, mut look: impl FnMut(&Call, u64) -> Result<()>) -> Result<()> {
    let mut tracee = Tracee::start(&case.start(name)?)?;
    while let Some(call) = tracee.next_call()? {
        let Some(result) = tracee.finish_call()? else { break };
        look(&call, result).with_context(|| format!("{name}: {call:?} = {result:#x}"))?;
    }
    let Outcome { ending, .. } = tracee.finish()?;
    ensure!(ending == Ending::Exit(SUCCESS), "{name}: {ending:?}");
    Ok(())
}

/// Memory that is not executable never becomes so, and no memory is writable and executable: the rules of
/// `MemoryDenyWriteExecute=` in systemd.exec(5) and of PR_SET_MDWE. In both worlds, libc's ld.so included.
pub(crate) fn executable(case: Case<'_>) -> Result<()> {
    const MMAP: u64 = 9;
    const MPROTECT: u64 = 10;
    const PKEY_MPROTECT: u64 = 329;
    const WRITE: u64 = 2;
    const EXECUTE: u64 = 4;
    for name in ["searching", "calling"] {
        let (mut mapped, mut protected) = (0, 0);
        each_call(case, name, |call, _| {
            let [_, _, protection, ..] = call.arguments;
            let executable = protection & EXECUTE != 0;
            match call.number {
                MMAP => {
                    mapped += u64::from(executable);
                    ensure!(!executable || protection & WRITE == 0, "written and executed");
                }
                MPROTECT | PKEY_MPROTECT => {
                    protected += 1;
                    ensure!(!executable, "becomes executable");
                }
                _ => {}
            }
            Ok(())
        })?;
        ensure!(
            mapped > 0 && protected > 0,
            "{name}: {mapped} mappings of code, {protected} changes of protection"
        );
    }
    Ok(())
}

/// mmap(2) is never asked for addresses from 2^47 on, which a process gets only if it asks for them: programs may keep
/// tags in these bits of pointers.
pub(crate) fn addresses(case: Case<'_>) -> Result<()> {
    const MMAP: u64 = 9;
    const MREMAP: u64 = 25;
    const LIMIT: u64 = 1 << 47;
    for name in ["searching", "calling"] {
        let mut count = 0;
        each_call(case, name, |call, result| {
            if ![MMAP, MREMAP].contains(&call.number) {
                return Ok(());
            }
            let [address, size, ..] = call.arguments;
            count += 1;
            ensure!(address.saturating_add(size) < LIMIT, "asked for");
            let is_place = result < 4096_u64.wrapping_neg();
            ensure!(!is_place || result < LIMIT, "got");
            Ok(())
        })?;
        ensure!(count > 3, "{name}: {count} calls");
    }
    Ok(())
}
