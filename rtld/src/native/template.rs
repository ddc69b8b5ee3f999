//! The template, the executable that the system's ld.so is shown: program headers, dynamic section and tables, made for
//! one program, in memory that lives as long as the process.
//!
//! ld.so binds by its own rules from these tables, with the result for an ordinary dynamic executable: interposition,
//! versions, initial-exec TLS. The purpose of each entry, and the libcs that need it:
//! * PT_PHDR gives ld.so the load bias, PT_INTERP keeps glibc from asserting, PT_GNU_STACK keeps thread stacks from
//!   being executable, PT_GNU_RELRO keeps musl from giving the head of that page to malloc.
//! * All imports are weak and all needed versions VER_FLG_WEAK: the loader itself checks for missing symbols, before
//!   any constructor runs, and reports them. Only a missing library is reported by libc.
//! * DT_GNU_HASH serves both libcs, and musl does not start without a hash table.
//! * There is no DT_INIT_ARRAY, because libcs differ on running it. DT_PREINIT_ARRAY holds the loader's hook, which
//!   glibc runs before any constructor; musl ignores it, so the template's entry runs the hook again.
#![forbid(unsafe_code)]

use core::marker::PhantomData;

use libc_template::LIBC_SONAME;

use crate::base::addr::{LoadBias, RuntimeAddr, from_usize, to_usize};
use crate::base::arena::{Arena, List, OutOfMemory};
use crate::elf::version::VersionRef;
use crate::elf::{Phdr, consts, gnu_hash, size};
use crate::machine::{Machine, RelocKind};
use crate::native::needs::Import;
use crate::native::tables::{StringTable, VersionTables, WordTable, pair, weak};

/// A word for ld.so to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Address of the word.
    pub at: RuntimeAddr,
    /// Number of the import.
    pub import: u32,
    /// Relocation type.
    pub r_type: u32,
    /// Addend.
    pub addend: i64,
}

/// A symbol to which native libraries may bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// `st_info`.
    pub st_info: u8,
    /// Its address.
    pub at: RuntimeAddr,
    /// Its size in bytes.
    pub size: u64,
    /// For a copy of native data: the original.
    pub copy: Option<CopyOf<'a>>,
}

impl<'a> Export<'a> {
    /// The version of the symbol.
    fn version(&self) -> Option<VersionRef<'a>> {
        self.copy.and_then(|copy| copy.version)
    }
}

/// The original of a copy of native data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOf<'a> {
    /// Its version.
    pub version: Option<VersionRef<'a>>,
}

/// A copy of the live thread-local block, taken when ld.so is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSnapshot {
    /// Address of the copy; its vaddr (glibc) or address (musl) is the block's distance modulo `align`.
    pub at: RuntimeAddr,
    /// Size of the copy in bytes; the rest of a block is zero.
    pub file_size: u64,
    /// Size of a block in bytes.
    pub size: u64,
    /// Alignment in bytes.
    pub align: u64,
}

/// The parts of a template.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'p, 'a> {
    /// Load bias of the program, which the template takes the place of for ld.so.
    pub bias: LoadBias,
    /// Program headers of the program.
    pub phdrs: &'p [Phdr],
    /// Path of ld.so.
    pub interpreter: &'p str,
    /// Native DT_NEEDED in link order.
    pub libraries: &'p [&'a [u8]],
    /// Further DT_NEEDED names to append, where the libc needs them.
    pub extra_libraries: &'p [&'a [u8]],
    /// Search path for them, with `$ORIGIN` expanded: the tag, DT_RPATH or DT_RUNPATH, and the value.
    pub search: Option<(u64, &'p [u8])>,
    /// Symbols to bind.
    pub imports: &'p [Import<'a>],
    /// Words in program and libraries for ld.so to fill.
    pub bindings: &'p [Binding],
    /// Address of a table of one word for each import, for its address; ld.so leaves 0 for a missing one.
    pub targets: RuntimeAddr,
    /// Functions that the loader itself calls, of any version.
    pub loader_imports: &'p [&'a [u8]],
    /// Address of a table of one word for each of them.
    pub loader_targets: RuntimeAddr,
    /// Symbols to which native libraries may bind.
    pub exports: &'p [Export<'a>],
    /// Thread-local storage of program and libraries.
    pub tls: Option<TlsSnapshot>,
    /// Function in DT_PREINIT_ARRAY.
    pub hook: RuntimeAddr,
}

