//! What libc takes for the end of the main thread's stack.
//!
//! ld.so puts it where it is entered, on a stack of its own, and that is right as long as it and native constructors run
//! there. From then on it is the program's stack: collectors that look for pointers between the stack pointer and that end, and
//! whoever asks pthread_getattr_np(3), must find that. glibc has it in a variable of ld.so's, `__libc_stack_end`
//! (GLIBC_2.2.5), which is read-only by then. musl takes the place of the auxiliary vector for it, and that
//! `__libc_start_main` looks for behind the arguments that it gets: those of the kernel's block, right above the program's.
//!
//! # Safety
//! This file exists because that variable is written by address.
#![allow(unsafe_code)]

use core::ptr;

use libc_template::LoaderImport;
use rtld::base::addr::to_usize;
use rtld::base::report::Category;
use rtld::elf::plan::Protection;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{AddressSpace, Image};
use rtld::os::sys::Linux;
use rtld::words;

use crate::run::native::libc;
use crate::run::process::Process;

/// Tells glibc that the main thread's stack ends with the program's block. `entered` is the address of the block with which ld.so
/// was entered, and `ld_so` is its image.
pub(crate) fn tell(process: &Process, ld_so: &MappedImage, entered: u64) {
    let Some(place) = libc::address(LoaderImport::StackEnd) else { return };
    let vaddr = ld_so.bias().vaddr(place);
    if ld_so.plan().segment_of(vaddr, 8).is_none() {
        return;
    }
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    // SAFETY: a word of ld.so.
    if unsafe { word.read() } != entered {
        return;
    }
    let sealed = ld_so.plan().relro.filter(|relro| relro.start <= vaddr && vaddr < relro.end);
    let protect = |protection| sealed.is_none_or(|range| Linux.protect(ld_so, range, protection).is_ok());
    if protect(Protection::READ_WRITE) {
        // SAFETY: writable now, and only this thread runs code of libc's yet.
        unsafe { word.write(process.program_block) };
    } else {
        process.trace.line(Category::Libc, words!("__libc_stack_end can not be written"));
    }
    protect(Protection::READ);
}
