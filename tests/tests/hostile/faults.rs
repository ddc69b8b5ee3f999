//! Each system call of the loader fails, one at a time: the program is refused, or runs as always.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, bail, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::workdir::Workdir;

use tests::start::Start;
use tests::tracer::{Call, Tracee};
use tests::verdict::{Complaints, REFUSED, Verdict, judge, runs};
use tests::world::Case;

/// Output of the program `whole`.
const STARTED: &str = "library\nprogram\n";
/// Output of a program with a native call.
const CALLED: &str = "before\nafter\n";

/// EPERM, EINTR, ENOMEM, ENOSYS.
const ERRNOS: [u16; 4] = [1, 4, 12, 38];

const OPEN: u64 = 2;
const READ_AT: u64 = 17;
const WRITE: u64 = 1;
/// exit and exit_group: they do not return.
const ENDS: [u64; 2] = [60, 231];

/// Continues to the loader's system call number `wanted` (from 0). Calls of other code, and those that end the process,
/// do not count.
fn to_call(tracee: &mut Tracee, loader: (u64, u64), wanted: usize) -> Result<Option<Call>> {
    let mut number = 0;
    while let Some(call) = tracee.next_call()? {
        if (loader.0..loader.1).contains(&call.place) && !ENDS.contains(&call.number) {
            if number == wanted {
                return Ok(Some(call));
            }
            number += 1;
        }
        if tracee.finish_call()?.is_none() {
            break;
        }
    }
    Ok(None)
}

/// Runs the program with the loader's system call number `wanted` replaced by `result`; `None` if it has fewer.
fn run_with(start: &Start, wanted: usize, result: u64) -> Result<Option<(Call, Outcome)>> {
    let mut tracee = Tracee::start(start)?;
    let loader = tracee.loader()?;
    let Some(call) = to_call(&mut tracee, loader, wanted)? else { return Ok(None) };
    tracee.replace_call(result)?;
    Ok(Some((call, tracee.finish()?)))
}

/// Whether the loader could print no message, because the failing call was the one that prints.
fn could_not_say(call: &Call, outcome: &Outcome) -> bool {
    call.number == WRITE && outcome.ending == Ending::Exit(REFUSED) && outcome.stderr.is_empty()
}

/// Whether the name was left to libc, which prints its own line: open(2) failed with EPERM, which counts as the absence
/// of the file.
fn left_to_libc(call: &Call, errno: u16, outcome: &Outcome, before: &[&str]) -> bool {
    call.number == OPEN && errno == ERRNOS[0] && is_libcs_line(outcome, before)
}

/// Whether the program was refused in one line, the loader's or libc's.
fn is_libcs_line(outcome: &Outcome, before: &[&str]) -> bool {
    let one_line = outcome.stderr.ends_with('\n') && outcome.stderr.lines().count() == 1;
    outcome.ending == Ending::Exit(REFUSED) && before.contains(&outcome.stdout.as_str()) && one_line
}

/// Number of runs that were refused, and of runs that succeeded all the same.
struct Tally {
    refused: usize,
    ran: usize,
}

/// Lets each of the loader's system calls fail with each of [`ERRNOS`], and judges the outcomes.
fn each_judged(start: &Start, judge: impl Fn(&Call, u16, &Outcome) -> Result<Verdict>) -> Result<Tally> {
    let mut complaints = Complaints::default();
    let mut tally = Tally { refused: 0, ran: 0 };
    for wanted in 0.. {
        let mut more = false;
        for errno in ERRNOS {
            let Some((call, outcome)) = run_with(start, wanted, u64::from(errno).wrapping_neg())? else { break };
            more = true;
            let about = format!("system call {} (number {wanted}) failing with {errno}", call.number);
            match complaints.note(about, judge(&call, errno, &outcome)) {
                Some(Verdict::Refused(_)) => tally.refused += 1,
                Some(Verdict::Ran) => tally.ran += 1,
                None => {}
            }
        }
        if !more {
            break;
        }
    }
    complaints.verdict()?;
    Ok(tally)
}

