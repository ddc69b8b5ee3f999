//! The notice: what shows in the list of mappings, in core files and to debuggers that libc was brought in by us. A page
//! with a name to say so, and the template's file where it is installed and sound.

use core::mem::ManuallyDrop;

use libc_template::{FILE, NOTICE};
use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::report::Category;
use rtld::error::{Error, OfObject};
use rtld::native::notice::{self, map_notice};
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};
use rtld::start::installed::installed;

use crate::cpu;
use crate::run::process::Process;

/// What is shown, for good.
pub(crate) struct Notice {
    /// For debuggers.
    pub(crate) listed: [Option<Listed>; 2],
    /// What backtraces are to end in.
    pub(crate) frame: RuntimeAddr,
}

/// What a debugger is told of an object.
pub(crate) struct Listed {
    /// Its load bias.
    pub(crate) bias: usize,
    /// The address of its name.
    pub(crate) name: usize,
    /// The address of its dynamic section.
    pub(crate) dynamic: usize,
}

impl Notice {
    /// Maps what there is to show. Nothing that is wrong with it concerns the program.
    pub(crate) fn show(process: &'static Process) -> Self {
        let page = sys::named_page(NOTICE).map(|page| {
            let bias = page.as_ptr().expose_provenance();
            Listed { bias, name: NOTICE.as_ptr().expose_provenance(), dynamic: 0 }
        });
        match map_file(process) {
            Ok((path, notice)) => {
                let (bias, name) = (to_usize(notice.image.bias().0), path.as_ptr().expose_provenance());
                // It stays.
                let _ = ManuallyDrop::new(notice.image);
                let file = Listed { bias, name, dynamic: to_usize(notice.dynamic.0) };
                Self { listed: [page, Some(file)], frame: notice.frame }
            }
            Err(error) => {
                process.trace.line(Category::Libc, format_args!("without the template's file: {error}"));
                let built_in = RuntimeAddr::of(cpu::__notice__libc_bogomapped_by_slul as *const ());
                // After its first instruction.
                Self { listed: [page, None], frame: RuntimeAddr(built_in.0.wrapping_add(1)) }
            }
        }
    }
}

/// Lets backtraces end in a notice, where the frames of the loader below the program's are still there.
#[allow(unsafe_code)]
pub(crate) fn end_backtraces(process: &Process, frame: RuntimeAddr) {
    if process.gap.is_some() && process.calls_entry() {
        // SAFETY: the program runs within `Process::begin`, which never returns.
        unsafe { cpu::leave_notice(process.program_block, to_usize(frame.0)) };
    }
}

/// The template's file; its path ends in a NUL.
fn map_file(process: &'static Process) -> Result<(&'static [u8], notice::Notice<MappedImage>), Error<'static>> {
    let loader = process.sealed.namespace.loader().map_or(&b""[..], |loader| loader.path);
    let terminated = installed(process.arena, loader, process.secure, FILE).of(loader)?;
    let path = terminated.strip_suffix(b"\0").unwrap_or(terminated);
    Ok((terminated, map_notice(&Linux, path, process.page)?))
}
