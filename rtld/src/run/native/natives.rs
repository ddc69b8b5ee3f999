//! Native libraries at run time: opened by libc's own dlopen, which first brings libc in if it is absent.
//!
//! # Safety
//! This file exists because words of an opened library that refer to native symbols are written by address.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::export::{LIBC_ABSENT, LIBC_PRESENT};
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{Arena, List};
use rtld::base::text::Printable;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::link::namespace::Namespace;
use rtld::link::sealed::protect_relro;
use rtld::link::search::is_path;
use rtld::native::needs::NativeNeeds;
use rtld::open::libraries::Opening;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{FileInfo, Image};
use rtld::os::sys::{Linux, file_info};

use crate::platform::next::next;
use crate::platform::{ensure_libc_for, presence};
use crate::run::native::libc;
use crate::run::native::libc::{RTLD_DEFAULT, RTLD_NOLOAD, RTLD_NOW};
use crate::run::native::optional::{in_c, look_up};
use crate::run::open::phdr_info::{Callback, PhdrInfo};
use crate::run::open::runtime::{Runtime, object_at, release};
use crate::run::open::unwind;
use crate::run::process::new_arena;
use crate::run::refusal::{Refusal, said};
use crate::run::thread;
use crate::run::thread_pointer::is_libcs;

/// dlopen(3) of a native library. `name` is a C string, and not null.
pub(crate) fn open(runtime: &Runtime, name: *const c_char, flags: i32) -> Result<usize, Refusal> {
    if flags & RTLD_NOLOAD != 0 && presence::state() == LIBC_ABSENT {
        // Without libc, no native library is loaded.
        return Ok(0);
    }
    // SAFETY: by the caller, a C string.
    let wanted = unsafe { CStr::from_ptr(name) }.to_bytes();
    ensure_libc_for(runtime.process, &[wanted])?;
    is_callable(runtime)?;
    let handle = libc::open(name, flags);
    if handle == 0 && flags & RTLD_NOLOAD != 0 {
        // With RTLD_NOLOAD its absence is no error; musl sets one.
        let _ = libc::error();
        return Ok(0);
    }
    if handle == 0 {
        return Err(Refusal::Libc);
    }
    if let Err(refusal) = runtime.with(|state| state.add_native(handle)).and_then(|added| added) {
        let _ = libc::close(handle);
        return Err(refusal);
    }
    // The library may have brought an unwinder with it.
    told_of_tables(runtime);
    Ok(handle)
}

/// Checks that libc's functions may be called if it is there: that the calling thread is one of libc's, which keeps what it
/// knows of a thread where its thread pointer leads.
#[inline(never)]
pub(crate) fn is_callable(runtime: &Runtime) -> Result<(), Refusal> {
    let process = runtime.process;
    Ok(is_libcs(process.page).of(process.sealed.namespace.module(0).path)?)
}

/// Registers unwind tables with an unwinder, if there is memory for it.
fn told_of_tables(runtime: &Runtime) {
    if let Ok(arena) = new_arena() {
        unwind::register(runtime.process, arena, true);
        // SAFETY: nothing in it is used any more.
        unsafe { release(arena) };
    }
}

/// A name to look up, and its version, if one is asked for.
type Wanted<'w> = (*const c_char, Option<&'w CStr>);

/// dlsym(3) of a native library's handle.
pub(crate) fn symbol(runtime: &Runtime, handle: usize, (name, version): Wanted<'_>) -> Result<usize, Refusal> {
    if runtime.with(|state| state.is_native(handle))? {
        is_callable(runtime)?;
        found(libc::symbol(handle, name, version))
    } else {
        Err(Refusal::Handle(handle))
    }
}

/// dlsym(3) of a name that no object of this world defines; or, if it is asked for behind the caller, that none behind the
/// caller does.
pub(crate) fn symbol_of_all(
    runtime: &Runtime,
    (name_in_c, version): Wanted<'_>,
    name: &'static [u8],
    behind: bool,
) -> Result<usize, Refusal> {
    if !runtime.process.sealed.natives.any() && presence::state() == LIBC_ABSENT {
        return Err(Refusal::Symbol(name, false));
    }
    ensure_libc_for(runtime.process, &[])?;
    is_callable(runtime)?;
    if !behind {
        return found(libc::symbol(RTLD_DEFAULT, name_in_c, version));
    }
    let address = found(next(runtime.process, name_in_c, version))?;
    // Where libc could only be asked for the first of all, that may be of this world.
    match runtime.with(|state| object_at(state.libraries.namespace(), address))? {
        Some(_) => Err(Refusal::Symbol(name, false)),
        None => Ok(address),
    }
}

