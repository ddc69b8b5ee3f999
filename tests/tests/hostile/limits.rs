//! Small limits: memory, stack, descriptors.

use anyhow::{Result, ensure};
use tests::launch::{Ending, Outcome};

use tests::tracer::{Begun, Tracee};
use tests::verdict::{Complaints, REFUSED, Verdict, judge};
use tests::world::Case;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A program, its output, and its possible outputs when it is refused.
type Program = (&'static str, &'static str, &'static [&'static str]);

const PROGRAMS: [Program; 2] =
    [("whole/sound", "library\nprogram\n", &[""]), ("native/gnu", "before\nafter\n", &["", "before\n"])];

const MUSL: Program = ("native/musl", "before\nafter\n", &["", "before\n"]);

/// Values of a limit: small numbers, then growing steps.
fn sweep() -> impl Iterator<Item = u64> {
    let small = (0..16).map(|pages| pages * 4 * KIB);
    small.chain((0..10).flat_map(|power| [(64 * KIB) << power, (96 * KIB) << power]))
}

/// Whether libc ended the process: its ld.so was mapped, and printed or did what it does without memory.
fn ended_by_libc(outcome: &Outcome, place: &str) -> bool {
    let in_libc = ["/ld-linux-", "/ld-musl-", "/libc.so"].iter().any(|name| place.contains(name));
    match outcome.ending {
        Ending::Signal(_) => in_libc,
        Ending::Exit(REFUSED) => !outcome.stderr.is_empty() && !outcome.stderr.contains("slulrtld: "),
        _ => false,
    }
}

/// Counts of the outcomes of a sweep.
#[derive(Default)]
struct Tally {
    ran: usize,
    refused: usize,
}

/// Counts the outcome of one run.
fn note(
    outcome: (Outcome, String),
    program: Program,
    about: &str,
    tally: &mut Tally,
    complaints: &mut Complaints,
) {
    let ((outcome, place), (name, output, before)) = (outcome, program);
    if name.starts_with("native/") && ended_by_libc(&outcome, &place) {
        return;
    }
    match complaints.note(format!("{name}, {about}, at {place}"), judge(&outcome, output, before)) {
        Some(Verdict::Ran) => tally.ran += 1,
        Some(Verdict::Refused(_)) => tally.refused += 1,
        None => {}
    }
}

/// Sweeps over the values of a limit, which is set before the loader's first instruction.
fn each(case: Case<'_>, limit: &str, values: &[u64], relative: bool) -> Result<Tally> {
    each_of(case, &PROGRAMS, limit, values, relative)
}

fn each_of(case: Case<'_>, programs: &[Program], limit: &str, values: &[u64], relative: bool) -> Result<Tally> {
    let (mut tally, mut complaints) = (Tally::default(), Complaints::default());
    for &program in programs {
        for &value in values {
            let tracee = Tracee::start(&case.start(program.0)?)?;
            let value = if relative { tracee.size()? + value } else { value };
            tracee.limit(limit, value)?;
            note(tracee.finish_where()?, program, &format!("{limit} {value}"), &mut tally, &mut complaints);
        }
    }
    complaints.verdict()?;
    Ok(tally)
}

/// RLIMIT_AS, upwards from the size of the kernel's mappings.
pub(crate) fn address_space(case: Case<'_>) -> Result<()> {
    let tally = each(case, "as", &sweep().collect::<Vec<_>>(), true)?;
    ensure!(tally.refused > 10 && tally.ran > 10, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// RLIMIT_AS, for a first native call into musl.
pub(crate) fn address_space_musl(case: Case<'_>) -> Result<()> {
    let tally = each_of(case, &[MUSL], "as", &sweep().collect::<Vec<_>>(), true)?;
    ensure!(tally.refused > 5 && tally.ran > 5, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// RLIMIT_DATA.
pub(crate) fn data(case: Case<'_>) -> Result<()> {
    let tally = each(case, "data", &sweep().collect::<Vec<_>>(), false)?;
    ensure!(tally.refused > 10 && tally.ran > 10, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// RLIMIT_NOFILE.
pub(crate) fn descriptors(case: Case<'_>) -> Result<()> {
    let tally = each(case, "nofile", &[0, 1, 2, 3, 4, 5, 8], false)?;
    ensure!(tally.refused >= 7 && tally.ran >= 3, "{} refused, {} ran", tally.refused, tally.ran);
    Ok(())
}

/// RLIMIT_MEMLOCK: the loader locks no memory.
pub(crate) fn locked_memory(case: Case<'_>) -> Result<()> {
    let tally = each(case, "memlock", &[0, 4 * KIB], false)?;
    ensure!(tally.ran == 4, "{} ran", tally.ran);
    Ok(())
}

/// RLIMIT_STACK, lowered after the kernel has made the stack.
pub(crate) fn lowered_stack(case: Case<'_>) -> Result<()> {
    let tally = each(case, "stack", &sweep().collect::<Vec<_>>(), false)?;
    ensure!(tally.ran > 10, "{} ran", tally.ran);
    Ok(())
}

/// RLIMIT_STACK, in force while the kernel executes the program. Values with which the kernel refuses are skipped. With
/// less than 16 KiB, of which the block takes a part, there is no room for calls.
pub(crate) fn stack(case: Case<'_>) -> Result<()> {
    let (mut tally, mut complaints) = (Tally::default(), Complaints::default());
    for program in PROGRAMS {
        for value in sweep().filter(|value| (16 * KIB..=8 * MIB).contains(value)) {
            let start = case.start(program.0)?.limit("stack", value);
            if let Begun::Stopped(tracee) = Tracee::try_start(&start)? {
                note(tracee.finish_where()?, program, &format!("stack {value}"), &mut tally, &mut complaints);
            }
        }
    }
    complaints.verdict()?;
    ensure!(tally.ran > 10, "{} ran", tally.ran);
    Ok(())
}
