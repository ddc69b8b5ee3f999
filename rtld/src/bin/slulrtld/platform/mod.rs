//! What the loader stands on where no libc is there. `slulrtld-using-libc`, which is made of the same files, stands on
//! libc, and has its own file of this name.
//!
//! # Safety
//! This file exists because a thread pointer is set, AT_RANDOM is edited, and another program is executed.
#![allow(unsafe_code)]

pub(crate) mod bogomap;
pub(crate) mod gap;
pub(crate) mod notice;
mod template;

use core::ptr::NonNull;

use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::elf::plan::Protection;
use rtld::error::{Errno, Error, Failure, OfObject, Problem};
use rtld::link::load::Present;
use rtld::os::mapped::MappedImage;
use rtld::os::sys;
use rtld::start::installed::installed;

use crate::cpu;
use crate::run::kernel;
use crate::run::native::gather::native_search;
use crate::run::process::{Process, ThreadLocal, random};

/// Whether libc, once it is there, takes the program for what it was started with, and shows it: by the template.
pub(crate) const LIBC_KNOWS_PROGRAM: bool = true;

/// The object that defines what programs import from the loader: it does so itself.
pub(crate) fn exporter(
    _: &'static Arena,
    path: &'static [u8],
) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    kernel::own_image(path)
}

/// Makes what was relocated of the loader itself read-only.
pub(crate) fn seal_own() -> Result<(), Problem<'static>> {
    // SAFETY: whole pages, which are not written to after this.
    unsafe { sys::protect(cpu::relocated_data(), Protection::READ) }.map_err(Problem::Protect)
}

/// Makes the main thread's TCB, and sets the thread pointer to it.
pub(crate) fn set_up_thread(process: &mut Process) -> Result<(), Failure<'static>> {
    const TCB_SIZE: usize = 128;
    let size = to_usize(process.sealed.tls.size());
    let align = to_usize(process.sealed.tls.align());
    let area = process.arena.bytes(size.saturating_add(TCB_SIZE), align)?;
    let (block, tcb) = area.split_at_mut_checked(size).ok_or(OutOfMemory(size))?;
    process.sealed.fill_tls(block).map_err(|error| error.problem)?;
    let canary = canary(process)?;
    let tp = tcb.as_mut_ptr().expose_provenance();
    // Where the psABI and its code expect them: the TCB's own address in word 0 (and, for code that was
    // compiled against glibc's layout, in word 2), the canary in word 5.
    let words = [(0, from_usize(tp)), (2, from_usize(tp)), (5, canary)];
    for (word, value) in words {
        if let Some(place) = tcb.chunks_exact_mut(8).nth(word) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
    }
    if size != 0 {
        process.thread_local = Some(ThreadLocal { block: NonNull::from(block).cast(), size, align });
    }
    // SAFETY: a TCB that lives as long as the process.
    if unsafe { cpu::set_thread_pointer(tp, process.block.auxiliary().hwcap2()) } {
        Ok(())
    } else {
        Err(Problem::ThreadPointer.into())
    }
}

/// The stack protector's canary. glibc and musl will each make their own of AT_RANDOM, glibc with its
/// first byte zeroed and musl with its second; where both are zero already, all three are equal, and
/// frames that are alive when libc comes stay right.
fn canary(process: &Process) -> Result<u64, Failure<'static>> {
    const MASK: u64 = !0xffff;
    let [first, second] = random(&process.block).ok_or(Problem::NoRandom)?;
    if let Some(random) = process.block.random().filter(|_| process.gap.is_some()) {
        // SAFETY: AT_RANDOM's sixteen bytes, which the kernel put on our stack, and only the loader has read.
        unsafe { random.as_ptr().write_unaligned([first & MASK, second]) };
    }
    Ok(first & MASK)
}

/// Has `slulrtld-using-libc` run the program instead, by its path; returns only if that can not be executed.
pub(crate) fn leave_to_other(process: &Process) -> Result<(), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let loader = process.sealed.namespace.loader().map_or(&b""[..], |loader| loader.path);
    let (libc, _) = bogomap::choose_libc(process, native_search(process).of(program)?, &[])?;
    let path = installed(process.arena, loader, process.secure, libc.loader_using_it()).of(loader)?;
    let arguments = arguments(process, path).of(program)?;
    let envp = process.arguments().envp;
    process.watch.end();
    let words = [path.as_ptr().expose_provenance(), arguments.as_ptr().expose_provenance(), to_usize(envp), 0];
    // SAFETY: a path, and lists of strings that end in 0.
    let result = unsafe { cpu::system_call(linux_raw_sys::general::__NR_execve, words) };
    let errno = Errno(i32::try_from(result.wrapping_neg()).unwrap_or(0));
    Err(Problem::UsingLibc(errno)).of(path.strip_suffix(b"\0").unwrap_or(path))
}

/// The command line: the program by the path that it was started by, and its own argv.
fn arguments(process: &Process, path: &[u8]) -> Result<List<'static, u64>, OutOfMemory> {
    let arena = process.arena;
    let string = |text: &[u8]| Ok(RuntimeAddr::of(arena.concat(&[text, b"\0"])?.as_ptr()).0);
    let mut list = List::new(arena);
    list.push(RuntimeAddr::of(path.as_ptr()).0)?;
    if let Some(library_path) = process.settings.library_path {
        list.extend(&[string(b"--library-path")?, string(library_path)?])?;
    }
    let argc = process.block.layout().argc;
    if argc != 0 {
        list.extend(&[string(b"--argv0")?, process.block.argument_address(0)])?;
    }
    list.extend(&[string(b"--")?, string(process.sealed.namespace.module(0).path)?])?;
    (1..argc).try_for_each(|index| list.push(process.block.argument_address(index)))?;
    list.push(0)?;
    Ok(list)
}
