//! The loader's phases over files in memory: the same code that runs in a starting process, without one.
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod builder;
mod definitions;
mod machines;
mod modules;
mod mutants;
mod open;
mod opened;
mod openings;
mod peek;
mod refusals;
mod search;
mod symbols;
mod words;

use rtld::error::{Error, Problem};
use rtld::link::namespace::Module;
use rtld::link::sealed::Sealed;
use rtld::machine::Machine;
use tests::memory::{ElfBuilder, MemImage};

/// A program that needs some libraries.
fn program_needing(names: &[&str]) -> ElfBuilder {
    names.iter().fold(ElfBuilder::new(), |elf, name| elf.needs(name))
}

/// Paths of the modules, without the loader's.
fn paths<'m, 'a: 'm, M: Machine>(
    modules: impl Iterator<Item = (usize, &'m Module<'a, MemImage<M>>)>,
) -> Vec<&'a str> {
    modules.map(|(_, module)| text(module.path)).collect()
}

/// The error of a refusal, and the object's path as text.
fn refused<T>(result: Result<T, Error<'static>>) -> (&'static str, Problem<'static>) {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error) => (text(error.object), error.problem),
    }
}

/// A word of a module after all phases.
fn word<M: Machine>(sealed: &Sealed<'_, MemImage<M>>, module: usize, vaddr: u64) -> u64 {
    sealed.namespace.module(module).image.word(vaddr).unwrap()
}

/// Load bias of a module.
fn bias<M: Machine>(sealed: &Sealed<'_, MemImage<M>>, module: usize) -> u64 {
    use rtld::os::seam::Image;
    sealed.namespace.module(module).image.bias().0
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
