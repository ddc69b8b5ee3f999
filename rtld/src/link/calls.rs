//! The functions that an object wants called: initialisers and finalisers. Checks that there is code at their
//! addresses.
//!
//! Their effect is the object's own affair. But a table whose words lead nowhere, or into data, is a broken file, and
//! is reported before anything of it runs.
#![forbid(unsafe_code)]

use crate::base::addr::RuntimeAddr;
use crate::error::{Failure, Problem};
use crate::link::namespace::Namespace;
use crate::link::stubs::Stubs;
use crate::os::seam::Image;

/// Whether a word of a table of functions is an address to call. Linkers and old compilers fill such tables with 0 and
/// with all bits set.
#[must_use]
pub const fn is_function(address: RuntimeAddr) -> bool {
    address.0 != 0 && address.0 != u64::MAX
}

/// Refuses initialisers and finalisers of module `index` that are not code. Words whose value is not known yet are 0,
/// and are not checked.
///
/// # Errors
/// [`Problem::NotCode`] with the entry of PT_DYNAMIC that names the function, and the link-time address.
pub fn require_code<I: Image>(
    namespace: &Namespace<'_, I>,
    index: usize,
    stubs: &Stubs,
) -> Result<(), Failure<'static>> {
    let module = namespace.module(index);
    let dynamic = &module.dynamic;
    for (what, function) in [("DT_INIT", dynamic.init), ("DT_FINI", dynamic.fini)] {
        if let Some(vaddr) = function.filter(|&vaddr| !module.is_code(vaddr)) {
            return Err(Problem::NotCode { what, vaddr }.into());
        }
    }
    let arrays = [
        ("DT_PREINIT_ARRAY", dynamic.preinit_array),
        ("DT_INIT_ARRAY", dynamic.init_array),
        ("DT_FINI_ARRAY", dynamic.fini_array),
    ];
    for (what, array) in arrays {
        let words = (0..array.len()).filter_map(|entry| array.get(&module.image, entry));
        let stray = |address: &RuntimeAddr| {
            // A native function is code, behind its first-call stub.
            is_function(*address) && !namespace.is_code(*address) && !stubs.contains(*address)
        };
        if let Some(address) = words.map(RuntimeAddr).find(stray) {
            return Err(Problem::NotCode { what, vaddr: module.image.bias().vaddr(address) }.into());
        }
    }
    Ok(())
}
