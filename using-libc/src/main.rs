//! slulrtld-using-libc: the loader's work, done inside a process that the system's own ld.so and libc have started.
//!
//! An ordinary dynamic executable, linked by the driver of the libc that it is for. It is made of the loader's own files;
//! what differs is in the files beside this one:
//!
//! ```text
//! main          here         the block as libc has left it, copied to where the program's stack begins
//! platform/     the thread pointer is libc's; programs' storage is in the room that this executable's PT_TLS leaves
//!   bind.rs     libc is there; native libraries are opened by its dlopen, before anything of the program runs
//!   shim.rs     what that dlopen is shown: the native needs as a library, and what native libraries may bind to
//! cpu.rs        no entry of its own, and no first-call stubs in words
//!   gap.rs      nothing is to be left free
//! ```
//!
//! It needs libc to be entered, and nothing of Rust's standard library, so one source serves every libc.
#![no_std]
#![no_main]

mod cpu;
mod platform;
#[path = "../../rtld/src/run/mod.rs"]
mod run;
mod system;

use crate::run::begin;
use crate::run::kernel::{self, Block};
use crate::run::last_words::refuse;

/// Called by libc.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const u64) -> i32 {
    let size = system::block_size(argc);
    // SAFETY: `run` lays the block out there.
    unsafe { cpu::with_room(size.next_multiple_of(16), run, argc, argv) }
}

/// With room for a block at `place`, which nothing else uses, and below which the stack goes on.
#[allow(unsafe_code)]
unsafe extern "C" fn run(place: usize, argc: i32, argv: *const u64) -> ! {
    // SAFETY: by the caller; libc's own argv.
    let block = unsafe {
        system::write_block(place, argc, argv);
        Block::at(place)
    };
    system::find_libc();
    let limit = kernel::stack_limit();
    let process = begin::load(block, limit, cpu::own_entry()).unwrap_or_else(|error| refuse(&error));
    system::take_name(process);
    begin::begin(process)
}
