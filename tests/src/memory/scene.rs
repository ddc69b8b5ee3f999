//! A program, its libraries and the circumstances of its start -> the phases of the loader, in memory.

use abi::arch::NATIVE;
use abi::paths::LIBRARIES;
use rtld::base::addr::RuntimeAddr;
use rtld::base::arena::Arena;
use rtld::base::hash::Key;
use rtld::base::report::Trace;
use rtld::elf::consts;
use rtld::error::{Error, Failure, OfObject};
use rtld::link::file::{Mapped, map_object};
use rtld::link::load::{Loaded, Present, Relocated, Request, load, present};
use rtld::link::reloc::{LoaderCode, StubLayout, Stubs};
use rtld::link::sealed::Sealed;
use rtld::link::search::ProgramPath;
use rtld::machine::{Machine, X86_64};
use rtld::os::seam::{AddressSpace, Image};

pub use super::arena::arena;
use super::elf::ElfBuilder;
use super::file::Elf;
use super::image::{MemImage, PAGE};
use super::os::MemOs;

/// Path of the program.
pub const PROGRAM: &str = "/opt/app/bin/program";

/// Path of the loader.
pub const LOADER: &str = NATIVE.paths.loader;

/// Addresses of the loader's assembly: first-call stubs, and the two functions of TLS descriptors.
pub const CODE: LoaderCode = LoaderCode {
    stubs: STUBS,
    waiting: None,
    tls_descriptor: RuntimeAddr(0x5800_0000),
    tls_undefined: RuntimeAddr(0x5800_0010),
    tls_described: RuntimeAddr(0x5800_1000),
};

/// The first-call stubs in [`CODE`].
pub const STUBS: Stubs = Stubs {
    start: RuntimeAddr(0x5000_0000),
    layout: StubLayout { groups: 2, per_group: 2, stride: 4, group_stride: 32 },
};

/// The files and the circumstances of a start.
#[derive(Debug)]
pub struct Scene<M = X86_64> {
    /// Files and memory.
    pub os: MemOs<M>,
    /// Value of LD_LIBRARY_PATH.
    pub library_path: Option<&'static str>,
    /// What the program's `$ORIGIN` is taken from.
    pub program_path: Option<&'static str>,
    /// AT_SECURE.
    pub secure: bool,
    /// Memory for the loader's tables.
    pub arena: &'static Arena,
}

impl Scene {
    /// A program that was started by an ordinary user, under a loader that defines no symbol.
    #[must_use]
    pub fn new(program: &ElfBuilder) -> Self {
        Self::of_machine(program)
    }
}

impl<M: Machine> Scene<M> {
    /// A program for any machine, started by an ordinary user, under a loader that defines no symbol.
    #[must_use]
    pub fn of_machine(program: &ElfBuilder) -> Self {
        let mut os = MemOs::of_machine(arena());
        os.file(PROGRAM, &program.build().bytes);
        let loader = ElfBuilder::of_machine::<M>().string(consts::DT_SONAME, M::ARCH.paths.soname);
        os.file(LOADER, &loader.build().bytes);
        Self { os, library_path: None, program_path: Some(PROGRAM), secure: false, arena: arena() }
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, elf: &ElfBuilder) -> Self {
        self.bytes(path, &elf.build())
    }

    /// Adds a file whose bytes are made already.
    #[must_use]
    pub fn bytes(mut self, path: &str, elf: &Elf) -> Self {
        self.os.file(path, &elf.bytes);
        self
    }

    /// Adds libraries to `/lib/slul`, the last directory of the search, by their names.
    #[must_use]
    pub fn libraries<const N: usize>(self, libraries: [(&str, ElfBuilder); N]) -> Self {
        libraries.iter().fold(self, |scene, (name, elf)| scene.file(&format!("{LIBRARIES}/{name}"), elf))
    }

    /// Sets LD_LIBRARY_PATH.
    #[must_use]
    pub fn library_path(self, path: &'static str) -> Self {
        Self { library_path: Some(path), ..self }
    }

