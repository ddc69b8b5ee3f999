//! slulrtld-using-libc: the loader's work, done inside a process that the system's own ld.so and libc have started.
//!
//! An ordinary dynamic executable, linked by the driver of the libc that it is for. It is made of the loader's own files;
//! what differs is in the files beside this one:
//!
//! ```text
//! main          here         the block as libc has left it, copied to where the program's stack begins
//! floor.rs      the thread pointer is libc's; programs' storage is in the room that this executable's PT_TLS leaves
//! bogomap.rs    libc is there; native libraries are opened by its dlopen, before anything of the program runs
//! shim.rs       what that dlopen is shown: the native needs as a library, and what native libraries may bind to
//! start.rs      no entry of its own, and no first-call stubs in words
//! gap.rs, notice.rs   nothing is to be left free, and nothing to be noticed
//! ```
//!
//! It needs libc to be entered, and nothing of Rust's standard library, so one source serves every libc.
#![no_std]
#![no_main]
#![allow(dead_code, reason = "files that are the loader's, too, have what only the loader uses")]

#[path = "../../rtld/src/bin/slulrtld/binding.rs"]
mod binding;
mod bogomap;
#[path = "../../rtld/src/bin/slulrtld/code.rs"]
mod code;
#[path = "../../rtld/src/bin/slulrtld/command.rs"]
mod command;
#[path = "../../rtld/src/bin/slulrtld/cut.rs"]
mod cut;
#[path = "../../rtld/src/bin/slulrtld/debugger.rs"]
mod debugger;
#[path = "../../rtld/src/bin/slulrtld/dlfcn.rs"]
mod dlfcn;
#[path = "../../rtld/src/bin/slulrtld/exports.rs"]
mod exports;
mod floor;
mod gap;
#[path = "../../rtld/src/bin/slulrtld/gather.rs"]
mod gather;
#[path = "../../rtld/src/bin/slulrtld/inspect.rs"]
mod inspect;
#[path = "../../rtld/src/bin/slulrtld/kernel.rs"]
mod kernel;
#[path = "../../rtld/src/bin/slulrtld/last_words.rs"]
mod last_words;
#[path = "../../rtld/src/bin/slulrtld/libc.rs"]
mod libc;
#[path = "../../rtld/src/bin/slulrtld/libraries.rs"]
mod libraries;
#[path = "../../rtld/src/bin/slulrtld/natives.rs"]
mod natives;
mod notice;
#[path = "../../rtld/src/bin/slulrtld/process.rs"]
mod process;
#[path = "../../rtld/src/bin/slulrtld/refusal.rs"]
mod refusal;
mod shim;
mod start;
#[path = "../../rtld/src/bin/slulrtld/started.rs"]
mod started;
#[path = "../../rtld/src/bin/slulrtld/sync.rs"]
mod sync;
mod system;
#[path = "../../rtld/src/bin/slulrtld/thread.rs"]
mod thread;
#[path = "../../rtld/src/bin/slulrtld/trace.rs"]
mod trace;
#[path = "../../rtld/src/bin/slulrtld/unwind.rs"]
mod unwind;

use kernel::Block;
use last_words::{REFUSED, refuse, say};
use process::Process;

/// Called by libc.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main(argc: i32, argv: *const u64) -> i32 {
    let size = system::block_size(argc);
    // SAFETY: `run` lays the block out there.
    unsafe { start::with_room(size.next_multiple_of(16), run, argc, argv) }
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
    let process = Process::load(block, limit).unwrap_or_else(|error| refuse(&error));
    system::take_name(process);
    process.begin()
}
