//! libc's environment: while it starts, what it reads is the start's; from then on it is the program's own list.
//!
//! # Safety
//! This file exists because the program's list, and libc's variable for it, are written by address.
#![allow(unsafe_code)]

use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use libc_template::{is_masked_variable, is_start_variable, is_unsecure_variable};
use rtld::base::addr::{RuntimeAddr, from_usize, to_usize};
use rtld::base::arena::{List, OutOfMemory};
use rtld::native::environment::follow;
use rtld::native::tunables::with_static_tls_room;

use crate::run::kernel::{is_variable, string};
use crate::run::native::libc;
use crate::run::process::Process;

/// A variable that libc sees otherwise while it starts.
#[derive(Clone, Copy)]
pub(crate) struct Hidden {
    /// Index of the word in the block.
    pub(crate) index: usize,
    /// Address of the variable.
    pub(crate) variable: u64,
    /// Address of what libc sees in its place.
    pub(crate) instead: u64,
}

/// A variable that nobody reads.
static EMPTY: [u8; 2] = *b"=\0";

/// What libc is to see otherwise in the kernel's block. Variables that it reads when it starts are as they were at the
/// program's start, with absolute paths; what looks like one now and was none then is hidden, and so is what ld.so must
/// not act on.
///
/// # Errors
/// The arena has no memory left.
pub(crate) fn hidden(process: &Process) -> Result<&'static [Hidden], OutOfMemory> {
    let arena = process.arena;
    let layout = process.block.layout();
    let addresses = layout.environment(process.block.words());
    let room = match process.sealed.seen.opens && !process.secure {
        true => with_static_tls_room(arena, addresses.iter().enumerate().map(|(n, &at)| seen(process, n, at)))?,
        false => None,
    };
    let mut kept = process.kept.variables.unwrap_or_default().iter().peekable();
    let mut hidden = List::new(arena);
    let now = match process.kept.variables {
        None => is_masked_variable,
        Some(_) if process.secure => is_unsecure_variable,
        Some(_) => is_start_variable,
    };
    for (number, &variable) in addresses.iter().enumerate() {
        let of_start = kept.next_if(|(index, _)| *index == number).map(|(_, text)| *text);
        let instead = match (room, of_start) {
            (Some((place, text)), _) if place == number => RuntimeAddr::of(text.as_ptr()).0,
            (_, Some(text)) if !is_masked_variable(text) => RuntimeAddr::of(text.as_ptr()).0,
            (_, None) if !is_variable(variable, now) && !is_variable(variable, is_masked_variable) => continue,
            _ => RuntimeAddr::of(&raw const EMPTY).0,
        };
        hidden.push(Hidden { index: layout.envp.wrapping_add(number), variable, instead })?;
    }
    arena.copy(&hidden)
}

/// A variable of the start, if libc reads it when it starts; otherwise a variable as it is now.
fn seen(process: &Process, number: usize, address: u64) -> &'static [u8] {
    if let Some(kept) = process.kept.variables {
        let place = kept.binary_search_by_key(&number, |(index, _)| *index);
        if let Some((_, text)) = place.ok().and_then(|place| kept.get(place)) {
            return text;
        }
        if is_variable(address, is_start_variable) {
            return b"=";
        }
    }
    // SAFETY: a string of the block; nobody writes to it while libc is brought in but the program's own threads, as they
    // may in any process.
    unsafe { string(address) }
}

/// Makes the program's list of variables libc's, once libc has started: glibc takes that of the block with which ld.so was
/// entered, at `entered`, and musl that of the block which its `main` gets. `before` are the words of the list before.
/// Changes by native constructors are made in the program's list; if one has made libc's list grow, that is libc's own,
/// as it would be in an ordinary executable.
pub(crate) fn share(process: &Process, before: &[u64], entered: u64) {
    let place = libc::environ();
    if place == 0 {
        return;
    }
    let place: *mut usize = ptr::with_exposed_provenance_mut(place);
    // SAFETY: libc's variable, a pointer, which other threads of libc's world may read.
    let place = unsafe { AtomicUsize::from_ptr(place) };
    let envp = from_usize(process.block.layout().envp).wrapping_mul(8);
    let list_in = |block: u64| to_usize(block.wrapping_add(envp));
    let of_program = list_in(process.program_block);
    let of_libc = place.load(Ordering::Acquire);
    if of_libc != list_in(entered) && of_libc != list_in(process.block.address()) || of_libc == of_program {
        return;
    }
    let copy = |places: &[AtomicU64]| {
        let words = process.arena.slice(places.len(), 0)?;
        words.iter_mut().zip(places).for_each(|(word, place)| *word = place.load(Ordering::Relaxed));
        Ok::<_, OutOfMemory>(words)
    };
    // SAFETY: the lists of the program's copy and of one of these blocks, and the 0 behind each. libc makes none longer.
    let (program, now) = unsafe { (list(of_program, before.len()), list(of_libc, before.len())) };
    // Without memory the lists stay apart.
    let (Ok(words), Ok(now)) = (copy(program), copy(now)) else { return };
    let end = now.iter().position(|&word| word == 0).unwrap_or(now.len());
    let now = now.get(..end).unwrap_or_default();
    if now != before {
        follow(words, before, now);
        program.iter().zip(words).for_each(|(place, word)| place.store(*word, Ordering::Relaxed));
    }
    let _ = place.compare_exchange(of_libc, of_program, Ordering::AcqRel, Ordering::Acquire);
}

/// A list of variables of so many words, with its 0. Other threads may read it, and write to it.
///
/// # Safety
/// It is there.
unsafe fn list(address: usize, count: usize) -> &'static [AtomicU64] {
    // SAFETY: by the caller; the words are read and written as a whole.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(address), count.saturating_add(1)) }
}
