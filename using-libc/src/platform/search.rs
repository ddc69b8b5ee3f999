//! libc's dlopen for the program: `$ORIGIN`, and names that are searched for, are the program's. libc takes the executable for
//! what calls it, and that is this one. So what the program's DT_RPATH or DT_RUNPATH has is opened by its path.
//!
//! # Safety
//! This file exists because names come as addresses, and libc's dlopen is called by address.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use libc_template::LoaderImport;
use rtld::base::addr::{FileOffset, RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::elf::{Decode, Ehdr, consts, size};
use rtld::error::Failure;
use rtld::link::search::{PathRoom, directory, entries, is_path, mentions_origin};
use rtld::machine::{Machine, Native};
use rtld::os::seam::Files;
use rtld::os::sys::Linux;

use crate::platform::rebind::use_copies;
use crate::run::code;
use crate::run::native::gather::native_search;
use crate::run::native::libc::{self, RTLD_NOLOAD, RTLD_NOW};
use crate::run::process::{Process, new_arena};
use crate::system;

/// The lists to search.
struct Lists {
    /// LD_LIBRARY_PATH, as ld.so has read it.
    library_path: &'static [u8],
    /// The program's DT_RPATH or DT_RUNPATH, and those of its libraries.
    own: &'static [u8],
    /// Whether that is DT_RPATH, which comes first.
    own_first: bool,
    /// The program's directory.
    origin: Option<&'static [u8]>,
}

static LISTS: AtomicPtr<Lists> = AtomicPtr::new(ptr::null_mut());

/// libc's dlopen.
static DLOPEN: AtomicUsize = AtomicUsize::new(0);

/// Has the loader's calls of dlopen, and the program's, search there.
pub(crate) fn set_up(process: &'static Process) -> Result<(), Failure<'static>> {
    let (tag, own) = native_search(process)?.unwrap_or((consts::DT_RUNPATH, b""));
    let mut texts = process.block.environment().filter_map(|variable| variable.strip_prefix(b"LD_LIBRARY_PATH="));
    // glibc takes the last of several, musl the first.
    let library_path = if system::is_glibc() { texts.last() } else { texts.next() };
    let library_path = process.arena.copy(library_path.unwrap_or_default())?;
    let origin = process.program_path.get(process.arena)?.map(directory);
    let lists = Lists { library_path, own, own_first: tag == consts::DT_RPATH, origin };
    let lists = process.arena.put(lists).map_err(|_| OutOfMemory(size_of::<Lists>()))?;
    LISTS.store(lists, Ordering::Release);
    let found = libc::address(LoaderImport::Dlopen).map_or(0, |address| to_usize(address.0));
    DLOPEN.store(found, Ordering::Release);
    system::replace_found(instead);
    Ok(())
}

/// What the program is to call instead of a function of libc's.
pub(crate) fn instead(address: usize) -> Option<usize> {
    (address != 0 && address == DLOPEN.load(Ordering::Acquire)).then_some(open as *const () as usize)
}

/// dlopen(3), as an ordinary program calls it.
extern "C" fn open(name: *const c_char, flags: i32) -> usize {
    // SAFETY: by the caller, a C string, or null.
    let text = if name.is_null() { b"" } else { unsafe { CStr::from_ptr(name) }.to_bytes() };
    // SAFETY: put into an arena that stays, before the program can call this.
    let lists = unsafe { LISTS.load(Ordering::Acquire).as_ref() };
    let handle = lists.and_then(|lists| found(lists, text, flags)).unwrap_or_else(|| of_libc(name, flags));
    // What has come with it refers to the originals of what the program has copies of.
    use_copies();
    handle
}

/// libc's dlopen.
fn of_libc(name: *const c_char, flags: i32) -> usize {
    let address = RuntimeAddr(from_usize(DLOPEN.load(Ordering::Acquire)));
    // SAFETY: libc's `dlopen`.
    let dlopen = unsafe { code::function::<extern "C" fn(*const c_char, i32) -> usize>(address) };
    dlopen(name, flags)
}

/// Opens what the program's own lists or `$ORIGIN` lead to. `None` if the name is libc's to look for; then nothing is open.
fn found(lists: &Lists, name: &[u8], flags: i32) -> Option<usize> {
    let arena = new_arena().ok()?;
    let handle = found_with(arena, lists, name, flags);
    // SAFETY: nothing in it is used any more.
    unsafe { arena.release() };
    handle
}

/// [`found`], with an arena for paths.
fn found_with(arena: &'static Arena, lists: &Lists, name: &[u8], flags: i32) -> Option<usize> {
    let mut room = PathRoom::new(arena);
    if is_path(name) || name.is_empty() {
        let asks =
            mentions_origin(name) && room.expand(name, lists.origin, false).ok()? && room.put(b"\0").ok()?;
        return asks.then(|| of_libc(room.path().as_ptr().cast(), flags));
    }
    let name_in_c = arena.concat(&[name, b"\0"]).ok()?;
    let loaded = of_libc(name_in_c.as_ptr().cast(), RTLD_NOW | RTLD_NOLOAD);
    if loaded != 0 {
        libc::close(loaded);
        return None;
    }
    // Its absence is no error.
    let _ = libc::error();
    if !lists.own_first && entries(lists.library_path, true).any(|entry| is_there(&mut room, entry, name)) {
        return None;
    }
    let is_own = entries(lists.own, false).any(|entry| is_there(&mut room, entry, name));
    (is_own && room.put(b"\0").ok()?).then(|| of_libc(room.path().as_ptr().cast(), flags))
}

/// Whether a directory has a file of that name, for this machine (ld.so passes over others); its path is in `room`.
fn is_there(room: &mut PathRoom<'_>, entry: &[u8], name: &[u8]) -> bool {
    room.clear();
    let parts = [if entry.is_empty() { b"." } else { entry }, b"/", name];
    if !parts.iter().all(|part| room.put(part).unwrap_or(false)) {
        return false;
    }
    let Ok((file, _)) = Linux.open(room.path()) else { return false };
    let mut header = [MaybeUninit::uninit(); size::EHDR];
    let Ok(header) = Linux.read_at(&file, FileOffset(0), &mut header) else { return false };
    let Ehdr { e_ident, e_machine, .. } = Ehdr::decode(header);
    e_ident.get(4) == Some(&Native::CLASS) && e_machine == Native::E_MACHINE
}