impl<'p, 'a> Recipe<'p, 'a> {
    /// DT_NEEDED of the template: the program's in link order, the extra libraries, libc itself last.
    pub(super) fn needed(&self) -> impl Iterator<Item = &'p [u8]> + use<'p> {
        let libraries = self.libraries;
        let rest = self.extra_libraries.iter().copied().chain([LIBC_SONAME]);
        libraries.iter().copied().chain(rest.filter(|name| !libraries.contains(name)))
    }

    /// Number of symbols: the empty one, imports, and exports.
    fn symbols(&self) -> usize {
        let canonical = self.imports.iter().filter(|import| import.canonical.is_some()).count();
        [self.imports.len(), self.loader_imports.len(), canonical, self.exports.len()]
            .into_iter()
            .fold(1, usize::saturating_add)
    }

    /// Largest number of relocations.
    fn relocations(&self) -> usize {
        let copies = self.exports.iter().filter(|export| export.copy.is_some()).count();
        [self.imports.len(), self.loader_imports.len(), copies, self.bindings.len()]
            .into_iter()
            .fold(0, usize::saturating_add)
    }

    /// Largest size of the strings in bytes: those of versions will be stored once.
    fn strings(&self) -> usize {
        let mut size = 1usize;
        let mut count = |name: &[u8]| size = size.saturating_add(name.len()).wrapping_add(1);
        let search = self.search.map(|(_, list)| list);
        self.needed().chain(search).chain(self.loader_imports.iter().copied()).for_each(&mut count);
        let mut versioned = |name, version: Option<VersionRef<'_>>| {
            let VersionRef { file, version } = version.unwrap_or(VersionRef { file: b"", version: b"" });
            [name, file, version].into_iter().for_each(&mut count);
        };
        for import in self.imports {
            versioned(import.name, import.version);
            if import.canonical.is_some() {
                // There is a second symbol for it.
                versioned(import.name, None);
            }
        }
        self.exports.iter().for_each(|export| versioned(export.name, export.version()));
        size
    }
}

/// A finished template.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Its program headers, seven words each; for AT_PHDR and AT_PHNUM.
    pub phdrs: &'a [u64],
    /// Its dynamic section, which ld.so writes to.
    pub dynamic: RuntimeAddr,
    /// Index of DT_DEBUG in the dynamic section.
    pub debug_entry: usize,
}

impl Template<'_> {
    /// AT_PHDR.
    #[must_use]
    pub fn phdr_address(&self) -> RuntimeAddr {
        RuntimeAddr::of(self.phdrs.as_ptr())
    }

    /// AT_PHNUM.
    #[must_use]
    pub fn phdr_count(&self) -> u64 {
        from_usize(self.phdrs.len().checked_div(size::PHDR >> 3).unwrap_or(0))
    }

    /// The program headers, decoded.
    pub fn headers(&self) -> impl Iterator<Item = Phdr> + Clone {
        let low = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        self.phdrs.as_chunks().0.iter().map(move |words| {
            let [kind, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align] = words.map(u64::from_le);
            let (p_type, p_flags) = (low(kind), low(kind >> 32));
            Phdr { p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align }
        })
    }

    /// Address of the word in which ld.so stores the address of its `r_debug`.
    #[must_use]
    pub fn debug_slot(&self) -> RuntimeAddr {
        let value = from_usize(self.debug_entry).wrapping_mul(size::DYN as u64).wrapping_add(8);
        RuntimeAddr(self.dynamic.0.wrapping_add(value))
    }
}

/// Writes the tables of one template.
struct Builder<'b, 'a, M> {
    machine: PhantomData<M>,
    arena: &'a Arena,
    parts: &'b Recipe<'b, 'a>,
    strings: StringTable<'a>,
    symbols: WordTable<'a>,
    versions: VersionTables<'a>,
    rela: WordTable<'a>,
    dynamic: WordTable<'a>,
}

