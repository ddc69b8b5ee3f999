//! RTLD_NEXT in libc's world.
//!
//! # Safety
//! This file exists because libc's function is called as if an instruction of the program did it.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char};

use rtld::base::addr::{RuntimeAddr, Vaddr, from_usize};
use rtld::link::namespace::Module;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;

use crate::cpu::ops::{RETURN, call_from};
use crate::run::native::libc::{self, RTLD_DEFAULT, RTLD_NEXT};
use crate::run::process::Process;

/// The definition of a name in libc's world; 0 if there is none.
///
/// libc takes the template, which stands at the addresses of the program, for the program. It has the definitions of this
/// world, and libc's dlsym leaves it out if it was called there: by an instruction that returns, of which any will do.
/// Without one the first definition of all is looked for.
pub(crate) fn next(process: &Process, name: *const c_char, version: Option<&CStr>) -> usize {
    match return_of(process.sealed.namespace.module(0)) {
        Some(place) => {
            let Some((function, version)) = libc::lookup(version) else { return 0 };
            let (name, version) = (name.expose_provenance(), version.expose_provenance());
            // SAFETY: libc's `dlvsym`, or its `dlsym`, which has the first two of these arguments. The instruction was just
            // found there, and the program's code stays.
            unsafe { call_from(RTLD_NEXT, name, version, function.0, place.0) }
        }
        None => libc::symbol(RTLD_DEFAULT, name, version),
    }
}

/// An instruction of the module that returns.
fn return_of(module: &Module<'static, MappedImage>) -> Option<RuntimeAddr> {
    let code = module.image.plan().segments().iter().filter(|segment| segment.protection.execute);
    let find = |start: Vaddr, end: Vaddr| {
        let bytes = module.image.bytes(start, end.0.saturating_sub(start.0))?;
        let index = bytes.iter().position(|&byte| byte == RETURN)?;
        Some(module.image.bias().runtime(Vaddr(start.0.wrapping_add(from_usize(index)))))
    };
    code.filter_map(|segment| find(segment.mem_start, segment.data_end)).next()
}
