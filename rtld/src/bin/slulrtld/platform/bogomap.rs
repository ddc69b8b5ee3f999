//! Bogomapping: the kernel's start of a process, simulated inside this one, so that the system's ld.so and
//! libc initialise themselves here.
//!
//! The phases are types; each consumes the one before it:
//!
//! ```text
//! Prepared   A libc is chosen, its ld.so is mapped, the template is written. All of it is private to the loader:
//!            a failure up to here, or in `commit`, harms nothing.
//! commit     Unseals the words that ld.so will fill, makes a copy of the kernel's block libc's, copies the live
//!            thread-local block, maps the notice.
//! Committed  Only ld.so can fail from here on. `enter` enters it, on a stack of its own.
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
use core::sync::atomic::Ordering;

use abi::libcs::Libc;
use libc_template::{LOADER_IMPORTS, LoaderImport};
use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::report::Category;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::link::file::map_object;
use rtld::native::needs::Import;
use rtld::native::template::Template;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;
use rtld::start::handoff::{Layout, libc_values};
use rtld::words;

use crate::cpu::ops::enter;
use crate::cpu::template_entry::template_entry;
use crate::early::sharing::slul_shares_memory;
use crate::platform::choice::{choose_libc, start_of};
use crate::platform::environment::Hidden;
use crate::platform::finalisers::{PREINIT, READY, register_finalisers};
use crate::platform::hook::{ENTERING, Entering, HOOKED, MAIN_BLOCK};
use crate::platform::libc_stack::LibcStack;
use crate::platform::notice::{self, Notice, announce_libc};
use crate::platform::presence::{ABSENT, BOUND, PRESENT, STATE, WAITING};
use crate::platform::thread_local::Snapshot;
use crate::platform::{environment, main_thread, presence, root, stack_end, template_parts};
use crate::run::clock::clock;
use crate::run::native::gather::native_search;
use crate::run::native::missing::first;
use crate::run::native::publish::{Published, has_eager_note};
use crate::run::native::{binding, optional, publish};
use crate::run::open::runtime::runtime;
use crate::run::open::{fork, unwind};
use crate::run::process::Process;
use crate::run::{sync, thread_pointer};

/// Whether libc is brought in before anything of the program runs: because a native symbol or the environment asks for it,
/// because the program or a library of the start does (ABI note, `EAGER_LIBC`), or because something that libc would have
/// found at the start can not be kept for later.
pub(crate) fn comes_first(process: &Process) -> bool {
    let asked = process.settings.eager_libc || process.kept.at_once || has_eager_note(process);
    asked && process.may_want_libc() || process.sealed.natives.eager.is_some()
}

/// Brings libc in, once. A second thread waits until libc is present. If a native constructor calls back into the
/// program, and the program calls a native function, that call finds everything bound and does not wait.
///
/// If a native constructor waits for a thread of the program that is in here, that thread waits only until everything
/// is bound.
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    ensure(process, None)
}

