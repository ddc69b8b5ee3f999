//! Faults, put into sound files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use abi::note::{NT_SLUL_RT0, OWNER_SIZE, RT0_NOTE_DESC_SIZE};
use anyhow::{Context, Error, Result, bail, ensure};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_DYNAMIC, PT_GNU_STACK, PT_LOAD, PT_NOTE, PT_PHDR, ProgramType, SHT_RELA};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Offset of `EI_CLASS`.
const EI_CLASS: usize = 4;
/// Offset of `e_machine` in the file header.
const E_MACHINE: usize = 18;
/// Offset of `e_phoff` in the file header.
const E_PHOFF: usize = 32;
/// Offset of the relocation type in an `Elf64_Rela`.
const R_TYPE: usize = 8;

/// A field of a program header: its offset there, and its size.
const FIELDS: [(&str, usize, usize); 7] = [
    ("type", 0, 4),
    ("flags", 4, 4),
    ("offset", 8, 8),
    ("vaddr", 16, 8),
    ("filesz", 32, 8),
    ("memsz", 40, 8),
    ("align", 48, 8),
];

/// Sections that can be removed.
const REMOVABLE: [&str; 3] = [".note.gnu.build-id", ".note.slul", ".note*"];

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// `text`: a line of text in place of the ELF file.
    Text,
    /// `directory`: a directory in place of the file.
    Directory,
    /// `empty`: a file of 0 bytes.
    Empty,
    /// `class N`: another `EI_CLASS`.
    Class(u8),
    /// `machine N`: another `e_machine`.
    Machine(u16),
    /// `cut header`: ends within the file header.
    CutHeader,
    /// `cut segment`: ends within the last PT_LOAD segment that has bytes in the file.
    CutSegment,
    /// `cut at N`: ends after that many bytes.
    CutAt(usize),
    /// `relocation N`: another type in the first relocation.
    Relocation(u32),
    /// `header TYPE FIELD N`: another value in the first program header of that type; `load-2` is the third PT_LOAD.
    Header {
        /// `p_type`.
        p_type: ProgramType,
        /// Its number among those of its type, from 0.
        index: usize,
        /// Offset and size of the field.
        field: (usize, usize),
        /// Its new value.
        value: u64,
    },
    /// `tag OLD NEW`: another tag in the first entry of PT_DYNAMIC that has that one.
    Tag(u64, u64),
    /// `without SECTION`: the section is removed, as objcopy(1) does it.
    Without(&'static str),
    /// `stale stub`: the stub's note gives another distance, as where patchelf(1) has moved the note.
    StaleStub,
    /// `headers at N`, `headers at end`: the program headers are moved to that offset, or to the end of the file.
    HeadersAt(Option<usize>),
}

impl FromStr for Damage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["text"] => Self::Text,
            ["directory"] => Self::Directory,
            ["empty"] => Self::Empty,
            ["class", number] => Self::Class(number.parse()?),
            ["machine", number] => Self::Machine(number.parse()?),
            ["cut", "header"] => Self::CutHeader,
            ["cut", "segment"] => Self::CutSegment,
            ["cut", "at", place] => Self::CutAt(number(place)?.try_into()?),
            ["relocation", number] => Self::Relocation(number.parse()?),
            ["header", name, field, value] => {
                let (p_type, index) = which_header(name)?;
                let field = FIELDS.iter().find(|known| known.0 == *field).context("no field of that name")?;
                Self::Header { p_type, index, field: (field.1, field.2), value: number(value)? }
            }
            ["tag", old, new] => Self::Tag(number(old)?, number(new)?),
            ["without", name] => {
                let known = REMOVABLE.into_iter().find(|known| known == name);
                Self::Without(known.context("not a section that is known to be removable")?)
            }
            ["stale", "stub"] => Self::StaleStub,
            ["headers", "at", "end"] => Self::HeadersAt(None),
            ["headers", "at", place] => Self::HeadersAt(Some(number(place)?.try_into()?)),
            _ => bail!("unknown damage: {text}"),
        })
    }
}

impl Damage {
    /// Puts the fault into a file.
    ///
    /// Another process writes the file: children that other threads fork would inherit a descriptor that is open for
    /// writing here, and execve of the file would fail with ETXTBSY.
    ///
    /// # Errors
    /// The file can not be read or written, or has no place for the fault: too short, no such program header.
    pub fn apply(self, path: &Path) -> Result<()> {
        if self == Self::Directory {
            fs::remove_file(path)?;
            return Ok(fs::create_dir(path)?);
        }
        if let Self::Without(section) = self {
            // objcopy(1) reads a pattern where there is a `*`.
            let mut objcopy = Command::new("objcopy");
            objcopy.arg("--remove-section").arg(section).arg(path);
            ensure!(objcopy.status().context("objcopy")?.success(), "{}: {section} stays", path.display());
            return Ok(());
        }
        let mut bytes = fs::read(path).with_context(|| path.display().to_string())?;
        self.change(&mut bytes).with_context(|| path.display().to_string())?;
        let damaged = path.with_extension("damaged");
        fs::write(&damaged, bytes)?;
        install(&damaged, path)?;
        fs::remove_file(damaged)?;
        Ok(())
    }