    /// Makes it a set-id program: without LD_LIBRARY_PATH and without an origin, like `slulrtld` does.
    #[must_use]
    pub fn secure(self) -> Self {
        Self { secure: true, library_path: None, program_path: None, ..self }
    }

    /// Plans and maps one file.
    ///
    /// # Errors
    /// See [`map`].
    pub fn map(&self, path: &str) -> Result<Mapped<MemImage<M>>, Failure<'static>> {
        map(&self.os, self.arena, path)
    }

    fn start(&self) -> Start {
        let Self { library_path, program_path, secure, .. } = *self;
        Start { program: PROGRAM, loader: LOADER, library_path, program_path, secure }
    }

    /// The first phase: all files mapped.
    ///
    /// # Errors
    /// Those of [`rtld::link::load::load`].
    pub fn load(&self) -> Result<Loaded<'static, MemImage<M>>, Error<'static>> {
        self.start().load(&self.os, self.arena)
    }

    /// The first two phases: all files mapped and relocated.
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Loaded::relocate`].
    pub fn relocate(&self) -> Result<Relocated<'static, MemImage<M>>, Error<'static>> {
        self.load()?.relocate(CODE)
    }

    /// All phases.
    ///
    /// # Errors
    /// Those of [`Self::relocate`] and [`Relocated::seal`].
    pub fn seal(&self) -> Result<Sealed<'static, MemImage<M>>, Error<'static>> {
        self.start().seal(&self.os, self.arena)
    }
}

/// Plans and maps one file.
///
/// # Errors
/// The file is not there, is no ELF object that can be loaded ([`map_object`]), or there is no memory for it.
pub fn map<S: AddressSpace>(
    sys: &S,
    arena: &'static Arena,
    path: &str,
) -> Result<Mapped<S::Image>, Failure<'static>> {
    let (file, info) = sys.open(path.as_bytes())?;
    map_object(sys, arena, &file, &info, PAGE)
}

/// The circumstances of a start, for any machine and any memory.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Path of the program.
    pub program: &'static str,
    /// Path of the loader.
    pub loader: &'static str,
    /// Value of LD_LIBRARY_PATH.
    pub library_path: Option<&'static str>,
    /// What the program's `$ORIGIN` is taken from.
    pub program_path: Option<&'static str>,
    /// AT_SECURE.
    pub secure: bool,
}

impl Start {
    /// An object that the kernel has mapped before the loader begins.
    fn present<S: AddressSpace>(
        sys: &S,
        arena: &'static Arena,
        path: &'static str,
    ) -> Result<Present<'static, S::Image>, Error<'static>> {
        let path_bytes = path.as_bytes();
        let Mapped { image, headers, .. } = map(sys, arena, path).of(path_bytes)?;
        let phdrs = image.plan().vaddr_of(headers.phoff).map(|vaddr| (vaddr, headers.phnum));
        Ok(Present { path: path_bytes, image, phdrs })
    }

    /// The first phase: all files mapped.
    ///
    /// # Errors
    /// Those of [`rtld::link::load::load`], and of [`map`] for program and loader.
    pub fn load<S: AddressSpace>(
        &self,
        sys: &S,
        arena: &'static Arena,
    ) -> Result<Loaded<'static, S::Image>, Error<'static>> {
        let request = Request {
            program: present(arena, Self::present(sys, arena, self.program)?)?,
            loader: present(arena, Self::present(sys, arena, self.loader)?)?,
            library_path: self.library_path.map(str::as_bytes),
            program_path: ProgramPath::Known(self.program_path.map(str::as_bytes)),
            secure: self.secure,
            page: PAGE,
            key: Key::new([1, 2]),
            trace: Trace::OFF,
        };
        load(sys, arena, request)
    }

    /// All phases.
    ///
    /// # Errors
    /// Those of [`Self::load`], [`Loaded::relocate`] and [`Relocated::seal`].
    pub fn seal<S: AddressSpace>(
        &self,
        sys: &S,
        arena: &'static Arena,
    ) -> Result<Sealed<'static, S::Image>, Error<'static>> {
        self.load(sys, arena)?.relocate(CODE)?.seal(sys)
    }
}
