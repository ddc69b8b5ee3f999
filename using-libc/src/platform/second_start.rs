//! `__libc_start_main` for a program with libc's own start files (crt1.o): libc has started by then. glibc's calls what it is given;
//! musl's would start musl a second time, on what is not the kernel's stack, so the program gets another.
//!
//! # Safety
//! This file exists because the program's `main` is entered by address.
#![allow(unsafe_code)]

use libc_template::{LOADER_IMPORTS, LoaderImport};
use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::elf::plan::Protection;

use crate::run::code;
use crate::run::native::{binding, libc};
use crate::run::process::Process;

/// Has the program call the function of this file, where libc is musl. Called before the addresses are published.
pub(crate) fn serve(process: &'static Process) {
    let name = LOADER_IMPORTS.get(LoaderImport::StartMain as usize);
    for (number, import) in (0u32..).zip(process.sealed.natives.imports.iter()) {
        if Some(&import.name) == name && binding::protect_slots(process, false, Protection::READ_WRITE).is_ok() {
            binding::supply(process, number, start as *const () as usize);
            binding::seal_again(process, false);
        }
    }
}

/// Calls `main` with arguments and environment, and exits with what it returns.
extern "C" fn start(main: usize, argc: i32, argv: *const *const u8) -> ! {
    let variables = argv.wrapping_add(usize::try_from(argc).unwrap_or(0)).wrapping_add(1);
    // SAFETY: what crt1.o passes.
    let main = unsafe {
        code::function::<extern "C" fn(i32, *const *const u8, *const *const u8) -> i32>(RuntimeAddr(from_usize(
            main,
        )))
    };
    let status = main(argc, argv, variables);
    let exit = RuntimeAddr(from_usize(libc::exit()));
    // SAFETY: libc's `exit`.
    unsafe { code::function::<extern "C" fn(i32) -> !>(exit)(status) }
}