    /// Puts the fault into the bytes of a file.
    fn change(self, bytes: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Text => {
                *bytes =
                    b"This is not an ELF file, but a line of text that is long enough for a header.\n".to_vec()
            }
            Self::Directory | Self::Without(_) => bail!("not a change of bytes"),
            Self::StaleStub => {
                // The first one is that of the section; the second stands in the text, where it stays.
                let size = RT0_NOTE_DESC_SIZE.try_into()?;
                let note = [OWNER_SIZE, size, NT_SLUL_RT0].map(u32::to_le_bytes).concat();
                let found = bytes.windows(note.len()).position(|window| window == note);
                let place = found.context("no stub's note")? + 20;
                let moved = bytes.get(place).context("the note is cut off")? ^ 0x40;
                put(bytes, place, &[moved])?;
            }
            Self::Tag(old, new) => {
                let place = dynamic_entry(bytes, old)?;
                put(bytes, place, &new.to_le_bytes())?;
            }
            Self::Empty => bytes.clear(),
            Self::Class(class) => put(bytes, EI_CLASS, &[class])?,
            Self::Machine(machine) => put(bytes, E_MACHINE, &machine.to_le_bytes())?,
            Self::CutHeader => bytes.truncate(40),
            Self::CutSegment => bytes.truncate(middle_of_last_segment(bytes)?),
            Self::CutAt(size) => {
                ensure!(size < bytes.len(), "the file has no more than {} bytes", bytes.len());
                bytes.truncate(size);
            }
            Self::Relocation(r_type) => {
                let offset = first_relocation(bytes)? + R_TYPE;
                put(bytes, offset, &r_type.to_le_bytes())?;
            }
            Self::Header { p_type, index, field: (offset, size), value } => {
                let (value, place) = (value.to_le_bytes(), program_header(bytes, p_type, index)?);
                put(bytes, place + offset, value.get(..size).context("the field is too large")?)?;
            }
            Self::HeadersAt(place) => move_headers(bytes, place)?,
        }
        Ok(())
    }
}

/// Copies a file by another process, `install` (see [`Damage::apply`]), with mode 755.
///
/// # Errors
/// `install` can not be executed, or fails.
pub fn install(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("install").args(["-m", "755"]).arg(from).arg(to).status().context("install")?;
    ensure!(status.success(), "{} can not be copied to {}", from.display(), to.display());
    Ok(())
}

fn put(bytes: &mut [u8], offset: usize, new: &[u8]) -> Result<()> {
    let place = bytes.get_mut(offset..offset + new.len()).context("the file is too short for this damage")?;
    place.copy_from_slice(new);
    Ok(())
}

/// A number in decimal or, with `0x`, hexadecimal.
fn number(text: &str) -> Result<u64> {
    Ok(match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16)?,
        None => text.parse()?,
    })
}

/// Type and index of a program header by its name.
fn which_header(name: &str) -> Result<(ProgramType, usize)> {
    Ok(match name.split_once('-') {
        None if name == "phdr" => (PT_PHDR, 0),
        None if name == "dynamic" => (PT_DYNAMIC, 0),
        None if name == "stack" => (PT_GNU_STACK, 0),
        None if name == "note" => (PT_NOTE, 0),
        Some(("load", index)) => (PT_LOAD, index.parse()?),
        _ => bail!("{name}: neither phdr, dynamic, note, stack nor load-N"),
    })
}

/// File offset of the program headers, and their size in bytes.
fn header_table(bytes: &[u8]) -> Result<(usize, usize)> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let entries = usize::from(header.e_phnum(LittleEndian)) * usize::from(header.e_phentsize(LittleEndian));
    Ok((usize::try_from(header.e_phoff(LittleEndian))?, entries))
}

/// File offset of the program header with number `index` (from 0) of those of its type.
fn program_header(bytes: &[u8], p_type: ProgramType, index: usize) -> Result<usize> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let headers = header.program_headers(LittleEndian, bytes)?;
    let mut found = headers.iter().enumerate().filter(|(_, it)| it.p_type(LittleEndian) == p_type);
    let (position, _) = found.nth(index).context("no such program header")?;
    let (table, _) = header_table(bytes)?;
    Ok(table + position * usize::from(header.e_phentsize(LittleEndian)))
}

