//! Bogomapping: the kernel's start of a process, simulated inside this one, so that the system's ld.so and
//! libc initialise themselves here.
//!
//! The phases are types, each consuming the one before it:
//!
//! ```text
//! Prepared   a libc is chosen, its ld.so mapped, the template written. Nobody has noticed yet: a failure up
//!            to here, or in `commit`, harms nothing.
//! commit     words that ld.so is to fill are unsealed, the gap's guard closed, the block made libc's, the live
//!            thread-local block copied, the notice mapped.
//! Committed  nothing can fail any more but ld.so; `enter` it, on the kernel's stack pointer.
//!   hook     (called by ld.so) everything is bound, thread-local storage is libc's, no constructor has run:
//!            the block as it was, pristine initial images, missing symbols said, RELRO sealed, signals back.
//! Escaped    libc has called what it takes for `main`; we are back on the program's stack.
//! publish    stubs in the program's words replaced by their targets, finalisers registered with libc's exit,
//!            debuggers told, state PRESENT.
//! ```
//!
//! Signals are blocked from before the state changes until the hook: no handler meets a libc that is half there.
//! Other threads find stubs in their words until libc is published, and wait in them.
//!
//! # Safety
//! This file exists because ld.so is entered by address and writes what the template tells it to. It runs
//! once, by whoever wins [`STATE`].
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

use libc_template::{is_masked_variable, is_unsecure_variable};
use rtld::base::addr::RuntimeAddr;
use rtld::base::report::Category;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::link::file::map_object;
use rtld::native::template::Template;
use rtld::native::tunables::roomy;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};
use rtld::start::handoff::{Layout, libc_values};

use crate::cpu::ops::{call_on_stack, enter, may_set_thread_pointer};
use crate::cpu::template_entry::template_entry;
use crate::platform::choice::choose_libc;
use crate::platform::finalisers::{PREINIT, READY, register_finalisers};
use crate::platform::hook::{ENTERING, Entering, HOOKED};
use crate::platform::notice::{self, Notice, announce_libc};
use crate::platform::presence::{ABSENT, BOUND, PRESENT, STATE};
use crate::platform::{publish, template};
use crate::run::clock::clock;
use crate::run::kernel;
use crate::run::native::gather::native_search;
use crate::run::native::{binding, optional};
use crate::run::open::runtime::runtime;
use crate::run::open::unwind;
use crate::run::process::Process;
use crate::run::sync;

/// Whether libc is to come before anything of the program runs.
pub(crate) fn comes_first(process: &Process) -> bool {
    let natives = &process.sealed.natives;
    process.settings.eager_libc && natives.any() || natives.eager.is_some()
}

/// Brings libc in, once. A second thread waits until it is there. A native constructor that calls back into
/// the program, and from there a native function, finds everything bound already and is not kept.
///
/// A native constructor that waits for a thread of the program's own making, while that one is in here, waits no longer
/// than until everything is bound.
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    ensure_libc_for(process, &[])
}

