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
//! once, by whoever wins [`STATE`]; what the hook needs is published before ld.so is entered.
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};

use libc_template::{Libc, is_masked_variable, is_unsecure_variable};
use rtld::base::addr::{RuntimeAddr, from_usize};
use rtld::base::report::Category;
use rtld::elf::plan::Protection;
use rtld::error::{Error, OWN, OfObject, Problem};
use rtld::link::load::map_object;
use rtld::native::choose::{Places, choose};
use rtld::native::template::Template;
use rtld::native::tunables::roomy;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{FileInfo, Image};
use rtld::os::sys::{self, Linux};
use rtld::start::handoff::{Layout, libc_values};

use crate::cpu;
use crate::platform::notice::Notice;
use crate::platform::{notice, template};
use crate::run::native::gather::native_search;
use crate::run::native::{binding, libc, natives};
use crate::run::open::{debugger, libraries, unwind};
use crate::run::process::{Process, clock, finalise};
use crate::run::{code, kernel, sync};

/// libc is not there.
const ABSENT: i32 = 0;
/// It is there. Any other value is the id of the thread that is bringing it in.
const PRESENT: i32 = -1;

static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// Whether the hook was called by DT_PREINIT_ARRAY: so it is with glibc, and not with musl.
static PREINIT: AtomicBool = AtomicBool::new(false);

/// Whether the initialisers of libraries have run, and the program's may.
static READY: AtomicBool = AtomicBool::new(false);

/// Whether ld.so has bound everything, and libc can be called: by the thread that brings it in, and by those that native
/// constructors make, and may wait for.
static BOUND: AtomicBool = AtomicBool::new(false);

/// Answer of `slul_libc_state`.
pub(crate) fn state() -> i32 {
    match STATE.load(Ordering::Acquire) {
        ABSENT => 0,
        PRESENT => 2,
        _ => 1,
    }
}

/// Whether libc is to come before anything of the program runs.
pub(crate) fn comes_first(process: &Process) -> bool {
    let natives = &process.sealed.natives;
    process.settings.eager_libc && natives.any() || natives.eager.is_some()
}

/// Whether there is a libc to leave the process by.
pub(crate) fn is_bound() -> bool {
    BOUND.load(Ordering::Acquire)
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
        Some(_) => unsafe { cpu::call_on_stack(process.block.address() & !0xf, run, address) },
        None => run(address),
    }
}

/// What the hook needs; static, because ld.so calls it without arguments.
struct Entering {
    process: &'static Process,
    /// Variables masked in libc's environment: index of the word, and its value.
    masked: &'static [(usize, u64)],
    /// The copy of the live thread-local block, which becomes the image for later threads.
    snapshot: Option<NonNull<u8>>,
    signals: u64,
}

static ENTERING: AtomicPtr<Entering> = AtomicPtr::new(ptr::null_mut());

/// When the hook ran, in nanoseconds, for the trace.
static HOOKED: AtomicU64 = AtomicU64::new(0);

/// Which libc the program wants; if nothing else tells, native libraries of these names do.
pub(crate) fn choose_libc(
    process: &Process,
    search: Option<(u64, &[u8])>,
    wanted: &[&[u8]],
) -> Result<(Libc, (sys::File, FileInfo)), Error<'static>> {
    let program = process.sealed.namespace.module(0).path;
    let library_path = process.settings.library_path;
    let natives = &process.sealed.natives;
    let expanded = natives.libraries.iter().chain(wanted).copied().chain(library_path);
    let places = Places {
        library_path,
        runpath: search.map(|(_, list)| list),
        origin: process.program_path.origin_for(process.arena, expanded).of(program)?,
        secure: process.secure,
    };
    choose(&Linux, process.arena, natives, wanted, &places, process.page, process.trace)?
        .ok_or(Problem::NoLibc)
        .of(program)
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
        if !cpu::may_set_thread_pointer(process.has_thread_pointer()) {
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
        let template_entry = RuntimeAddr::of(cpu::template_entry as *const ()).0;
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        let values = libc_values(phdr, phnum, base, template_entry);
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
        unsafe { cpu::enter(process.block.address(), entry) };
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

/// DT_PREINIT_ARRAY of the template: glibc calls it before any constructor.
pub(crate) extern "C" fn preinit() {
    PREINIT.store(true, Ordering::Relaxed);
    hook();
}

/// Everything is bound and no constructor has run. glibc comes here by [`preinit`]; musl, which has no such
/// thing, by the template's entry, and glibc a second time.
pub(crate) extern "C" fn hook() {
    let entering = ENTERING.swap(ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: null the second time; otherwise as `enter` published it.
    let Some(entering) = (unsafe { entering.as_ref() }) else { return };
    let process = entering.process;
    for &(index, value) in entering.masked {
        // SAFETY: a word of envp, as `make_libcs` found it. We are the thread that brings libc in, called by ld.so,
        // which moves words only in a set-id process; nothing is masked in one.
        unsafe { process.block.restore(index, value) };
    }
    if let (Some(live), Some(snapshot)) = (process.thread_local, entering.snapshot) {
        // SAFETY: the buffer that the template's PT_TLS describes. The main thread's storage has been made
        // of it; libc reads it again for later threads only.
        let block = unsafe { core::slice::from_raw_parts_mut(snapshot.as_ptr(), live.size) };
        block.fill(0);
        process.sealed.fill_tls(block).unwrap_or_else(|error| crate::run::last_words::refuse(&error));
    }
    for (number, import) in (0u32..).zip(process.sealed.natives.imports.iter()) {
        if import.strong && !binding::is_defined(process, number, import) {
            crate::run::last_words::refuse(&binding::missing(process, number));
        }
    }
    binding::seal_again(process, false);
    // glibc: of a process that ends while libraries are being initialised, nothing is finalised.
    if !PREINIT.load(Ordering::Relaxed) || READY.load(Ordering::Relaxed) {
        register_finalisers();
    }
    BOUND.store(true, Ordering::Release);
    sync::wake(&STATE, i32::MAX);
    HOOKED.store(clock(process.trace), Ordering::Relaxed);
    if sync::set_signal_mask(entering.signals).is_none() {
        let program = process.sealed.namespace.module(0).path;
        crate::run::last_words::refuse(&Error::new(program, Problem::SignalMask));
    }
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
        natives::open_optional(process);
        binding::publish_addresses(process);
        // musl runs destructors after all that was registered, so only the hook's registration is right there.
        if PREINIT.load(Ordering::Relaxed) && READY.load(Ordering::Relaxed) {
            register_finalisers();
        }
        unwind::register(process, process.arena, false);
        notice::end_backtraces(process, notice.frame);
        libraries::with_list_held(|| debugger::announce_libc(process, debug_slot, &notice));
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

/// The initialisers of libraries have run, and the program's are next. An ordinary executable registers ld.so's
/// finaliser with libc's `exit` now.
pub(crate) fn libraries_are_ready() {
    READY.store(true, Ordering::Relaxed);
    if is_bound() && PREINIT.load(Ordering::Relaxed) {
        register_finalisers();
    }
}

/// Our finalisers, and then ld.so's, run in libc's `exit`: before what libraries have registered there when they were
/// initialised, after what the program has. Registered in the hook as well, for a native constructor that leaves. They
/// run once.
fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
        // musl passes nothing, and looks after its own.
        let native = cpu::NATIVE_FINALISER.swap(0, Ordering::AcqRel);
        if native != 0 && PREINIT.load(Ordering::Relaxed) {
            code::finalise([RuntimeAddr(from_usize(native))].into_iter());
        }
    }
    libc::at_exit(run);
}
