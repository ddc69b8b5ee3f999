//! What is known of an address and of an open object: `slul_dladdr` and `slul_dlinfo`.
//!
//! # Safety
//! This file exists because answers are written where the caller says.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};
use core::ptr;

use abi::export::{
    RTLD_DI_LINKMAP, RTLD_DI_LMID, RTLD_DI_ORIGIN, RTLD_DI_PHDR, RTLD_DI_TLS_DATA, RTLD_DI_TLS_MODID,
};
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::elf::symbol::containing;
use rtld::error::OWN;
use rtld::error::OfObject;
use rtld::link::search::directory;
use rtld::os::seam::Image;

use crate::platform::next::next;
use crate::platform::presence;
use crate::run::code;
use crate::run::native::natives;
use crate::run::open::debugger;
use crate::run::open::opening::runtime_for_all;
use crate::run::open::phdr_info::PhdrInfo;
use crate::run::open::runtime::{ObjectList, Runtime, object_at, release, runtime};
use crate::run::process::{Process, new_arena};
use crate::run::refusal::Refusal;
use crate::run::thread;

/// `Dl_info` of <dlfcn.h>.
#[repr(C)]
pub(crate) struct AddressInfo {
    file: *const c_char,
    base: usize,
    symbol: *const c_char,
    address: usize,
}

/// A function of libc's that the loader has no word for: the next of that name, because libc's world is bound to the loader's.
fn libcs(name: &CStr) -> Option<RuntimeAddr> {
    let process = Process::get().filter(|_| presence::is_bound());
    let address = process.map_or(0, |process| next(process, name.as_ptr(), None));
    (address != 0).then(|| RuntimeAddr(from_usize(address)))
}

/// dladdr(3): 0 if no object of either world is at the address.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dladdr(address: usize, info: *mut AddressInfo) -> i32 {
    let runtime = runtime_for_all();
    let own = runtime.and_then(|runtime| runtime.with(|state| describe(runtime, state, address)).ok()?);
    if let Some(found) = own {
        // SAFETY: the caller passes room for the answer.
        unsafe { info.write(found) };
        return 1;
    }
    let callable = runtime.is_some_and(|runtime| natives::is_callable(runtime).is_ok());
    let Some(function) = callable.then(|| libcs(c"dladdr")).flatten() else { return 0 };
    // SAFETY: libc's `dladdr`.
    let function = unsafe { code::function::<extern "C" fn(usize, *mut AddressInfo) -> i32>(function) };
    function(address, info)
}

/// The object of this world that is at an address.
fn describe(runtime: &Runtime, state: &ObjectList, address: usize) -> Option<AddressInfo> {
    let namespace = state.libraries.namespace();
    let index = object_at(namespace, address)?;
    let module = namespace.get(index)?;
    let bias = module.image.bias();
    let vaddr = bias.vaddr(RuntimeAddr(from_usize(address)));
    // A table that is broken has no symbols.
    let found = containing(&module.image, &module.dynamic, vaddr).unwrap_or_default();
    let name = |name: u32| module.dynamic.strings.get(&module.image, name.into()).ok();
    let (symbol, address) = match found.and_then(|sym| Some((name(sym.st_name)?, sym))) {
        Some((name, sym)) => (name.as_ptr().cast(), to_usize(module.address(&sym).0)),
        None => (ptr::null(), 0),
    };
    let file = match index {
        0 => ptr::with_exposed_provenance(to_usize(runtime.process.block.argument_address(0))),
        _ => debugger::name(state.handle(index)),
    };
    let base = to_usize(bias.runtime(module.image.plan().span.start).0);
    Some(AddressInfo { file, base, symbol, address })
}

/// dlinfo(3).
#[unsafe(no_mangle)]
pub(crate) extern "C" fn slul_dlinfo(handle: usize, request: i32, answer: *mut usize) -> i32 {
    let Some(runtime) = runtime() else { return -1 };
    let told = match runtime.with(|state| state.object(handle)) {
        Ok(Ok(index)) => own(runtime, index, request, answer),
        Ok(Err(refusal)) => native(runtime, handle, request, answer, refusal),
        Err(refusal) => Err(refusal),
    };
    told.unwrap_or_else(|refusal| {
        refusal.tell();
        -1
    })
}

/// The answer about an object of this world.
fn own(runtime: &Runtime, index: usize, request: i32, answer: *mut usize) -> Result<i32, Refusal> {
    let handle = runtime.with(|state| state.handle(index))?;
    let _held = runtime.list.hold();
    let Some(PhdrInfo { phdrs, count, tls_id, tls_block, .. }) = runtime.describe(index, thread::is_mine()) else {
        return Err(Refusal::Handle(handle));
    };
    let word = match request {
        RTLD_DI_LMID => 0,
        RTLD_DI_LINKMAP => handle,
        RTLD_DI_TLS_MODID => tls_id,
        RTLD_DI_TLS_DATA => tls_block,
        RTLD_DI_PHDR => phdrs,
        RTLD_DI_ORIGIN => return origin(runtime, index, answer.cast()),
        request => return Err(Refusal::Request(request)),
    };
    // SAFETY: the caller passes room for what the request says: a word.
    unsafe { answer.write(word) };
    Ok(if request == RTLD_DI_PHDR { count.into() } else { 0 })
}

/// Writes what `$ORIGIN` stands for.
fn origin(runtime: &Runtime, index: usize, answer: *mut u8) -> Result<i32, Refusal> {
    let arena = new_arena().of(OWN)?;
    let origin = match index {
        0 => runtime.process.program_path.get(arena).of(OWN)?.map(directory),
        _ => Some(runtime.with(|state| arena.copy(state.libraries.namespace().module(index).origin()))?.of(OWN)?),
    };
    let told = match origin {
        Some(text) => {
            // SAFETY: by dlinfo(3), the caller passes room for the path of a directory.
            unsafe { answer.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
            // SAFETY: likewise, with the byte that ends it.
            unsafe { answer.add(text.len()).write(0) };
            Ok(0)
        }
        None => Err(Refusal::Request(RTLD_DI_ORIGIN)),
    };
    // SAFETY: the text was copied.
    unsafe { release(arena) };
    told
}

/// libc's answer about an object of its world.
fn native(
    runtime: &Runtime,
    handle: usize,
    request: i32,
    answer: *mut usize,
    refusal: Refusal,
) -> Result<i32, Refusal> {
    let known = runtime.with(|state| state.is_native(handle))?;
    natives::is_callable(runtime)?;
    let Some(function) = libcs(c"dlinfo").filter(|_| known) else { return Err(refusal) };
    // SAFETY: libc's `dlinfo`.
    let function = unsafe { code::function::<extern "C" fn(usize, i32, *mut usize) -> i32>(function) };
    let told = function(handle, request, answer);
    if told < 0 { Err(Refusal::Libc) } else { Ok(told) }
}
