//! A template as text, for LD_SLUL_DEBUG=libc.
#![forbid(unsafe_code)]

use crate::base::addr::{RuntimeAddr, to_usize};
use crate::base::report::{Category, Trace};
use crate::elf::consts;
use crate::error::Escaped;
use crate::machine::{Machine, Native};
use crate::native::template::Parts;

/// Prints what ld.so is about to see, without addresses that differ from run to run.
pub fn describe<'o>(parts: &Parts<'_, '_>, locate: impl Fn(RuntimeAddr) -> Place<'o>, trace: Trace) {
    let line = |text: core::fmt::Arguments<'_>| trace.line(Category::Libc, format_args!("template: {text}"));
    line(format_args!("interpreter {}", parts.interpreter));
    for name in parts.needed() {
        line(format_args!("needed {}", Escaped(name)));
    }
    if let Some((tag, list)) = parts.search {
        let name = if tag == consts::DT_RPATH { "DT_RPATH" } else { "DT_RUNPATH" };
        line(format_args!("{name} {}", Escaped(list)));
    }
    for phdr in parts.phdrs {
        let name = match phdr.p_type {
            consts::PT_LOAD => "PT_LOAD",
            consts::PT_GNU_EH_FRAME => "PT_GNU_EH_FRAME",
            consts::PT_GNU_RELRO => "PT_GNU_RELRO",
            _ => continue,
        };
        let (vaddr, size, flags) = (phdr.p_vaddr, phdr.p_memsz, u64::from(phdr.p_flags));
        line(format_args!("program header {name} vaddr {vaddr:#x} size {size:#x} flags {flags}"));
    }
    if let Some(tls) = parts.tls {
        line(format_args!("thread-local storage of {} bytes, alignment {}", tls.size, tls.align));
    }
    for import in parts.imports {
        let strength = if import.strong { "strong" } else { "weak" };
        let name = Escaped(import.name);
        match import.version {
            Some(version) => {
                let (file, version) = (Escaped(version.file), Escaped(version.version));
                line(format_args!("import {name}@{version} of {file}, {strength}"));
            }
            None => line(format_args!("import {name}, {strength}")),
        }
    }
    for binding in parts.bindings {
        let name = parts.imports.get(to_usize(binding.import.into())).map_or(&b""[..], |import| import.name);
        let place = locate(binding.at);
        let kind = Native::r_type_name(binding.r_type);
        line(format_args!("{kind} {}+{:#x} -> {}", Escaped(place.object), place.vaddr, Escaped(name)));
    }
    for name in parts.loader_imports {
        line(format_args!("import {} for the loader", Escaped(name)));
    }
    for export in parts.exports {
        let copy = if export.copy.is_some() { ", a copy of native data" } else { "" };
        line(format_args!("export {}{copy}", Escaped(export.name)));
    }
}

/// A place in an object, for a line of text.
#[derive(Clone, Copy, Debug)]
pub struct Place<'o> {
    /// Name of the object.
    pub object: &'o [u8],
    /// Link-time address in the object.
    pub vaddr: u64,
}
