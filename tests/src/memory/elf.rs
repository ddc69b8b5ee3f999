//! A small ET_DYN file, described and then made.

use abi::note::{NOTE_OWNER, NT_SLUL_ABI};
use rtld::elf::consts;
use rtld::machine::{Machine, RelocKind, X86_64};

use super::file::{
    BSS, BSS_END, DATA, DYNAMIC, DYNAMIC_END, Elf, FINI_ARRAY, GOT, HEAD_END, INIT_ARRAY, NOTE, PAGE, PHDR, PHDRS,
    RELRO_END, TABLES, TEXT, TEXT_SIZE, TLS, length, offset,
};
use super::tables::{Hash, Strings, Symbol, SymbolTable};

/// PT_TLS of a file.
#[derive(Clone, Debug)]
struct Tls {
    image: Vec<u8>,
    memory: u64,
    align: u64,
}

/// An entry of DT_RELA or DT_JMPREL.
#[derive(Clone, Debug)]
struct Relocation {
    at: u64,
    r_type: u32,
    symbol: String,
    addend: i64,
}

/// The description of a file.
#[derive(Clone, Debug)]
pub struct ElfBuilder {
    /// `e_machine`, and the relocation types that belong to it.
    machine: u16,
    number: fn(RelocKind) -> u32,
    strings: Vec<(u64, String)>,
    entries: Vec<(u64, u64)>,
    symbols: Vec<Symbol>,
    hash: Hash,
    rela: Vec<Relocation>,
    jmprel: Vec<Relocation>,
    relr: Vec<u64>,
    init_array: Vec<u64>,
    fini_array: Vec<u64>,
    words: Vec<(u64, u64)>,
    tls: Option<Tls>,
    note: Option<[u32; 4]>,
}

impl ElfBuilder {
    /// A file without a name.
    #[must_use]
    pub fn new() -> Self {
        Self::of_machine::<X86_64>()
    }

    /// A file of a machine, without a name.
    #[must_use]
    pub fn of_machine<M: Machine>() -> Self {
        Self {
            machine: M::E_MACHINE,
            number: M::number,
            strings: Vec::new(),
            entries: Vec::new(),
            symbols: Vec::new(),
            hash: Hash::Gnu,
            rela: Vec::new(),
            jmprel: Vec::new(),
            relr: Vec::new(),
            init_array: Vec::new(),
            fini_array: Vec::new(),
            words: Vec::new(),
            tls: None,
            note: None,
        }
    }

    /// A file with a DT_SONAME.
    #[must_use]
    pub fn library(soname: &str) -> Self {
        Self::new().string(consts::DT_SONAME, soname)
    }

    /// A DT_NEEDED.
    #[must_use]
    pub fn needs(self, name: &str) -> Self {
        self.string(consts::DT_NEEDED, name)
    }

    /// An entry of PT_DYNAMIC whose value is a string.
    #[must_use]
    pub fn string(mut self, tag: u64, value: &str) -> Self {
        self.strings.push((tag, value.to_owned()));
        self
    }

    /// Any other entry of PT_DYNAMIC. It comes after the generated ones, so it overrides them.
    #[must_use]
    pub fn entry(mut self, tag: u64, value: u64) -> Self {
        self.entries.push((tag, value));
        self
    }

    /// A symbol. Relocations find it by its name.
    #[must_use]
    pub fn symbol(mut self, symbol: Symbol) -> Self {
        self.symbols.push(symbol);
        self
    }

    /// Its hash table; DT_GNU_HASH by default.
    #[must_use]
    pub fn hash(self, hash: Hash) -> Self {
        Self { hash, ..self }
    }

    /// An entry of DT_RELA; an empty symbol means symbol 0.
    #[must_use]
    pub fn rela(mut self, at: u64, r_type: u32, symbol: &str, addend: i64) -> Self {
        self.rela.push(Relocation { at, r_type, symbol: symbol.to_owned(), addend });
        self
    }

    /// An entry of DT_RELA with the machine's number of that type.
    #[must_use]
    pub fn relocation(self, at: u64, kind: RelocKind, symbol: &str, addend: i64) -> Self {
        let r_type = (self.number)(kind);
        self.rela(at, r_type, symbol, addend)
    }

    /// An entry of DT_JMPREL.
    #[must_use]
    pub fn jump_slot(self, at: u64, symbol: &str) -> Self {
        let r_type = (self.number)(RelocKind::JumpSlot);
        self.jmprel(at, r_type, symbol, 0)
    }

