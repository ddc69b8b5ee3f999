//! Relocation: the words that relocation entries name are computed, and written through [`ImageMut`].
//!
//! Nothing is written but the word that an entry names, and the second and third of a PLT's table, and only where the object
//! is writable. Words for native symbols
//! get the address of a first-call stub, and are recorded in [`crate::native::needs::NativeNeeds`].
#![forbid(unsafe_code)]

mod copies;
mod finder;
mod relocator;
mod thread_local;
mod versions;
mod waiting;

use self::finder::Among;
pub use self::finder::Targets;
pub use self::relocator::{Indirect, RelocContext, Relocator, SpecialReferences};
pub use self::thread_local::AT_THREAD_POINTER;
use self::thread_local::{is_thread_local, may_be_thread_local};
pub use self::waiting::WaitingSlot;
use abi::export::is_of_compilers;
use abi::libcs::Libc;

use crate::base::addr::{RuntimeAddr, Vaddr, from_usize, to_usize};
use crate::base::arena::List;
use crate::base::report::Category;
use crate::elf::allowance::NameAllowance;
use crate::elf::symbol::{Name, is_exported, is_resolver};
use crate::elf::version::VersionRef;
use crate::elf::{Rela, Sym, consts, r_sym, r_type, st_bind, st_type, st_visibility};
use crate::error::{Error, Failure, OfObject, Problem};
use crate::link::calls::require_code;
use crate::link::definitions::STACK_CHK_FAIL;
use crate::link::namespace::{Definition, Need};
pub use crate::link::stubs::{LoaderCode, StubLayout, Stubs, TlsDescArg};
use crate::machine::{Machine, RelocKind};
use crate::native::needs::Slot;
use crate::os::seam::ImageMut;
use crate::words;

/// The meaning of a reference.
enum Target {
    /// A definition in this world.
    Defined(Definition),
    /// A native symbol, which the system's ld.so binds: its number among the imports, and the referring symbol.
    Native(u32, Sym),
    /// A weak reference without a definition.
    Zero,
    /// Any other without one: the value of a word that waits.
    Waiting(u64),
}

