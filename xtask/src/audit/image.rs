//! The properties of a built loader that the audit checks, read out of its file as plain data.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::LittleEndian;
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader, Sym};
use object::read::{Object, ObjectSection, ObjectSymbol};

type File<'a> = ElfFile64<'a, LittleEndian>;
const ENDIAN: LittleEndian = LittleEndian;

/// A program header.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) kind: elf::ProgramType,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
}

/// A symbol of `.dynsym` that other objects can bind to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

/// A section that is mapped.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) range: Range<u64>,
}

/// A function's place and machine code.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) code: Vec<u8>,
}

/// A built loader.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) file_type: elf::FileType,
    pub(crate) size: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) soname: Option<String>,
    pub(crate) needed: Vec<String>,
    pub(crate) text_relocations: bool,
    /// The addresses that R_X86_64_RELATIVE relocations change.
    pub(crate) relative: Vec<u64>,
    /// Every other relocation, as text.
    pub(crate) other_relocations: Vec<String>,
    pub(crate) undefined: Vec<String>,
    /// The versions that undefined symbols ask for.
    pub(crate) versions_needed: Vec<String>,
    pub(crate) exports: Vec<Export>,
    pub(crate) sections: Vec<Section>,
    /// Functions in `.symtab`; none in a stripped file.
    pub(crate) functions: Vec<Function>,
}

impl Image {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let data = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&data).with_context(|| path.display().to_string())
    }

    fn parse(data: &[u8]) -> Result<Self> {
        let file = File::parse(data)?;
        let mut image = Self {
            file_type: file.elf_header().e_type.get(ENDIAN),
            size: u64::try_from(data.len())?,
            segments: segments(&file),
            soname: None,
            needed: Vec::new(),
            text_relocations: false,
            relative: Vec::new(),
            other_relocations: Vec::new(),
            undefined: Vec::new(),
            versions_needed: Vec::new(),
            exports: Vec::new(),
            sections: sections(&file)?,
            functions: functions(&file)?,
        };
        image.read_dynamic(&file)?;
        image.read_dynamic_symbols(&file)?;
        Ok(image)
    }

    /// The function of that name; an error unless there is exactly one.
    pub(crate) fn function(&self, name: &str) -> Result<&Function> {
        let mut found = self.functions.iter().filter(|f| f.name == name);
        let function = found.next();
        let function = function.with_context(|| format!("no function {name} in .symtab"))?;
        if found.next().is_some() {
            bail!("more than one function {name} in .symtab");
        }
        Ok(function)
    }

    fn read_dynamic(&mut self, file: &File<'_>) -> Result<()> {
        let table = file.elf_dynamic_table()?;
        let value = |tag| table.iter().find(|d| d.tag == tag).map(|d| d.val);
        for entry in table.iter() {
            let text = || Ok::<_, anyhow::Error>(str::from_utf8(table.string(entry)?)?.to_owned());
            match entry.tag {
                elf::DT_SONAME => self.soname = Some(text()?),
                elf::DT_NEEDED => self.needed.push(text()?),
                elf::DT_TEXTREL => self.text_relocations = true,
                elf::DT_REL => self.other_relocations.push("a DT_REL table".to_owned()),
                _ => {}
            }
        }
        for (table, size) in [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)] {
            let entries = words_at(file, value(table), value(size))?;
            self.add_rela(&entries);
        }
        let entries = words_at(file, value(elf::DT_RELR), value(elf::DT_RELRSZ))?;
        self.relative.extend(relr_slots(&entries));
        Ok(())
    }

    /// Takes in Elf64_Rela entries: r_offset, r_info, r_addend.
    fn add_rela(&mut self, words: &[u64]) {
        for entry in words.chunks(3) {
            match *entry {
                [offset, info, _] if info == u64::from(elf::R_X86_64_RELATIVE.0) => {
                    self.relative.push(offset);
                }
                [offset, info, _] => self.other_relocations.push(format!("r_info {info:#x} at {offset:#x}")),
                _ => self.other_relocations.push("an incomplete entry".to_owned()),
            }
        }
    }

    fn read_dynamic_symbols(&mut self, file: &File<'_>) -> Result<()> {
        let symbols = file.elf_dynamic_symbol_table();
        let versions = file.elf_section_table().versions(ENDIAN, file.data())?;
        // Symbol 0 is the undefined one.
        for (index, symbol) in symbols.enumerate().skip(1) {
            let name = str::from_utf8(symbol.name(ENDIAN, symbols.strings())?)?.to_owned();
            let mut version = None;
            if let Some(table) = &versions {
                let number = table.version_index(ENDIAN, index).index();
                version = table.version(number)?;
            }
            let version = version.map(|v| String::from_utf8_lossy(v.name()).into_owned());
            if symbol.is_undefined(ENDIAN) {
                self.undefined.push(name);
                self.versions_needed.extend(version);
                continue;
            }
            // GNU ld defines the version node's own name as well.
            let is_node = symbol.is_absolute(ENDIAN) && version.as_ref() == Some(&name);
            if !is_node {
                self.exports.push(Export { name, version });
            }
        }
        self.exports.sort();
        Ok(())
    }
}