impl<'a, M: Machine> Builder<'_, 'a, M> {
    #[inline(never)]
    fn entry(&mut self, tag: u64, value: u64) -> Result<(), OutOfMemory> {
        self.dynamic.put([tag, value])
    }

    fn vaddr(&self, address: RuntimeAddr) -> u64 {
        self.parts.bias.vaddr(address).0
    }

    fn table(&mut self, tag: u64, start: RuntimeAddr) -> Result<(), OutOfMemory> {
        self.entry(tag, self.vaddr(start))
    }

    fn libraries(&mut self) -> Result<(), OutOfMemory> {
        let parts = self.parts;
        for name in parts.needed() {
            let offset = self.strings.add(name)?;
            self.entry(consts::DT_NEEDED, offset.into())?;
        }
        if let Some((tag, list)) = parts.search {
            let offset = self.strings.add(list)?;
            self.entry(tag, offset.into())?;
        }
        Ok(())
    }

    /// Adds a symbol; returns its number.
    fn symbol(
        &mut self,
        name: &[u8],
        (info, section): (u8, u16),
        (value, size): (u64, u64),
        version: Option<VersionRef<'a>>,
    ) -> Result<u32, OutOfMemory> {
        let number = self.symbols.count(size::SYM);
        let name = self.strings.add(name)?;
        self.symbols.put([pair(name, u32::from(section) << 16 | u32::from(info)), value, size])?;
        self.versions.set(number, version)?;
        u32::try_from(number).map_err(|_| OutOfMemory(usize::MAX))
    }

    #[inline(never)]
    fn relocation(&mut self, at: RuntimeAddr, symbol: u32, r_type: u32, addend: i64) -> Result<(), OutOfMemory> {
        self.rela.put([self.vaddr(at), pair(r_type, symbol), addend.cast_unsigned()])
    }

    /// Adds the imports, and relocations for the words that will hold them.
    fn imports(&mut self) -> Result<(), OutOfMemory> {
        let parts = self.parts;
        let word =
            |table: RuntimeAddr, index| RuntimeAddr(table.0.wrapping_add(from_usize(index).wrapping_mul(8)));
        for (index, import) in parts.imports.iter().enumerate() {
            let symbol = self.symbol(import.name, (weak(import.st_type), 0), (0, 0), import.version)?;
            if import.st_type != consts::STT_TLS {
                // A relocation that ignores the program's PLT slot: it asks for the function behind it.
                let canonical = import.canonical.is_some();
                let kind = if canonical { RelocKind::JumpSlot } else { RelocKind::GlobDat };
                self.relocation(word(parts.targets, index), symbol, M::number(kind), 0)?;
            }
        }
        for (index, name) in parts.loader_imports.iter().enumerate() {
            let symbol = self.symbol(name, (weak(consts::STT_FUNC), 0), (0, 0), None)?;
            self.relocation(word(parts.loader_targets, index), symbol, M::number(RelocKind::GlobDat), 0)?;
        }
        for binding in parts.bindings {
            // The imports are the first symbols but for the empty one.
            self.relocation(binding.at, binding.import.wrapping_add(1), binding.r_type, binding.addend)?;
        }
        Ok(())
    }

    /// Adds the symbols that others find, bucket by bucket: exports, and functions with a canonical PLT slot; and
    /// DT_GNU_HASH, which lists them. Every lookup of any library visits it first: its filter ends most visits.
    fn exports(&mut self) -> Result<(), OutOfMemory> {
        /// Shift by which a hash gives the second bit in the filter.
        const SHIFT: u32 = 26;
        let Recipe { exports, imports, .. } = *self.parts;
        let (first, all) = (self.symbols.count(size::SYM), self.parts.symbols());
        let count = all.saturating_sub(first);
        let buckets = count.checked_div(4).unwrap_or(0) | 1;
        // About ten bits for each symbol. Without any there is one word, which rejects every name.
        let filter = count.checked_div(6).unwrap_or(0).next_power_of_two();

        // In reverse, so that the first symbol of a name in scope order is found first.
        let canonical = imports.iter().enumerate().filter(|(_, import)| import.canonical.is_some());
        let exported = exports.iter().enumerate();
        let exported = exported.map(|(index, export)| (imports.len().saturating_add(index), export.name));
        let listed = canonical.map(|(which, import)| (which, import.name)).rev().chain(exported.rev());
        // Heads of the chains, and for each symbol its hash and the next in its chain: indices plus one, not pointers,
        // because where the template is a file, this memory is part of it.
        let heads = self.arena.slice(buckets, 0u64)?;
        let rests = self.arena.slice(imports.len().saturating_add(exports.len()), [0u64; 2])?;
        for (which, name) in listed {
            let hash = gnu_hash(name);
            let bucket = to_usize(hash.into()).checked_rem(buckets).unwrap_or(0);
            if let (Some(head), Some(rest)) = (heads.get_mut(bucket), rests.get_mut(which)) {
                *rest = [hash.into(), core::mem::replace(head, from_usize(which.wrapping_add(1)))];
            }
        }

        let header = 4usize;
        let size = filter.saturating_mul(2).saturating_add(buckets).saturating_add(count).saturating_add(header);
        let table = self.arena.slice(size, 0u32)?;
        self.table(consts::DT_GNU_HASH, RuntimeAddr::of(table.as_ptr()))?;
        let number = |value: usize| u32::try_from(value).map_err(|_| OutOfMemory(usize::MAX));
        let (place, rest) = table.split_at_mut_checked(header).ok_or(OutOfMemory(size))?;
        place.copy_from_slice(&[number(buckets)?, number(first)?, number(filter)?, SHIFT]);
        let (words, rest) = rest.split_at_mut_checked(filter.saturating_mul(2)).ok_or(OutOfMemory(size))?;
        let (starts, chains) = rest.split_at_mut_checked(buckets).ok_or(OutOfMemory(size))?;
        let mut chains = chains.iter_mut();
        for (start, head) in starts.iter_mut().zip(heads.iter()) {
            let mut next = *head;
            while let Some(which) = to_usize(next).checked_sub(1) {
                let [hash, rest] = rests.get(which).copied().unwrap_or_default();
                let hash = u32::try_from(hash).unwrap_or(0);
                let symbol = self.listed(which)?;
                if *start == 0 {
                    *start = symbol;
                }
                // The filter's words are of 64 bits.
                let word = to_usize((hash >> 6).into()) & filter.saturating_sub(1);
                for bit in [hash & 63, hash >> SHIFT] {
                    let half = word.saturating_mul(2).saturating_add(usize::from(bit >= 32));
                    words.get_mut(half).into_iter().for_each(|half| *half |= 1 << (bit & 31));
                }
                // The lowest bit says whether a chain ends here.
                chains.next().into_iter().for_each(|entry| *entry = hash & !1 | u32::from(rest == 0));
                next = rest;
            }
        }
        Ok(())
    }

    /// Adds the symbol of an import with a canonical PLT slot, as a function, or, beyond the imports, of an export.
    fn listed(&mut self, which: usize) -> Result<u32, OutOfMemory> {
        let parts = self.parts;
        if let Some(Import { name, st_type, canonical, version, .. }) = parts.imports.get(which) {
            let (st_type, value) = canonical.map_or((*st_type, 0), |vaddr| (consts::STT_FUNC, vaddr.0));
            return self.symbol(name, (weak(st_type), 0), (value, 0), *version);
        }
        let export = parts.exports.get(which.wrapping_sub(parts.imports.len())).ok_or(OutOfMemory(which))?;
        let thread_local = export.st_info & 0xf == consts::STT_TLS;
        let value = if thread_local { export.at.0 } else { self.vaddr(export.at) };
        let symbol = self.symbol(export.name, (export.st_info, 1), (value, export.size), export.version())?;
        if export.copy.is_some() {
            self.relocation(export.at, symbol, M::number(RelocKind::Copy), 0)?;
        }
        Ok(symbol)
    }

    /// Adds the tables that are finished once all symbols are added.
    fn tables(&mut self) -> Result<(), OutOfMemory> {
        self.table(consts::DT_SYMTAB, self.symbols.address())?;
        self.entry(consts::DT_SYMENT, size::SYM as u64)?;
        if !self.versions.known.is_empty() {
            let (needed, count) = self.versions.needed(self.arena, &mut self.strings)?;
            self.table(consts::DT_VERNEED, needed.address())?;
            self.entry(consts::DT_VERNEEDNUM, count)?;
            self.table(consts::DT_VERSYM, RuntimeAddr::of(self.versions.versym.as_ptr()))?;
        }
        self.table(consts::DT_RELA, self.rela.address())?;
        self.entry(consts::DT_RELASZ, self.rela.size())?;
        self.entry(consts::DT_RELAENT, size::RELA as u64)?;
        self.table(consts::DT_STRTAB, self.strings.address())?;
        self.entry(consts::DT_STRSZ, self.strings.size()?)
    }

    /// The program headers.
    fn headers(&self) -> Result<WordTable<'a>, OutOfMemory> {
        let parts = self.parts;
        let path = self.arena.concat(&[parts.interpreter.as_bytes(), b"\0"])?;
        let program = parts.phdrs.iter().filter(|phdr| FROM_PROGRAM.contains(&phdr.p_type));
        let count = program.clone().count().saturating_add(if parts.tls.is_some() { 5 } else { 4 });
        let mut table = WordTable::new(self.arena, count, size::PHDR)?;
        let (start, size) = (table.address(), from_usize(count.saturating_mul(size::PHDR)));
        let (read, write) = (consts::PF_R, consts::PF_R | consts::PF_W);
        // What threads' stacks are like, and whether a native library may want an executable one.
        let stack = parts.phdrs.iter().find(|phdr| phdr.p_type == consts::PT_GNU_STACK);
        let executable = stack.map_or(0, |phdr| phdr.p_flags & consts::PF_X);
        let (path, path_size) = (self.vaddr(RuntimeAddr::of(path)), from_usize(path.len()));
        table.header((consts::PT_PHDR, read), self.vaddr(start), size, 8)?;
        table.header((consts::PT_INTERP, read), path, path_size, 1)?;
        table.header((consts::PT_GNU_STACK, write | executable), 0, 0, 16)?;
        table.header((consts::PT_DYNAMIC, write), self.vaddr(self.dynamic.address()), self.dynamic.size(), 8)?;
        if let Some(TlsSnapshot { at, file_size, size, align }) = parts.tls {
            table.header_with_zeros((consts::PT_TLS, read), self.vaddr(at), (file_size, size), align)?;
        }
        for phdr in program {
            table.copy_header(phdr)?;
        }
        Ok(table)
    }
}