    /// An entry of DT_JMPREL of any type.
    #[must_use]
    pub fn jmprel(mut self, at: u64, r_type: u32, symbol: &str, addend: i64) -> Self {
        self.jmprel.push(Relocation { at, r_type, symbol: symbol.to_owned(), addend });
        self
    }

    /// Words of DT_RELR, already encoded (gABI: addresses and bitmaps).
    #[must_use]
    pub fn relr(mut self, words: &[u64]) -> Self {
        self.relr.extend(words);
        self
    }

    /// DT_INIT_ARRAY.
    #[must_use]
    pub fn init_array(mut self, words: &[u64]) -> Self {
        self.init_array.extend(words);
        self
    }

    /// DT_FINI_ARRAY.
    #[must_use]
    pub fn fini_array(mut self, words: &[u64]) -> Self {
        self.fini_array.extend(words);
        self
    }

    /// The value of a word before relocation.
    #[must_use]
    pub fn word(mut self, vaddr: u64, value: u64) -> Self {
        self.words.push((vaddr, value));
        self
    }

    /// PT_TLS: up to 64 bytes of initial image, size and alignment of the block.
    #[must_use]
    pub fn tls(mut self, image: &[u8], memory: u64, align: u64) -> Self {
        self.tls = Some(Tls { image: image.to_vec(), memory, align });
        self
    }

    /// The ABI note: major version (the minor one is 0), flags, oldest loader.
    #[must_use]
    pub fn note(mut self, abi_major: u16, flags: u32, min_loader: u32) -> Self {
        self.note = Some([u32::from(abi_major), flags, min_loader, 0]);
        self
    }

    /// Makes the file.
    #[must_use]
    pub fn build(&self) -> Elf {
        let mut elf = Elf { bytes: Vec::new() };
        let mut dynamic = Vec::new();
        self.tables(&mut elf, &mut dynamic);
        for (tag, size_tag, at, words) in [
            (consts::DT_INIT_ARRAY, consts::DT_INIT_ARRAYSZ, INIT_ARRAY, &self.init_array),
            (consts::DT_FINI_ARRAY, consts::DT_FINI_ARRAYSZ, FINI_ARRAY, &self.fini_array),
        ] {
            if !words.is_empty() {
                dynamic.extend([(tag, at), (size_tag, 8 * length(words))]);
                words.iter().zip((at..).step_by(8)).for_each(|(&word, at)| elf.put(at, &word.to_le_bytes()));
            }
        }
        dynamic.extend(&self.entries);
        dynamic.push((consts::DT_NULL, 0));
        let dynamic_size = 16 * length(&dynamic);
        for ((tag, value), at) in dynamic.into_iter().zip((DYNAMIC..).step_by(16)) {
            elf.put(at, &tag.to_le_bytes());
            elf.put(at + 8, &value.to_le_bytes());
        }
        assert!(DYNAMIC + dynamic_size <= DYNAMIC_END, "PT_DYNAMIC is too large for this layout");
        if let Some(tls) = &self.tls {
            elf.put(TLS, &tls.image);
        }
        self.words.iter().for_each(|&(at, value)| elf.put(at, &value.to_le_bytes()));
        elf.put(TEXT, &[0xcc; 0x40]);
        self.head(&mut elf, dynamic_size);
        elf
    }

