//! Bogomapping: the kernel's start of a process, simulated inside this one, so that the system's ld.so and
//! libc initialise themselves here.
//!
//! The phases are types, each consuming the one before it:
//!
//! ```text
//! Prepared   a libc is chosen, its ld.so mapped, the template written. Nobody has noticed yet: a failure up
//!            to here, or in `enter` before ld.so runs, harms nothing.
//! enter      words that ld.so is to fill are unsealed, the gap's guard closed, the block made libc's, the live
//!            thread-local block copied; then ld.so, on the kernel's stack pointer.
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
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use libc_template::{Libc, MERGED_GLIBC_VERSION, SPLIT_GLIBC_SONAMES, is_masked_variable, is_unsecure_variable};
use rtld::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::arena::{Arena, List, OutOfMemory};
use rtld::elf::{Phdr, consts};
use rtld::error::{Error, OfObject, Problem};
use rtld::handoff::{Layout, libc_values};
use rtld::load::{Mapped, map_object, protect_relro};
use rtld::mapped::MappedImage;
use rtld::native::choose::{Places, choose};
use rtld::native::needs::{Import, Slot};
use rtld::native::template::{self, Binding, Export, Parts, Place, Template, TlsSnapshot};
use rtld::plan::Protection;
use rtld::report::Category;
use rtld::seam::{Files, Image};
use rtld::search::{directory, entries, expand};
use rtld::symbol;
use rtld::sys::{self, Linux};

use super::process::{Process, ThreadLocal, finalise, now};
use super::{debugger, kernel, start};

/// libc is not there.
const ABSENT: i32 = 0;
/// It is there. Any other value is the id of the thread that is bringing it in.
const PRESENT: i32 = -1;

static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// Whether ld.so has bound everything, and libc can be called by the thread that brings it in.
static BOUND: AtomicBool = AtomicBool::new(false);

/// For each import, its address as ld.so has bound it; [`start::TARGETS`] gets them when libc is published.
static ADDRESSES: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());

/// Answer of `slul_libc_state`.
pub(crate) fn state() -> i32 {
    match STATE.load(Ordering::Acquire) {
        ABSENT => 0,
        PRESENT => 2,
        _ => 1,
    }
}

/// Whether there is a libc to leave the process by.
pub(crate) fn is_bound() -> bool {
    BOUND.load(Ordering::Acquire)
}

/// Makes room for the addresses of `count` imports, before anything of the program runs.
pub(crate) fn set_up(arena: &'static Arena, count: usize) -> Result<(), OutOfMemory> {
    for table in [&ADDRESSES, &start::TARGETS] {
        let words = arena.bytes(count.saturating_mul(8), 8)?;
        table.store(words.as_mut_ptr().cast(), Ordering::Relaxed);
    }
    Ok(())
}

/// What a first-call stub jumps to. Brings libc in if it is not there.
pub(crate) extern "C" fn first_call(import: u32) -> usize {
    let Some(process) = Process::get() else { start::trap() };
    ensure_libc(process).unwrap_or_else(|error| super::refuse(&error));
    match entry(&ADDRESSES, import).load(Ordering::Acquire) {
        0 => super::refuse(&missing(process, import)),
        address => address,
    }
}

/// The word of import number `import` in one of the tables.
fn entry(table: &AtomicPtr<AtomicUsize>, import: u32) -> &'static AtomicUsize {
    let words = table.load(Ordering::Relaxed);
    // SAFETY: there is a word for each import (`set_up`); stubs and slots only have numbers of imports.
    unsafe { &*words.add(to_usize(import.into())) }
}

fn missing(process: &Process, import: u32) -> Error<'static> {
    let import = process.sealed.natives.imports.get(to_usize(import.into()));
    let (symbol, version) = import.map_or((&b""[..], &b""[..]), |import| {
        (import.name, import.version.map_or(&b""[..], |version| version.version))
    });
    let referrer = process.sealed.namespace.module(import.map_or(0, |import| import.referrer));
    Error { object: referrer.path, problem: Problem::NativeSymbol { symbol, version } }
}

