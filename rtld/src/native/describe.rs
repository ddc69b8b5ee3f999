//! A template as text, for LD_SLUL_DEBUG=libc.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, to_usize};
use crate::base::report::{Category, Trace};
use crate::base::text::{Of, Words};
use crate::elf::consts;
use crate::machine::{Machine, Native};
use crate::native::template::Recipe;
use crate::words;

/// Prints what ld.so is about to see, without addresses that differ from run to run.
pub fn describe<'o>(parts: &Recipe<'_, '_>, locate: impl Fn(RuntimeAddr) -> PlaceInObject<'o>, trace: Trace) {
    let line = |text: &Words<'_>| line(trace, text);
    line(words!("interpreter {}", parts.interpreter));
    for name in parts.needed() {
        line(words!("needed {}", name));
    }
    if let Some((tag, list)) = parts.search {
        let name = if tag == consts::DT_RPATH { "DT_RPATH" } else { "DT_RUNPATH" };
        line(words!("{} {}", name, list));
    }
    for phdr in parts.phdrs {
        let name = match phdr.p_type {
            consts::PT_LOAD => "PT_LOAD",
            consts::PT_GNU_EH_FRAME => "PT_GNU_EH_FRAME",
            consts::PT_GNU_RELRO => "PT_GNU_RELRO",
            _ => continue,
        };
        let (vaddr, size) = (phdr.p_vaddr, phdr.p_memsz);
        line(words!("program header {} vaddr {x} size {x} flags {}", name, vaddr, size, phdr.p_flags));
    }
    if let Some(tls) = parts.tls {
        line(words!("thread-local storage of {} bytes, alignment {}", tls.size, tls.align));
    }
    for import in parts.imports {
        let strength = if import.strong { "strong" } else { "weak" };
        match import.version {
            Some(version) => {
                line(words!("import {}@{} of {}, {}", import.name, version.version, version.file, strength));
            }
            None => line(words!("import {}, {}", import.name, strength)),
        }
    }
    for binding in parts.bindings {
        let name = parts.imports.get(to_usize(binding.import.into())).map_or(&b""[..], |import| import.name);
        let place = locate(binding.at);
        let kind = Native::r_type_name(binding.r_type);
        line(words!("{} {}+{x} -> {}", kind, place.object, place.vaddr, name));
    }
    for name in parts.loader_imports {
        line(words!("import {} for the loader", name));
    }
    for export in parts.exports {
        let copy = if export.copy.is_some() { ", a copy of native data" } else { "" };
        line(words!("export {}{}", export.name, copy));
    }
}

#[inline(never)]
fn line(trace: Trace, text: &Words<'_>) {
    trace.line(Category::Libc, &Of(b"template", text));
}

/// A place in an object, for a line of text.
#[derive(Clone, Copy, Debug)]
pub struct PlaceInObject<'o> {
    /// Name of the object.
    pub object: &'o [u8],
    /// Link-time address in the object.
    pub vaddr: u64,
}
