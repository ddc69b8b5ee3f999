//! Faults put into files that were sound.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD, SHT_RELA};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Offset of `EI_CLASS`.
const EI_CLASS: usize = 4;
/// Offset of `e_machine` in the file header.
const E_MACHINE: usize = 18;
/// Offset of the relocation type in an `Elf64_Rela`.
const R_TYPE: usize = 8;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// `text`: a line of text instead of an ELF file.
    Text,
    /// `directory`: a directory of this name.
    Directory,
    /// `empty`: no byte at all.
    Empty,
    /// `class N`: another `EI_CLASS`.
    Class(u8),
    /// `machine N`: another `e_machine`.
    Machine(u16),
    /// `cut header`: ends within the file header.
    CutHeader,
    /// `cut segment`: ends within the last PT_LOAD segment that has bytes in the file.
    CutSegment,
    /// `relocation N`: another type in the first relocation.
    Relocation(u32),
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
            ["relocation", number] => Self::Relocation(number.parse()?),
            _ => bail!("unknown damage: {text}"),
        })
    }
}

impl Damage {
    /// Puts the fault into a file.
    ///
    /// The file is written by another process: a descriptor open for writing in this one would be inherited by
    /// children that other threads fork, and to execute the file would fail with ETXTBSY.
    pub fn apply(self, path: &Path) -> Result<()> {
        if self == Self::Directory {
            fs::remove_file(path)?;
            return Ok(fs::create_dir(path)?);
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
            Self::Directory => bail!("bytes can not become a directory"),
            Self::Empty => bytes.clear(),
            Self::Class(class) => put(bytes, EI_CLASS, &[class])?,
            Self::Machine(machine) => put(bytes, E_MACHINE, &machine.to_le_bytes())?,
            Self::CutHeader => bytes.truncate(40),
            Self::CutSegment => bytes.truncate(middle_of_last_segment(bytes)?),
            Self::Relocation(r_type) => {
                let offset = first_relocation(bytes)? + R_TYPE;
                put(bytes, offset, &r_type.to_le_bytes())?;
            }
        }
        Ok(())
    }
}

/// Copies a file by means of another process, and makes it executable for everyone.
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
        assert!("cut".parse::<Damage>().is_err() && "machine x".parse::<Damage>().is_err());
        fs::write(&path, "x").unwrap();
        assert!(Damage::Relocation(1).apply(&path).is_err());
    }
}