/// Brings libc in, once. A second thread waits until it is there. A native constructor that calls back into
/// the program, and from there a native function, finds everything bound already and is not kept.
///
/// A native constructor that waits for another thread, while that one is in here, waits for ever.
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    if STATE.load(Ordering::Acquire) == PRESENT {
        return Ok(());
    }
    let thread = thread_id();
    loop {
        let signals = set_signal_mask(u64::MAX);
        match STATE.compare_exchange(ABSENT, thread, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return bring_in(process, signals),
            Err(owner) => {
                set_signal_mask(signals);
                if owner == PRESENT || owner == thread {
                    return Ok(());
                }
                futex(FUTEX_WAIT_PRIVATE, owner);
            }
        }
    }
}

/// With the state ours and signals blocked; `signals` is the mask to go back to.
fn bring_in(process: &'static Process, signals: u64) -> Result<(), Error<'static>> {
    let result = prepare(process).and_then(|prepared| prepared.enter(signals)).map(Escaped::publish);
    STATE.store(if result.is_ok() { PRESENT } else { ABSENT }, Ordering::Release);
    if result.is_err() {
        // Otherwise the hook has done it.
        set_signal_mask(signals);
    }
    futex(FUTEX_WAKE_PRIVATE, i32::MAX);
    result
}

/// [`Prepared::new`], on the gap's stack where there is one: the caller may be on a small one.
fn prepare(process: &'static Process) -> Result<Prepared, Error<'static>> {
    struct Job {
        process: &'static Process,
        result: Option<Result<Prepared, Error<'static>>>,
    }
    extern "C" fn run(job: usize) {
        let job: *mut Job = ptr::with_exposed_provenance_mut(job);
        // SAFETY: the job below, which its owner does not touch meanwhile.
        let job = unsafe { &mut *job };
        job.result = Some(Prepared::new(job.process));
    }
    let mut job = Job { process, result: None };
    let address = (&raw mut job).expose_provenance();
    match process.gap {
        // SAFETY: the gap is used by nobody until ld.so is entered, and only one thread is here.
        Some(_) => unsafe { start::call_on_stack(process.block.address() & !0xf, run, address) },
        None => run(address),
    }
    job.result.unwrap_or(Err(Error { object: b"slulrtld", problem: Problem::NoLibc }))
}

fn thread_id() -> i32 {
    // SAFETY: always succeeds and touches no memory.
    let id = unsafe { start::system_call(linux_raw_sys::general::__NR_gettid, [0; 4]) };
    i32::try_from(id).unwrap_or(0)
}

const FUTEX_WAIT_PRIVATE: usize = 128;
const FUTEX_WAKE_PRIVATE: usize = 129;

fn futex(operation: usize, value: i32) {
    let word = STATE.as_ptr().expose_provenance();
    let value = usize::try_from(value).unwrap_or(usize::MAX);
    // SAFETY: the word is static; a wait that fails or wakes early is repeated by its caller.
    unsafe { start::system_call(linux_raw_sys::general::__NR_futex, [word, operation, value, 0]) };
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

/// Where to search for native libraries: the program's DT_RUNPATH or DT_RPATH, then those of its libraries, with
/// `$ORIGIN` expanded. ld.so knows only one object that needs them, so what each would have for its own is joined.
fn native_search(process: &Process) -> Result<Option<(u64, &'static [u8])>, Problem<'static>> {
    let arena = process.arena;
    let mut joined: &'static [u8] = b"";
    for (index, module) in process.sealed.namespace.loaded().iter().enumerate() {
        let Some(offset) = module.dynamic.runpath.or(module.dynamic.rpath) else { continue };
        let list = module.dynamic.strings.get(&module.image, offset)?;
        let path = if index == 0 { process.program_path } else { Some(module.path) };
        for entry in entries(list, false) {
            // A directory with a colon in its name can not be said in a list.
            let expanded = expand(arena, entry, path.map(directory), process.secure)?;
            let known = |directory: &[u8]| entries(joined, false).any(|entry| entry == directory);
            if let Some(directory) = expanded.filter(|found| !found.contains(&b':') && !known(found)) {
                let separator: &[u8] = if joined.is_empty() { b"" } else { b":" };
                joined = arena.concat(&[joined, separator, directory])?;
            }
        }
    }
    let program = process.sealed.namespace.module(0).dynamic;
    let tag = if program.rpath.is_some() { consts::DT_RPATH } else { consts::DT_RUNPATH };
    Ok((!joined.is_empty()).then_some((tag, joined)))
}

/// What native libraries may bind to: what program and libraries export, but for what libc must have itself.
fn exports(process: &Process) -> Result<List<'static, Export<'static>>, Problem<'static>> {
    let mut exports = List::new(process.arena);
    for module in process.sealed.namespace.loaded() {
        for index in 1..symbol::count(&module.image, &module.dynamic)? {
            let sym = module.dynamic.symbols.get(&module.image, index)?;
            let kind = rtld::elf::st_type(&sym);
            let known = matches!(kind, consts::STT_FUNC | consts::STT_OBJECT | consts::STT_NOTYPE);
            if !known || !symbol::is_exported(&sym) {
                continue;
            }
            let name = module.dynamic.strings.get(&module.image, sym.st_name.into())?;
            if libc_template::NEVER_EXPORTED.contains(&name) || libc_template::LOADER_IMPORTS.contains(&name) {
                continue;
            }
            let name = process.arena.copy(name)?;
            exports.push(Export { name, st_info: sym.st_info, at: module.address(&sym), size: sym.st_size })?;
        }
    }
    Ok(exports)
}

impl Prepared {
    /// Chooses a libc, maps its ld.so, writes the template.
    fn new(process: &'static Process) -> Result<Self, Error<'static>> {
        let began = now();
        let program = process.sealed.namespace.module(0);
        if process.settings.never_bogomap {
            return Err(Problem::NeverBogomap).of(program.path);
        }
        let search = native_search(process).of(program.path)?;
        let places = Places {
            library_path: process.settings.library_path,
            runpath: search.map(|(_, list)| list),
            origin: process.program_path.map(directory),
            secure: process.secure,
        };
        let natives = &process.sealed.natives;
        let (page, trace) = (process.page, process.trace);
        let libc = choose(&Linux, process.arena, &natives.libraries, &places, page, trace).of(program.path)?;
        let libc = libc.ok_or(Problem::NoLibc).of(program.path)?;
        let path = libc.interpreter().as_bytes();
        let (file, info) = Linux.open(path).of(path)?;
        let mapped = map_object(&Linux, &file, &info, page).of(path)?;
        let bias = mapped.image.bias();
        trace.line(Category::Libc, format_args!("bringing in {}, load bias {:#x}", libc.interpreter(), bias.0));
        let (template, snapshot) = write_template(process, libc, &mapped, search).of(program.path)?;
        let entry = bias.runtime(mapped.entry).0;
        Ok(Self { process, template, base: bias.0, entry, snapshot, began, image: mapped.image })
    }

    /// Enters ld.so, and comes back when libc has started. An error leaves everything as it was.
    fn enter(self, signals: u64) -> Result<Escaped, Error<'static>> {
        let Self { process, template, base, entry, snapshot, began, image } = self;
        let program = process.sealed.namespace.module(0);
        let entering = Entering { process, masked: &[], snapshot, signals };
        let entering = process.arena.put(entering).of(program.path)?;
        let environment = process.block.layout().environment(process.block.words()).len();
        let masked = process.arena.slice(environment, (0usize, 0u64)).of(program.path)?;
        protect_slots(process, false, Protection::READ_WRITE).inspect_err(|_| seal_again(process, false))?;
        if let Some(gap) = process.gap {
            // SAFETY: pages of the stack between the program's block and the gap, which nobody uses.
            let closed = unsafe { sys::guard(gap.guard, gap.guard_size, true) };
            closed.map_err(Problem::Protect).of(program.path).inspect_err(|_| seal_again(process, false))?;
        }
        // From here on nothing fails: ld.so's memory is its own for good.
        let _ = ManuallyDrop::new(image);
        let template_entry = (start::template_entry as *const ()).expose_provenance();
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        let values = libc_values(phdr, phnum, base, from_usize(template_entry));
        // SAFETY: we bring libc in; without a gap, and so a copy of the block, a process has no native needs.
        entering.masked = unsafe {
            process.block.give_away(|words, layout| make_libcs(process, words, layout, masked, &values))
        };
        if let (Some(live), Some(snapshot)) = (process.thread_local, snapshot) {
            // SAFETY: the thread-local block of this thread, and a buffer of the same size.
            unsafe { snapshot.copy_from_nonoverlapping(live.block, live.size) };
        }
        ENTERING.store(entering, Ordering::Release);
        // SAFETY: the kernel's block and the gap below it; `STATE` lets nobody come here twice.
        unsafe { start::enter(process.block.address(), entry) };
        Ok(Escaped { process, template, began })
    }
}

/// Makes of the kernel's block what ld.so is to see: its own auxv; of a set-id process, none of the variables that it
/// would remove; otherwise, masked, those that it must not act on. Answers the latter, to be restored.
fn make_libcs(
    process: &Process,
    words: &mut [u64],
    mut layout: Layout,
    masked: &'static mut [(usize, u64)],
    values: &[(u32, u64)],
) -> &'static [(usize, u64)] {
    static EMPTY: [u8; 2] = *b"=\0";
    let empty = from_usize((&raw const EMPTY).expose_provenance());
    let mut count = 0usize;
    if process.secure {
        layout.remove_variables(words, |address| kernel::is_variable(address, is_unsecure_variable));
    } else {
        let variables = layout.envp..layout.auxv.saturating_sub(1);
        for (index, word) in words.iter_mut().enumerate().filter(|(index, _)| variables.contains(index)) {
            if kernel::is_variable(*word, is_masked_variable)
                && let Some(place) = masked.get_mut(count)
            {
                *place = (index, *word);
                *word = empty;
                count = count.saturating_add(1);
            }
        }
    }
    layout.patch(words, values);
    masked.get(..count).unwrap_or_default()
}

/// Writes the template, and says what it is.
fn write_template(
    process: &'static Process,
    libc: Libc,
    ld_so: &Mapped<MappedImage>,
    search: Option<(u64, &'static [u8])>,
) -> Result<(Template<'static>, Option<NonNull<u8>>), Problem<'static>> {
    let arena = process.arena;
    let natives = &process.sealed.natives;
    let namespace = &process.sealed.namespace;
    let mut phdrs = List::<Phdr>::new(arena);
    process.block.program_headers().try_for_each(|phdr| phdrs.push(phdr))?;
    let mut bindings = List::new(arena);
    for slot in natives.slots.iter().filter(|slot| !slot.lazy) {
        let at = namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        bindings.push(Binding { at, import: slot.import, r_type: slot.r_type, addend: slot.addend })?;
    }
    let (tls, snapshot) = match process.thread_local {
        Some(live) => {
            let (buffer, at) = snapshot_buffer(process, &live)?;
            let tls = TlsSnapshot { at, size: from_usize(live.size), align: from_usize(live.align) };
            (Some(tls), Some(buffer))
        }
        None => (None, None),
    };
    let exports = exports(process)?;
    let strings = ld_so.dynamic.strings.place();
    let names = ld_so.image.bytes(strings.vaddr, strings.size).unwrap_or_default();
    let merged = names.windows(MERGED_GLIBC_VERSION.len()).any(|name| name == MERGED_GLIBC_VERSION);
    let split = libc == Libc::Gnu && !merged;
    let address = |pointer: *const ()| RuntimeAddr(from_usize(pointer.expose_provenance()));
    let parts = Parts {
        bias: namespace.module(0).image.bias(),
        phdrs: &phdrs,
        interpreter: libc.interpreter(),
        libraries: &natives.libraries,
        extra_libraries: if split { &SPLIT_GLIBC_SONAMES } else { &[] },
        search,
        imports: &natives.imports,
        bindings: &bindings,
        targets: address(ADDRESSES.load(Ordering::Relaxed).cast_const().cast()),
        loader_targets: address((&raw const start::LOADER_TARGETS).cast()),
        exports: &exports,
        tls,
        hook: address(preinit as *const ()),
    };
    if process.trace.wants(Category::Libc) {
        template::describe(&parts, |at| locate(process, at), process.trace);
    }
    Ok((template::build(arena, &parts)?, snapshot))
}

/// Room for a copy of the thread-local block, at a vaddr that is a multiple of the block's alignment; the bias of the
/// program need not be one.
fn snapshot_buffer(
    process: &'static Process,
    live: &ThreadLocal,
) -> Result<(NonNull<u8>, RuntimeAddr), OutOfMemory> {
    let buffer = process.arena.bytes(live.size.saturating_add(live.align), 16)?;
    let start = RuntimeAddr(from_usize(buffer.as_mut_ptr().expose_provenance()));
    let vaddr = process.sealed.namespace.module(0).image.bias().vaddr(start);
    let misfit = vaddr.0.wrapping_neg() & from_usize(live.align).saturating_sub(1);
    let aligned = buffer.get_mut(to_usize(misfit)..).ok_or(OutOfMemory(live.size))?;
    Ok((NonNull::from(aligned).cast(), RuntimeAddr(start.0.wrapping_add(misfit))))
}

fn locate(process: &Process, at: RuntimeAddr) -> Place<'_> {
    match process.locate(at) {
        Some((module, vaddr)) => {
            let name = module.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            Place { object: name, vaddr: vaddr.0 }
        }
        None => Place { object: b"?", vaddr: at.0 },
    }
}

/// Changes the protection of the RELRO of modules that have some native word of that kind in it.
fn protect_slots(process: &'static Process, lazy: bool, protection: Protection) -> Result<(), Error<'static>> {
    for (index, module) in process.sealed.namespace.loaded().iter().enumerate() {
        let Some(relro) = module.plan.relro else { continue };
        let inside = |slot: &Slot| slot.module == index && relro.start <= slot.vaddr && slot.vaddr < relro.end;
        if process.sealed.natives.slots.iter().any(|slot| slot.lazy == lazy && inside(slot)) {
            protect_relro(&Linux, module, protection)?;
        }
    }
    Ok(())
}

/// Seals what was unsealed. It was sealed before, so the kernel has nothing new to allocate for it.
fn seal_again(process: &'static Process, lazy: bool) {
    protect_slots(process, lazy, Protection::READ).unwrap_or_else(|error| super::refuse(&error));
}

/// Sets the calling thread's signal mask; answers the one before.
fn set_signal_mask(mask: u64) -> u64 {
    const SIG_SETMASK: usize = 2;
    let mut old = 0u64;
    let new = (&raw const mask).expose_provenance();
    let place = (&raw mut old).expose_provenance();
    let number = linux_raw_sys::general::__NR_rt_sigprocmask;
    // SAFETY: masks of eight bytes, as the kernel's.
    unsafe { start::system_call(number, [SIG_SETMASK, new, place, 8]) };
    old
}

/// DT_PREINIT_ARRAY of the template: glibc calls it before any constructor.
extern "C" fn preinit() {
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
        process.sealed.fill_tls(block).unwrap_or_else(|error| super::refuse(&error));
    }
    for (number, import) in (0u32..).zip(process.sealed.natives.imports.iter()) {
        if import.strong && !is_defined(process, number, import) {
            super::refuse(&missing(process, number));
        }
    }
    seal_again(process, false);
    register_finalisers();
    BOUND.store(true, Ordering::Release);
    HOOKED.store(now(), Ordering::Relaxed);
    set_signal_mask(entering.signals);
}

/// Whether ld.so has found the symbol. Of a thread-local one it leaves the offset from the thread pointer, which is
/// never 0: there the TCB is.
fn is_defined(process: &Process, number: u32, import: &Import<'_>) -> bool {
    if import.st_type != consts::STT_TLS {
        return entry(&ADDRESSES, number).load(Ordering::Acquire) != 0;
    }
    let slots = process.sealed.natives.slots.iter().filter(|slot| slot.import == number);
    slots
        .map(|slot| process.sealed.namespace.module(slot.module).image.get::<u64>(slot.vaddr))
        .all(|word| word != Some(0))
}

/// libc has started, and we are back.
struct Escaped {
    process: &'static Process,
    template: Template<'static>,
    began: u64,
}

impl Escaped {
    /// Makes the common life of the two worlds official.
    fn publish(self) {
        let Self { process, template, began } = self;
        if let Some(gap) = process.gap {
            // SAFETY: the pages that `enter` closed. If they can not be opened, less stack looks like ours to
            // those who ask; nothing else depends on it.
            let _ = unsafe { sys::guard(gap.guard, gap.guard_size, false) };
        }
        publish_addresses(process);
        register_finalisers();
        debugger::announce_libc(process, template.debug_slot());
        let trace = process.trace;
        if trace.wants(Category::Timings) {
            let (hooked, ended) = (HOOKED.load(Ordering::Relaxed), now());
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

/// Replaces the stubs in the words of program and libraries by their targets, and lets the stubs that are left jump on.
fn publish_addresses(process: &'static Process) {
    let natives = &process.sealed.natives;
    protect_slots(process, true, Protection::READ_WRITE).unwrap_or_else(|error| super::refuse(&error));
    for slot in natives.slots.iter().filter(|slot| slot.lazy) {
        let address = entry(&ADDRESSES, slot.import).load(Ordering::Acquire);
        if address != 0 {
            let place = process.sealed.namespace.module(slot.module).image.bias().runtime(slot.vaddr);
            // SAFETY: a word of the object that relocation has written, unsealed just now.
            unsafe { replace(place, start::stubs().address(slot.import), from_usize(address)) };
        }
    }
    seal_again(process, true);
    for (number, _) in (0u32..).zip(natives.imports.iter()) {
        let address = entry(&ADDRESSES, number).load(Ordering::Acquire);
        entry(&start::TARGETS, number).store(address, Ordering::Release);
    }
}

/// Stores `new` in the word at `place` if it still holds `stub`: what the program has stored there since stays.
///
/// # Safety
/// The word is one that may be written.
unsafe fn replace(place: RuntimeAddr, stub: RuntimeAddr, new: u64) {
    let word: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place.0));
    if word.is_aligned() {
        // SAFETY: by the caller; other threads of the program use it as a word, too.
        let word = unsafe { AtomicU64::from_ptr(word) };
        let _ = word.compare_exchange(stub.0, new, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
    // SAFETY: by the caller. A word across two of the processor's is nobody's to share.
    if unsafe { word.read_unaligned() } == stub.0 {
        // SAFETY: as above.
        unsafe { word.write_unaligned(new) };
    }
}

/// Our finalisers run in libc's `exit`. Registered twice: in the hook, for a native constructor that leaves; and once
/// libc has started and has registered ld.so's own, so that ours run before those. They run once.
fn register_finalisers() {
    extern "C" fn run(_: usize) {
        finalise();
    }
    type Register = extern "C" fn(extern "C" fn(usize), usize, usize) -> i32;
    let [_, _, register] = &start::LOADER_TARGETS;
    let register: *const () = ptr::with_exposed_provenance(AtomicUsize::load(register, Ordering::Acquire));
    if !register.is_null() {
        // SAFETY: ld.so bound libc's `__cxa_atexit` there, which has this type (Itanium C++ ABI).
        let register = unsafe { core::mem::transmute::<*const (), Register>(register) };
        register(run, 0, 0);
    }
}