/// The same; if nothing else tells which libc, native libraries of these names do.
pub(crate) fn ensure_libc_for(process: &'static Process, wanted: &[&[u8]]) -> Result<(), Error<'static>> {
    if STATE.load(Ordering::Acquire) == PRESENT {
        return Ok(());
    }
    let thread = sync::thread_id();
    loop {
        let program = process.sealed.namespace.module(0).path;
        let signals = sync::set_signal_mask(u64::MAX).ok_or(Problem::SignalMask).of(program)?;
        match STATE.compare_exchange(ABSENT, thread, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return bring_in(process, wanted, signals),
            Err(owner) => {
                sync::set_signal_mask(signals).ok_or(Problem::SignalMask).of(program)?;
                if owner == PRESENT || owner == thread || BOUND.load(Ordering::Acquire) {
                    return Ok(());
                }
                sync::wait_while(&STATE, owner);
            }
        }
    }
}

/// With the state ours and signals blocked; `signals` is the mask to go back to.
fn bring_in(process: &'static Process, wanted: &[&[u8]], signals: u64) -> Result<(), Error<'static>> {
    let mut committed = None;
    on_gap(process, &mut || {
        let prepared = Prepared::new(process, wanted);
        committed = Some(prepared.and_then(|prepared| prepared.commit(signals)));
    });
    let committed = committed.unwrap_or_else(|| Err(Problem::NoLibc).of(OWN));
    let result = committed.map(|committed| committed.enter().publish());
    STATE.store(if result.is_ok() { PRESENT } else { ABSENT }, Ordering::Release);
    if result.is_err() {
        // Otherwise the hook has done it.
        let _ = sync::set_signal_mask(signals);
    }
    sync::wake(&STATE, i32::MAX);
    result
}

/// Does `work` on the gap's stack, where there is one: the caller may be on a small one, and the start has used those
/// pages before.
fn on_gap(process: &Process, mut work: &mut dyn FnMut()) {
    extern "C" fn run(work: usize) {
        let work: *mut &mut dyn FnMut() = ptr::with_exposed_provenance_mut(work);
        // SAFETY: the reference below, which nobody uses meanwhile.
        let work = unsafe { &mut *work };
        work();
    }
    let address = (&raw mut work).expose_provenance();
    match process.gap {
        // SAFETY: the gap is used by nobody until ld.so is entered, and only one thread is here.
        Some(_) => unsafe { call_on_stack(process.block.address() & !0xf, run, address) },
        None => run(address),
    }
}

/// Ready to enter ld.so.
struct Prepared {
    process: &'static Process,
    template: Template<'static>,
    /// ld.so's own load bias, and its entry.
    base: u64,
    entry: u64,
    snapshot: Option<NonNull<u8>>,
    began: u64,
    /// ld.so itself; unmapped if it is never entered.
    image: MappedImage,
}

impl Prepared {
    /// Chooses a libc, maps its ld.so, writes the template.
    fn new(process: &'static Process, wanted: &[&[u8]]) -> Result<Self, Error<'static>> {
        let began = clock(process.trace);
        let program = process.sealed.namespace.module(0);
        if !may_set_thread_pointer(process.has_thread_pointer()) {
            return Err(Problem::ThreadPointer).of(program.path);
        }
        let search = native_search(process).of(program.path)?;
        let (libc, (file, info)) = choose_libc(process, search, wanted)?;
        let (page, trace) = (process.page, process.trace);
        let mapped = map_object(&Linux, &file, &info, page).of(libc.interpreter().as_bytes())?;
        let bias = mapped.image.bias();
        trace.line(Category::Libc, format_args!("bringing in {}, load bias {:#x}", libc.interpreter(), bias.0));
        let (template, snapshot) = template::write(process, libc, &mapped, search).of(program.path)?;
        let entry = bias.runtime(mapped.entry).0;
        Ok(Self { process, template, base: bias.0, entry, snapshot, began, image: mapped.image })
    }

    /// Makes everything as ld.so is to find it. An error leaves it as it was.
    fn commit(self, signals: u64) -> Result<Committed, Error<'static>> {
        let Self { process, template, base, entry, snapshot, began, image } = self;
        let program = process.sealed.namespace.module(0);
        let entering = Entering { process, masked: &[], snapshot, signals };
        let entering = process.arena.put(entering).of(program.path)?;
        let environment = process.block.layout().environment(process.block.words()).len();
        let masked = process.arena.slice(environment, (0usize, 0u64)).of(program.path)?;
        let roomy = match process.sealed.seen.opens && !process.secure {
            true => roomy(process.arena, process.block.environment()).of(program.path)?,
            false => None,
        };
        binding::protect_slots(process, false, Protection::READ_WRITE)
            .inspect_err(|_| binding::seal_again(process, false))?;
        if let Some(gap) = process.gap {
            // SAFETY: pages of the stack between the program's block and the gap, which nobody uses.
            let closed = unsafe { sys::guard(gap.guard, gap.guard_size, true) };
            closed
                .map_err(Problem::Protect)
                .of(program.path)
                .inspect_err(|_| binding::seal_again(process, false))?;
        }
        // From here on nothing fails: ld.so's memory is its own for good.
        let _ = ManuallyDrop::new(image);
        let entered = RuntimeAddr::of(template_entry as *const ()).0;
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        let values = libc_values(phdr, phnum, base, entered);
        // SAFETY: we bring libc in; without a gap, and so a copy of the block, a process has no native needs.
        entering.masked = unsafe {
            process.block.give_away(|words, layout| make_libcs(process, words, layout, masked, roomy, &values))
        };
        if let (Some(live), Some(snapshot)) = (process.thread_local, snapshot) {
            // SAFETY: the thread-local block of this thread, and a buffer of the same size.
            unsafe { snapshot.copy_from_nonoverlapping(live.block, live.size) };
        }
        ENTERING.store(entering, Ordering::Release);
        let shown = Shown { debug_slot: template.debug_slot(), notice: Notice::show(process) };
        Ok(Committed { process, entry, shown, began })
    }
}

/// What debuggers are to be told of.
struct Shown {
    /// Where ld.so writes the address of its `r_debug`.
    debug_slot: RuntimeAddr,
    notice: Notice,
}

/// ld.so is all that is missing.
struct Committed {
    process: &'static Process,
    /// ld.so's entry.
    entry: u64,
    shown: Shown,
    began: u64,
}

impl Committed {
    /// Enters ld.so, and comes back when libc has started.
    fn enter(self) -> Escaped {
        let Self { process, entry, shown, began } = self;
        // SAFETY: the kernel's block and the gap below it, which the hook knows of; `STATE` lets nobody come here twice.
        unsafe { enter(process.block.address(), entry) };
        Escaped { process, shown, began }
    }
}

/// Makes of the kernel's block what ld.so is to see: its own auxv; of a set-id process, none of the variables that it
/// would remove; otherwise, masked, those that it must not act on, and in the place of one of them what is `roomy`.
/// Answers what was there, to be restored.
fn make_libcs(
    process: &Process,
    words: &mut [u64],
    mut layout: Layout,
    masked: &'static mut [(usize, u64)],
    roomy: Option<(usize, &'static [u8])>,
    values: &[(u32, u64)],
) -> &'static [(usize, u64)] {
    static EMPTY: [u8; 2] = *b"=\0";
    let empty = RuntimeAddr::of(&raw const EMPTY).0;
    let mut count = 0usize;
    if process.secure {
        layout.remove_variables(words, |address| kernel::is_variable(address, is_unsecure_variable));
    } else {
        let variables = layout.envp..layout.auxv.saturating_sub(1);
        for (index, word) in words.iter_mut().enumerate().filter(|(index, _)| variables.contains(index)) {
            let instead = match roomy {
                Some((number, text)) if layout.envp.saturating_add(number) == index => {
                    RuntimeAddr::of(text.as_ptr()).0
                }
                _ if kernel::is_variable(*word, is_masked_variable) => empty,
                _ => continue,
            };
            if let Some(place) = masked.get_mut(count) {
                *place = (index, *word);
                *word = instead;
                count = count.saturating_add(1);
            }
        }
    }
    layout.patch(words, values);
    masked.get(..count).unwrap_or_default()
}

/// libc has started, and we are back.
struct Escaped {
    process: &'static Process,
    shown: Shown,
    began: u64,
}

impl Escaped {
    /// Makes the common life of the two worlds official.
    fn publish(self) {
        let Self { process, shown: Shown { debug_slot, notice }, began } = self;
        if let Some(gap) = process.gap {
            // SAFETY: the pages that `enter` closed. If they can not be opened, less stack looks like ours to
            // those who ask; nothing else depends on it.
            let _ = unsafe { sys::guard(gap.guard, gap.guard_size, false) };
        }
        optional::open_optional(process);
        publish::publish_addresses(process);
        // musl runs destructors after all that was registered, so only the hook's registration is right there.
        if PREINIT.load(Ordering::Relaxed) && READY.load(Ordering::Relaxed) {
            register_finalisers();
        }
        unwind::register(process, process.arena, false);
        notice::end_backtraces(process, notice.frame);
        {
            // Nobody changes the debuggers' list meanwhile.
            let _held = runtime().map(|runtime| runtime.list.hold());
            announce_libc(process, debug_slot, &notice);
        }
        let trace = process.trace;
        if trace.wants(Category::Timings) {
            let (hooked, ended) = (HOOKED.load(Ordering::Relaxed), clock(trace));
            let bound = hooked.saturating_sub(began);
            let started = ended.saturating_sub(hooked);
            trace.line(
                Category::Timings,
                format_args!("libc bound after {bound} ns, started after {started} more"),
            );
        }
        trace.line(Category::Libc, format_args!("present"));
    }
}