/// Lets each system call of a start fail; a program that runs must print nothing else. `output` is the program's output
/// when it runs, `before` its possible outputs when it is refused.
fn each(start: &Start, output: &str, before: &[&str]) -> Result<Tally> {
    each_judged(start, |call, errno, outcome| judge_call(call, errno, outcome, output, before))
}

fn judge_call(call: &Call, errno: u16, outcome: &Outcome, output: &str, before: &[&str]) -> Result<Verdict> {
    if could_not_say(call, outcome) || left_to_libc(call, errno, outcome, before) {
        return Ok(Verdict::Refused(outcome.stderr.clone()));
    }
    judge(outcome, output, before)
}

/// A start with a library, thread-local storage and initialisers.
pub(crate) fn full_start(case: Case<'_>) -> Result<()> {
    let tally = each(&case.start("whole/sound")?, STARTED, &[""])?;
    ensure!(tally.refused > 30 && tally.ran > 0, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// [`full_start`] with the loader executed by its own name.
pub(crate) fn direct_start(case: Case<'_>) -> Result<()> {
    let start = case.direct(case.world.program("whole/sound")?.path());
    let tally = each(&start, STARTED, &[""])?;
    ensure!(tally.refused > 50, "{} refused", tally.refused);
    Ok(())
}

/// [`full_start`] of a program that rt0 hands over; and a plain start of one.
pub(crate) fn handed_start(case: Case<'_>) -> Result<()> {
    let start = case.handed(case.world.program("whole/sound")?.path());
    let tally = each(&start, STARTED, &[""])?;
    ensure!(tally.refused > 50, "{} refused", tally.refused);
    let start = case.handed(case.world.program("report/handed")?.path()).arg("nothing");
    // A call that fails in the plain start makes it a full one, which succeeds.
    let tally = each(&start, "", &[])?;
    ensure!(tally.refused == 0 && tally.ran > 20, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// [`full_start`] with a trace: a trace that can not be written harms nothing.
pub(crate) fn start_with_trace(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    fs::set_permissions(workdir.path(), fs::Permissions::from_mode(0o777))?;
    let output = format!("LD_SLUL_DEBUG_OUTPUT={}/trace", workdir.path().display());
    let start = case.start("whole/sound")?.env("LD_SLUL_DEBUG=files,libs").env(&output);
    let tally = each_judged(&start, |_, _, outcome| {
        // Where the file can not be opened, the trace goes to standard error.
        let is_ours = |line: &str| line.starts_with("slulrtld: ") && !line.starts_with("slulrtld: bug");
        ensure!(outcome.stderr.lines().all(is_ours), "{outcome:?}");
        match outcome.ending {
            Ending::Exit(SUCCESS) if outcome.stdout == STARTED => Ok(Verdict::Ran),
            Ending::Exit(REFUSED) if outcome.stdout.is_empty() => Ok(Verdict::Refused(outcome.stderr.clone())),
            _ => bail!("{outcome:?}"),
        }
    })?;
    ensure!(tally.refused > 30 && tally.ran > 30, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// A start and a first native call.
fn native_call(start: &Start) -> Result<()> {
    let tally = each(start, CALLED, &["", "before\n"])?;
    ensure!(tally.refused > 50, "{} refused", tally.refused);
    Ok(())
}

/// The first native call brings in glibc.
pub(crate) fn first_native_call(case: Case<'_>) -> Result<()> {
    native_call(&case.start("native/gnu")?)
}

/// [`first_native_call`] with the template's file: no failure of a system call on that file is a refusal.
pub(crate) fn first_native_call_installed(case: Case<'_>) -> Result<()> {
    let (with, without) = (case.start("native/installed")?, case.start("native/gnu")?);
    let with = each_judged(&with, |call, errno, outcome| {
        ensure!(!outcome.stderr.contains("/usr/libexec/"), "{outcome:?}");
        judge_call(call, errno, outcome, CALLED, &["", "before\n"])
    })?;
    let without = each(&without, CALLED, &["", "before\n"])?;
    ensure!(with.refused == without.refused, "{} refused, without the file {}", with.refused, without.refused);
    ensure!(with.ran > without.ran, "{} ran, without the file {}", with.ran, without.ran);
    Ok(())
}

/// The first native call brings in musl.
pub(crate) fn first_native_call_musl(case: Case<'_>) -> Result<()> {
    native_call(&case.start("native/musl")?)
}

/// The first native call of a set-id program.
pub(crate) fn first_native_call_secure(case: Case<'_>) -> Result<()> {
    native_call(&case.start("native/secure")?)
}

/// libc comes before the program.
pub(crate) fn eager_libc(case: Case<'_>) -> Result<()> {
    native_call(&case.start("native/gnu")?.env("LD_SLUL_EAGER_LOAD_LIBC=1"))
}

/// A refusal stays a refusal whichever further call fails.
pub(crate) fn refusal(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("whole/sound")?;
    let library = workdir.path().join("libone.so");
    fs::remove_file(&library)?;
    fs::write(&library, "not a library")?;
    let tally = each(&Start::new(&program, case.user), "never", &[""])?;
    ensure!(tally.ran == 0 && tally.refused > 20, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// All system calls fail from one on, so that the loader's reaction to a failure fails as well. Only its message and
/// its exit succeed.
pub(crate) fn all_from_one_on(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (name, output, before) in [("whole/sound", STARTED, &[""][..]), ("native/gnu", CALLED, &["", "before\n"])]
    {
        let start = case.start(name)?;
        for errno in [ERRNOS[0], ERRNOS[2]] {
            let mut first = 0;
            while let Some(outcome) = run_with_all_from(&start, first, errno)? {
                let verdict =
                    judge(&outcome, output, before).or_else(|error| match is_libcs_line(&outcome, before) {
                        true => Ok(Verdict::Ran),
                        false => Err(error),
                    });
                complaints.note(format!("{name}, {errno} from system call {first} on"), verdict);
                first += 1;
            }
            ensure!(first > 10, "{name}: {first} system calls");
        }
    }
    complaints.verdict()
}

/// Runs the program with all of the loader's system calls failing from number `first` on.
fn run_with_all_from(start: &Start, first: usize, errno: u16) -> Result<Option<Outcome>> {
    let mut tracee = Tracee::start(start)?;
    let loader = tracee.loader()?;
    if to_call(&mut tracee, loader, first)?.is_none() {
        return Ok(None);
    }
    tracee.replace_call(u64::from(errno).wrapping_neg())?;
    while let Some(call) = tracee.next_call()? {
        let is_loaders = (loader.0..loader.1).contains(&call.place);
        if is_loaders && !ENDS.contains(&call.number) && call.number != WRITE {
            tracee.replace_call(u64::from(errno).wrapping_neg())?;
        } else if tracee.finish_call()?.is_none() {
            break;
        }
    }
    Ok(Some(tracee.finish()?))
}

/// Reads of the loader return 0 bytes, as from a file that has become empty.
pub(crate) fn empty_reads(case: Case<'_>) -> Result<()> {
    let start = case.start("whole/sound")?;
    let mut complaints = Complaints::default();
    let mut reads = 0;
    for wanted in 0.. {
        let Some((call, outcome)) = run_with(&start, wanted, 0)? else { break };
        if call.number == READ_AT {
            reads += 1;
            complaints.note(format!("pread (number {wanted})"), judge(&outcome, "never", &[""]));
        }
    }
    complaints.verdict()?;
    ensure!(reads > 0, "no reads");
    Ok(())
}

/// A set-id start in a hostile environment: no failing system call lets a variable take effect.
pub(crate) fn secure_start(case: Case<'_>) -> Result<()> {
    let evil = case.world.program("whole/evil")?.dir().display().to_string();
    let start = case.start("whole/secure")?.env(&format!("LD_LIBRARY_PATH={evil}")).env("LD_SLUL_DEBUG=all");
    runs(&Tracee::start(&start)?.finish()?, STARTED).context("clean run")?;
    let tally = each(&start, STARTED, &[""])?;
    ensure!(tally.refused > 30, "{} refused", tally.refused);
    Ok(())
}