/// The result of libc's dlsym. 0 can be the value of a symbol; only dlerror tells.
fn found(address: usize) -> Result<usize, Refusal> {
    match address {
        0 => libc::error().map_or(Ok(0), |text| {
            thread::fail(&Printable(text));
            Err(Refusal::Said)
        }),
        address => Ok(address),
    }
}

/// dlclose(3) of a native library's handle.
pub(crate) fn close(handle: usize) -> Result<i32, Refusal> {
    if libc::close(handle) == 0 { Ok(0) } else { Err(Refusal::Libc) }
}

/// The last known answer of [`changes`].
static CHANGES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Number of objects that libc's world has added so far, and that it has removed, without the one that libc takes for the
/// program; none if libc is absent. libc is asked if it `may_ask`: a handler of a signal that has interrupted libc's function may
/// not, because that takes a lock.
pub(crate) fn changes(may_ask: bool) -> (u64, u64) {
    extern "C" fn first(info: *mut PhdrInfo, size: usize, _: usize) -> i32 {
        if size >= size_of::<PhdrInfo>() {
            // SAFETY: libc's structure, of that size at least, with the fields of `PhdrInfo`.
            let PhdrInfo { adds, subs, .. } = unsafe { *info };
            let [known_adds, known_subs] = &CHANGES;
            known_adds.store(adds.saturating_sub(1), Ordering::Relaxed);
            known_subs.store(subs, Ordering::Relaxed);
        }
        1
    }
    if may_ask && presence::is_bound() {
        libc::iterate_phdr(first as *const () as usize, 0);
    }
    let [adds, subs] = &CHANGES;
    (adds.load(Ordering::Relaxed), subs.load(Ordering::Relaxed))
}

/// Learns which files libc has loaded, if that may have changed.
pub(crate) fn learn_files(runtime: &Runtime) -> Result<(), Refusal> {
    static KNOWN: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    extern "C" fn learn(info: *mut PhdrInfo, _: usize, files: usize) -> i32 {
        let files: *mut List<'static, FileInfo> = ptr::with_exposed_provenance_mut(files);
        // SAFETY: libc's structure, and a string of libc's or null; the list below, which nobody else uses meanwhile.
        let (name, files) = unsafe {
            let name = (*info).name;
            (if name.is_null() { c"" } else { CStr::from_ptr(name) }.to_bytes(), &mut *files)
        };
        // The kernel's object has no path.
        if is_path(name)
            && let Some(info) = file_info(name)
        {
            // Without memory, those that are known count.
            return i32::from(files.push(info).is_err());
        }
        0
    }
    // fork() waits for it, and so leaves libc's own lock free in the child; and a handler of a signal that lists objects finds
    // the locks taken in one order.
    let _held = runtime.list.hold();
    let now = changes(true);
    let [adds, subs] = KNOWN.each_ref().map(|known| known.load(Ordering::Relaxed));
    if now == (adds, subs) {
        return Ok(());
    }
    let arena = new_arena().of(OWN)?;
    let mut files = List::<'static, FileInfo>::new(arena);
    libc::iterate_phdr(learn as *const () as usize, (&raw mut files).expose_provenance());
    let learnt = runtime.with(|state| {
        let known = &mut state.libraries.theirs.files;
        known.truncate(0);
        known.extend(&files)
    });
    // SAFETY: nothing in it is used any more.
    unsafe { release(arena) };
    learnt?.of(OWN)?;
    for (known, now) in KNOWN.iter().zip([now.0, now.1]) {
        known.store(now, Ordering::Relaxed);
    }
    Ok(())
}

/// dl_iterate_phdr(3) of libc's world, except for the object that libc takes for the program, which the caller has
/// shown already. `ours` is what this world has added and removed.
pub(crate) fn iterate_phdr(ours: (u64, u64), callback: Callback, data: usize) -> i32 {
    struct Caller {
        ours: (u64, u64),
        callback: Callback,
        data: usize,
    }
    extern "C" fn tell(info: *mut PhdrInfo, size: usize, caller: usize) -> i32 {
        let caller: *const Caller = ptr::with_exposed_provenance(caller);
        // SAFETY: `caller` below, which lives while libc calls back.
        let caller = unsafe { &*caller };
        // SAFETY: libc's structure, whose first fields are those of `PhdrInfo`.
        let name = unsafe { (*info).name };
        // SAFETY: a string of libc's.
        if name.is_null() || unsafe { CStr::from_ptr(name) }.is_empty() {
            return 0;
        }
        if size >= size_of::<PhdrInfo>() {
            // SAFETY: libc's structure, of that size at least, which it has made for this call.
            let info = unsafe { &mut *info };
            info.count_also(caller.ours);
            info.adds = info.adds.saturating_sub(1);
        }
        (caller.callback)(info, size, caller.data)
    }
    if !presence::is_bound() {
        return 0;
    }
    let caller = Caller { ours, callback, data };
    libc::iterate_phdr(tell as *const () as usize, (&raw const caller).expose_provenance())
}

