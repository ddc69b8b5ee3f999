//! Bogomapping: the kernel's start of a process, simulated inside this one, so that the system's ld.so and
//! libc initialise themselves here.
//!
//! The phases are types, each consuming the one before it:
//!
//! ```text
//! Prepared   a libc is chosen, its ld.so mapped, the template written. Nobody has noticed yet: a failure up
//!            to here, or in `enter` before ld.so runs, harms nothing.
//! enter      RELRO unsealed, the gap's guard closed, signals blocked, the block made libc's, the live
//!            thread-local block copied; then ld.so, on the kernel's stack pointer.
//!   hook     (called by ld.so) everything is bound, thread-local storage is libc's, no constructor has run:
//!            the block as it was, pristine initial images, missing symbols said, RELRO sealed, signals back.
//! Escaped    libc has called what it takes for `main`; we are back on the program's stack.
//! publish    finalisers registered with libc's exit, debuggers told, state PRESENT.
//! ```
//!
//! # Safety
//! This file exists because ld.so is entered by address and writes what the template tells it to. It runs
//! once, by whoever wins [`STATE`]; what the hook needs is published before ld.so is entered.
#![allow(unsafe_code)]

use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use libc_template::{Libc, MASKED_VARIABLES, MERGED_GLIBC_VERSION, SPLIT_GLIBC_SONAMES};
use rtld::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::arena::List;
use rtld::elf::{Phdr, consts};
use rtld::error::{Error, OfObject, Problem};
use rtld::handoff::libc_values;
use rtld::load::{Mapped, map_object, protect_relro};
use rtld::mapped::MappedImage;
use rtld::native::choose::{Places, choose};
use rtld::native::template::{self, Binding, Export, Parts, Place, Template, TlsSnapshot};
use rtld::plan::Protection;
use rtld::report::Category;
use rtld::seam::{Files, Image};
use rtld::search::{directory, entries, expand};
use rtld::symbol;
use rtld::sys::{self, Linux};

use super::process::{Process, finalise, now};
use super::{debugger, start};

/// libc is not there.
const ABSENT: i32 = 0;
/// Somebody is bringing it in.
const LOADING: i32 = 1;
/// It is there.
pub(crate) const PRESENT: i32 = 2;

static STATE: AtomicI32 = AtomicI32::new(ABSENT);

/// The thread that is bringing libc in.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// Answer of `slul_libc_state`.
pub(crate) fn state() -> i32 {
    STATE.load(Ordering::Acquire)
}

/// What a first-call stub jumps to. Brings libc in if it is not there.
pub(crate) extern "C" fn first_call(import: u32) -> usize {
    let Some(process) = Process::get() else { start::trap() };
    ensure_libc(process).unwrap_or_else(|error| super::refuse(&error));
    match target(import) {
        0 => super::refuse(&missing(process, import)),
        target => target,
    }
}

