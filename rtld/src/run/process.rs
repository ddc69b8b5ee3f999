//! A process from the full start on: what is known about it, and its beginning and end.
//!
//! # Safety
//! This file exists because initialisers, finalisers and the program itself are entered by address, and
//! because what is known about the process is found through one pointer. That pointer is published once,
//! complete, before anything of the program runs.
#![allow(unsafe_code)]

use core::iter;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use rtld::base::addr::{PageSize, RuntimeAddr, Vaddr, align_up, from_usize, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::base::hash::Key;
use rtld::base::report::{Category, Trace};
use rtld::elf::plan::Protection;
use rtld::error::{Error, Failure, OWN, OfObject, Problem};
use rtld::link::load::{Request, Sealed, load, present};
use rtld::link::namespace::Module;
use rtld::link::reloc::Seen;
use rtld::link::search::ProgramPath;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, Linux};
use rtld::start::command_line::Until;
use rtld::start::invocation::Settings;

use crate::platform::bogomap;
use crate::platform::gap::Gap;
use crate::run::code::{self, Arguments};
use crate::run::command::{self, Direct};
use crate::run::cut::{self, Watch};
use crate::run::kernel::{Block, StackLimit};
use crate::run::native::binding;
use crate::run::open::{debugger, libraries};
use crate::run::{inspect, started, thread, trace};
use crate::{cpu, platform};

/// Thread-local storage of program and libraries.
#[derive(Clone, Copy)]
pub(crate) struct ThreadLocal {
    /// The main thread's block.
    pub(crate) block: NonNull<u8>,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// Its alignment in bytes.
    pub(crate) align: usize,
}

/// What is known about the process.
pub(crate) struct Process {
    pub(crate) arena: &'static Arena,
    pub(crate) trace: Trace,
    pub(crate) settings: Settings<'static>,
    pub(crate) secure: bool,
    pub(crate) page: PageSize,
    pub(crate) program_path: ProgramPath<'static>,
    pub(crate) sealed: Sealed<'static, MappedImage>,
    /// The kernel's block, which becomes libc's.
    pub(crate) block: Block,
    /// The program's block: the kernel's, or a copy below the gap.
    pub(crate) program_block: u64,
    pub(crate) gap: Option<Gap>,
    pub(crate) thread_local: Option<ThreadLocal>,
    entry: RuntimeAddr,
    /// How many of `sealed.init_order` have begun their initialisers: the first so many.
    initialised: AtomicUsize,
    /// The auxiliary vector as the kernel passed it.
    auxv: &'static [u64],
    /// Until code of some object runs, a file that is cut off is a refusal.
    pub(crate) watch: Watch,
    began: u64,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());

/// Nanoseconds of CLOCK_MONOTONIC, if somebody wants to know how long things take; otherwise 0, and no system call.
pub(crate) fn clock(trace: Trace) -> u64 {
    if !trace.wants(Category::Timings) {
        return 0;
    }
    let mut time = [0u64; 2];
    const CLOCK_MONOTONIC: usize = 1;
    let number = linux_raw_sys::general::__NR_clock_gettime;
    let place = (&raw mut time).expose_provenance();
    // SAFETY: `time` has the layout of a timespec.
    unsafe { cpu::system_call(number, [CLOCK_MONOTONIC, place, 0, 0]) };
    let [seconds, nanoseconds] = time;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// Sixteen random bytes: AT_RANDOM's, or the kernel's own.
pub(crate) fn random(block: &Block) -> Option<[u64; 2]> {
    if let Some(random) = block.random() {
        // SAFETY: AT_RANDOM's sixteen bytes.
        return Some(unsafe { random.as_ptr().read_unaligned() });
    }
    let mut random = [0u64; 2];
    let number = linux_raw_sys::general::__NR_getrandom;
    let place = (&raw mut random).expose_provenance();
    // SAFETY: sixteen bytes of our own.
    let got = unsafe { cpu::system_call(number, [place, 16, 0, 0]) };
    (got == 16).then_some(random)
}

/// What tables by hash are keyed with. Without random bytes, what nobody else knows are our addresses.
fn key(block: &Block, path: &[u8]) -> Key {
    Key::new(random(block).unwrap_or([block.address(), RuntimeAddr::of(path.as_ptr()).0]))
}

/// What programs import from the loader is defined by.
#[inline(never)]
fn loader_itself(
    arena: &'static Arena,
    path: &'static [u8],
) -> Result<&'static mut Module<'static, MappedImage>, Error<'static>> {
    present(arena, platform::exporter(arena, path).of(path)?)
}