/// The program's own headers that the template has, too.
const FROM_PROGRAM: [u32; 3] = [consts::PT_LOAD, consts::PT_GNU_EH_FRAME, consts::PT_GNU_RELRO];

/// Largest number of entries in the dynamic section besides DT_NEEDED.
const OTHER_ENTRIES: usize = 17;

/// Writes the tables for machine `M`, in the order in which they refer to one another.
///
/// # Errors
/// The arena has no memory left.
pub fn build<'a, M: Machine>(arena: &'a Arena, parts: &Recipe<'_, 'a>) -> Result<Template<'a>, OutOfMemory> {
    const { assert!(!M::REL, "DT_REL is not written") };
    let table = |count, size| WordTable::new(arena, count, size);
    let (symbols, entries) = (parts.symbols(), parts.needed().count().saturating_add(OTHER_ENTRIES));
    let versym = arena.slice(symbols, consts::VER_NDX_GLOBAL.to_le())?;
    let mut builder = Builder::<M> {
        machine: PhantomData,
        arena,
        parts,
        strings: StringTable::new(arena, parts.strings())?,
        symbols: table(symbols, size::SYM)?,
        versions: VersionTables { known: List::new(arena), versym },
        rela: table(parts.relocations(), size::RELA)?,
        dynamic: table(entries, size::DYN)?,
    };
    builder.symbol(b"", (0, 0), (0, 0), None)?;
    builder.libraries()?;
    builder.imports()?;
    builder.exports()?;
    builder.tables()?;
    let hook = arena.slice(1, parts.hook.0)?;
    builder.table(consts::DT_PREINIT_ARRAY, RuntimeAddr::of(hook.as_ptr()))?;
    builder.entry(consts::DT_PREINIT_ARRAYSZ, 8)?;
    builder.entry(consts::DT_FLAGS, consts::DF_BIND_NOW)?;
    let debug_entry = builder.dynamic.count(size::DYN);
    builder.entry(consts::DT_DEBUG, 0)?;
    builder.entry(consts::DT_NULL, 0)?;
    let phdrs = builder.headers()?.finish();
    Ok(Template { phdrs, dynamic: builder.dynamic.address(), debug_entry })
}

