//! The executable that the system's ld.so is shown: program headers, dynamic section and tables, made for
//! one program, in memory that lives as long as the process.
//!
//! ld.so binds by its own rules from these tables, so the result is what an ordinary dynamic executable would
//! have got: interposition, versions, initial-exec TLS. What each entry is for, and which libcs need it:
//! * PT_PHDR gives ld.so the load bias, PT_INTERP keeps glibc from asserting, PT_GNU_STACK keeps thread
//!   stacks from being executable, PT_GNU_RELRO keeps musl from giving the head of that page to malloc.
//! * All imports are weak and all needed versions VER_FLG_WEAK: what is missing is found by our own check,
//!   before any constructor runs, and said in our own words. Only a missing library is libc's own message.
//! * DT_HASH serves both libcs, and musl does not start without one.
//! * There is no DT_INIT_ARRAY: libcs differ on running it. DT_PREINIT_ARRAY holds our hook, which glibc runs
//!   before any constructor; for musl, which ignores it, the entry runs the hook again.
#![forbid(unsafe_code)]

use libc_template::{LIBC_SONAME, LOADER_IMPORTS};

use crate::addr::{LoadBias, RuntimeAddr, from_usize, to_usize};
use crate::arena::{Arena, List, OutOfMemory};
use crate::elf::{Phdr, consts, r_x86_64, size, sysv_hash};
use crate::native::needs::Import;
use crate::native::tables::{Bytes, Strings, Versions, address_of};
use crate::version::VersionRef;

/// A word that ld.so is to fill, by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Where the word is.
    pub at: RuntimeAddr,
    /// Number of the import.
    pub import: u32,
    /// Relocation type.
    pub r_type: u32,
    /// Addend.
    pub addend: i64,
}

/// A symbol that native libraries may bind to.
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
    /// What it is of native data, if it is a copy.
    pub copy: Option<CopyOf<'a>>,
}

/// Whose data an export is to be a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOf<'a> {
    /// Its version.
    pub version: Option<VersionRef<'a>>,
}

/// The live thread-local block, as it is when ld.so is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsSnapshot {
    /// Where the copy is; what libc places the block by, its vaddr or its address, is a multiple of `align`.
    pub at: RuntimeAddr,
    /// Size in bytes, a multiple of `align`.
    pub size: u64,
    /// Alignment in bytes.
    pub align: u64,
}

/// What a template is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'p, 'a> {
    /// Load bias of the program, which ld.so will take the template for.
    pub bias: LoadBias,
    /// Program headers of the program.
    pub phdrs: &'p [Phdr],
    /// Path of ld.so.
    pub interpreter: &'p str,
    /// Native DT_NEEDED in link order.
    pub libraries: &'p [&'a [u8]],
    /// More to append, where that libc needs it.
    pub extra_libraries: &'p [&'a [u8]],
    /// Where to search for them, with `$ORIGIN` expanded: DT_RPATH or DT_RUNPATH, and its value.
    pub search: Option<(u64, &'p [u8])>,
    /// Symbols to bind.
    pub imports: &'p [Import<'a>],
    /// Words of program and libraries that ld.so is to fill.
    pub bindings: &'p [Binding],
    /// One word for each import, for its address; 0 for what is not found.
    pub targets: RuntimeAddr,
    /// One word for each of [`LOADER_IMPORTS`].
    pub loader_targets: RuntimeAddr,
    /// What native libraries may bind to.
    pub exports: &'p [Export<'a>],
    /// Thread-local storage of program and libraries.
    pub tls: Option<TlsSnapshot>,
    /// Called before any constructor, by libcs that do.
    pub hook: RuntimeAddr,
}

impl<'p> Parts<'p, '_> {
    /// DT_NEEDED of the template: the program's in link order, what that libc needs besides, libc itself last.
    pub(super) fn needed(&self) -> impl Iterator<Item = &'p [u8]> + use<'p> {
        let libraries = self.libraries;
        let rest = self.extra_libraries.iter().copied().chain([LIBC_SONAME]);
        libraries.iter().copied().chain(rest.filter(|name| !libraries.contains(name)))
    }
}

