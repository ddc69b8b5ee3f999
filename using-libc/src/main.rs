//! slulrtld-using-libc: the loader's work, inside of a process that the system's own ld.so and libc have started.
//!
//! An ordinary dynamic executable, linked by the compiler driver of the libc that it is for. It consists of the
//! loader's own files; the files beside this one contain the differences:
//!
//! ```text
//! main             here: copies libc's block to the start of the program's stack
//! system.rs        the block and functions of the started libc
//! cpu.rs           room on the stack; room for thread-local storage in this executable's PT_TLS
//! platform/        the interface of rtld/src/run/interface.rs, on a libc that has started:
//!   bind.rs        native libraries are opened by libc's dlopen, before anything of the program runs
//!   shim.rs        objects made for that dlopen: the native needs as a library, and the program's exports
//!   main_thread.rs the program's thread-local storage goes into that room
//!   block.rs       the program has a block of its own
//! ```
//!
//! It uses the start-up code of libc, and nothing of Rust's standard library, so one source serves every libc.
#![no_std]
#![no_main]

mod cpu;
mod early;
mod platform;
#[path = "../../rtld/src/run/mod.rs"]
mod run;
mod system;

use rtld::base::addr::RuntimeAddr;
use rtld::os::sys::map_each_segment;

use crate::run::begin::{self, When};
use crate::run::kernel::Block;
use crate::run::last_words::refuse;

cpu::entry!(start);

/// Called by the entry.
#[allow(unsafe_code)]
unsafe extern "C" fn start(block: *const u64, finaliser_of_ld_so: usize) -> ! {
    // SAFETY: what the kernel and ld.so have left.
    unsafe { system::start(main, block, finaliser_of_ld_so) }
}

/// Called by libc.
#[allow(unsafe_code)]
extern "C" fn main(argc: i32, argv: *const u64) -> i32 {
    let size = system::block_size(argc);
    // SAFETY: a multiple of 16, with room for the block that `run` writes there.
    unsafe { cpu::with_room(size.next_multiple_of(16), run, argc, argv) }
}

/// Runs the program. `place` is the address of unused room for a block; the stack continues below it.
#[allow(unsafe_code)]
unsafe extern "C" fn run(place: usize, argc: i32, argv: *const u64) -> ! {
    // SAFETY: by the caller; libc's own argv.
    let block = unsafe {
        system::write_block(place, argc, argv);
        Block::at(place)
    };
    system::find_libc();
    map_each_segment();
    let process = begin::load(block, When::First, RuntimeAddr::of(_start as *const ()))
        .unwrap_or_else(|error| refuse(&error));
    system::take_name(process);
    system::share_environment(process);
    begin::begin(process)
}
