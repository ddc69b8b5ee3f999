//! Messages before the end of the process.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use rtld::base::report::Line;
use rtld::base::text::Text;
use rtld::error::Error;
use rtld::os::sys;
use rtld::words;

use crate::run::cpu::calls;
use crate::run::sync::without_size_signal;

/// Exit status of a refusal.
pub(crate) const REFUSED: i32 = abi::stub::REFUSED as i32;

/// Prints the error in one line and ends the process with status 127.
pub(crate) fn refuse(error: &Error<'_>) -> ! {
    say(error);
    calls::exit_group(REFUSED)
}

/// Prints one line on standard error.
pub(crate) fn say(text: &dyn Text) {
    let mut line = Line::new(text);
    without_size_signal(|| sys::write_line(sys::stderr(), line.as_bytes()));
}

/// Reports a panic, which is a bug of the loader, and traps. A panic during the report traps at once.
#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    if !PANICKING.swap(true, Ordering::Relaxed) {
        // The message would need `core::fmt`.
        match info.location() {
            Some(place) => say(words!("bug: {}:{}", place.file(), place.line())),
            None => say(words!("bug")),
        }
    }
    calls::trap()
}

/// Referenced by `core`, which is compiled for unwinding; the loader never unwinds.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
