//! The structure of the loader's file, which the kernel and rt0 rely on.

use object::elf;

use super::image::{Image, Segment};
use super::table::Row;

/// The most a stripped loader may take: what it takes now and a little slack, so that growth is noticed. The goal, and what
/// stands in its way, is in `docs/weaknesses.md`.
const SIZE_LIMIT: u64 = 256 * 1024;

/// All checks of the file's structure.
pub(crate) fn check(image: &Image, name: &str) -> Vec<Row> {
    vec![
        file_type(image),
        soname(image, name),
        list("no PT_INTERP", &interpreters(image)),
        list("no DT_NEEDED", &image.needed),
        list("no undefined symbol", &image.undefined),
        relocations(image),
        list("no segment writable and executable", &rwx_segments(image)),
        stack(image),
    ]
}

/// Number of PT_LOAD segments: each costs a plain start as much as three page faults.
pub(crate) fn segments(image: &Image) -> Row {
    let loads = image.segments.iter().filter(|s| s.kind == elf::PT_LOAD).count();
    Row::new("one PT_LOAD", loads).require(loads == 1, || "each has its price".to_owned())
}

/// Whether the file has the layout of the memory, from its first byte on: `rt0-map.o` and `rt0-embed.o` rely on it.
pub(crate) fn layout(image: &Image) -> Row {
    list("laid out as rt0 maps it", &not_as_in_memory(image))
}

/// The size of the installed file.
pub(crate) fn size(image: &Image) -> Row {
    let figure = format!("{} of {SIZE_LIMIT} bytes", image.size);
    Row::new("size, stripped", figure)
        .require(image.size <= SIZE_LIMIT, || format!("{} bytes too many", image.size - SIZE_LIMIT))
}

/// The most that unwind entries may take: those of assembly are written out one by one, and compiled code has none.
const UNWIND_LIMIT: u64 = 544;

/// The size of the unwind tables that are installed.
pub(crate) fn unwind_tables(image: &Image) -> Row {
    let tables = image.sections.iter().filter(|section| section.name.starts_with(".eh_frame"));
    let size: u64 = tables.map(|section| section.range.end - section.range.start).sum();
    Row::new("unwind tables, of assembly alone", format!("{size} of {UNWIND_LIMIT} bytes"))
        .require(size != 0, || "backtraces need them".to_owned())
        .require(size <= UNWIND_LIMIT, || format!("{} bytes too many", size - UNWIND_LIMIT))
}

/// Passes if the list is empty.
fn list(name: &'static str, found: &[String]) -> Row {
    Row::new(name, found.len()).require(found.is_empty(), || found.join(", "))
}

fn file_type(image: &Image) -> Row {
    let kind = image.file_type;
    Row::new("ET_DYN", format!("e_type {}", kind.0))
        .require(kind == elf::ET_DYN, || "it cannot be mapped anywhere".to_owned())
}

fn soname(image: &Image, name: &str) -> Row {
    let soname = image.soname.as_deref();
    Row::new("soname", soname.unwrap_or("none")).require(soname == Some(name), || format!("should be {name}"))
}

fn interpreters(image: &Image) -> Vec<String> {
    let found = image.segments.iter().filter(|s| s.kind == elf::PT_INTERP);
    found.map(|_| "PT_INTERP".to_owned()).collect()
}

fn relocations(image: &Image) -> Row {
    let mut wrong = image.other_relocations.clone();
    if image.text_relocations {
        wrong.push("DT_TEXTREL".to_owned());
    }
    let figure = format!("{} RELATIVE", image.relative.len());
    Row::new("only RELATIVE relocations", figure).require(wrong.is_empty(), || wrong.join(", "))
}

fn rwx_segments(image: &Image) -> Vec<String> {
    let loads = image.segments.iter().enumerate();
    loads
        .filter(|(_, s)| s.kind == elf::PT_LOAD && s.writable && s.executable)
        .map(|(index, _)| format!("program header {index}"))
        .collect()
}

/// Violations of rt0's requirement (`abi::stub`): the file is the image, and only its end is writable.
fn not_as_in_memory(image: &Image) -> Vec<String> {
    const PAGE: u64 = 4096;
    let loads = || image.segments.iter().filter(|s| s.kind == elf::PT_LOAD);
    let first_written = loads().find(|s| s.writable).map_or(u64::MAX, |s| s.address);
    let wrong = |s: &&Segment| {
        let moved = s.offset != s.address || s.file_size != s.memory_size;
        let shares_page = s.writable && !s.address.is_multiple_of(PAGE);
        moved || shares_page || !s.writable && s.address >= first_written
    };
    loads().filter(wrong).map(|s| format!("PT_LOAD at {:#x}", s.address)).collect()
}

