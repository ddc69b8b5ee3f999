//! The objects of this world, in breadth-first order, and what a name means in it.
#![forbid(unsafe_code)]

use rt0::AbiNote;

use crate::addr::RuntimeAddr;
use crate::arena::List;
use crate::dynamic::DynamicInfo;
use crate::elf::{Sym, consts, st_type};
use crate::error::{Error, OfObject};
use crate::plan::LoadPlan;
use crate::seam::{FileInfo, Image};
use crate::symbol::{Name, is_absolute, lookup};

/// What a DT_NEEDED turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A libc-free library: its number.
    Module(usize),
    /// Left to the system's ld.so, or the loader itself.
    Outside,
}

/// One object.
#[derive(Debug)]
pub struct Module<'a, I> {
    /// Path that it was opened by; of the program, what the kernel was given.
    pub path: &'a [u8],
    /// The names that a DT_NEEDED can find it by: DT_SONAME (or the name it was first asked for by).
    pub soname: &'a [u8],
    /// Which file it is, if it was opened here.
    pub info: Option<FileInfo>,
    /// The module that needed it first.
    pub needer: Option<usize>,
    /// What is mapped where.
    pub plan: LoadPlan,
    /// Its tables.
    pub dynamic: DynamicInfo,
    /// Its memory.
    pub image: I,
    /// What it needs, in link order.
    pub needed: &'a [Need],
    /// Distance of its thread-local block below the thread pointer, if it has one.
    pub tls_offset: Option<u64>,
    /// Its ABI note.
    pub note: Option<AbiNote>,
}

impl<I: Image> Module<'_, I> {
    /// Address of something that it defines.
    #[must_use]
    pub fn address(&self, sym: &Sym) -> RuntimeAddr {
        if is_absolute(sym) {
            RuntimeAddr(sym.st_value)
        } else {
            self.image.bias().runtime(crate::addr::Vaddr(sym.st_value))
        }
    }
}

/// A symbol and the module that defines it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Number of the module.
    pub module: usize,
    /// Its entry in that module's symbol table.
    pub sym: Sym,
}

/// All objects of this world: the program, its libraries breadth first, and last the loader.
#[derive(Debug)]
pub struct Namespace<'a, I> {
    modules: List<'a, Module<'a, I>>,
}

impl<'a, I: Image> Namespace<'a, I> {
    /// From a list that ends with the loader.
    #[must_use]
    pub fn new(modules: List<'a, Module<'a, I>>) -> Self {
        Self { modules }
    }

    /// Program and libraries, without the loader.
    #[must_use]
    pub fn loaded(&self) -> &[Module<'a, I>] {
        self.modules.split_last().map_or(&[], |(_, loaded)| loaded)
    }

    /// All modules, in scope order.
    #[must_use]
    pub fn all(&self) -> &[Module<'a, I>] {
        &self.modules
    }

    /// Module `index`. Numbers of modules are only ever made from positions in this list.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a number from elsewhere would be a bug of ours")]
    pub fn module(&self, index: usize) -> &Module<'a, I> {
        &self.modules[index]
    }

    /// Module `index`, to write to.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a number from elsewhere would be a bug of ours")]
    pub fn module_mut(&mut self, index: usize) -> &mut Module<'a, I> {
        &mut self.modules[index]
    }

    /// The first definition of `name` in scope order.
    pub fn lookup(&self, name: &Name<'_>) -> Result<Option<Definition>, Error<'a>> {
        self.lookup_outside(name, usize::MAX)
    }

    /// The first definition of `name` in scope order that is not in module `except`.
    pub fn lookup_outside(&self, name: &Name<'_>, except: usize) -> Result<Option<Definition>, Error<'a>> {
        for (index, module) in self.modules.iter().enumerate().filter(|(index, _)| *index != except) {
            if let Some(sym) = lookup(&module.image, &module.dynamic, name).of(module.path)? {
                return Ok(Some(Definition { module: index, sym }));
            }
        }
        Ok(None)
    }

    /// The run-time address of a definition, or why it has none.
    pub fn address(&self, definition: &Definition) -> Result<RuntimeAddr, &'static str> {
        match st_type(&definition.sym) {
            consts::STT_TLS => Err("is thread-local, but not used so"),
            _ => Ok(self.module(definition.module).address(&definition.sym)),
        }
    }
}
