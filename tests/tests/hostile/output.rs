//! Output goes where it was sent, and nowhere else: LD_SLUL_DEBUG_OUTPUT, and files that may not become larger.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;
use tests::tracer::Tracee;
use tests::verdict::REFUSED;
use tests::workdir::Workdir;
use tests::world::Case;

/// Runs a program with a trace to `directory/trace.<process id>`, whose path `prepare` gets before the program's first
/// instruction.
fn traced(case: Case<'_>, directory: &Path, prepare: impl FnOnce(&Path) -> Result<()>) -> Result<Outcome> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))?;
    let base = directory.join("trace");
    let start = case.start("whole/sound")?.env("LD_SLUL_DEBUG=files");
    let tracee = Tracee::start(&start.env(&format!("LD_SLUL_DEBUG_OUTPUT={}", base.display())))?;
    prepare(&directory.join(format!("trace.{}", tracee.id())))?;
    tracee.finish()
}

/// The program runs, and its trace is on standard error behind a line that says why.
fn said(outcome: &Outcome, why: &str) -> Result<()> {
    let mut lines = outcome.stderr.lines();
    let first = lines.next().context("no line")?;
    ensure!(outcome.ending == Ending::Exit(SUCCESS), "{outcome:?}");
    ensure!(first.contains("LD_SLUL_DEBUG_OUTPUT") && first.contains(why), "{first}");
    ensure!(lines.any(|line| line.contains("mapped")), "{outcome:?}");
    Ok(())
}

/// A symbolic link is not followed, whether there is a file behind it or not.
pub(crate) fn links(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    let victim = workdir.path().join("victim");
    fs::write(&victim, "precious")?;
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o666))?;
    said(&traced(case, workdir.path(), |path| Ok(symlink(&victim, path)?))?, "ELOOP")?;
    ensure!(fs::read_to_string(&victim)? == "precious");
    let nothing = workdir.path().join("nothing");
    said(&traced(case, workdir.path(), |path| Ok(symlink(&nothing, path)?))?, "ELOOP")?;
    ensure!(!nothing.exists());
    Ok(())
}

/// A FIFO is not waited for, and not written to; nor is a directory.
pub(crate) fn special_files(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    let fifo = |path: &Path| {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRUSR)?;
        // Not by mkfifo, whose mode the umask changes.
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o666))?)
    };
    said(&traced(case, workdir.path(), fifo)?, "ENXIO")?;
    let mut reader = None;
    let with_reader = |path: &Path| {
        fifo(path)?;
        reader = Some(fs::OpenOptions::new().read(true).write(true).open(path)?);
        Ok(())
    };
    said(&traced(case, workdir.path(), with_reader)?, "not a regular file")?;
    said(&traced(case, workdir.path(), |path| Ok(fs::create_dir(path)?))?, "EISDIR")
}

/// A file that may not become larger ends nobody by a signal: a trace is lost, a list is an error.
pub(crate) fn largest_size(case: Case<'_>) -> Result<()> {
    let workdir = Workdir::new()?;
    fs::set_permissions(workdir.path(), fs::Permissions::from_mode(0o777))?;
    let output = format!("LD_SLUL_DEBUG_OUTPUT={}/trace", workdir.path().display());
    let start = case.start("whole/sound")?.env("LD_SLUL_DEBUG=all").env(&output).limit("fsize", 0);
    let outcome = start.run()?;
    ensure!(outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == "library\nprogram\n", "{outcome:?}");
    let program = case.world.program("whole/sound")?.path();
    let file = fs::File::create(workdir.path().join("list"))?;
    let loader = case.world.stage.loader();
    let start = tests::start::Start::new(&loader, case.user).arg("--list").arg(program.to_string_lossy());
    let outcome = start.limit("fsize", 0).command(false)?.stdout(file).output()?;
    let stderr = String::from_utf8(outcome.stderr)?;
    ensure!(outcome.status.code() == Some(REFUSED), "{:?} {stderr}", outcome.status);
    ensure!(stderr == "slulrtld: standard output: can not be written: EFBIG\n", "{stderr}");
    Ok(())
}

/// Sandboxes answer EPERM or ENOSYS to calls that they do not know. Only permission to execute is asked by a new one.
pub(crate) fn unknown_calls(case: Case<'_>) -> Result<()> {
    /// pidfd_send_signal(2), of Linux 5.1: the first number that all processors share, and of all later calls.
    const NEW: u64 = 424;
    let program = case.world.program("whole/sound")?.path();
    let (workdir, forbidden) = case.copy("whole/sound")?;
    fs::set_permissions(&forbidden, fs::Permissions::from_mode(0o644))?;
    for errno in [1u64, 38] {
        for (path, ending) in [(program, SUCCESS), (&forbidden, REFUSED)] {
            let starts = [
                case.direct(path),
                tests::start::Start::new(&case.world.stage.loader(), case.user)
                    .open(path)
                    .arg("--exec-fd")
                    .arg("3")
                    .arg(path.to_string_lossy()),
            ];
            for start in starts {
                let mut tracee = Tracee::start(&start)?;
                while let Some(call) = tracee.next_call()? {
                    if call.number >= NEW {
                        tracee.replace_call(errno.wrapping_neg())?;
                    } else if tracee.finish_call()?.is_none() {
                        break;
                    }
                }
                let outcome = tracee.finish()?;
                ensure!(outcome.ending == Ending::Exit(ending), "errno {errno}: {outcome:?}");
                ensure!(ending == SUCCESS || outcome.stderr.contains("EACCES"), "{outcome:?}");
            }
        }
    }
    drop(workdir);
    Ok(())
}
