//! Calls of code in objects: initialisers, finalisers, resolvers.
//!
//! # Safety
//! This file exists because such code is entered by its address. That a function of the stated type is there is the
//! object's own statement, by the table that contains the address; nothing can check it.
#![allow(unsafe_code)]

use core::ptr;
use core::sync::atomic::AtomicPtr;

use rtld::base::addr::{RuntimeAddr, to_usize};
use rtld::base::arena::{Arena, List, OutOfMemory};
use rtld::elf::plan::Protection;
use rtld::error::{Error, OfObject};
use rtld::link::calls::is_function;
use rtld::link::namespace::{Module, Namespace};
use rtld::link::reloc::Indirect;
use rtld::link::sealed::protect_relro;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::Linux;

use crate::run::cpu::calls;

/// The function at an address.
///
/// # Safety
/// `F` is a type of function pointer, and code of that type is at the address.
pub(crate) unsafe fn function<F: Copy>(address: RuntimeAddr) -> F {
    const { assert!(size_of::<F>() == size_of::<*const ()>()) };
    let address: *const () = ptr::with_exposed_provenance(to_usize(address.0));
    // SAFETY: by the caller, `F` is a function pointer of the size of `address`, and its code is there.
    unsafe { core::mem::transmute_copy(&address) }
}

/// The arguments of initialisers, which are those that glibc passes: argc, argv, envp.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) argc: u64,
    pub(crate) argv: u64,
    pub(crate) envp: u64,
}

/// Addresses of functions, in the order of their calls.
pub(crate) type Calls = List<'static, RuntimeAddr>;

type LoadedModule = Module<'static, MappedImage>;

/// The functions of DT_PREINIT_ARRAY, which has a meaning in a program only.
pub(crate) fn preinitialisers(module: &LoadedModule) -> impl Iterator<Item = RuntimeAddr> {
    let array = module.dynamic.preinit_array;
    let entries = (0..array.len()).filter_map(move |index| array.get(&module.image, index));
    entries.map(RuntimeAddr).filter(|&address| is_function(address))
}

/// The functions of DT_INIT and, after it, DT_INIT_ARRAY in order.
pub(crate) fn initialisers(module: &LoadedModule) -> impl Iterator<Item = RuntimeAddr> {
    let array = module.dynamic.init_array;
    let entries = (0..array.len()).filter_map(move |index| array.get(&module.image, index));
    let init = module.dynamic.init.map(|vaddr| module.image.bias().runtime(vaddr));
    init.into_iter().chain(entries.map(RuntimeAddr)).filter(|&address| is_function(address))
}

/// The functions of DT_FINI_ARRAY in reverse order and, after them, DT_FINI.
pub(crate) fn finalisers(module: &LoadedModule) -> impl Iterator<Item = RuntimeAddr> {
    let array = module.dynamic.fini_array;
    let entries = (0..array.len()).rev().filter_map(move |index| array.get(&module.image, index));
    let fini = module.dynamic.fini.map(|vaddr| module.image.bias().runtime(vaddr));
    entries.map(RuntimeAddr).chain(fini).filter(|&address| is_function(address))
}

/// A list of addresses, to call once the lock of the list of objects is released.
pub(crate) fn collect(
    arena: &'static Arena,
    calls: impl Iterator<Item = RuntimeAddr>,
) -> Result<Calls, OutOfMemory> {
    let mut list = List::new(arena);
    for call in calls {
        list.push(call)?;
    }
    Ok(list)
}

/// The functions to call of one module.
pub(crate) struct CallsOf {
    pub(crate) module: usize,
    pub(crate) functions: Calls,
}

/// The functions to call of each of `modules`; `functions` is [`initialisers`] or [`finalisers`].
pub(crate) fn calls_of<'n, F: Iterator<Item = RuntimeAddr>>(
    arena: &'static Arena,
    namespace: &'n Namespace<'static, MappedImage>,
    modules: &[usize],
    functions: impl Fn(&'n LoadedModule) -> F,
) -> Result<List<'static, CallsOf>, OutOfMemory> {
    let mut all = List::new(arena);
    for &module in modules {
        all.push(CallsOf { module, functions: collect(arena, functions(namespace.module(module)))? })?;
    }
    Ok(all)
}

/// The function to call when native libraries are bound and before their constructors run, where libc comes before the program;
/// null otherwise, and once it was taken.
pub(crate) static BEFORE_CONSTRUCTORS: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Calls initialisers.
pub(crate) fn initialise(functions: impl Iterator<Item = RuntimeAddr>, with: Arguments) {
    for address in functions {
        // SAFETY: the object states that it is an initialiser.
        unsafe { calls::call_object(with.argc, with.argv, with.envp, address.0) };
    }
}

/// Calls finalisers.
pub(crate) fn finalise(functions: impl Iterator<Item = RuntimeAddr>) {
    for address in functions {
        // SAFETY: the object states that it is a finaliser.
        unsafe { calls::call_object(0, 0, 0, address.0) };
    }
}

/// A word, and the resolver (STT_GNU_IFUNC) that returns its value.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    resolver: RuntimeAddr,
    at: RuntimeAddr,
    addend: u64,
}

/// The resolvers to call, those of dependencies first.
pub(crate) fn questions(
    arena: &'static Arena,
    namespace: &Namespace<'static, MappedImage>,
    order: &[usize],
    indirect: &[Indirect],
) -> Result<List<'static, Question>, Error<'static>> {
    let mut questions = List::new(arena);
    for &index in order {
        let module = namespace.module(index);
        for word in indirect.iter().filter(|word| word.module == index) {
            let at = module.image.bias().runtime(word.at);
            questions.push(Question { resolver: word.resolver, at, addend: word.addend }).of(module.path)?;
        }
    }
    Ok(questions)
}

/// Changes the protection of the RELRO of the modules that contain such words.
pub(crate) fn protect_indirect(
    namespace: &Namespace<'static, MappedImage>,
    order: &[usize],
    indirect: &[Indirect],
    protection: Protection,
) -> Result<(), Error<'static>> {
    let has = |index: usize| indirect.iter().any(|word| word.module == index);
    let mut modules = order.iter().filter(|&&index| has(index));
    modules.try_for_each(|&index| protect_relro(&Linux, namespace.module(index), protection))
}

/// Calls a resolver: returns the address of the function that it chooses.
pub(crate) fn ask(resolver: RuntimeAddr) -> RuntimeAddr {
    // SAFETY: the object states that it is a resolver: a function without arguments that returns an address.
    RuntimeAddr(unsafe { calls::call_object(0, 0, 0, resolver.0) })
}

/// Calls the resolvers and stores their results.
///
/// # Safety
/// The modules' RELRO is writable, and the modules stay mapped.
pub(crate) unsafe fn ask_all(questions: &[Question]) {
    for question in questions {
        let value = ask(question.resolver).0.wrapping_add(question.addend);
        let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(question.at.0));
        // SAFETY: relocation has checked that the word is in a writable segment; by the caller it is writable now.
        unsafe { place.write_unaligned(value) };
    }
}