impl<'a, I: ImageMut> Relocator<'_, 'a, I> {
    /// Relocates all fresh modules.
    ///
    /// # Errors
    /// A version or symbol is not defined, or is of a kind that the relocation can not use; a relocation type is
    /// unknown; a word, initialiser or resolver is not where the object may have it; out of memory. The error names the
    /// module.
    pub fn run(&mut self) -> Result<(), Error<'a>> {
        versions::check(self.namespace, self.objects.fresh, self.arena, self.scratch)?;
        self.finder.begin(self.namespace, &self.objects)?;
        // The last module first, like glibc: of several errors it reports the same one, and of several unique symbols
        // it takes the same one.
        for &index in self.objects.fresh.iter().rev() {
            let module = self.namespace.module(index);
            let (path, dynamic) = (module.path, &module.dynamic);
            self.trace.line(
                Category::Reloc,
                words!(
                    "{}: {} words of DT_RELR, {} entries of DT_RELA, {} of DT_JMPREL",
                    path,
                    dynamic.relr.len(),
                    dynamic.rela.len(),
                    dynamic.jmprel.len()
                ),
            );
            self.versions.read(&module.image, dynamic).of(path)?;
            self.used.truncate(0);
            self.names = NameAllowance::of(dynamic);
            self.finder.turn_to(self.namespace, &self.versions, index).of(path)?;
            if !self.written {
                self.relative(index).of(path)?;
            }
            let dynamic = self.namespace.module(index).dynamic;
            for table in [dynamic.rela, dynamic.jmprel] {
                let (mut at_once, mut next) = ([Rela::default(); 32], 0);
                while next < table.len() {
                    let entries = table.copy(&self.namespace.module(index).image, next, &mut at_once);
                    entries.iter().try_for_each(|rela| self.entry(index, path, rela))?;
                    next = next.saturating_add(from_usize(at_once.len()));
                }
            }
        }
        for &index in self.objects.fresh {
            require_code(self.namespace, index, &self.code.stubs).of(self.namespace.module(index).path)?;
        }
        let copies = core::mem::replace(&mut self.copies, List::new(self.arena));
        copies.iter().try_for_each(|copy| self.copy(copy))
    }

    fn write(&mut self, index: usize, rela: &Rela, value: u64) -> Result<(), Failure<'a>> {
        if self.written {
            return Ok(());
        }
        let at = Vaddr(rela.r_offset);
        let written = self.namespace.module_mut(index).image.write_word(at, value);
        written.ok_or_else(|| Problem::RelocationOutside { r_type: r_type(rela), at }.into())
    }

    /// DT_RELR (gABI): an even entry is an address to relocate, an odd one a bitmap of the 63 words after it.
    fn relative(&mut self, index: usize) -> Result<(), Failure<'a>> {
        let module = self.namespace.module_mut(index);
        let bias = module.image.bias().0;
        // Entries of DT_RELR have no type. An error reports the type of a relative relocation.
        let r_type = I::Machine::number(RelocKind::Relative);
        let relocate = |image: &mut I, at: u64| {
            let outside = Problem::RelocationOutside { r_type, at: Vaddr(at) };
            let value: u64 = image.get(Vaddr(at)).ok_or(outside)?;
            image.write_word(Vaddr(at), value.wrapping_add(bias)).ok_or(outside)
        };
        let mut next = 0u64;
        for entry in 0..module.dynamic.relr.len() {
            let Some(word) = module.dynamic.relr.get(&module.image, entry) else { break };
            if word & 1 == 0 {
                relocate(&mut module.image, word)?;
                next = word.wrapping_add(8);
                continue;
            }
            for bit in 1..64u64 {
                if word >> bit & 1 != 0 {
                    relocate(&mut module.image, next.wrapping_add(bit.wrapping_sub(1).wrapping_mul(8)))?;
                }
            }
            next = next.wrapping_add(63 * 8);
        }
        Ok(())
    }

    fn entry(&mut self, index: usize, path: &'a [u8], rela: &Rela) -> Result<(), Error<'a>> {
        let bias = self.namespace.module(index).image.bias().0;
        let addend = rela.r_addend.cast_unsigned();
        let at = Vaddr(rela.r_offset);
        let kind =
            I::Machine::kind(r_type(rela)).ok_or(Problem::Relocation { r_type: r_type(rela), at }).of(path)?;
        let value = match kind {
            RelocKind::None => return Ok(()),
            RelocKind::Relative => bias.wrapping_add(addend),
            RelocKind::Copy => {
                return match self.copy_source(index, path, rela)? {
                    Some(copy) => self.copies.push(copy).of(path),
                    None => Ok(()),
                };
            }
            RelocKind::Irelative => {
                let resolver = self.resolver(RuntimeAddr(bias.wrapping_add(addend)), index).of(path)?;
                self.indirect.push(Indirect { module: index, at, resolver, addend: 0 }).of(path)?;
                // Written here so that a word outside of writable memory is an error now.
                0
            }
            RelocKind::TlsDescriptor => {
                let argument = Rela { r_offset: rela.r_offset.wrapping_add(8), ..*rela };
                self.describes = self.code.tls_descriptor;
                // The second word holds the value; ld.so fills it if the symbol is native.
                let value = self.symbolic(index, path, &argument, kind)?;
                self.write(index, rela, self.describes.0).of(path)?;
                return self.write(index, &argument, value).of(path);
            }
            _ => self.symbolic(index, path, rela, kind)?,
        };
        self.write(index, rela, value).of(path)
    }

    fn symbolic(&mut self, index: usize, path: &'a [u8], rela: &Rela, kind: RelocKind) -> Result<u64, Error<'a>> {
        let addend = match kind {
            // The psABI defines the value as S, without A: r_addend has no meaning here.
            RelocKind::GlobDat | RelocKind::JumpSlot if !I::Machine::SLOTS_HAVE_ADDENDS => 0,
            _ => rela.r_addend.cast_unsigned(),
        };
        // STN_UNDEF has the value 0 (gABI, "Symbol Table"); for thread-local storage it means the start of the object's
        // own block.
        if r_sym(rela) == 0 {
            if kind == RelocKind::JumpSlot {
                return Err(Problem::NoSymbol { r_type: r_type(rela), at: Vaddr(rela.r_offset) }).of(path);
            }
            return self.thread_local(kind, index, 0, addend).unwrap_or(Ok(addend)).of(path);
        }
        let number = r_sym(rela);
        if let Some(known) = self.finder.known(number).filter(|_| !is_thread_local(kind)) {
            self.refer(index, path, number, known.module)?;
            return Ok(known.address.0.wrapping_add(addend));
        }
        match self.resolve(index, path, rela, kind)? {
            Target::Defined(Definition { sym, .. }) | Target::Native(_, sym)
                if is_thread_local(kind) && !may_be_thread_local(&sym) =>
            {
                let why = "is not thread-local, but used so";
                Err(Problem::SymbolKind { symbol: self.copy_name(index, number).of(path)?, why }).of(path)
            }
            Target::Defined(definition) if is_thread_local(kind) => {
                let Definition { module, sym } = definition;
                self.thread_local(kind, module, sym.st_value, addend).unwrap_or(Ok(0)).of(path)
            }
            Target::Native(_, sym) if is_thread_local(kind) && self.namespace.module(index).opened.is_some() => {
                self.native_thread_local(index, path, number, &sym, addend)
            }
            // Thread-local storage of native libraries of the start is at fixed distances from the thread pointer. The
            // offset, which ld.so fills in, is that distance, in a pretended module that is at the thread pointer.
            Target::Native(..) if kind == RelocKind::DtpModule => Ok(AT_THREAD_POINTER),
            Target::Defined(definition) if is_resolver(&definition.sym) => {
                let resolver = self.namespace.module(definition.module).address(&definition.sym);
                let resolver = self.resolver(resolver, definition.module).of(path)?;
                let at = Vaddr(rela.r_offset);
                self.indirect.push(Indirect { module: index, at, resolver, addend }).of(path)?;
                Ok(0)
            }
            Target::Defined(definition) if st_type(&definition.sym) == consts::STT_TLS => {
                let why = "is thread-local, but not used so";
                Err(Problem::SymbolKind { symbol: self.copy_name(index, number).of(path)?, why }).of(path)
            }
            Target::Defined(definition) => {
                let address = self.namespace.module(definition.module).address(&definition.sym);
                Ok(address.0.wrapping_add(addend))
            }
            Target::Native(import, sym) => {
                let tp_offset = I::Machine::number(RelocKind::TpOffset);
                let slot = Slot {
                    module: index,
                    vaddr: Vaddr(rela.r_offset),
                    import,
                    r_type: if is_thread_local(kind) { tp_offset } else { r_type(rela) },
                    addend: addend.cast_signed(),
                    lazy: false,
                };
                let lazy = self.natives.slot::<I::Machine>(slot, kind, &sym, self.code.stubs.count()).of(path)?;
                if lazy {
                    return Ok(self.code.stubs.address(import).0);
                }
                // A word that can not wait is 0 until ld.so fills it, before the program's entry; or, in what is opened at run
                // time, until it is bound, which leaves waiting what nobody has.
                let opened = self.namespace.module(index).opened.is_some();
                Ok(if opened { self.waiting(index, rela).unwrap_or(0) } else { 0 })
            }
            Target::Zero => {
                // The address is the addend, wherever the thread pointer is.
                self.describes = self.code.tls_undefined;
                Ok(addend)
            }
            Target::Waiting(value) => Ok(value),
        }
    }

    /// Checks that a resolver (STT_GNU_IFUNC), which module `definer` names, is code of that module.
    fn resolver(&self, address: RuntimeAddr, definer: usize) -> Result<RuntimeAddr, Failure<'static>> {
        let vaddr = self.namespace.module(definer).image.bias().vaddr(address);
        // The resolver must be in the object itself: no object contains resolvers of another.
        let code = self.namespace.module(definer).is_code(vaddr);
        if code { Ok(address) } else { Err(Problem::NotCode { what: "a resolver (STT_GNU_IFUNC)", vaddr }.into()) }
    }

    fn resolve(
        &mut self,
        index: usize,
        path: &'a [u8],
        rela: &Rela,
        kind: RelocKind,
    ) -> Result<Target, Error<'a>> {
        let number = r_sym(rela);
        let module = self.namespace.module(index);
        let sym = &module.dynamic.symbols.get(&module.image, number).of(path)?;
        let local = st_bind(sym) == consts::STB_LOCAL;
        let defined = u32::from(sym.st_shndx) != consts::SHN_UNDEF;
        // A protected definition binds the object's own references, whatever other objects define (gABI, "Symbol
        // Visibility").
        let own = !is_exported(sym) || st_visibility(sym) == consts::STV_PROTECTED;
        if local || (defined && own) {
            return Ok(Target::Defined(Definition { module: index, sym: *sym }));
        }
        let bytes = module.dynamic.strings.get(&module.image, u64::from(sym.st_name)).of(path)?;
        self.seen.canary |= bytes == STACK_CHK_FAIL;
        self.seen.opens |= bytes.starts_with(b"slul_dl");
        self.seen.lists |= bytes == b"dl_iterate_phdr";
        // Code that is opened later may ask for libc.
        self.seen.libc_wanted |= bytes == b"slul_load_libc" || self.seen.opens;
        self.names.take(bytes.len()).of(path)?;
        let version = self.versions.of(&module.image, &module.dynamic, number).of(path)?;
        let of_version = version.map_or(0, |version| version.file.len().saturating_add(version.version.len()));
        self.names.take(of_version).of(path)?;
        // An object linked against a libc refers to `__tls_get_addr` of ld.so, with its version; but DTPMOD words hold
        // the loader's own module numbers. What compilers call by themselves does not bring libc in.
        let any_libcs =
            |version: &VersionRef<'_>| is_of_compilers(bytes) && Libc::named_by(version.file).is_some();
        let version = version.filter(|version| bytes != b"__tls_get_addr" && !any_libcs(version));
        let native_file = version.is_some_and(|version| self.natives.has_library(version.file));
        let plt = kind == RelocKind::JumpSlot || is_thread_local(kind);
        let name = Name::versioned(bytes, version.map(|version| version.version)).canonical(!plt);
        if !native_file {
            let found = self.finder.find(self.namespace, &self.objects, index, &name, Among::All)?;
            if let Some(found) = found {
                return self.bind(index, path, number, found).map(Target::Defined);
            }
        }
        let ours = version.filter(|version| !native_file && self.is_of_this_world(index, version.file));
        if self.natives.any() && ours.is_none() {
            self.trace.line(Category::Bindings, words!("{}: {} is left to libc", path, bytes));
            // ld.so asserts that the file of each version is among the files that it was told to load.
            let version = version.filter(|_| native_file);
            let place = to_usize(number.into());
            let known = self.by_symbol.get(place).copied().flatten();
            let import = match known.filter(|_| self.written) {
                Some(import) => import,
                None if self.written => self.natives.new_import(bytes, version, sym, index).of(path)?,
                None => self.natives.import(bytes, version, sym, index).of(path)?,
            };
            if self.written {
                self.by_symbol.put_first(place, import).of(path)?;
            }
            return Ok(Target::Native(import, *sym));
        }
        if st_bind(sym) == consts::STB_WEAK {
            return Ok(Target::Zero);
        }
        let problem = self.undefined(index, number, ours).of(path)?;
        self.waiting(index, rela).map(Target::Waiting).ok_or(problem).of(path)
    }

    /// The error for symbol `number` of module `index`, which no object defines; `version` is the one of the reference, if
    /// that is of a library of this world.
    pub(super) fn undefined(
        &self,
        index: usize,
        number: u32,
        version: Option<VersionRef<'_>>,
    ) -> Result<Problem<'a>, Failure<'a>> {
        let symbol = self.copy_name(index, number)?;
        let Some(VersionRef { file, version }) = version else { return Ok(Problem::UndefinedSymbol(symbol)) };
        Ok(Problem::UndefinedVersion { symbol, version: self.arena.copy(version)?, file: self.arena.copy(file)? })
    }

    /// Whether a file that module `index` names in DT_VERNEED is an object of this world: then no native library has its
    /// versions. It is named by its soname, or by what DT_NEEDED of the module calls it.
    pub(super) fn is_of_this_world(&self, index: usize, file: &[u8]) -> bool {
        let module = self.namespace.module(index);
        let names = module.dynamic.values(&module.image, consts::DT_NEEDED).zip(module.needed);
        let is_file = |offset| module.dynamic.strings.is(&module.image, offset, file) == Ok(true);
        let mut ours = names.filter(|(_, need)| matches!(need, Need::Module(_)));
        ours.any(|(offset, _)| is_file(offset))
            || self.namespace.all().any(|(_, module)| module.soname == file && module.is_available())
    }

    /// The definition to which module `index` binds symbol `number`, given the definition that was found.
    fn bind(
        &mut self,
        index: usize,
        path: &'a [u8],
        number: u32,
        found: Definition,
    ) -> Result<Definition, Error<'a>> {
        let mut found = found;
        if st_bind(&found.sym) == consts::STB_GNU_UNIQUE {
            let name = self.copy_name(index, number).of(path)?;
            found = self.namespace.canonical_definition(&Name::new(name), found).of(path)?;
        }
        self.refer(index, path, number, found.module)?;
        Ok(found)
    }

    /// Records that symbol `number` of module `index` is bound to a definition of `definer`, which keeps `definer`
    /// loaded as long as the module.
    fn refer(&mut self, index: usize, path: &'a [u8], number: u32, definer: usize) -> Result<(), Error<'a>> {
        if self.trace.wants(Category::Bindings) {
            let (symbol, definer) = (self.copy_name(index, number).of(path)?, self.namespace.module(definer).path);
            self.trace.line(Category::Bindings, words!("{}: {} is {}'s", path, symbol, definer));
        }
        // Objects of the start are never unloaded.
        if !self.namespace.is_first(definer) && !self.used.get(definer).copied().unwrap_or(false) {
            self.used.resize(definer.wrapping_add(1), false).of(path)?;
            if let Some(used) = self.used.get_mut(definer) {
                *used = true;
            }
            self.namespace.keep_alive_unrecorded(index, definer).of(path)?;
        }
        Ok(())
    }
}