/// [`ensure_libc`] for a call of a native function, which the calling thread is about to make.
pub(crate) fn ensure_callable(process: &'static Process) -> Result<(), Error<'static>> {
    ensure_libc(process)?;
    publish::publish_held(process).of(process.sealed.namespace.module(0).path)
}

/// Brings libc in like [`ensure_libc`], for a caller that goes on without it: if a native library is missing, that is an
/// error, and nothing has changed. Native libraries of the names `wanted`, which the caller will open, are looked for, too,
/// and decide which libc, if nothing else does.
pub(crate) fn ensure_libc_for(process: &'static Process, wanted: &[&[u8]]) -> Result<(), Error<'static>> {
    ensure(process, Some(wanted))
}

fn ensure(process: &'static Process, wanted: Option<&[&[u8]]>) -> Result<(), Error<'static>> {
    if STATE.load(Ordering::Acquire) == PRESENT {
        return Ok(());
    }
    let thread = sync::thread_id();
    let program = process.sealed.namespace.module(0).path;
    if process.apart.is_some_and(|id| slul_shares_memory(to_usize(id.into()))) {
        return Err(Problem::SharedMemory).of(program);
    }
    loop {
        let signals = sync::set_signal_mask(u64::MAX).ok_or(Problem::SignalMask).of(program)?;
        match STATE.compare_exchange(ABSENT, thread, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return bring_in(process, wanted, signals),
            Err(state) => {
                sync::set_signal_mask(signals).ok_or(Problem::SignalMask).of(program)?;
                if state & BOUND != 0 || state & !WAITING == thread {
                    return Ok(());
                }
                if sync::is_gone(state & !WAITING) {
                    return Err(Problem::ForkedMeanwhile).of(program);
                }
                presence::wait(state);
            }
        }
    }
}

/// Brings libc in. The caller has made the state its own and blocked signals; `signals` is the mask to restore.
fn bring_in(process: &'static Process, wanted: Option<&[&[u8]]>, signals: u64) -> Result<(), Error<'static>> {
    let result = ready(process, wanted, signals).map(|committed| committed.enter().publish());
    let before = STATE.swap(if result.is_ok() { PRESENT } else { ABSENT }, Ordering::Release);
    if result.is_err() {
        // On success the hook has restored the mask.
        let _ = sync::set_signal_mask(signals);
    }
    presence::changed(before);
    result
}

/// The first two phases, on libc's stack.
fn ready(process: &'static Process, wanted: Option<&[&[u8]]>, signals: u64) -> Result<Committed, Error<'static>> {
    let program = process.sealed.namespace.module(0);
    let stack = LibcStack::with_block(process.block.words(), process.wants_executable_stack()).of(program.path)?;
    let mut committed = Err(Problem::NoLibc).of(OWN);
    let mut work =
        || committed = Prepared::new(process, wanted, stack).and_then(|prepared| prepared.commit(signals));
    // SAFETY: a fresh stack.
    unsafe { stack.run(&mut work) };
    // SAFETY: nothing has been left there but the block, which nobody refers to then.
    committed.inspect_err(|_| unsafe { stack.give_back() })
}

/// The first phase: everything is ready for ld.so, and nothing has changed for the program.
struct Prepared {
    process: &'static Process,
    stack: LibcStack,
    template: Template<'static>,
    /// Load bias and entry of ld.so.
    base: u64,
    entry: u64,
    snapshot: Snapshot,
    began: u64,
    /// ld.so itself; unmapped unless it is entered.
    image: MappedImage,
}

impl Prepared {
    /// Chooses a libc, maps its ld.so, writes the template.
    fn new(process: &'static Process, wanted: Option<&[&[u8]]>, stack: LibcStack) -> Result<Self, Error<'static>> {
        let began = clock(process.trace);
        let program = process.sealed.namespace.module(0);
        main_thread::is_as_left().of(program.path)?;
        root::require_same(process)?;
        let search = native_search(process).of(program.path)?;
        let (libc, (file, info)) = choose_libc(process, search, wanted.unwrap_or_default())?;
        let starts_libc =
            |import: &Import<'_>| Some(&import.name) == LOADER_IMPORTS.get(LoaderImport::StartMain as usize);
        if libc == Libc::Musl && process.sealed.natives.imports.iter().any(starts_libc) {
            // glibc's only calls what it is given; musl's starts itself a second time, which is a crash.
            return Err(Problem::Unsupported("starting musl (crt1.o) with this loader in PT_INTERP"))
                .of(program.path);
        }
        let (page, trace) = (process.page, process.trace);
        let mapped = map_object(&Linux, process.arena, &file, &info, page).of(libc.interpreter().as_bytes())?;
        if let Some(wanted) = wanted {
            // A call of a native function has no way to fail, so what ld.so says serves there.
            let objects = (&process.sealed.namespace, &process.sealed.natives);
            first(&start_of(process).faults(objects, (libc, &mapped.image), search, wanted))?;
        }
        let bias = mapped.image.bias();
        trace.line(Category::Libc, words!("bringing in {}, load bias {x}", libc.interpreter(), bias.0));
        let (template, snapshot) = template_parts::write(process, libc, &mapped, search).of(program.path)?;
        let entry = bias.runtime(mapped.entry).0;
        Ok(Self { process, stack, template, base: bias.0, entry, snapshot, began, image: mapped.image })
    }

    /// Changes the process into the state that ld.so expects. On an error everything is as before.
    fn commit(self, signals: u64) -> Result<Committed, Error<'static>> {
        let Self { process, mut stack, template, base, entry, snapshot, began, image } = self;
        let program = process.sealed.namespace.module(0);
        let layout = process.block.layout();
        let environment = process.arena.copy(layout.environment(process.block.words())).of(program.path)?;
        let hidden = environment::hidden(process).of(program.path)?;
        let entering = Entering { process, stack, hidden, snapshot, signals };
        let entering = process.arena.put(entering).of(program.path)?;
        binding::protect_slots(process, false, Protection::READ_WRITE)
            .inspect_err(|_| binding::seal_again(process, false))?;
        // Nothing fails from here on: ld.so stays mapped for good.
        let image = ManuallyDrop::new(image);
        let entered = RuntimeAddr::of(template_entry as *const ()).0;
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        let values = libc_values(phdr, phnum, base, entered);
        // SAFETY: nobody else knows of them yet.
        let words = unsafe { stack.block() };
        make_libcs(words, layout, hidden, &values);
        // What a set-id process must not have may have been written into the kernel's.
        let main = if process.secure { stack.block_address() } else { process.block.address() };
        MAIN_BLOCK.store(to_usize(main), Ordering::Relaxed);
        if let (Some(live), Some(snapshot)) = (process.thread_local, snapshot) {
            // SAFETY: the thread-local block of this thread, and a buffer that is not larger.
            unsafe { snapshot.cast().copy_from_nonoverlapping(live.block, snapshot.len()) };
        }
        ENTERING.store(entering, Ordering::Release);
        let shown = Shown { debug_slot: template.debug_slot(), notice: Notice::show(process) };
        Ok(Committed { process, stack, image, entry, shown, environment, began })
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
    stack: LibcStack,
    image: ManuallyDrop<MappedImage>,
    /// ld.so's entry.
    entry: u64,
    shown: Shown,
    /// The variables in the kernel's block.
    environment: &'static [u64],
    began: u64,
}

impl Committed {
    /// Enters ld.so. Returns when libc has started.
    fn enter(self) -> Escaped {
        let Self { process, stack, image, entry, shown, environment, began } = self;
        // SAFETY: a block with unused stack below it; `STATE` permits this once.
        unsafe { enter(stack.block_address(), entry) };
        Escaped { process, stack, image, shown, environment, began }
    }
}

/// Turns a copy of the kernel's block into the one for ld.so, with its own auxiliary vector.
fn make_libcs(words: &mut [u64], layout: Layout, hidden: &[Hidden], values: &[(u32, u64)]) {
    for &Hidden { index, instead, .. } in hidden {
        if let Some(word) = words.get_mut(index) {
            *word = instead;
        }
    }
    layout.patch(words, values);
}

/// The third phase: libc has started, and control is back.
struct Escaped {
    process: &'static Process,
    stack: LibcStack,
    image: ManuallyDrop<MappedImage>,
    shown: Shown,
    environment: &'static [u64],
    began: u64,
}

impl Escaped {
    /// Publishes libc to the program's threads, to debuggers, and to unwinders.
    fn publish(self) {
        let Self { process, stack, image, shown, environment, began } = self;
        let Shown { debug_slot, notice } = shown;
        stack_end::tell(process, &image, stack.block_address());
        // SAFETY: libc has called its `main`.
        unsafe { stack.trim() };
        optional::open_optional(process);
        environment::share(process, environment, stack.block_address());
        thread_pointer::is_now_libcs();
        // Who asks for libc may forbid itself any system call before its first call.
        let words = match comes_first(process) && !has_eager_note(process) {
            false => Published::All,
            true => Published::Held { only_called: process.settings.eager_libc },
        };
        publish::publish_addresses(process, words);
        // musl runs destructors after all registered functions, so there only the hook's registration is in the right
        // order.
        if PREINIT.load(Ordering::Relaxed) && READY.load(Ordering::Relaxed) {
            register_finalisers();
        }
        unwind::register(process, process.arena, false);
        fork::watch();
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
