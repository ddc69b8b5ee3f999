//! Bogomapping: the kernel's start of a process, simulated inside this one, so that the system's ld.so and
//! libc initialise themselves here.
//!
//! The phases are types; each consumes the one before it:
//!
//! ```text
//! Prepared   A libc is chosen, its ld.so is mapped, the template is written. All of it is private to the loader:
//!            a failure up to here, or in `commit`, harms nothing.
//! commit     Unseals the words that ld.so will fill, closes the gap's guard, makes the block libc's, copies the
//!            live thread-local block, maps the notice.
//! Committed  Only ld.so can fail from here on. `enter` enters it, on the kernel's stack pointer.
//!   hook     Called by ld.so, when everything is bound and thread-local storage is libc's, and no constructor has
//!            run: restores the block and the initial images, reports missing symbols, seals RELRO, unblocks
//!            signals.
//! Escaped    libc has called its `main`, which has returned to the program's stack.
//! publish    Replaces the stubs in the program's words by their targets, registers finalisers with libc's exit,
//!            tells debuggers; the state becomes PRESENT.
//! ```
//!
//! Signals are blocked from before the state changes until the hook, so no handler meets a libc that is half
//! initialised. Other threads find stubs in their words until libc is published, and wait in them.
//!
//! # Safety
//! This file exists because ld.so is entered by address, and writes to the addresses in the template. It runs once, in
//! the thread that changes [`STATE`] from ABSENT.
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
use rtld::native::tunables::with_static_tls_room;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};
use rtld::start::handoff::{Layout, libc_values};
use rtld::words;

use crate::cpu::ops::{call_on_stack, enter, may_set_thread_pointer};
use crate::cpu::template_entry::template_entry;
use crate::platform::choice::choose_libc;
use crate::platform::finalisers::{PREINIT, READY, register_finalisers};
use crate::platform::hook::{ENTERING, Entering, HOOKED};
use crate::platform::notice::{self, Notice, announce_libc};
use crate::platform::presence::{ABSENT, BOUND, PRESENT, STATE, WAITING};
use crate::platform::{presence, publish, template_parts};
use crate::run::clock::clock;
use crate::run::kernel;
use crate::run::native::gather::native_search;
use crate::run::native::{binding, optional};
use crate::run::open::runtime::runtime;
use crate::run::open::unwind;
use crate::run::process::Process;
use crate::run::sync;

/// Whether libc is brought in before anything of the program runs.
pub(crate) fn comes_first(process: &Process) -> bool {
    let natives = &process.sealed.natives;
    process.settings.eager_libc && natives.any() || natives.eager.is_some()
}

/// Brings libc in, once. A second thread waits until libc is present. If a native constructor calls back into the
/// program, and the program calls a native function, that call finds everything bound and does not wait.
///
/// If a native constructor waits for a thread of the program that is in here, that thread waits only until everything
/// is bound.
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    ensure_libc_for(process, &[])
}

/// Brings libc in like [`ensure_libc`]. Native libraries of the names `wanted` decide which libc, if nothing else does.
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
            Err(state) => {
                sync::set_signal_mask(signals).ok_or(Problem::SignalMask).of(program)?;
                if state & BOUND != 0 || state & !WAITING == thread {
                    return Ok(());
                }
                presence::wait(state);
            }
        }
    }
}