    /// Writes the tables of the last segment.
    fn tables(&self, elf: &mut Elf, dynamic: &mut Vec<(u64, u64)>) {
        let mut strings = Strings::new();
        let table = SymbolTable::new(&self.symbols);
        dynamic.extend(self.strings.iter().map(|(tag, string)| (*tag, u64::from(strings.add(string)))));
        dynamic.extend([(consts::DT_SYMTAB, elf.append(&table.symtab(&mut strings))), (consts::DT_SYMENT, 24)]);
        match self.hash {
            Hash::Gnu => dynamic.push((consts::DT_GNU_HASH, elf.append(&table.gnu_hash()))),
            Hash::SysV => dynamic.push((consts::DT_HASH, elf.append(&table.sysv_hash()))),
            Hash::None => {}
        }
        if let Some(versions) = table.versions(&mut strings) {
            dynamic.push((consts::DT_VERSYM, elf.append(&versions.versym)));
            for (tag, count_tag, (bytes, count)) in [
                (consts::DT_VERDEF, consts::DT_VERDEFNUM, versions.verdef),
                (consts::DT_VERNEED, consts::DT_VERNEEDNUM, versions.verneed),
            ] {
                if count != 0 {
                    dynamic.extend([(tag, elf.append(&bytes)), (count_tag, count)]);
                }
            }
        }
        let rela = |relocations: &[Relocation]| -> Vec<u8> {
            let encode = |relocation: &Relocation| {
                let symbol = table.index(&relocation.symbol);
                assert!(symbol.is_some(), "no symbol {}", relocation.symbol);
                let info = symbol.unwrap_or(0) << 32 | u64::from(relocation.r_type);
                [relocation.at, info, relocation.addend.cast_unsigned()].map(u64::to_le_bytes).concat()
            };
            relocations.iter().flat_map(encode).collect()
        };
        let relr: Vec<u8> = self.relr.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (tag, size_tag, entry, bytes) in [
            (consts::DT_RELA, consts::DT_RELASZ, Some((consts::DT_RELAENT, 24)), rela(&self.rela)),
            (
                consts::DT_JMPREL,
                consts::DT_PLTRELSZ,
                Some((consts::DT_PLTREL, consts::DT_RELA)),
                rela(&self.jmprel),
            ),
            (consts::DT_RELR, consts::DT_RELRSZ, Some((consts::DT_RELRENT, 8)), relr),
        ] {
            if !bytes.is_empty() {
                dynamic.extend([(tag, elf.append(&bytes)), (size_tag, length(&bytes))]);
                dynamic.extend(entry);
            }
        }
        dynamic
            .extend([(consts::DT_STRSZ, length(&strings.bytes)), (consts::DT_STRTAB, elf.append(&strings.bytes))]);
    }

    /// Writes the file header, the program headers and the note.
    fn head(&self, elf: &mut Elf, dynamic_size: u64) {
        let (read, write, execute) = (consts::PF_R, consts::PF_R | consts::PF_W, consts::PF_R | consts::PF_X);
        let tables_size = length(&elf.bytes) - offset(TABLES);
        let load = |vaddr, filesz, memsz, flags| (consts::PT_LOAD, flags, vaddr, filesz, memsz, PAGE);
        let mut phdrs = vec![
            load(0, HEAD_END, HEAD_END, read),
            load(TEXT, TEXT_SIZE, TEXT_SIZE, execute),
            load(GOT, offset(DATA) - offset(GOT), RELRO_END - GOT, write),
            load(DATA, BSS - DATA, BSS_END - DATA, write),
            load(TABLES, tables_size, tables_size, read),
            (consts::PT_DYNAMIC, write, DYNAMIC, dynamic_size, dynamic_size, 8),
            (consts::PT_GNU_RELRO, read, GOT, offset(DATA) - offset(GOT), RELRO_END - GOT, 1),
            (consts::PT_GNU_STACK, write, 0, 0, 0, 16),
        ];
        if let Some(Tls { image, memory, align }) = &self.tls {
            phdrs.push((consts::PT_TLS, read, TLS, length(image), *memory, *align));
        }
        if let Some(desc) = self.note {
            let size = [5, 16, NT_SLUL_ABI].map(u32::to_le_bytes).concat();
            let desc = desc.map(u32::to_le_bytes).concat();
            let note = [size, NOTE_OWNER.to_vec(), vec![0; 3], desc].concat();
            elf.put(NOTE, &note);
            phdrs.push((consts::PT_NOTE, read, NOTE, length(&note), length(&note), 4));
        }
        let count = u16::try_from(phdrs.len()).unwrap_or(u16::MAX);
        let ident = [0x7f, b'E', b'L', b'F', consts::ELFCLASS64, consts::ELFDATA2LSB, consts::EV_CURRENT];
        elf.put(0, &ident);
        let halves = [(16, consts::ET_DYN), (18, self.machine), (52, 64), (54, 56), (56, count)];
        halves.iter().for_each(|&(at, half)| elf.put(at, &half.to_le_bytes()));
        elf.put(20, &u32::from(consts::EV_CURRENT).to_le_bytes());
        elf.put(24, &TEXT.to_le_bytes());
        elf.put(32, &length(&[0u8; PHDRS]).to_le_bytes());
        for ((kind, flags, vaddr, filesz, memsz, align), at) in phdrs.into_iter().zip((64..).step_by(PHDR)) {
            elf.put(at, &[kind.to_le_bytes(), flags.to_le_bytes()].concat());
            let words = [offset(vaddr), vaddr, vaddr, filesz, memsz, align];
            elf.put(at + 8, &words.map(u64::to_le_bytes).concat());
        }
    }
}

impl Default for ElfBuilder {
    fn default() -> Self {
        Self::new()
    }
}