/// A finished template.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    /// Its program headers: for AT_PHDR and AT_PHNUM.
    pub phdrs: &'a [u8],
    /// Its dynamic section, which ld.so writes to.
    pub dynamic: RuntimeAddr,
    /// Index in it of DT_DEBUG.
    pub debug_entry: usize,
}

impl Template<'_> {
    /// AT_PHDR.
    #[must_use]
    pub fn phdr_address(&self) -> RuntimeAddr {
        address_of(self.phdrs)
    }

    /// AT_PHNUM.
    #[must_use]
    pub fn phdr_count(&self) -> u64 {
        from_usize(self.phdrs.len().checked_div(size::PHDR).unwrap_or(0))
    }

    /// Where ld.so writes the address of its `r_debug`.
    #[must_use]
    pub fn debug_slot(&self) -> RuntimeAddr {
        let value = from_usize(self.debug_entry).wrapping_mul(size::DYN as u64).wrapping_add(8);
        RuntimeAddr(self.dynamic.0.wrapping_add(value))
    }
}

/// Writes the tables of one template.
struct Builder<'b, 'a> {
    arena: &'a Arena,
    parts: &'b Parts<'b, 'a>,
    strings: Strings<'a>,
    dynamic: Bytes<'a>,
}

impl<'a> Builder<'_, 'a> {
    fn entry(&mut self, tag: u64, value: u64) -> Result<(), OutOfMemory> {
        self.dynamic.xword(tag)?;
        self.dynamic.xword(value)
    }

    fn vaddr(&self, address: RuntimeAddr) -> u64 {
        self.parts.bias.vaddr(address).0
    }

    fn table(&mut self, tag: u64, bytes: Bytes<'a>) -> Result<u64, OutOfMemory> {
        let table = bytes.finish(self.arena)?;
        self.entry(tag, self.vaddr(address_of(table)))?;
        Ok(from_usize(table.len()))
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

    fn symbol(
        &mut self,
        symbols: &mut Bytes<'a>,
        name: &[u8],
        info: u8,
        section: u16,
        (value, size): (u64, u64),
    ) -> Result<(), OutOfMemory> {
        symbols.word(self.strings.add(name)?)?;
        symbols.put(&[info, 0])?;
        symbols.half(section)?;
        symbols.xword(value)?;
        symbols.xword(size)
    }

    /// Symbols in the order null, imports, the loader's imports, exports; their versions; their hash table.
    fn symbols(&mut self) -> Result<(), OutOfMemory> {
        let parts = self.parts;
        let mut symbols = Bytes::new(self.arena);
        let mut versions = Versions { known: List::new(self.arena), versym: Bytes::new(self.arena) };
        self.symbol(&mut symbols, b"", 0, 0, (0, 0))?;
        versions.versym.half(0)?;
        let weak = |st_type: u8| consts::STB_WEAK << 4 | st_type;
        for import in parts.imports {
            let value = import.canonical.map_or(0, |vaddr| vaddr.0);
            self.symbol(&mut symbols, import.name, weak(import.st_type), 0, (value, 0))?;
            versions.of_symbol(import.version)?;
        }
        for name in LOADER_IMPORTS {
            self.symbol(&mut symbols, name, weak(consts::STT_FUNC), 0, (0, 0))?;
            versions.of_symbol(None)?;
        }
        for export in parts.exports {
            let thread_local = export.st_info & 0xf == consts::STT_TLS;
            let value = if thread_local { export.at.0 } else { self.vaddr(export.at) };
            self.symbol(&mut symbols, export.name, export.st_info, 1, (value, export.size))?;
            versions.of_symbol(export.copy.and_then(|copy| copy.version))?;
        }
        let hash = self.hash()?;
        self.table(consts::DT_HASH, hash)?;
        self.table(consts::DT_SYMTAB, symbols)?;
        self.entry(consts::DT_SYMENT, size::SYM as u64)?;
        if !versions.known.is_empty() {
            let (needed, count) = versions.needed(self.arena, &mut self.strings)?;
            self.table(consts::DT_VERNEED, needed)?;
            self.entry(consts::DT_VERNEEDNUM, count)?;
            self.table(consts::DT_VERSYM, versions.versym)?;
        }
        Ok(())
    }

    /// DT_HASH over the exports, and the functions that the program's PLT stands for. Every lookup of every library
    /// visits it first, so it has real buckets.
    fn hash(&self) -> Result<Bytes<'a>, OutOfMemory> {
        let Parts { exports, imports, .. } = *self.parts;
        let first = first_export(imports.len());
        let count = first.saturating_add(exports.len());
        let buckets = exports.len().checked_div(2).unwrap_or(0) | 1;
        let heads = self.arena.slice(buckets, 0u32)?;
        let chains = self.arena.slice(count, 0u32)?;
        let canonical = imports.iter().enumerate().filter(|(_, import)| import.canonical.is_some());
        let canonical = canonical.map(|(index, import)| (index.saturating_add(1), import.name));
        let exported = exports.iter().enumerate();
        let exported = exported.map(|(index, export)| (first.saturating_add(index), export.name));
        // Backwards, so that of one name the first in scope order is found first.
        for (symbol, name) in canonical.rev().chain(exported.rev()) {
            let bucket = to_usize(sysv_hash(name).into()).checked_rem(buckets).unwrap_or(0);
            if let (Some(head), Some(chain)) = (heads.get_mut(bucket), chains.get_mut(symbol)) {
                *chain = *head;
                *head = u32::try_from(symbol).map_err(|_| OutOfMemory(usize::MAX))?;
            }
        }
        let mut table = Bytes::new(self.arena);
        let word = |value: usize| u32::try_from(value).map_err(|_| OutOfMemory(usize::MAX));
        table.word(word(buckets)?)?;
        table.word(word(count)?)?;
        heads.iter().chain(chains.iter()).try_for_each(|&entry| table.word(entry))?;
        Ok(table)
    }

    fn relocations(&mut self) -> Result<(), OutOfMemory> {
        let parts = self.parts;
        let mut rela = Bytes::new(self.arena);
        let mut add = |at: u64, symbol: u64, r_type: u32, addend: i64| {
            rela.xword(at)?;
            rela.xword(symbol << 32 | u64::from(r_type))?;
            rela.xword(addend.cast_unsigned())
        };
        for binding in parts.bindings {
            let symbol = u64::from(binding.import).saturating_add(1);
            add(self.vaddr(binding.at), symbol, binding.r_type, binding.addend)?;
        }
        for (index, import) in parts.imports.iter().enumerate() {
            if import.st_type != consts::STT_TLS {
                let at = parts.targets.0.wrapping_add(from_usize(index).wrapping_mul(8));
                let symbol = from_usize(index).saturating_add(1);
                // A PLT slot that stands for the function is not what it leads to.
                let canonical = import.canonical.is_some();
                let r_type = if canonical { r_x86_64::R_X86_64_JUMP_SLOT } else { r_x86_64::R_X86_64_GLOB_DAT };
                add(self.vaddr(RuntimeAddr(at)), symbol, r_type, 0)?;
            }
        }
        for (symbol, export) in (first_export(parts.imports.len())..).zip(parts.exports) {
            if export.copy.is_some() {
                add(self.vaddr(export.at), from_usize(symbol), r_x86_64::R_X86_64_COPY, 0)?;
            }
        }
        for index in 0..LOADER_IMPORTS.len() {
            let at = parts.loader_targets.0.wrapping_add(from_usize(index).wrapping_mul(8));
            let symbol = from_usize(parts.imports.len().saturating_add(index)).saturating_add(1);
            add(self.vaddr(RuntimeAddr(at)), symbol, r_x86_64::R_X86_64_GLOB_DAT, 0)?;
        }
        let size = self.table(consts::DT_RELA, rela)?;
        self.entry(consts::DT_RELASZ, size)?;
        self.entry(consts::DT_RELAENT, size::RELA as u64)
    }

    fn headers(&self, dynamic: &[u8]) -> Result<&'a [u8], OutOfMemory> {
        let parts = self.parts;
        let path = self.arena.concat(&[parts.interpreter.as_bytes(), b"\0"])?;
        let at = |p_type, p_flags, bytes: &[u8], p_align| {
            let vaddr = self.vaddr(address_of(bytes));
            header(p_type, p_flags, vaddr, from_usize(bytes.len()), p_align)
        };
        let from_program = [consts::PT_LOAD, consts::PT_GNU_EH_FRAME, consts::PT_GNU_RELRO];
        let program = parts.phdrs.iter().filter(|phdr| from_program.contains(&phdr.p_type));
        let count = program.clone().count().saturating_add(if parts.tls.is_some() { 5 } else { 4 });
        let table = self.arena.bytes(count.saturating_mul(size::PHDR), 8)?;
        let (start, table_size) = (address_of(table), from_usize(table.len()));
        let mut bytes = Bytes::new(self.arena);
        write_header(&mut bytes, &header(consts::PT_PHDR, consts::PF_R, self.vaddr(start), table_size, 8))?;
        write_header(&mut bytes, &at(consts::PT_INTERP, consts::PF_R, path, 1))?;
        program.into_iter().try_for_each(|phdr| write_header(&mut bytes, phdr))?;
        if let Some(tls) = parts.tls {
            let vaddr = self.vaddr(tls.at);
            write_header(&mut bytes, &header(consts::PT_TLS, consts::PF_R, vaddr, tls.size, tls.align))?;
        }
        let writable = consts::PF_R | consts::PF_W;
        write_header(&mut bytes, &header(consts::PT_GNU_STACK, writable, 0, 0, 16))?;
        write_header(&mut bytes, &at(consts::PT_DYNAMIC, writable, dynamic, 8))?;
        for (place, byte) in table.iter_mut().zip(bytes.0.iter()) {
            *place = *byte;
        }
        Ok(table)
    }
}

