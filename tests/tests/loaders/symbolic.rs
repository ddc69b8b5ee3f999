//! Symbolic binding, requested in a linked file. Linkers with `-Bsymbolic` bind nearly all references themselves; here
//! all are left to the loader, as by older and other linkers.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::LittleEndian;
use object::elf::{DF_SYMBOLIC, DT_FLAGS, DT_NULL, DT_SYMBOLIC, FileHeader64, PT_DYNAMIC};
use object::read::elf::{FileHeader, ProgramHeader};

/// The mark that requests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// DT_SYMBOLIC.
    Tag,
    /// DF_SYMBOLIC in DT_FLAGS.
    Flag,
}

/// An entry of the dynamic section: tag and value.
type Entry = [u8; 16];

/// Marks a file. If it lacks the entry, the mark takes the first of the spare entries of DT_NULL that ld leaves.
pub(crate) fn mark(path: &Path, how: Mark) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice())?;
    let segments = header.program_headers(LittleEndian, bytes.as_slice())?;
    let dynamic = segments.iter().find(|segment| segment.p_type(LittleEndian) == PT_DYNAMIC);
    let (start, size) = dynamic.context("no PT_DYNAMIC")?.file_range(LittleEndian);
    let (start, end) = (usize::try_from(start)?, usize::try_from(start + size)?);
    let (entries, _) = bytes.get_mut(start..end).context("PT_DYNAMIC outside the file")?.as_chunks_mut();
    match how {
        Mark::Tag => write_new(entries, entry(DT_SYMBOLIC.0, 0))?,
        Mark::Flag => match entries.iter_mut().find(|found| has_tag(found, DT_FLAGS.0)) {
            // The lowest byte of the value.
            Some([.., flags, _, _, _, _, _, _, _]) => *flags |= u8::try_from(DF_SYMBOLIC.0)?,
            None => write_new(entries, entry(DT_FLAGS.0, DF_SYMBOLIC.0))?,
        },
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn write_new(entries: &mut [Entry], new: Entry) -> Result<()> {
    let mut spare = entries.iter_mut().skip_while(|found| !has_tag(found, DT_NULL.0));
    let (Some(first), Some(_)) = (spare.next(), spare.next()) else { bail!("no spare entry") };
    *first = new;
    Ok(())
}

fn has_tag(entry: &Entry, tag: i64) -> bool {
    entry.first_chunk() == Some(&tag.to_le_bytes())
}

fn entry(tag: i64, value: u64) -> Entry {
    let mut entry = Entry::default();
    let bytes = tag.to_le_bytes().into_iter().chain(value.to_le_bytes());
    entry.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    entry
}
