//! The notice that libc was brought in by this loader, for lists of mappings, core files and debuggers: a page with a
//! name, the template's file where it is installed and sound, and the debuggers' list of both worlds.
//!
//! # Safety
//! This file exists because ld.so's `r_debug` is read, and a return address is written, by address.
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::Ordering;

use abi::arch::NATIVE;
use abi::notice::NOTICE;
use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::report::Category;
use rtld::base::text::Of;
use rtld::error::{Error, OfObject};
use rtld::native::notice_file::{self, map_notice};
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};
use rtld::start::installed::installed;

use crate::cpu::ops::{__notice__libc_bogomapped_by_slul, leave_notice};
use crate::run::open::debugger::{_r_debug, RDebug, RT_ADD, append, begin_change, end_change, first, list_own};
use crate::run::process::Process;

/// The parts of the notice that are mapped, for good.
pub(crate) struct Notice {
    /// Entries for the debuggers' list.
    pub(crate) listed: [Option<Listed>; 2],
    /// Return address at which backtraces end.
    pub(crate) frame: RuntimeAddr,
}

/// An entry of the debuggers' list.
pub(crate) struct Listed {
    /// Its load bias.
    pub(crate) bias: usize,
    /// Address of its name.
    pub(crate) name: usize,
    /// Address of its dynamic section.
    pub(crate) dynamic: usize,
}

impl Notice {
    /// Maps the page and the file. A failure is no concern of the program's.
    pub(crate) fn show(process: &'static Process) -> Self {
        let page = sys::named_page(NOTICE).map(|page| {
            let bias = page.as_ptr().expose_provenance();
            Listed { bias, name: NOTICE.as_ptr().expose_provenance(), dynamic: 0 }
        });
        match map_file(process) {
            Ok((path, notice)) => {
                let (bias, name) = (to_usize(notice.image.bias().0), path.as_ptr().expose_provenance());
                // Mapped for good.
                let _ = ManuallyDrop::new(notice.image);
                let file = Listed { bias, name, dynamic: to_usize(notice.dynamic.0) };
                Self { listed: [page, Some(file)], frame: notice.frame }
            }
            Err(error) => {
                process.trace.line(Category::Libc, &Of(b"without the template's file", &error));
                let built_in = RuntimeAddr::of(__notice__libc_bogomapped_by_slul as *const ());
                // The address after its first instruction, of one byte.
                Self { listed: [page, None], frame: RuntimeAddr(built_in.0.wrapping_add(1)) }
            }
        }
    }
}

/// Ends backtraces in the notice, if the loader's frames below the program's still exist.
pub(crate) fn end_backtraces(process: &Process, frame: RuntimeAddr) {
    if process.apart.is_some() && process.calls_entry() {
        // SAFETY: the program runs inside of `begin`, which never returns.
        unsafe { leave_notice(process.program_block, to_usize(frame.0)) };
    }
}

/// Maps the template's file; its path is NUL-terminated.
fn map_file(
    process: &'static Process,
) -> Result<(&'static [u8], notice_file::NoticeFile<MappedImage>), Error<'static>> {
    let loader = process.sealed.namespace.loader().map_or(&b""[..], |loader| loader.path);
    let terminated = installed(process.arena, loader, process.secure, NATIVE.paths.template).of(loader)?;
    let path = terminated.strip_suffix(b"\0").unwrap_or(terminated);
    Ok((terminated, map_notice(&Linux, process.arena, path, process.page)?))
}

/// The `r_debug` of this world's objects, once libc is present.
static OWN: RDebug = RDebug::new(2);

/// Makes `_r_debug` list the objects of libc's ld.so and, behind it, those of this world with the notice. `slot` is the
/// address of the DT_DEBUG that ld.so has filled.
pub(crate) fn announce_libc(process: &Process, slot: RuntimeAddr, notice: &Notice) {
    begin_change(RT_ADD);
    if first() == 0 {
        let _ = list_own(process);
    }
    for &Listed { bias, name, dynamic } in notice.listed.iter().flatten() {
        // Without memory the entry is left out.
        let _ = append(process.arena, bias, name, dynamic, false);
    }
    let own = first();
    let slot: *const usize = ptr::with_exposed_provenance(to_usize(slot.0));
    // SAFETY: the value of DT_DEBUG in the template's dynamic section, which ld.so has written.
    let libc = unsafe { slot.read() };
    let libc: *const RDebug = ptr::with_exposed_provenance(libc);
    // SAFETY: null, or ld.so's own `r_debug`, whose first version has the fields that are read here.
    if let Some(libc) = unsafe { libc.as_ref() } {
        OWN.map.store(own, Ordering::Relaxed);
        OWN.breakpoint.store(_r_debug.breakpoint.load(Ordering::Relaxed), Ordering::Relaxed);
        OWN.loader_base.store(_r_debug.loader_base.load(Ordering::Relaxed), Ordering::Relaxed);
        _r_debug.next.store((&raw const OWN).expose_provenance(), Ordering::Relaxed);
        _r_debug.map.store(libc.map.load(Ordering::Relaxed), Ordering::Relaxed);
        _r_debug.version.store(2, Ordering::Release);
    } else {
        _r_debug.map.store(own, Ordering::Release);
    }
    end_change();
}
