//! The output of trace lines: standard error, or the file that LD_SLUL_DEBUG_OUTPUT names.

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rtld::base::arena::Arena;
use rtld::base::report::{Trace, subjects};
use rtld::base::text::{DIGITS, Of, decimal};
use rtld::error::Problem;
use rtld::os::sys;
use rtld::start::invocation::Settings;

use crate::run::kernel::current_directory;
use crate::run::last_words::say;
use crate::run::sync::without_size_signal;
use crate::run::{inspect, sync};

/// Path of the output file, with the process id; null for standard error.
static OUTPUT: AtomicPtr<&'static [u8]> = AtomicPtr::new(core::ptr::null_mut());

/// Whether descriptor 2 was open when the trace began. If not, a file that the program opens under that number later is
/// not for trace lines.
static STDERR_IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Writes one line. The file is opened for each line, so that no descriptor of the loader stays open in the program.
#[allow(unsafe_code)]
fn write(line: &[u8]) {
    // SAFETY: null, or a path that was put into the arena before it was published and is never changed.
    let path = unsafe { OUTPUT.load(Ordering::Acquire).as_ref() };
    without_size_signal(|| match path.map(|path| sys::open_output(path)) {
        Some(Ok(file)) => sys::write_line(file, line),
        Some(Err(_)) if !STDERR_IS_OPEN.load(Ordering::Relaxed) => {}
        _ => sys::write_line(sys::stderr(), line),
    });
}

/// The trace that the settings ask for.
pub(crate) fn set_up(settings: &Settings<'_>, arena: &'static Arena) -> Trace {
    let Some(value) = settings.debug else { return Trace::OFF };
    if subjects(value).any(|subject| subject == b"help") {
        inspect::debug_help();
    }
    let stderr_is_open = sync::is_open(2);
    STDERR_IS_OPEN.store(stderr_is_open, Ordering::Relaxed);
    if let Some(path) = settings.debug_output {
        // Without memory the trace goes to stderr.
        let mut digits = [0u8; DIGITS];
        let digits = decimal(sync::process_id(), &mut digits);
        // Each line opens the file, and the program may go to another directory.
        let directory = if path.starts_with(b"/") { None } else { current_directory(arena).unwrap_or_default() };
        let below: &[u8] = if directory.is_some() { b"/" } else { b"" };
        let parts = [directory.unwrap_or_default(), below, path, b".", digits];
        let published = arena.concat(&parts).and_then(|path| arena.put(path));
        if let Ok(path) = published {
            match sys::open_output(path) {
                Ok(_) => OUTPUT.store(path, Ordering::Release),
                Err(error) if stderr_is_open => {
                    say(&Of(path, &Of(b"LD_SLUL_DEBUG_OUTPUT", &Problem::from(error))))
                }
                Err(_) => {}
            }
        }
    }
    if OUTPUT.load(Ordering::Relaxed).is_null() && !stderr_is_open {
        return Trace::OFF;
    }
    Trace::parse(value, write)
}
