//! A process that opens and closes libraries without running their code, for the tests of opening.

use rtld::base::report::Trace;
use rtld::elf::symbol::Name;
use rtld::error::{Error, Problem};
use rtld::link::namespace::Definition;
use rtld::link::sealed::Sealed;
use rtld::link::search::ProgramPath;
use rtld::open::find::Where;
use rtld::open::libraries::{Libraries, Opening, ProcessInfo};
use rtld::open::opened::Flags;
use rtld::os::seam::Image;
use tests::memory::image::PAGE;
use tests::memory::scene::{CODE, arena};
use tests::memory::{Faulty, MemImage, Scene};

use crate::text;

pub(crate) const NOW: i32 = 2;
pub(crate) const NOLOAD: i32 = 4;
pub(crate) const DEEPBIND: i32 = 8;
pub(crate) const GLOBAL: i32 = 0x100;
pub(crate) const NODELETE: i32 = 0x1000;

/// Room in bytes for the thread-local storage of opened libraries.
pub(crate) const RESERVE: u64 = 1024;

/// Numbers, paths and load biases of all objects; number of mapped ones; numbers of objects added and removed so far.
type State = (Vec<(usize, &'static str, u64)>, usize, (u64, u64));

/// A process after its start.
pub(crate) struct Process {
    pub(crate) sys: Faulty,
    pub(crate) libraries: Libraries<'static, MemImage>,
}

impl Process {
    /// Starts the program of a scene.
    pub(crate) fn of(scene: Scene) -> Self {
        let scene: &'static Scene = Box::leak(Box::new(scene));
        let sealed: &'static Sealed<'_, _> = Box::leak(Box::new(scene.seal().unwrap()));
        let mut tls = sealed.tls;
        tls.reserve(RESERVE);
        let circumstances = ProcessInfo {
            library_path: scene.library_path.map(str::as_bytes),
            program_path: ProgramPath::Known(scene.program_path.map(str::as_bytes)),
            current: |_| Ok(Some(b"/current")),
            secure: scene.secure,
            page: PAGE,
            trace: Trace::OFF,
            code: CODE,
        };
        let libraries = Libraries::after(sealed, tls, circumstances, arena()).unwrap();
        Self { sys: Faulty::new(&scene.os), libraries }
    }

    /// Opens a library for a module, without the initialisers.
    pub(crate) fn begin_by(
        &mut self,
        caller: usize,
        name: &'static str,
        flags: i32,
    ) -> Result<Option<Opening<'static>>, Error<'static>> {
        let flags = Flags::new(NOW | flags).unwrap();
        self.libraries.open(&self.sys, arena(), name.as_bytes(), caller, flags)
    }

    /// Opens a library for a module, and returns its number.
    pub(crate) fn open_by(
        &mut self,
        caller: usize,
        name: &'static str,
        flags: i32,
    ) -> Result<usize, Error<'static>> {
        let opening = self.begin_by(caller, name, flags)?.unwrap();
        self.initialise(&opening);
        Ok(opening.root)
    }

    /// The second part of an opening: initialisers.
    pub(crate) fn initialise(&mut self, opening: &Opening<'static>) {
        self.libraries.commit(opening).unwrap();
        opening.fresh.iter().for_each(|&index| self.libraries.initialising(index));
        self.libraries.settle(opening.fresh);
    }

    /// Opens a library for the program; it must succeed.
    pub(crate) fn open(&mut self, name: &'static str, flags: i32) -> usize {
        self.open_by(0, name, flags).unwrap()
    }

    /// Opens a library for the program; it must fail. Returns the object at fault and the error.
    pub(crate) fn refused(&mut self, name: &'static str, flags: i32) -> (&'static str, Problem<'static>) {
        crate::refused(self.open_by(0, name, flags))
    }

    /// Closes a library, without the finalisers.
    pub(crate) fn begin_close(&mut self, index: usize) -> &'static [usize] {
        self.libraries.close(arena(), index).unwrap()
    }

    /// The second part of a closing: returns the names of the removed objects, in order.
    pub(crate) fn finish(&mut self, mut objects: &'static [usize]) -> Vec<&'static str> {
        let mut gone = Vec::new();
        while !objects.is_empty() {
            for &index in objects {
                assert!(self.libraries.finalising(index));
                gone.push(self.name(index));
            }
            for &index in objects {
                self.libraries.remove(&self.sys, index);
            }
            objects = self.libraries.unused(arena()).unwrap();
        }
        gone
    }

    /// Closes a library, and returns the names of the removed objects, in order.
    pub(crate) fn close(&mut self, index: usize) -> Vec<&'static str> {
        let objects = self.begin_close(index);
        self.finish(objects)
    }

    /// Looks a name up, without a caller to keep the definition for.
    pub(crate) fn find(&mut self, place: Where, name: &str) -> Option<Definition> {
        self.libraries.find(place, None, &Name::by_hand(name.as_bytes())).unwrap()
    }

    /// Name of the module that defines a symbol.
    pub(crate) fn definer(&mut self, place: Where, name: &str) -> Option<&'static str> {
        let definition = self.find(place, name)?;
        Some(self.name(definition.module))
    }

    /// The last component of a module's path.
    pub(crate) fn name(&self, index: usize) -> &'static str {
        text(self.libraries.namespace().module(index).path).rsplit('/').next().unwrap()
    }

    /// Names of all opened objects, without those of the start.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let namespace = self.libraries.namespace();
        let opened = namespace.all().filter(|&(index, _)| !namespace.is_first(index));
        opened.map(|(index, _)| self.name(index)).collect()
    }

    /// Number of a module by its name.
    pub(crate) fn number(&self, name: &str) -> usize {
        let namespace = self.libraries.namespace();
        let found = namespace.all().find(|&(index, _)| self.name(index) == name);
        found.unwrap().0
    }

    /// A word of a module.
    pub(crate) fn word(&self, index: usize, vaddr: u64) -> u64 {
        self.libraries.namespace().module(index).image.word(vaddr).unwrap()
    }

    /// Load bias of a module.
    pub(crate) fn bias(&self, index: usize) -> u64 {
        self.libraries.namespace().module(index).image.bias().0
    }

    /// The state that a failure must not change.
    pub(crate) fn state(&self) -> State {
        let all = self.libraries.namespace().all();
        let all = all.map(|(index, module)| (index, text(module.path), module.image.bias().0));
        (all.collect(), self.sys.os().mapped(), self.libraries.changes)
    }
}
