//! The object that defines the loader's exports: tables in memory that only the program's side sees.
#![forbid(unsafe_code)]

use abi::export;
use rtld::base::addr::{RuntimeAddr, Vaddr};
use rtld::base::arena::{Arena, List};
use rtld::elf::consts;
use rtld::error::Failure;
use rtld::link::load::Present;
use rtld::machine::Native;
use rtld::native::template::{Export, Recipe, build};
use rtld::os::mapped::MappedImage;
use rtld::start::installed::SONAME;

use crate::cpu::memory;
use crate::platform::shim;
use crate::run::cpu::exports::{slul_dlopen, slul_dlsym, slul_dlvsym, slul_exit};
use crate::run::open::{about, debugger, dlfcn};
use crate::run::{exports, thread, tls};

/// Number of exports that programs may import: all but the frame that ends backtraces where libc was bogomapped.
const NAMES: usize = export::ALL.len() - 1;

/// The loader's exports (`abi::export`).
fn exported() -> [(&'static str, *const ()); NAMES] {
    [
        ("slul_dlopen", slul_dlopen as *const ()),
        ("slul_dlsym", slul_dlsym as *const ()),
        ("slul_dlvsym", slul_dlvsym as *const ()),
        ("slul_dladdr", about::slul_dladdr as *const ()),
        ("slul_dlinfo", about::slul_dlinfo as *const ()),
        ("slul_dlclose", dlfcn::slul_dlclose as *const ()),
        ("slul_dlerror", thread::slul_dlerror as *const ()),
        ("slul_exit", slul_exit as *const ()),
        ("slul_getauxval", exports::slul_getauxval as *const ()),
        ("slul_libc_state", exports::slul_libc_state as *const ()),
        ("slul_load_libc", exports::slul_load_libc as *const ()),
        ("__tls_get_addr", tls::__tls_get_addr as *const ()),
        ("__stack_chk_fail", exports::__stack_chk_fail as *const ()),
        ("dl_iterate_phdr", dlfcn::dl_iterate_phdr as *const ()),
        ("_r_debug", (&raw const debugger::_r_debug).cast()),
        ("_dl_debug_state", debugger::_dl_debug_state as *const ()),
        ("memcpy", memory::memcpy as *const ()),
        ("memmove", memory::memmove as *const ()),
        ("memset", memory::memset as *const ()),
        ("memcmp", memory::memcmp as *const ()),
        ("bcmp", memory::bcmp as *const ()),
        ("strlen", memory::strlen as *const ()),
    ]
}

/// The object that defines the loader's exports: tables that only the program's side sees. This executable itself
/// exports nothing, because libc's world would bind to it.
pub(crate) fn exporter(
    arena: &'static Arena,
    path: &'static [u8],
) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    let mut list = List::new(arena);
    for (name, address) in exported() {
        let st_info = consts::STB_GLOBAL << 4 | consts::STT_NOTYPE;
        let at = RuntimeAddr::of(address);
        list.push(Export { name: name.as_bytes(), st_info, at, size: 0, copy: None })?;
    }
    let made = shim::make(arena, |arena, load, bias| {
        let nothing = shim::nothing(load, bias, bias.runtime(Vaddr(0)));
        build::<Native>(arena, &Recipe { search: Some((consts::DT_SONAME, SONAME)), exports: &list, ..nothing })
    })?;
    let phdrs = Some(made.phdrs);
    Ok(Present { path, image: made.image(), phdrs })
}