/// Without PT_GNU_STACK the kernel makes the stack executable.
fn stack(image: &Image) -> Row {
    let mut stacks = image.segments.iter().filter(|s| s.kind == elf::PT_GNU_STACK);
    let figure = match stacks.next() {
        None => "no PT_GNU_STACK",
        Some(stack) if stack.executable => "executable",
        Some(_) => "not executable",
    };
    Row::new("stack not executable", figure).require(figure == "not executable", || figure.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::image::{Export, Section};
    use super::*;
    use abi::arch::NATIVE;

    fn segment(kind: elf::ProgramType, writable: bool, executable: bool) -> Segment {
        let address = if writable { 0x3000 } else { 0 };
        Segment { kind, writable, executable, offset: address, address, file_size: 9, memory_size: 9 }
    }

    pub(crate) fn good() -> Image {
        Image {
            file_type: elf::ET_DYN,
            size: SIZE_LIMIT,
            segments: vec![segment(elf::PT_LOAD, false, true), segment(elf::PT_GNU_STACK, true, false)],
            soname: Some(NATIVE.paths.soname.to_owned()),
            needed: vec![],
            text_relocations: false,
            relative: vec![0x3000],
            other_relocations: vec![],
            undefined: vec![],
            versions_needed: vec![],
            exports: vec![Export { name: "memcpy".to_owned(), version: None }],
            sections: vec![Section { name: ".eh_frame".to_owned(), range: 0x100..0x110 }],
            functions: vec![],
        }
    }

    /// The names of the checks that fail with a spoilt image.
    fn failing(spoil: impl FnOnce(&mut Image)) -> Vec<&'static str> {
        let mut image = good();
        spoil(&mut image);
        let mut rows = check(&image, NATIVE.paths.soname);
        rows.extend([layout(&image), segments(&image), size(&image), unwind_tables(&image)]);
        let failing = rows.iter().filter(|row| row.failure.is_some());
        failing.map(|row| row.name).collect()
    }

    #[test]
    fn a_good_image_passes() {
        assert!(failing(|_| ()).is_empty());
    }

    #[test]
    fn each_spoilt_image_fails_its_own_check() {
        assert_eq!(failing(|i| i.file_type = elf::ET_EXEC), ["ET_DYN"]);
        assert_eq!(failing(|i| i.soname = None), ["soname"]);
        assert_eq!(failing(|i| i.size += 1), ["size, stripped"]);
        let unwind = ["unwind tables, of assembly alone"];
        assert_eq!(failing(|i| i.sections.clear()), unwind);
        assert_eq!(failing(|i| i.sections[0].range.end += UNWIND_LIMIT), unwind);
        let name = || "it".to_owned();
        assert_eq!(failing(|i| i.needed.push(name())), ["no DT_NEEDED"]);
        assert_eq!(failing(|i| i.undefined.push(name())), ["no undefined symbol"]);
    }

    #[test]
    fn other_relocations_fail() {
        let expected = ["only RELATIVE relocations"];
        assert_eq!(failing(|i| i.text_relocations = true), expected);
        assert_eq!(failing(|i| i.other_relocations.push("it".to_owned())), expected);
    }

    #[test]
    fn a_file_that_is_not_the_image_fails() {
        let spoil = |spoil: fn(&mut Segment)| failing(|i| spoil(&mut i.segments[0]));
        let expected = ["laid out as rt0 maps it"];
        assert_eq!(spoil(|s| s.offset = 0x2000), expected);
        assert_eq!(spoil(|s| s.memory_size = 10), expected);
        let written = |spoil: fn(&mut Segment)| {
            failing(|i| {
                i.segments.push(segment(elf::PT_LOAD, true, false));
                i.segments.iter_mut().rev().take(1).for_each(spoil);
            })
        };
        assert_eq!(written(|_| ()), ["one PT_LOAD"]);
        let expected = ["laid out as rt0 maps it", "one PT_LOAD"];
        assert_eq!(written(|s| (s.offset, s.address) = (0x3010, 0x3010)), expected);
        assert_eq!(
            failing(|i| {
                i.segments.push(segment(elf::PT_LOAD, true, false));
                (i.segments[0].offset, i.segments[0].address) = (0x4000, 0x4000);
            }),
            expected
        );
    }

    #[test]
    fn bad_segments_fail() {
        let add = |s| failing(|i: &mut Image| i.segments.push(s));
        assert_eq!(add(segment(elf::PT_INTERP, false, false)), ["no PT_INTERP"]);
        let rwx = ["no segment writable and executable"];
        assert_eq!(failing(|i| i.segments[0].writable = true), rwx);
        let stack = ["stack not executable"];
        assert_eq!(failing(|i| i.segments.truncate(1)), stack);
        let executable = |i: &mut Image| i.segments.iter_mut().for_each(|s| s.executable = true);
        assert!(failing(executable).contains(&"stack not executable"));
    }
}