/// An arena of its own.
pub(crate) fn new_arena() -> Result<&'static Arena, Failure<'static>> {
    const FIRST: usize = 64 << 10;
    let memory = sys::anonymous(FIRST).ok_or(OutOfMemory(FIRST))?;
    // SAFETY: fresh memory of our own, as the source gives it.
    let arena = unsafe { Arena::in_memory(memory, sys::MEMORY) };
    Ok(arena.ok_or(OutOfMemory(FIRST))?)
}

impl Process {
    /// The process, once it is published.
    pub(crate) fn get() -> Option<&'static Self> {
        // SAFETY: null, or put into the arena and complete before it was published; never changed after.
        unsafe { PROCESS.load(Ordering::Acquire).as_ref() }
    }

    /// Loads, relocates and seals what the program needs. Nothing of it has run when this returns.
    pub(crate) fn load(mut block: Block, limit: StackLimit) -> Result<&'static Self, Error<'static>> {
        let secure = block.auxiliary().is_secure();
        if secure {
            block.remove_variables(rtld::start::handoff::is_unsafe_variable);
        }
        let arena = new_arena().of(block.exec_path())?;
        let watch = cut::watch(arena.put(block.exec_path()).of(block.exec_path())?);
        let itself = block.auxiliary().entry() == Some(cpu::own_entry());
        let direct = if itself { Some(command::obey(&mut block, arena, secure)?) } else { None };
        let path = block.exec_path();
        let settings = if secure { Settings::default() } else { Settings::from_environment(block.environment()) };
        let trace = trace::set_up(&settings, arena);
        let began = clock(trace);
        let page = block.auxiliary().page_size();
        let Direct { program, path: program_path, library_path, loader, until } = match direct {
            Some(direct) => direct,
            None => started::direct(&block, arena, secure, &settings)?,
        };
        let settings = Settings { library_path: library_path.or(settings.library_path), ..settings };
        let own_path = loader.or_else(|| block.interpreter(&program.image)).unwrap_or(OWN);
        let own_path = arena.copy(own_path).of(path)?;
        let request = Request {
            program,
            loader: loader_itself(arena, own_path)?,
            library_path: settings.library_path,
            program_path,
            secure,
            page,
            key: key(&block, own_path),
            trace,
        };
        if settings.show_auxv && platform::LIBC_KNOWS_PROGRAM {
            inspect::show_auxv(&block)?;
        }
        let loaded = load(&Linux, arena, request)?;
        if until == Until::Loaded || settings.list {
            inspect::list(&loaded);
        }
        let mut relocated = loaded.relocate(cpu::code())?;
        if relocated.link_map_changes() {
            relocated.set_debug(debugger::address());
        }
        let sealed = relocated.seal(&Linux)?;
        platform::seal_own().of(own_path)?;
        if until == Until::Relocated {
            inspect::verified(&sealed);
        }
        let entry = started::entry(&block, sealed.namespace.module(0)).of(path)?;
        let process = Self {
            arena,
            trace,
            settings,
            secure,
            page,
            program_path,
            sealed,
            program_block: block.address(),
            gap: None,
            thread_local: None,
            entry,
            initialised: AtomicUsize::new(0),
            auxv: block.copy_auxv(arena).of(path)?,
            block,
            watch,
            began,
        };
        if process.settings.never_bogomap && process.may_want_libc() {
            platform::leave_to_other(&process)?;
        }
        process.prepare(limit).of(path)
    }

    /// Stack, thread-local storage and stub targets; then the process is published.
    fn prepare(mut self, limit: StackLimit) -> Result<&'static Self, Failure<'static>> {
        let natives = &self.sealed.natives;
        if self.may_want_libc() {
            if let Some(key) = self.block.auxiliary().missing_for_libc() {
                return Err(Problem::Auxiliary(key.into()).into());
            }
            binding::set_up(self.arena, natives.imports.len())?;
            // Twice 64: the area's own alignment, and that of its end.
            let state = self.block.auxiliary().min_signal_stack().unwrap_or(0).max(4096);
            let state = align_up(state, 64).unwrap_or(4096).saturating_add(128);
            cpu::STATE_SIZE.store(to_usize(state), Ordering::Relaxed);
            let (gap, copy) = Gap::leave(&self.block, self.page, limit)?;
            self.program_block = copy;
            self.gap = Some(gap);
        }
        if self.sealed.seen.opens {
            thread::make_room(&mut self.sealed.tls)?;
        }
        if self.sealed.tls.size() != 0 {
            let namespace = &self.sealed.namespace;
            let blocks = namespace.loaded().filter_map(|(_, module)| module.tls);
            thread::set_up(self.arena, namespace.bound(), blocks)?;
        }
        if self.has_thread_pointer() {
            platform::set_up_thread(&mut self)?;
        }
        let process = self.arena.put(self)?;
        PROCESS.store(process, Ordering::Release);
        Ok(process)
    }

    /// Runs the program, on its own stack.
    pub(crate) fn begin(&'static self) -> ! {
        match self.gap {
            // SAFETY: the copy of the block is a multiple of 16; what is below it is unused.
            Some(_) => unsafe { cpu::switch_stack(self.program_block, begin_published) },
            None => self.run(),
        }
    }

    fn run(&'static self) -> ! {
        let Seen { opens, lists, .. } = self.sealed.seen;
        if libraries::any(self) {
            debugger::announce_own(self);
        }
        if opens || lists {
            let made = libraries::set_up(self).of(self.sealed.namespace.module(0).path);
            made.unwrap_or_else(|error| crate::run::last_words::refuse(&error));
        }
        if bogomap::comes_first(self) {
            self.watch.end();
            bogomap::ensure_libc(self).unwrap_or_else(|error| crate::run::last_words::refuse(&error));
        }
        self.resolve_indirect().unwrap_or_else(|error| crate::run::last_words::refuse(&error));
        let program = self.sealed.namespace.module(0);
        let calls =
            self.initialisers().of(program.path).unwrap_or_else(|error| crate::run::last_words::refuse(&error));
        self.watch.end();
        let all = self.sealed.init_order.len();
        let (libraries, own) = calls.split_at(calls.partition_point(|&(begun, _)| begun < all));
        self.initialise(libraries);
        bogomap::libraries_are_ready();
        self.initialise(own);
        self.initialised.store(all, Ordering::Relaxed);
        if self.trace.wants(Category::Timings) {
            let spent = clock(self.trace).saturating_sub(self.began);
            self.trace.line(Category::Timings, format_args!("entry after {spent} ns in the loader"));
        }
        if self.calls_entry() {
            crate::run::exports::slul_exit(self.call_entry());
        }
        // SAFETY: AT_ENTRY, with the program's block; nothing on this stack is needed again.
        unsafe { cpu::transfer(self.entry.0, self.program_block, finalise) }
    }

    /// Asks the resolvers (STT_GNU_IFUNC), those of dependencies first. Everything else has its value by now, libc too if
    /// it is loaded eagerly.
    fn resolve_indirect(&self) -> Result<(), Error<'static>> {
        let Sealed { namespace, indirect, init_order, .. } = &self.sealed;
        if indirect.is_empty() {
            return Ok(());
        }
        let questions = code::questions(self.arena, namespace, init_order, indirect)?;
        self.watch.end();
        code::protect_indirect(namespace, init_order, indirect, Protection::READ_WRITE)?;
        // SAFETY: writable, and never unmapped.
        unsafe { code::ask_all(&questions) };
        code::protect_indirect(namespace, init_order, indirect, Protection::READ)
    }

    fn initialise(&self, calls: &[(usize, RuntimeAddr)]) {
        for &(begun, function) in calls {
            self.initialised.store(begun, Ordering::Relaxed);
            code::initialise(iter::once(function), self.arguments());
        }
    }

    /// What is to be called before the program, in that order, each with the number of modules whose initialisers have
    /// begun then. Read before any of it runs, so that a file that was cut off is still noticed.
    fn initialisers(&self) -> Result<List<'static, (usize, RuntimeAddr)>, OutOfMemory> {
        let mut calls = List::new(self.arena);
        let namespace = &self.sealed.namespace;
        code::preinitialisers(namespace.module(0)).try_for_each(|function| calls.push((0, function)))?;
        for (begun, &index) in (1usize..).zip(self.sealed.init_order) {
            let mut functions = code::initialisers(namespace.module(index));
            functions.try_for_each(|function| calls.push((begun, function)))?;
        }
        Ok(calls)
    }

    /// Whether libc may be wanted at all.
    fn may_want_libc(&self) -> bool {
        self.sealed.natives.any() || self.sealed.seen.libc_wanted
    }

    /// Whether the main thread has a TCB.
    pub(crate) fn has_thread_pointer(&self) -> bool {
        self.sealed.seen.canary || self.sealed.tls.size() != 0
    }

    /// Whether the entry is called, and not entered as by the kernel.
    pub(crate) fn calls_entry(&self) -> bool {
        let note = self.sealed.namespace.module(0).note;
        note.is_some_and(|note| note.flags & rt0::FLAG_CALL_ENTRY != 0)
    }

    /// argc, argv and envp of the program's block.
    pub(crate) fn arguments(&self) -> Arguments {
        let layout = self.block.layout();
        let argc = i32::try_from(layout.argc).unwrap_or(i32::MAX);
        Arguments { argc, argv: self.program_word(1), envp: self.program_word(layout.envp) }
    }

    /// Address of a word of the program's block.
    fn program_word(&self, index: usize) -> u64 {
        self.program_block.wrapping_add(from_usize(index).wrapping_mul(8))
    }
    fn call_entry(&self) -> i32 {
        let Arguments { argc, argv, envp } = self.arguments();
        // SAFETY: AT_ENTRY is code, and the ABI note says that it is a function of this type.
        let entry = unsafe { code::function::<extern "C" fn(i32, u64, u64, u64) -> i32>(self.entry) };
        entry(argc, argv, envp, self.program_word(self.block.layout().auxv))
    }

    /// A value of the auxiliary vector as the kernel passed it.
    pub(crate) fn auxiliary(&self, key: u64) -> u64 {
        let mut pairs = self.auxv.chunks_exact(2);
        let found = pairs.find(|pair| pair.first() == Some(&key) && key != 0);
        found.and_then(|pair| pair.get(1)).copied().unwrap_or(0)
    }

    /// Where an address is, in terms of the object that holds it.
    pub(crate) fn locate(&self, address: RuntimeAddr) -> Option<(&Module<'static, MappedImage>, Vaddr)> {
        self.sealed.namespace.loaded().find_map(|(_, module)| {
            let vaddr = module.image.bias().vaddr(address);
            module.image.plan().segment_of(vaddr, 1).map(|_| (module, vaddr))
        })
    }
}

/// [`Process::run`], once the stack is the program's.
extern "C" fn begin_published() -> ! {
    match Process::get() {
        Some(process) => process.run(),
        None => cpu::trap(),
    }
}

/// Runs the finalisers of program and libraries, in reverse order of initialisation; each once, and only of those whose
/// initialisers have begun. A finaliser that asks for it again runs those that are left.
pub(crate) extern "C" fn finalise() {
    let Some(process) = Process::get() else { return };
    libraries::finalise();
    let next = || {
        let ordering = Ordering::Relaxed;
        process.initialised.fetch_update(ordering, ordering, |begun| begun.checked_sub(1))
    };
    while let Ok(begun) = next() {
        let index = process.sealed.init_order.get(begun.wrapping_sub(1));
        let module = index.and_then(|&index| process.sealed.namespace.get(index));
        module.into_iter().for_each(|module| code::finalise(code::finalisers(module)));
    }
}