/// What import number `import` is bound to, 0 if to nothing.
fn target(import: u32) -> usize {
    let targets = start::TARGETS.load(Ordering::Relaxed);
    // SAFETY: there is a word for each import; stubs and slots only have numbers of imports.
    unsafe { &*targets.add(to_usize(import.into())) }.load(Ordering::Acquire)
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
pub(crate) fn ensure_libc(process: &'static Process) -> Result<(), Error<'static>> {
    loop {
        match STATE.compare_exchange(ABSENT, LOADING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(LOADING) if OWNER.load(Ordering::Relaxed) == thread_id() => return Ok(()),
            Err(LOADING) => wait_while_loading(),
            Err(_) => return Ok(()),
        }
    }
    OWNER.store(thread_id(), Ordering::Relaxed);
    let result = Prepared::new(process).and_then(Prepared::enter).map(Escaped::publish);
    STATE.store(if result.is_ok() { PRESENT } else { ABSENT }, Ordering::Release);
    wake_waiters();
    result
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

fn wait_while_loading() {
    futex(FUTEX_WAIT_PRIVATE, LOADING);
}

fn wake_waiters() {
    futex(FUTEX_WAKE_PRIVATE, i32::MAX);
}

/// What the hook needs; static, because ld.so calls it without arguments.
struct Entering {
    process: &'static Process,
    /// Variables masked in libc's environment: index of the word, and its value.
    masked: [Option<(usize, u64)>; MASKED],
    /// The copy of the live thread-local block, which becomes the image for later threads.
    snapshot: Option<NonNull<u8>>,
    signals: u64,
}

/// Variables that are masked at most: each of [`MASKED_VARIABLES`], and repeats of it.
const MASKED: usize = 32;

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

/// The program's search path for native libraries, `$ORIGIN` expanded: under its own tag.
fn native_search(process: &Process) -> Result<Option<(u64, &'static [u8])>, Problem<'static>> {
    let arena = process.arena;
    let program = process.sealed.namespace.module(0);
    let (tag, offset) = match (program.dynamic.runpath, program.dynamic.rpath) {
        (Some(offset), _) => (consts::DT_RUNPATH, offset),
        (None, Some(offset)) => (consts::DT_RPATH, offset),
        (None, None) => return Ok(None),
    };
    let list = program.dynamic.strings.get(&program.image, offset)?;
    let origin = process.program_path.map(directory);
    let mut joined: &'static [u8] = b"";
    for entry in entries(list, false) {
        if let Some(directory) = expand(arena, entry, origin, process.secure)? {
            let separator: &[u8] = if joined.is_empty() { b"" } else { b":" };
            joined = arena.concat(&[joined, separator, directory])?;
        }
    }
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
            if libc_template::NEVER_EXPORTED.contains(&name) {
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
    fn enter(self) -> Result<Escaped, Error<'static>> {
        let Self { process, template, base, entry, snapshot, began, image } = self;
        let program = process.sealed.namespace.module(0);
        let entering = Entering { process, masked: [None; MASKED], snapshot, signals: 0 };
        let entering = process.arena.put(entering).of(program.path)?;
        unseal(process)?;
        if let Some(gap) = process.gap {
            // SAFETY: pages of the stack between the program's block and the gap, which nobody uses.
            let closed = unsafe { sys::guard(gap.guard, gap.guard_size, true) };
            closed.map_err(Problem::Protect).of(program.path).inspect_err(|_| seal(process))?;
        }
        // From here on nothing fails: ld.so's memory is its own for good.
        let _ = ManuallyDrop::new(image);
        entering.signals = set_signal_mask(u64::MAX);
        let block = LibcBlock::of(process);
        block.mask(&mut entering.masked);
        let template_entry = (start::template_entry as *const ()).expose_provenance();
        let (phdr, phnum) = (template.phdr_address().0, template.phdr_count());
        block.patch(&libc_values(phdr, phnum, base, from_usize(template_entry)));
        if let (Some(live), Some(snapshot)) = (process.thread_local, snapshot) {
            // SAFETY: the thread-local block of this thread, and a buffer of the same size.
            unsafe { snapshot.copy_from_nonoverlapping(live.block, live.size) };
        }
        ENTERING.store(entering, Ordering::Release);
        // SAFETY: the kernel's block and the gap below it (without a gap the process has no native needs);
        // `STATE` lets nobody come here twice.
        unsafe { start::enter(process.block.address(), entry) };
        Ok(Escaped { process, template, began })
    }
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
    for slot in natives.slots.iter() {
        let at = namespace.module(slot.module).image.bias().runtime(slot.vaddr);
        bindings.push(Binding { at, import: slot.import, r_type: slot.r_type, addend: slot.addend })?;
    }
    let (tls, snapshot) = match process.thread_local {
        Some(live) => {
            let buffer = arena.bytes(live.size, live.align)?;
            let at = RuntimeAddr(from_usize(buffer.as_mut_ptr().expose_provenance()));
            let tls = TlsSnapshot { at, size: from_usize(live.size), align: from_usize(live.align) };
            (Some(tls), Some(NonNull::from(buffer).cast()))
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
        targets: address(start::TARGETS.load(Ordering::Relaxed).cast_const().cast()),
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

fn locate(process: &Process, at: RuntimeAddr) -> Place<'_> {
    match process.locate(at) {
        Some((module, vaddr)) => {
            let name = module.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            Place { object: name, vaddr: vaddr.0 }
        }
        None => Place { object: b"?", vaddr: at.0 },
    }
}

/// Modules with words that ld.so is to fill, and RELRO over some of them.
fn with_sealed_slots(process: &Process) -> impl Iterator<Item = usize> {
    let slots = &process.sealed.natives.slots;
    let count = process.sealed.namespace.loaded().len();
    (0..count).filter(move |&index| {
        let relro = process.sealed.namespace.module(index).plan.relro;
        relro.is_some_and(|relro| {
            let inside = |vaddr| relro.start <= vaddr && vaddr < relro.end;
            slots.iter().any(|slot| slot.module == index && inside(slot.vaddr))
        })
    })
}

fn unseal(process: &'static Process) -> Result<(), Error<'static>> {
    for index in with_sealed_slots(process) {
        let module = process.sealed.namespace.module(index);
        protect_relro(&Linux, module, Protection::READ_WRITE).inspect_err(|_| seal(process))?;
    }
    Ok(())
}

/// Seals again what was unsealed. It was sealed before, so the kernel has nothing new to allocate for it.
fn seal(process: &'static Process) {
    for index in with_sealed_slots(process) {
        let module = process.sealed.namespace.module(index);
        protect_relro(&Linux, module, Protection::READ).unwrap_or_else(|error| super::refuse(&error));
    }
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

/// The kernel's block, in the hands of whoever brings libc in.
struct LibcBlock {
    words: NonNull<u64>,
    process: &'static Process,
}

impl LibcBlock {
    fn of(process: &'static Process) -> Self {
        let start = ptr::with_exposed_provenance_mut(to_usize(process.block.address()));
        Self { words: NonNull::new(start).unwrap_or(NonNull::dangling()), process }
    }

    fn word(&self, index: usize) -> *mut u64 {
        // SAFETY: indices come from the block's own layout.
        unsafe { self.words.add(index) }.as_ptr()
    }

    /// Points variables that ld.so must not act on at an empty one.
    fn mask(&self, masked: &mut [Option<(usize, u64)>]) {
        static EMPTY: [u8; 2] = *b"=\0";
        let layout = self.process.block.layout();
        let unwanted = |variable: &[u8]| MASKED_VARIABLES.iter().any(|prefix| variable.starts_with(prefix));
        let environment = self.process.block.environment().enumerate();
        let found = environment.filter(|(_, variable)| unwanted(variable));
        for ((index, _), place) in found.zip(masked) {
            let index = layout.envp.saturating_add(index);
            // SAFETY: a word of envp; nobody else uses the kernel's block.
            let value = unsafe { self.word(index).read() };
            *place = Some((index, value));
            // SAFETY: as above.
            unsafe { self.word(index).write(from_usize((&raw const EMPTY).expose_provenance())) };
        }
    }

    fn unmask(&self, masked: &[Option<(usize, u64)>]) {
        for &(index, value) in masked.iter().flatten() {
            // SAFETY: as in `mask`. ld.so may have moved what follows a variable that it removed, which it
            // only does in a secure process; there is nothing to mask in one.
            unsafe { self.word(index).write(value) };
        }
    }

    fn patch(&self, values: &[(u32, u64)]) {
        let layout = self.process.block.layout();
        // SAFETY: the kernel's block, which the program does not use: it has its own copy.
        let words = unsafe { core::slice::from_raw_parts_mut(self.words.as_ptr(), layout.end) };
        layout.patch(words, values);
    }
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
    LibcBlock::of(process).unmask(&entering.masked);
    if let (Some(live), Some(snapshot)) = (process.thread_local, entering.snapshot) {
        // SAFETY: the buffer that the template's PT_TLS describes. The main thread's storage has been made
        // of it; libc reads it again for later threads only.
        let block = unsafe { core::slice::from_raw_parts_mut(snapshot.as_ptr(), live.size) };
        block.fill(0);
        process.sealed.fill_tls(block).unwrap_or_else(|error| super::refuse(&error));
    }
    for (number, import) in (0u32..).zip(process.sealed.natives.imports.iter()) {
        let bound = target(number) != 0 || import.st_type == consts::STT_TLS;
        if import.strong && !bound {
            super::refuse(&missing(process, number));
        }
    }
    seal(process);
    HOOKED.store(now(), Ordering::Relaxed);
    set_signal_mask(entering.signals);
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

/// Our finalisers run in libc's `exit`: after what the program registers from now on, before ld.so's own.
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
