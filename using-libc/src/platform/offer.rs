//! What program and libraries export, for native libraries to bind to: an object of tables in libc's list.
//!
//! Thread-local variables are in the room of this executable's PT_TLS (`cpu.rs`), of which libc knows, but not by these names. So the
//! object has thread-local storage of its own, which nobody uses: ld.so binds to that, and the words that it has written then get
//! the place of the variable (`rebind`).
//!
//! # Safety
//! This file exists because words are read and written in an object that libc has mapped.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::Ordering;

use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::arena::{List, OutOfMemory};
use rtld::elf::{Decode, Sym, consts, size};
use rtld::error::{Error, OfObject};
use rtld::machine::{Machine, Native, RelocKind};
use rtld::native::needs::Import;
use rtld::native::template::{Binding, Export, Recipe, TlsSnapshot, build};
use rtld::words;

use crate::cpu::{ROOM, room_distance};
use crate::platform::refusal::{refuse, refuse_as_libc};
use crate::platform::{rebind, shim};
use crate::run::native::gather::exports;
use crate::run::native::libc;
use crate::run::native::libc::RTLD_DEFAULT;
use crate::run::process::Process;
use crate::system;

/// Lets native libraries bind to the exports of program and libraries.
pub(crate) fn offer(process: &'static Process) -> Result<(), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let mut offered = List::<Export<'static>>::new(process.arena);
    // Offset of the program's block in the room.
    let into = process.sealed.tls.start().wrapping_sub(room_distance()).cast_unsigned();
    let mut any_thread_local = false;
    for export in exports(process).of(program)?.iter() {
        let is_thread_local = export.st_info & 0xf == consts::STT_TLS;
        // Copies of native data are no definitions of the program's, by whichever of their names.
        // Nor are the functions of start files, which DT_INIT and DT_FINI name: musl has some of these names, too.
        let is_start_files = matches!(export.name, b"_init" | b"_fini");
        if is_start_files || !is_thread_local && rebind::is_copy(process, export.at.0) {
            continue;
        }
        let name = process.arena.concat(&[export.name, b"\0"]).of(program)?;
        if libc::symbol(RTLD_DEFAULT, name.as_ptr().cast(), None) != 0 {
            refuse(
                program,
                words!(
                    "{} is defined here and in libc or what is preloaded, which is bound already; bogomapping replaces \
                     it, slulrtld-using-libc can not",
                    export.name
                ),
            );
        }
        any_thread_local |= is_thread_local;
        let at = if is_thread_local { RuntimeAddr(export.at.0.wrapping_add(into)) } else { export.at };
        offered.push(Export { at, ..*export }).of(program)?;
    }
    // Clear the error of the last name that was not found.
    let _ = libc::error();
    if offered.is_empty() {
        return Ok(());
    }
    if any_thread_local {
        offered.push(MARK).of(program)?;
    }
    let words = open(process, &offered, any_thread_local)?;
    if any_thread_local {
        let [module, offset] = words;
        let offset = system::is_glibc().then_some(offset);
        let exports = process.arena.copy(&offered).of(program)?;
        let room = process.arena.put(rebind::OfferedStorage { module, offset, exports });
        rebind::ROOM.store(
            room.map_err(|_| OutOfMemory(size_of::<rebind::OfferedStorage>())).of(program)?,
            Ordering::Release,
        );
    }
    Ok(())
}

/// A thread-local variable at the beginning of the object's own storage, by which the place of that becomes known.
const MARK: Export<'static> = Export {
    name: b"slul_thread_local_room",
    st_info: consts::STB_GLOBAL << 4 | consts::STT_TLS,
    at: RuntimeAddr(0),
    size: 1,
    copy: None,
};

/// Makes the object and has libc open it. The number of its module, and the distance of its storage from the thread pointer, where
/// that can be asked for.
fn open(
    process: &'static Process,
    offered: &[Export<'static>],
    any_thread_local: bool,
) -> Result<[u64; 2], Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let mark = Import {
        name: MARK.name,
        version: None,
        st_type: consts::STT_TLS,
        strong: true,
        referrer: 0,
        canonical: None,
    };
    // musl has no distance for what is opened later. There, constructors run before `rebind`, and must not write elsewhere.
    let kinds: &[RelocKind] = match (any_thread_local, system::is_glibc()) {
        (false, _) => &[],
        (true, false) => &[RelocKind::DtpModule],
        (true, true) => &[RelocKind::DtpModule, RelocKind::TpOffset],
    };
    let size = if system::is_glibc() { 1 } else { from_usize(ROOM) };
    let place = Cell::new(RuntimeAddr(0));
    let made = shim::make(process.arena, |arena, load, bias| {
        let words = RuntimeAddr::of(arena.bytes(16, 16)?.as_ptr());
        place.set(words);
        let mut bindings = List::new(process.arena);
        for (index, kind) in kinds.iter().enumerate() {
            let at = RuntimeAddr(words.0.wrapping_add(from_usize(index).wrapping_mul(8)));
            bindings.push(Binding { at, import: 0, r_type: Native::number(*kind), addend: 0 })?;
        }
        let tls = any_thread_local.then_some(TlsSnapshot { at: words, file_size: 0, size, align: 16 });
        let imports: &[Import<'static>] = if any_thread_local { &[mark] } else { &[] };
        let nothing = shim::nothing(load, bias, RuntimeAddr(0));
        build::<Native>(arena, &Recipe { exports: offered, imports, bindings: &bindings, tls, ..nothing })
    });
    let made = made.of(program)?;
    let Some((_, bias)) = made.open(c"slul-exports", b"/fd/../fd/").of(program)? else { refuse_as_libc(program) };
    // The values are for the memory in which the object was written; libc has not looked anything up in it yet.
    let count = u32::try_from(offered.len().wrapping_add(2)).unwrap_or(u32::MAX);
    for vaddr in (0..count).filter_map(|index| made.dynamic.symbols.vaddr(index)) {
        // SAFETY: the object's own symbol table, as libc has mapped it: writable.
        let symbol = unsafe { &mut *shim::word(bias, vaddr.0).cast::<[u8; size::SYM]>() };
        let Sym { st_shndx, st_value, st_info, .. } = Sym::decode(symbol);
        if u32::from(st_shndx) != consts::SHN_UNDEF
            && st_info & 0xf != consts::STT_TLS
            && let Some(place) = symbol.get_mut(8..16)
        {
            place.copy_from_slice(&st_value.wrapping_sub(made.moved(bias)).to_le_bytes());
        }
    }
    // SAFETY: two words of the object.
    let word = |at: u64| unsafe { shim::word(bias, made.vaddr(place.get()).wrapping_add(at)).read() };
    let found = [word(0), word(8)];
    made.forget();
    Ok(found)
}