/// Number of the first export's symbol.
fn first_export(imports: usize) -> usize {
    imports.saturating_add(LOADER_IMPORTS.len()).saturating_add(1)
}

fn header(p_type: u32, p_flags: u32, p_vaddr: u64, size: u64, p_align: u64) -> Phdr {
    Phdr { p_type, p_flags, p_offset: 0, p_vaddr, p_paddr: p_vaddr, p_filesz: size, p_memsz: size, p_align }
}

fn write_header(bytes: &mut Bytes<'_>, phdr: &Phdr) -> Result<(), OutOfMemory> {
    bytes.word(phdr.p_type)?;
    bytes.word(phdr.p_flags)?;
    let rest = [phdr.p_offset, phdr.p_vaddr, phdr.p_paddr, phdr.p_filesz, phdr.p_memsz, phdr.p_align];
    rest.into_iter().try_for_each(|field| bytes.xword(field))
}

/// Writes the tables, in the order in which they refer to one another.
pub fn build<'a>(arena: &'a Arena, parts: &Parts<'_, 'a>) -> Result<Template<'a>, OutOfMemory> {
    let strings = Strings(Bytes::new(arena));
    let mut builder = Builder { arena, parts, strings, dynamic: Bytes::new(arena) };
    builder.strings.add(b"")?;
    builder.libraries()?;
    builder.symbols()?;
    builder.relocations()?;
    let hook = arena.bytes(8, 8)?;
    hook.copy_from_slice(&parts.hook.0.to_le_bytes());
    builder.entry(consts::DT_PREINIT_ARRAY, builder.vaddr(address_of(hook)))?;
    builder.entry(consts::DT_PREINIT_ARRAYSZ, 8)?;
    builder.entry(consts::DT_FLAGS, consts::DF_BIND_NOW)?;
    let strings = core::mem::replace(&mut builder.strings.0, Bytes::new(arena));
    let strings_size = builder.table(consts::DT_STRTAB, strings)?;
    builder.entry(consts::DT_STRSZ, strings_size)?;
    let debug_entry = builder.dynamic.0.len().checked_div(size::DYN).unwrap_or(0);
    builder.entry(consts::DT_DEBUG, 0)?;
    builder.entry(consts::DT_NULL, 0)?;
    let dynamic = core::mem::replace(&mut builder.dynamic, Bytes::new(arena)).finish(arena)?;
    let phdrs = builder.headers(dynamic)?;
    Ok(Template { phdrs, dynamic: address_of(dynamic), debug_entry })
}