fn segments(file: &File<'_>) -> Vec<Segment> {
    let headers = file.elf_program_headers().iter();
    headers
        .map(|header| {
            let flags = header.p_flags(ENDIAN).0;
            Segment {
                kind: header.p_type(ENDIAN),
                writable: flags & elf::PF_W.0 != 0,
                executable: flags & elf::PF_X.0 != 0,
                offset: header.p_offset(ENDIAN),
                address: header.p_vaddr(ENDIAN),
                file_size: header.p_filesz(ENDIAN),
                memory_size: header.p_memsz(ENDIAN),
            }
        })
        .collect()
}

fn sections(file: &File<'_>) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for section in file.sections() {
        let allocated = section.elf_section_header().sh_flags(ENDIAN).0 & elf::SHF_ALLOC.0 != 0;
        if allocated {
            sections.push(Section {
                name: section.name()?.to_owned(),
                range: section.address()..section.address() + section.size(),
            });
        }
    }
    Ok(sections)
}

fn functions(file: &File<'_>) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for symbol in file.symbols().filter(|s| s.is_definition()) {
        let section = match symbol.section_index() {
            Some(index) => file.section_by_index(index)?,
            None => continue,
        };
        let executable = section.elf_section_header().sh_flags(ENDIAN).0 & elf::SHF_EXECINSTR.0;
        if executable == 0 {
            continue;
        }
        let code = section.data_range(symbol.address(), symbol.size())?;
        functions.push(Function {
            name: symbol.name()?.to_owned(),
            address: symbol.address(),
            code: code.unwrap_or_default().to_vec(),
        });
    }
    Ok(functions)
}

/// A table of 64-bit words that the dynamic section gives by address and size; empty when it gives none.
fn words_at(file: &File<'_>, address: Option<u64>, size: Option<u64>) -> Result<Vec<u64>> {
    let (address, size) = match (address, size) {
        (None, None | Some(0)) => return Ok(Vec::new()),
        (Some(address), Some(size)) => (address, size),
        _ => bail!("a relocation table has only one of address and size"),
    };
    let loads = file.elf_program_headers().iter();
    let bytes = loads
        .filter(|header| header.p_type(ENDIAN) == elf::PT_LOAD)
        .find_map(|header| header.data_range(ENDIAN, file.data(), address, size).ok()?)
        .with_context(|| format!("relocation table at {address:#x} is in no segment"))?;
    let words = bytes.chunks_exact(8);
    Ok(words.map(|word| word.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b))).collect())
}

/// Decodes DT_RELR: an even word is an address, an odd one a bitmap of the 63 words that follow.
fn relr_slots(words: &[u64]) -> Vec<u64> {
    let mut slots = Vec::new();
    let mut next = 0_u64;
    for &word in words {
        if word & 1 == 0 {
            slots.push(word);
            next = word + 8;
        } else {
            let set = (1..64).filter(|bit| word >> bit & 1 == 1);
            slots.extend(set.map(|bit| next + (bit - 1) * 8));
            next += 63 * 8;
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relr_is_decoded() {
        let slots = relr_slots(&[0x1000, 0b1011, 1, 0b11, 0x5000]);
        assert_eq!(slots, [0x1000, 0x1008, 0x1018, 0x1008 + 2 * 63 * 8, 0x5000]);
    }

    #[test]
    fn this_very_program_is_read_as_what_it_is() {
        let image = Image::read(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(image.file_type, elf::ET_DYN);
        assert!(image.needed.contains(&"libc.so.6".to_owned()));
        assert!(image.undefined.contains(&"write".to_owned()));
        assert!(image.versions_needed.contains(&"GLIBC_2.2.5".to_owned()));
        assert!(image.segments.iter().any(|s| s.kind == elf::PT_INTERP));
        assert!(!image.relative.is_empty());
        assert!(!image.function("main").unwrap().code.is_empty());
        assert!(image.function("no such function").is_err());
    }
}