/// Brings libc in. The caller has made the state its own and blocked signals; `signals` is the mask to restore.
fn bring_in(process: &'static Process, wanted: &[&[u8]], signals: u64) -> Result<(), Error<'static>> {
    let mut committed = None;
    on_gap(process, &mut || {
        let prepared = Prepared::new(process, wanted);
        committed = Some(prepared.and_then(|prepared| prepared.commit(signals)));
    });
    let committed = committed.unwrap_or_else(|| Err(Problem::NoLibc).of(OWN));
    let result = committed.map(|committed| committed.enter().publish());
    let before = STATE.swap(if result.is_ok() { PRESENT } else { ABSENT }, Ordering::Release);
    if result.is_err() {
        // On success the hook has restored the mask.
        let _ = sync::set_signal_mask(signals);
    }
    presence::changed(before);
    result
}

/// Runs `work` on the gap's stack, if there is a gap: the caller may be on a small stack, and the start has touched
/// those pages already.
fn on_gap(process: &Process, mut work: &mut dyn FnMut()) {
    extern "C" fn run(work: usize) {
        let work: *mut &mut dyn FnMut() = ptr::with_exposed_provenance_mut(work);
        // SAFETY: the reference below, which is not used otherwise while this runs.
        let work = unsafe { &mut *work };
        work();
    }
    let address = (&raw mut work).expose_provenance();
    match process.gap {
        // SAFETY: the gap is unused until ld.so is entered, and only one thread is here.
        Some(_) => unsafe { call_on_stack(process.block.address() & !0xf, run, address) },
        None => run(address),
    }
}

/// The first phase: everything is ready for ld.so, and nothing has changed for the program.
struct Prepared {
    process: &'static Process,
    template: Template<'static>,
    /// Load bias and entry of ld.so.
    base: u64,
    entry: u64,
    snapshot: Option<NonNull<u8>>,
    began: u64,
    /// ld.so itself; unmapped unless it is entered.
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
        trace.line(Category::Libc, words!("bringing in {}, load bias {x}", libc.interpreter(), bias.0));
        let (template, snapshot) = template_parts::write(process, libc, &mapped, search).of(program.path)?;
        let entry = bias.runtime(mapped.entry).0;
        Ok(Self { process, template, base: bias.0, entry, snapshot, began, image: mapped.image })
    }

    /// Changes the process into the state that ld.so expects. On an error everything is as before.
    fn commit(self, signals: u64) -> Result<Committed, Error<'static>> {
        let Self { process, template, base, entry, snapshot, began, image } = self;
        let program = process.sealed.namespace.module(0);
        let entering = Entering { process, masked: &[], snapshot, signals };
        let entering = process.arena.put(entering).of(program.path)?;
        let environment = process.block.layout().environment(process.block.words()).len();
        let masked = process.arena.slice(environment, (0usize, 0u64)).of(program.path)?;
        let with_static_tls_room = match process.sealed.seen.opens && !process.secure {
            true => with_static_tls_room(process.arena, process.block.environment()).of(program.path)?,
            false => None,
        };
        binding::protect_slots(process, false, Protection::READ_WRITE)
            .inspect_err(|_| binding::seal_again(process, false))?;
        if let Some(gap) = process.gap {
            // SAFETY: unused pages of the stack between the program's block and the gap.
            let closed = unsafe { sys::guard(gap.guard, gap.guard_size, true) };
            closed
                .map_err(Problem::Protect)
                .of(program.path)
                .inspect_err(|_| binding::seal_again(process, false))?;
        }
        // Nothing fails from here on: ld.so stays mapped for good.
        let _ = ManuallyDrop::new(image);
        let entered = RuntimeAddr::of(template_entry as *const ()).0;
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        let values = libc_values(phdr, phnum, base, entered);
        // SAFETY: this thread brings libc in. The program has a copy of the block: a process with native needs has a
        // gap, and so a copy.
        entering.masked = unsafe {
            process.block.give_away(|words, layout| {
                make_libcs(process, words, layout, masked, with_static_tls_room, &values)
            })
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

/// Data for debuggers.
struct Shown {
    /// Address of the word in which ld.so stores the address of its `r_debug`.
    debug_slot: RuntimeAddr,
    notice: Notice,
}

/// The second phase: ld.so can be entered.
struct Committed {
    process: &'static Process,
    /// ld.so's entry.
    entry: u64,
    shown: Shown,
    began: u64,
}

impl Committed {
    /// Enters ld.so. Returns when libc has started.
    fn enter(self) -> Escaped {
        let Self { process, entry, shown, began } = self;
        // SAFETY: the kernel's block, with the gap below it; `STATE` permits this once.
        unsafe { enter(process.block.address(), entry) };
        Escaped { process, shown, began }
    }
}

/// Turns the kernel's block into the one for ld.so. The auxiliary vector is ld.so's. In a set-id process, the variables
/// that ld.so would remove are removed; in any other, variables on which ld.so must not act are masked, and the
/// variable `with_static_tls_room` replaces one of them. Returns the replaced words, to be restored.
fn make_libcs(
    process: &Process,
    words: &mut [u64],
    mut layout: Layout,
    masked: &'static mut [(usize, u64)],
    with_static_tls_room: Option<(usize, &'static [u8])>,
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
            let instead = match with_static_tls_room {
                Some((number, text)) if layout.envp.saturating_add(number) == index => {
                    RuntimeAddr::of(text.as_ptr()).0
                }
                _ if kernel::is_variable(*word, is_masked_variable) => empty,
                _ => continue,
            };
            if let Some(place) = masked.get_mut(count) {
                *place = (index, *word);
                *word = instead;
                count = count.wrapping_add(1);
            }
        }
    }
    layout.patch(words, values);
    masked.get(..count).unwrap_or_default()
}

/// The third phase: libc has started, and control is back.
struct Escaped {
    process: &'static Process,
    shown: Shown,
    began: u64,
}

impl Escaped {
    /// Publishes libc to the program's threads, to debuggers, and to unwinders.
    fn publish(self) {
        let Self { process, shown: Shown { debug_slot, notice }, began } = self;
        if let Some(gap) = process.gap {
            // SAFETY: the pages that `commit` closed. If they can not be opened, the stack looks smaller in lists of
            // mappings; nothing else depends on it.
            let _ = unsafe { sys::guard(gap.guard, gap.guard_size, false) };
        }
        optional::open_optional(process);
        publish::publish_addresses(process);
        // musl runs destructors after all registered functions, so there only the hook's registration is in the right
        // order.
        if PREINIT.load(Ordering::Relaxed) && READY.load(Ordering::Relaxed) {
            register_finalisers();
        }
        unwind::register(process, process.arena, false);
        notice::end_backtraces(process, notice.frame);
        {
            // Keeps other threads from changing the debuggers' list.
            let _held = runtime().map(|runtime| runtime.list.hold());
            announce_libc(process, debug_slot, &notice);
        }
        let trace = process.trace;
        if trace.wants(Category::Timings) {
            let (hooked, ended) = (HOOKED.load(Ordering::Relaxed), clock(trace));
            let bound = hooked.saturating_sub(began);
            let started = ended.saturating_sub(hooked);
            trace.line(Category::Timings, words!("libc bound after {} ns, started after {} more", bound, started));
        }
        trace.line(Category::Libc, words!("present"));
    }
}