#[cfg(test)]
mod tests {
    use super::{Binding, Export, LOADER_IMPORTS, Parts, TlsSnapshot, build};
    use crate::addr::{LoadBias, RuntimeAddr, Vaddr};
    use crate::arena::Arena;
    use crate::dynamic::DynamicInfo;
    use crate::elf::{Decode, Phdr, consts, r_sym, r_type};
    use crate::native::needs::Import;
    use crate::plan::Place;
    use crate::symbol::{Name, lookup};
    use crate::testing::{OneChunk, Span, leaking};
    use crate::version::{NeededVersions, VersionRef};
    use std::string::String;
    use std::vec::Vec;

    const BIAS: LoadBias = LoadBias(0x1000);
    const OLD: VersionRef<'static> = VersionRef { file: b"libc.so.6", version: b"GLIBC_2.2.5" };
    const NEW: VersionRef<'static> = VersionRef { file: b"libc.so.6", version: b"GLIBC_2.14" };
    const OTHER: VersionRef<'static> = VersionRef { file: b"libz.so.1", version: b"ZLIB_1.2.0" };

    fn import(name: &'static [u8], version: Option<VersionRef<'static>>) -> Import<'static> {
        Import { name, version, st_type: consts::STT_FUNC, strong: true, referrer: 0, canonical: None }
    }

    fn parts<'p>(imports: &'p [Import<'static>], exports: &'p [Export<'static>]) -> Parts<'p, 'static> {
        Parts {
            bias: BIAS,
            phdrs: &[],
            interpreter: "/lib/ld.so",
            libraries: &[b"libz.so.1"],
            extra_libraries: &[b"libdl.so.2"],
            search: Some((consts::DT_RUNPATH, b"/opt/lib")),
            imports,
            bindings: &[Binding { at: RuntimeAddr(0x9000), import: 1, r_type: 7, addend: 0 }],
            targets: RuntimeAddr(0xa000),
            loader_targets: RuntimeAddr(0xb000),
            exports,
            tls: Some(TlsSnapshot { at: RuntimeAddr(0xc000), size: 128, align: 64 }),
            hook: RuntimeAddr(0xd000),
        }
    }

    /// Reads a built template the way ld.so does: from its program headers.
    fn open(parts: &Parts<'_, 'static>) -> (Span, Vec<Phdr>, DynamicInfo) {
        let memory = OneChunk::new();
        let arena: &'static Arena = memory.arena();
        let template = build(arena, parts).unwrap();
        let phdrs: Vec<Phdr> = template.phdrs.chunks(56).map(Phdr::decode).collect();
        let image = memory.span(BIAS);
        let first = phdrs.first().unwrap();
        assert_eq!((first.p_type, first.p_memsz), (consts::PT_PHDR, phdrs.len() as u64 * 56));
        assert_eq!(template.phdr_address(), BIAS.runtime(Vaddr(first.p_vaddr)));
        let dynamic = phdrs.iter().find(|phdr| phdr.p_type == consts::PT_DYNAMIC).unwrap();
        assert!(dynamic.p_flags & consts::PF_W != 0, "ld.so writes DT_DEBUG");
        let place = Place { vaddr: Vaddr(dynamic.p_vaddr), size: dynamic.p_memsz };
        let entries =
            crate::dynamic::Entries::<crate::elf::Dyn>::check(&image, place, crate::error::Table::Dynamic);
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
        assert_eq!(kinds, [PT_PHDR, PT_INTERP, PT_TLS, PT_GNU_STACK, PT_DYNAMIC]);
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
        assert_eq!(info.verneed.unwrap().1, 2, "one entry a file");
    }

    #[test]
    fn slots_targets_and_the_loaders_own() {
        let imports = [import(b"puts", None), import(b"crc32", None)];
        let (image, _, info) = open(&parts(&imports, &[]));
        let seen: Vec<(u64, u32, u32)> = (0..info.rela.len())
            .map(|index| info.rela.get(&image, index).unwrap())
            .map(|rela| (BIAS.runtime(Vaddr(rela.r_offset)).0, r_sym(&rela), r_type(&rela)))
            .collect();
        let mut expected = std::vec![(0x9000, 2, 7), (0xa000, 1, 6), (0xa008, 2, 6)];
        expected.extend((0..LOADER_IMPORTS.len()).map(|index| (0xb000 + index as u64 * 8, 3 + index as u32, 6)));
        assert_eq!(seen, expected);
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
}