/// Binds the native symbols of opened libraries: by a search of all of libc's world, then of the native libraries that
/// they name, which are opened for good.
pub(crate) fn bind(runtime: &Runtime, arena: &'static Arena, opening: &Opening<'static>) -> Result<(), Refusal> {
    let natives = &opening.natives;
    // Weak references alone do not bring libc in.
    let strong = natives.imports.iter().any(|import| import.strong);
    let asked = strong || (presence::state() == LIBC_PRESENT && !natives.imports.is_empty());
    if !asked && natives.libraries.is_empty() {
        return Ok(());
    }
    ensure_libc_for(runtime.process, &natives.libraries)?;
    let handles = arena.slice(natives.libraries.len(), 0usize).of(OWN)?;
    let mut opened = Ok(());
    for (handle, name) in handles.iter_mut().zip(natives.libraries.iter()) {
        opened = in_c(arena, name).map_err(Refusal::Error).and_then(|name| {
            *handle = libc::open(name.as_ptr(), RTLD_NOW);
            if *handle == 0 { Err(Refusal::Libc) } else { Ok(()) }
        });
        if opened.is_err() {
            break;
        }
    }
    let handles = &*handles;
    let kept = opened.and_then(|()| runtime.with(|state| state.libraries.keep_natives(opening.root, handles)));
    if let Err(refusal) = kept {
        // Before libc has another message.
        refusal.tell();
        libc::close_all(handles);
        return Err(Refusal::Said);
    }
    let addresses = arena.slice(natives.imports.len(), 0u64).of(OWN)?;
    let waits = runtime.with(|state| waiting(arena, state.libraries.namespace(), natives))??;
    for ((place, &waits), import) in addresses.iter_mut().zip(waits).zip(natives.imports.iter()) {
        *place = from_usize(look_up(arena, handles, import)?);
        if *place == 0 && import.strong && !waits {
            let version = import.version.map_or(&b""[..], |version| version.version);
            let object = runtime.with(|state| state.libraries.namespace().module(import.referrer).path)?;
            let symbol = import.name;
            // Nothing says that it is to be native.
            let any = version.is_empty() && natives.libraries.is_empty() && !runtime.process.sealed.natives.any();
            let problem =
                if any { Problem::UndefinedSymbol(symbol) } else { Problem::NativeSymbol { symbol, version } };
            return Err(said(Error::new(object, problem)));
        }
    }
    runtime.with(|state| -> Result<(), Error<'static>> {
        let namespace = state.libraries.namespace();
        for &index in opening.fresh {
            protect_relro(&Linux, namespace.module(index), Protection::READ_WRITE)?;
        }
        for slot in natives.slots.iter() {
            let import = to_usize(slot.import.into());
            let address = addresses.get(import).copied().unwrap_or(0);
            if address == 0 && waits.get(import).copied().unwrap_or(false) {
                continue;
            }
            let at = namespace.module(slot.module).image.bias().runtime(slot.vaddr);
            let value = if address == 0 { 0 } else { address.wrapping_add(slot.addend.cast_unsigned()) };
            // SAFETY: relocation has checked that the word is in a writable segment; it was unsealed just now.
            unsafe { write(at, value) };
        }
        for &index in opening.fresh {
            protect_relro(&Linux, namespace.module(index), Protection::READ)?;
        }
        Ok(())
    })??;
    Ok(())
}

/// For each import, whether all words for it wait for its first call. All others are 0.
fn waiting(
    arena: &'static Arena,
    namespace: &Namespace<'static, MappedImage>,
    natives: &NativeNeeds<'static>,
) -> Result<&'static [bool], Error<'static>> {
    let waits = arena.slice(natives.imports.len(), true).of(OWN)?;
    for slot in natives.slots.iter() {
        if namespace.module(slot.module).image.get::<u64>(slot.vaddr) == Some(0)
            && let Some(waits) = waits.get_mut(to_usize(slot.import.into()))
        {
            *waits = false;
        }
    }
    Ok(waits)
}

/// # Safety
/// The word at `at` is writable, and the caller's to write.
unsafe fn write(at: RuntimeAddr, value: u64) {
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(at.0));
    // SAFETY: by the caller.
    unsafe { word.write_unaligned(value) };
}
