//! The output of trace lines: standard error, or the file that LD_SLUL_DEBUG_OUTPUT names.

use core::sync::atomic::{AtomicPtr, Ordering};

use rtld::base::arena::Arena;
use rtld::base::report::{Trace, subjects};
use rtld::base::text::{DIGITS, decimal};
use rtld::os::sys;
use rtld::start::invocation::Settings;

use crate::run::{inspect, sync};

/// Path of the output file, with the process id; null for standard error.
static OUTPUT: AtomicPtr<&'static [u8]> = AtomicPtr::new(core::ptr::null_mut());

/// Writes one line. The file is opened for each line, so that no descriptor of the loader stays open in the program.
#[allow(unsafe_code)]
fn write(line: &[u8]) {
    // SAFETY: null, or a path that was put into the arena before it was published and is never changed.
    let path = unsafe { OUTPUT.load(Ordering::Acquire).as_ref() };
    match path.and_then(|path| sys::open_output(path)) {
        Some(file) => sys::write_line(file, line),
        None => sys::write_line(sys::stderr(), line),
    }
}

/// The trace that the settings ask for.
pub(crate) fn set_up(settings: &Settings<'_>, arena: &'static Arena) -> Trace {
    let Some(value) = settings.debug else { return Trace::OFF };
    if subjects(value).any(|subject| subject == b"help") {
        inspect::debug_help();
    }
    if let Some(path) = settings.debug_output {
        // Without memory the trace goes to stderr.
        let mut digits = [0u8; DIGITS];
        let digits = decimal(sync::process_id(), &mut digits);
        let published = arena.concat(&[path, b".", digits]).and_then(|path| arena.put(path));
        if let Ok(path) = published {
            OUTPUT.store(path, Ordering::Release);
        }
    }
    if OUTPUT.load(Ordering::Relaxed).is_null() && !sync::is_open(2) {
        // Descriptor 2 is closed. A file that the program opens under that number later is not for trace lines.
        return Trace::OFF;
    }
    Trace::parse(value, write)
}