/// Moves the program headers to `place` in the file, or to its end.
fn move_headers(bytes: &mut Vec<u8>, place: Option<usize>) -> Result<()> {
    let (table, size) = header_table(bytes)?;
    let old = bytes.get_mut(table..table + size).context("no program headers")?;
    let headers = old.to_vec();
    old.fill(0);
    let place = place.unwrap_or_else(|| bytes.len().next_multiple_of(8));
    bytes.resize(bytes.len().max(place + size), 0);
    put(bytes, place, &headers)?;
    put(bytes, E_PHOFF, &place.to_le_bytes())
}

/// File offset of the middle of the last segment with bytes in the file.
fn middle_of_last_segment(bytes: &[u8]) -> Result<usize> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let mut loads = header
        .program_headers(LittleEndian, bytes)?
        .iter()
        .filter(|it| it.p_type(LittleEndian) == PT_LOAD && it.p_filesz(LittleEndian) > 0);
    let last = loads.next_back().context("no PT_LOAD segment")?;
    Ok(usize::try_from(last.p_offset(LittleEndian) + last.p_filesz(LittleEndian) / 2)?)
}

/// File offset of the first entry of PT_DYNAMIC with a tag.
fn dynamic_entry(bytes: &[u8], tag: u64) -> Result<usize> {
    const ENTRY: usize = 16;
    let header = program_header(bytes, PT_DYNAMIC, 0)?;
    let field = |at: usize| -> Result<usize> {
        let word = bytes.get(at..at + 8).context("no such field")?;
        Ok(usize::try_from(u64::from_le_bytes(word.try_into()?))?)
    };
    let (start, size) = (field(header + 8)?, field(header + 32)?);
    let entries = bytes.get(start..start + size).context("PT_DYNAMIC is not in the file")?.chunks(ENTRY);
    let found = entries.into_iter().position(|entry| entry.starts_with(&tag.to_le_bytes()));
    Ok(start + found.context("no such entry")? * ENTRY)
}

/// File offset of the first relocation.
fn first_relocation(bytes: &[u8]) -> Result<usize> {
    let header = FileHeader64::<LittleEndian>::parse(bytes)?;
    let sections = header.sections(LittleEndian, bytes)?;
    let table = sections.iter().find(|it| it.sh_type(LittleEndian) == SHT_RELA).context("no relocations")?;
    Ok(usize::try_from(table.sh_offset(LittleEndian))?)
}

#[cfg(test)]
mod tests {
    use super::Damage;
    use crate::workdir::Workdir;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::{fs, io::Write};

    fn library(dir: &Path) -> PathBuf {
        let path = dir.join("libx.so");
        let mut gcc = Command::new("gcc")
            .args(["-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o"])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        gcc.stdin.take().unwrap().write_all(b"int x; int *p = &x;").unwrap();
        assert!(gcc.wait().unwrap().success());
        path
    }

    #[test]
    fn each_changes_what_it_says() {
        let workdir = Workdir::new().unwrap();
        let sound = fs::read(library(workdir.path())).unwrap();
        let damaged = |text: &str| {
            let mut bytes = sound.clone();
            text.parse::<Damage>().unwrap().change(&mut bytes).unwrap();
            bytes
        };
        let differing = |text: &str| {
            let bytes = damaged(text);
            assert_eq!(bytes.len(), sound.len());
            (0..bytes.len()).filter(|&at| bytes[at] != sound[at]).collect::<Vec<_>>()
        };
        assert_eq!(differing("class 1"), [4]);
        assert_eq!(differing("machine 183"), [18]);
        let relocation = differing("relocation 250");
        assert_eq!(relocation.len(), 1);
        assert_eq!(damaged("relocation 250")[relocation[0]], 250);
        assert_eq!(damaged("cut header").len(), 40);
        let cut = damaged("cut segment");
        assert!(cut.len() > 64 && cut.len() < sound.len() && sound.starts_with(&cut));
        assert_eq!(damaged("cut at 0x100"), sound[..256]);
        assert_eq!(differing("header load-0 flags 255"), [64 + 4]);
        assert_eq!(differing("header dynamic vaddr 0xffffffffffffffff").len(), 8);
        let moved = damaged("headers at end");
        assert!(moved.len() > sound.len() && moved[64..120] == [0; 56]);
        assert!(moved[sound.len().next_multiple_of(8)..].starts_with(&sound[64..120]));
        assert!(damaged("empty").is_empty());
        assert!(damaged("text").starts_with(b"This"));
    }

    #[test]
    fn files_stay_executable() {
        let workdir = Workdir::new().unwrap();
        let path = library(workdir.path());
        Damage::Machine(2).apply(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap()[18], 2);
        assert_eq!(fs::read_dir(workdir.path()).unwrap().count(), 1, "nothing is left over");
        for text in ["cut", "machine x", "header load filesz 0", "header dynamic size 0", "headers at x"] {
            assert!(text.parse::<Damage>().is_err(), "{text}");
        }
        fs::write(&path, "x").unwrap();
        assert!(Damage::Relocation(1).apply(&path).is_err());
    }
}
