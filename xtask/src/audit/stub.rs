//! Requirements on `rt0.o`, a part of every program that is linked with it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

use super::table::Row;

/// Most bytes of code and text together, the 28 of its note among them.
const TEXT_LIMIT: u64 = 544;

/// Its entry.
const ENTRY: &str = abi::stub::ENTRY;

/// Checks the stub in a staged tree.
pub(crate) fn check(object: &Path) -> Result<Vec<Row>> {
    let bytes = fs::read(object).with_context(|| object.display().to_string())?;
    rows(&bytes).with_context(|| object.display().to_string())
}

fn rows(bytes: &[u8]) -> Result<Vec<Row>> {
    let file = object::File::parse(bytes)?;
    let (mut text, mut data) = (0, 0);
    for section in file.sections() {
        match section.kind() {
            SectionKind::Text => text += section.size(),
            SectionKind::Data | SectionKind::UninitializedData => data += section.size(),
            _ => {}
        }
    }
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(ENTRY));
    let symbol = symbol.with_context(|| format!("no symbol {ENTRY}"))?;
    let section = file.section_by_index(symbol.section_index().context("it is not defined")?)?;
    let start = usize::try_from(symbol.address())?;
    let code = section.data()?.get(start..).context("it is outside of its section")?;
    let writes = writes(code);
    Ok(vec![
        Row::new("rt0.o: text", format!("{text} of {TEXT_LIMIT} bytes"))
            .require(text <= TEXT_LIMIT, || format!("{} bytes too many", text - TEXT_LIMIT)),
        Row::new("rt0.o: no data", data).require(data == 0, || "it may be written to".to_owned()),
        Row::new("rt0.o: writes to memory", writes).require(writes <= 1, || "more than one".to_owned()),
    ])
}

/// Number of instructions that write to memory, the stack included.
fn writes(code: &[u8]) -> usize {
    let mut information = InstructionInfoFactory::new();
    let is_write = |access| matches!(access, OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite);
    let decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let writing = decoder.into_iter().filter(|instruction| {
        information.info(instruction).used_memory().iter().any(|used| is_write(used.access()))
    });
    writing.count()
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn pushes_and_stores_are_writes() {
        assert_eq!(writes(&[0x50]), 1, "push rax");
        assert_eq!(writes(&[0x0f, 0x11, 0x00, 0xe8, 0, 0, 0, 0]), 2, "movups [rax], xmm0; call");
        assert_eq!(writes(&[0x48, 0x8b, 0x04, 0x24, 0x5a, 0x0f, 0x05]), 0, "mov rax, [rsp]; pop rdx; syscall");
    }
}