#[cfg(test)]
mod tests {
    use super::{Binding, CopyOf, Export, Recipe, TlsSnapshot, build};
    use crate::base::addr::{LoadBias, RuntimeAddr, Vaddr};
    use crate::base::arena::Arena;
    use crate::elf::dynamic::DynamicInfo;
    use crate::elf::plan::Place;
    use crate::elf::symbol::{Name, lookup};
    use crate::elf::version::{NeededVersions, VersionRef};
    use crate::elf::{Phdr, consts, r_sym, r_type};
    use crate::machine::{Aarch64, Machine, RelocKind, Riscv64, X86_64};
    use crate::native::needs::Import;
    use crate::os::testing::{OneChunk, Span, leaking};
    use libc_template::LOADER_IMPORTS;
    use std::string::String;
    use std::vec::Vec;

    const BIAS: LoadBias = LoadBias(0x1000);
    const OLD: VersionRef<'static> = VersionRef { file: b"libc.so.6", version: b"GLIBC_2.2.5" };
    const NEW: VersionRef<'static> = VersionRef { file: b"libc.so.6", version: b"GLIBC_2.14" };
    const OTHER: VersionRef<'static> = VersionRef { file: b"libz.so.1", version: b"ZLIB_1.2.0" };

    fn import(name: &'static [u8], version: Option<VersionRef<'static>>) -> Import<'static> {
        Import { name, version, st_type: consts::STT_FUNC, strong: true, referrer: 0, canonical: None }
    }

    fn parts<'p>(imports: &'p [Import<'static>], exports: &'p [Export<'static>]) -> Recipe<'p, 'static> {
        Recipe {
            bias: BIAS,
            phdrs: &[],
            interpreter: "/lib/ld.so",
            libraries: &[b"libz.so.1"],
            extra_libraries: &[b"libdl.so.2"],
            search: Some((consts::DT_RUNPATH, b"/opt/lib")),
            imports,
            bindings: &[Binding { at: RuntimeAddr(0x9000), import: 1, r_type: 7, addend: 0 }],
            targets: RuntimeAddr(0xa000),
            loader_imports: &LOADER_IMPORTS,
            loader_targets: RuntimeAddr(0xb000),
            exports,
            tls: Some(TlsSnapshot { at: RuntimeAddr(0xc000), file_size: 40, size: 128, align: 64 }),
            hook: RuntimeAddr(0xd000),
        }
    }

    /// Reads a built template the way ld.so does: from its program headers.
    fn open(parts: &Recipe<'_, 'static>) -> (Span, Vec<Phdr>, DynamicInfo) {
        open_for::<X86_64>(parts)
    }

    fn open_for<M: Machine>(parts: &Recipe<'_, 'static>) -> (Span, Vec<Phdr>, DynamicInfo) {
        let memory = OneChunk::new();
        let arena: &'static Arena = memory.arena();
        let template = build::<M>(arena, parts).unwrap();
        let phdrs: Vec<Phdr> = template.headers().collect();
        let image = memory.span(BIAS);
        let first = phdrs.first().unwrap();
        assert_eq!((first.p_type, first.p_memsz), (consts::PT_PHDR, phdrs.len() as u64 * 56));
        assert_eq!(template.phdr_address(), BIAS.runtime(Vaddr(first.p_vaddr)));
        let dynamic = phdrs.iter().find(|phdr| phdr.p_type == consts::PT_DYNAMIC).unwrap();
        assert!(dynamic.p_flags & consts::PF_W != 0, "ld.so writes DT_DEBUG");
        let place = Place { vaddr: Vaddr(dynamic.p_vaddr), size: dynamic.p_memsz };
        let entries =
            crate::elf::dynamic::Entries::<crate::elf::Dyn>::check(&image, place, crate::error::Table::Dynamic);
        let debug = entries.unwrap().get(&image, template.debug_entry as u64).unwrap();
        assert_eq!(debug.d_tag, consts::DT_DEBUG);
        let info = DynamicInfo::decode(&image, place).unwrap_or_else(|problem| panic!("{problem}"));
        (image, phdrs, info)
    }

    #[test]
    fn libraries_in_link_order_and_libc_last() {
        let (image, phdrs, info) = open(&parts(&[import(b"puts", None), import(b"crc32", None)], &[]));
        let needed: Vec<String> = info
            .values(&image, consts::DT_NEEDED)
            .map(|offset| String::from_utf8(info.strings.get(&image, offset).unwrap().to_vec()).unwrap())
            .collect();
        assert_eq!(needed, ["libz.so.1", "libdl.so.2", "libc.so.6"]);
        let kinds: Vec<u32> = phdrs.iter().map(|phdr| phdr.p_type).collect();
        use consts::{PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_PHDR, PT_TLS};
        assert_eq!(kinds, [PT_PHDR, PT_INTERP, PT_GNU_STACK, PT_DYNAMIC, PT_TLS]);
        assert!(phdrs.iter().all(|phdr| phdr.p_flags & consts::PF_X == 0));
        assert_eq!(info.strings.get(&image, info.runpath.unwrap()).unwrap(), b"/opt/lib");
    }

    #[test]
    fn every_symbol_has_its_version() {
        let imports = [
            import(b"memcpy", Some(OLD)),
            import(b"memcpy", Some(NEW)),
            import(b"crc32", Some(OTHER)),
            import(b"puts", Some(OLD)),
            import(b"plain", None),
        ];
        let (image, _, info) = open(&parts(&imports, &[]));
        let arena = Arena::new(leaking());
        let mut needed = NeededVersions::new(&arena);
        needed.read(&image, &info).unwrap();
        for (index, import) in imports.iter().enumerate() {
            let number = u32::try_from(index).unwrap() + 1;
            let sym = info.symbols.get(&image, number).unwrap();
            assert_eq!(info.strings.get(&image, sym.st_name.into()).unwrap(), import.name);
            assert_eq!(crate::elf::st_bind(&sym), consts::STB_WEAK, "what is missing is ours to report");
            assert_eq!(needed.of(&image, &info, number).unwrap(), import.version);
        }
        assert_eq!(info.verneed.unwrap().1, 3, "each version once");
    }

    #[test]
    fn slots_targets_and_the_loaders_own() {
        let imports = [import(b"puts", None), import(b"crc32", None)];
        let (image, _, info) = open(&parts(&imports, &[]));
        let seen: Vec<(u64, u32, u32)> = (0..info.rela.len())
            .map(|index| info.rela.get(&image, index).unwrap())
            .map(|rela| (BIAS.runtime(Vaddr(rela.r_offset)).0, r_sym(&rela), r_type(&rela)))
            .collect();
        let mut expected = std::vec![(0xa000, 1, 6), (0xa008, 2, 6)];
        expected.extend((0..LOADER_IMPORTS.len()).map(|index| (0xb000 + index as u64 * 8, 3 + index as u32, 6)));
        expected.push((0x9000, 2, 7));
        assert_eq!(seen, expected);
    }

    /// Types of the relocations of a template with a slot, a function of the program's PLT, and a copy.
    fn types<M: Machine>() -> Vec<u32> {
        let imports =
            [Import { canonical: Some(Vaddr(0x40)), ..import(b"puts", None) }, import(b"environ", Some(OLD))];
        let copy = Some(CopyOf { version: None });
        let exports = [Export { name: b"data", st_info: 0x11, at: RuntimeAddr(0x5000), size: 8, copy }];
        let r_type = M::number(RelocKind::TpOffset);
        let bindings = [Binding { at: RuntimeAddr(0x9000), import: 1, r_type, addend: 0 }];
        let (image, _, info) = open_for::<M>(&Recipe {
            loader_imports: &LOADER_IMPORTS[..1],
            bindings: &bindings,
            ..parts(&imports, &exports)
        });
        (0..info.rela.len()).map(|index| r_type_of(&info, &image, index)).collect()
    }

    fn r_type_of(info: &DynamicInfo, image: &Span, index: u64) -> u32 {
        r_type(&info.rela.get(image, index).unwrap())
    }

    #[test]
    fn each_machine_has_its_own_types() {
        // The function that a PLT stands for, a variable, the loader's own import, a thread-local word, the copy.
        assert_eq!(types::<X86_64>(), [7, 6, 6, 18, 5]);
        assert_eq!(types::<Aarch64>(), [1026, 1025, 1025, 1030, 1024]);
        assert_eq!(types::<Riscv64>(), [5, 2, 2, 11, 4], "R_RISCV_64 is there for GLOB_DAT");
    }

    #[test]
    fn exports_are_found_by_name() {
        let export = |name, at| Export { name, st_info: 0x12, at: RuntimeAddr(at), size: 1, copy: None };
        let names: [&'static [u8]; 6] = [b"malloc", b"free", b"calloc", b"realloc", b"free", b"x"];
        let exports: Vec<_> =
            names.iter().enumerate().map(|(index, name)| export(*name, 0x5000 + index as u64)).collect();
        let (image, _, info) = open(&parts(&[import(b"a", None), import(b"b", None)], &exports));
        let find = |name: &[u8]| lookup(&image, &info, &Name::new(name)).unwrap().map(|sym| sym.st_value);
        assert_eq!(find(b"malloc"), Some(0x4000), "a vaddr: address minus bias");
        assert_eq!(find(b"free"), Some(0x4001), "the first in scope order");
        assert_eq!(find(b"x"), Some(0x4005));
        assert_eq!(find(b"a"), None, "imports are not definitions");
        assert_eq!(find(b"absent"), None);
    }

    #[test]
    fn functions_of_the_programs_plt_are_found_and_bound() {
        let imports =
            [Import { canonical: Some(Vaddr(0x40)), ..import(b"puts", Some(OLD)) }, import(b"exit", None)];
        let (image, _, info) = open(&parts(&imports, &[]));
        let found =
            lookup(&image, &info, &Name::by_hand(b"puts")).unwrap().map(|sym| (sym.st_value, sym.st_shndx));
        assert_eq!(found, Some((0x40, 0)));
        assert_eq!(lookup(&image, &info, &Name::new(b"puts")).unwrap(), None, "not for PLT slots");
        let first = info.rela.get(&image, 0).unwrap();
        let sym = info.symbols.get(&image, r_sym(&first)).unwrap();
        assert_eq!((r_type(&first), sym.st_value), (7, 0), "the slot is to have the function itself");
    }

    #[test]
    fn copies_are_of_what_they_are_called() {
        let copy = Some(CopyOf { version: Some(OLD) });
        let names: Vec<String> = (0..50).map(|number| std::format!("data{number}")).collect();
        let export = |(index, name): (usize, &'static String)| Export {
            name: name.as_bytes(),
            st_info: 0x11,
            at: RuntimeAddr(0x5000 + index as u64 * 8),
            size: 8,
            copy: copy.filter(|_| index % 2 == 0),
        };
        let exports: Vec<_> = names.leak().iter().enumerate().map(export).collect();
        let (image, _, info) = open(&parts(&[], &exports));
        let copies: Vec<_> = (0..info.rela.len()).filter_map(|index| info.rela.get(&image, index)).collect();
        let copies: Vec<_> = copies.iter().filter(|rela| r_type(rela) == 5).collect();
        assert_eq!(copies.len(), 25);
        for rela in copies {
            let sym = info.symbols.get(&image, r_sym(rela)).unwrap();
            let at = BIAS.runtime(Vaddr(rela.r_offset)).0;
            let name = info.strings.get(&image, sym.st_name.into()).unwrap();
            assert_eq!(name, std::format!("data{}", (at - 0x5000) / 8).as_bytes());
            assert_eq!(sym.st_value, rela.r_offset);
        }
    }
}
