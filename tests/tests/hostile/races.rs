//! A library changes while it is being mapped: between any two system calls of the loader.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, ensure};
use tests::damage::install;
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::stage::LOADER;

use tests::start::Start;
use tests::tracer::Tracee;
use tests::verdict::{Complaints, REFUSED, Verdict, judge};
use tests::world::Case;

const OPEN: u64 = 2;
const WRITE: u64 = 1;

/// A change of the file.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Cut to 0 bytes.
    Emptied,
    /// Cut after its first page.
    Cut,
    /// Its last bytes are cut off.
    Shortened,
    /// It gets longer.
    Longer,
    /// Every byte of it becomes 0, in place.
    Zeroed,
    /// Every byte of it becomes 0xff, in place.
    Filled,
    /// Another library gets its name.
    Swapped,
    /// It is gone.
    Removed,
}

impl Change {
    fn make(self, library: &Path, other: &Path) -> Result<()> {
        let file = || OpenOptions::new().write(true).open(library);
        let size = fs::metadata(library)?.len();
        let overwrite =
            |byte: u8| -> Result<()> { Ok(file()?.write_all_at(&vec![byte; usize::try_from(size)?], 0)?) };
        match self {
            Self::Emptied => file()?.set_len(0)?,
            Self::Cut => file()?.set_len(4096)?,
            Self::Shortened => file()?.set_len(size - 8)?,
            Self::Longer => file()?.set_len(size + 100_000)?,
            Self::Zeroed => overwrite(0)?,
            Self::Filled => overwrite(0xff)?,
            Self::Swapped => fs::rename(other, library)?,
            Self::Removed => fs::remove_file(library)?,
        }
        Ok(())
    }

    /// Whether the mapped bytes stay the same.
    fn is_harmless(self) -> bool {
        matches!(self, Self::Longer | Self::Swapped | Self::Removed)
    }
}

/// Stops at system call number `wanted` after the one that opens a file; `None` if the program prints before it.
fn stopped_at(start: &Start, file: &Path, wanted: usize) -> Result<Option<Tracee>> {
    let mut tracee = Tracee::start(start)?;
    let mut opened = None;
    while let Some(call) = tracee.next_call()? {
        if call.number == WRITE {
            return Ok(None);
        }
        if let Some(number) = &mut opened {
            if *number == wanted {
                return Ok(Some(tracee));
            }
            *number += 1;
        } else if call.number == OPEN && tracee.string(call.arguments[0])? == file.to_string_lossy() {
            opened = Some(0);
        }
        if tracee.finish_call()?.is_none() {
            break;
        }
    }
    Ok(None)
}

/// Whether the program came to harm by missing code or data: it died outside of the loader, or ended otherwise than it
/// should. Relocated words in the file's pages are lost as well, so the program may have jumped anywhere.
fn of_program(outcome: &Outcome, place: &str) -> bool {
    match outcome.ending {
        Ending::Signal(_) => !place.ends_with(LOADER),
        Ending::Exit(status) => status != SUCCESS && status != REFUSED,
        Ending::Hang => false,
    }
}

/// One change at every system call. The loader never dies of it; the program may, if its code is gone.
fn each(case: Case<'_>, change: Change) -> Result<()> {
    each_of(case, "libone.so", change, |case, program| Start::new(program, case.user))
}

fn each_of(case: Case<'_>, file: &str, change: Change, start: fn(Case<'_>, &Path) -> Start) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut places = 0;
    for wanted in 0.. {
        let (workdir, program) = case.copy("whole/sound")?;
        let other = workdir.path().join("other");
        install(&case.world.program("whole/evil")?.dir().join(file), &other)?;
        let path = workdir.path().join(file);
        let Some(tracee) = stopped_at(&start(case, &program), &path, wanted)? else { break };
        places += 1;
        change.make(&path, &other)?;
        let (outcome, place) = tracee.finish_where()?;
        let about = format!("{change:?} before system call {wanted} after open, at {place}");
        if change.is_harmless() {
            complaints.note(
                about,
                judge(&outcome, "library\nprogram\n", &[""]).and_then(|verdict| {
                    ensure!(verdict == Verdict::Ran, "{verdict:?}");
                    Ok(())
                }),
            );
        } else if judge(&outcome, "library\nprogram\n", &[""]).is_err() && !of_program(&outcome, &place) {
            complaints.push(format!("{about}: {outcome:?}"));
        }
    }
    complaints.verdict()?;
    ensure!(places > 5, "{places} places");
    Ok(())
}

/// The file is cut to 0 bytes.
pub(crate) fn emptied(case: Case<'_>) -> Result<()> {
    each(case, Change::Emptied)
}

/// The file is cut after its first page.
pub(crate) fn cut(case: Case<'_>) -> Result<()> {
    each(case, Change::Cut)
}

/// The section headers are cut off, which the loader does not read.
pub(crate) fn shortened(case: Case<'_>) -> Result<()> {
    each(case, Change::Shortened)
}

/// The file grows.
pub(crate) fn longer(case: Case<'_>) -> Result<()> {
    each(case, Change::Longer)
}

/// The file is overwritten.
pub(crate) fn overwritten(case: Case<'_>) -> Result<()> {
    each(case, Change::Zeroed)?;
    each(case, Change::Filled)
}

/// The file is replaced by another one, or removed: the open file counts.
pub(crate) fn renamed(case: Case<'_>) -> Result<()> {
    each(case, Change::Swapped)?;
    each(case, Change::Removed)
}

/// A program that the loader maps itself.
pub(crate) fn direct_program(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for change in [Change::Emptied, Change::Filled, Change::Swapped] {
        let changed = each_of(case, "whole", change, |case: Case<'_>, program| case.direct(program));
        complaints.note(format!("{change:?}"), changed);
    }
    complaints.verdict()
}

/// The file is cut and restored by turns, without end. Whatever the loader reads, the program runs or is refused.
pub(crate) fn flickering(case: Case<'_>) -> Result<()> {
    let (workdir, program) = case.copy("whole/sound")?;
    let library = workdir.path().join("libone.so");
    let bytes = fs::read(&library)?;
    let mut complaints = Complaints::default();
    for wanted in 0..12 {
        fs::write(&library, &bytes)?;
        let Some(mut tracee) = stopped_at(&Start::new(&program, case.user), &library, wanted)? else { break };
        let file = File::options().write(true).open(&library)?;
        // Cut for one system call.
        file.set_len(0)?;
        let went_on = tracee.finish_call()?.is_some();
        file.write_all_at(&bytes, 0)?;
        ensure!(went_on, "it ended in system call {wanted}");
        let (outcome, place) = tracee.finish_where()?;
        if judge(&outcome, "library\nprogram\n", &[""]).is_err() && !of_program(&outcome, &place) {
            complaints.push(format!("gone during system call {wanted} after open, at {place}: {outcome:?}"));
        }
    }
    complaints.verdict()
}
