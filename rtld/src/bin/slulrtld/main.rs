//! slulrtld: the PT_INTERP program.
//!
//! A table of contents: what can be computed as a value is in the library; what only a starting process can
//! do is in the files beside this one. The way of a start:
//!
//! ```text
//! _start            start/<cpu>.rs
//!   plain?          plain.rs       -> the program, at once
//!   bootstrap       bootstrap.rs   the loader's own addresses become right
//!   slul_main       here           handoff, secure, settings; load, relocate, seal
//!   begin           process.rs     block and gap, thread pointer, initialisers -> the program
//! first native call stub in start/<cpu>.rs -> binding.rs -> bogomap.rs
//! ```
#![no_std]
#![no_main]

mod binding;
mod bogomap;
mod bootstrap;
mod code;
mod command;
mod debugger;
mod exports;
mod inspect;
mod kernel;
mod libraries;
mod mem;
mod plain;
mod process;
mod start;
mod sync;
mod template;
mod thread;
mod trace;

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use rtld::error::Error;
use rtld::report::Line;

/// Exit status of every refusal.
const REFUSED: i32 = 127;

/// Everything but the plain start.
///
/// # Safety
/// `sp` is the stack pointer as the kernel left it; the loader is relocated; called once.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn slul_main(sp: usize) -> ! {
    // SAFETY: by the caller.
    let block = unsafe { kernel::Block::at(sp) };
    process::Process::load(block).unwrap_or_else(|error| refuse(&error)).begin()
}

/// Says what is wrong, in one line, and ends the process.
fn refuse(error: &Error<'_>) -> ! {
    say(format_args!("{error}"));
    start::exit_group(REFUSED)
}

/// One line on standard error.
fn say(text: fmt::Arguments<'_>) {
    rtld::sys::write_line(rtld::sys::stderr(), Line::new(text).as_bytes());
}

/// A panic is a bug of ours.
#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => say(format_args!("bug: {}:{}: {}", place.file(), place.line(), info.message())),
            None => say(format_args!("bug: {}", info.message())),
        }
    }
    start::trap()
}

/// Asked for by `core`, which is compiled for unwinding; nothing here unwinds.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
