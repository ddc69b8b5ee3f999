//! Files with one fault each, and the error that refuses each.

use rtld::base::addr::{FileOffset, Vaddr};
use rtld::base::arena::{Arena, OutOfMemory, Source};
use rtld::elf::consts;
use rtld::error::{Problem, SegmentFault, Table};
use tests::memory::file::{BSS_END, DATA, E_MACHINE, E_PHNUM, GOT, TABLES, TEXT, phdr};
use tests::memory::scene::PROGRAM;
use tests::memory::{Elf, ElfBuilder, Hash, Scene, Symbol};

use crate::{program_needing, refused};

/// Numbers of the program headers.
const RW: usize = 3;
const LAST: usize = 4;
const DYNAMIC: usize = 5;
const RELRO: usize = 6;
/// PT_TLS or PT_NOTE, if there is one.
const OTHER: usize = 8;

/// A library with all features.
fn whole() -> ElfBuilder {
    ElfBuilder::library("libx.so")
        .symbol(Symbol::object("x", DATA))
        .symbol(Symbol::undefined("w").weak())
        .rela(DATA, 1, "x", 0)
        .relr(&[DATA + 8])
        .jump_slot(GOT, "w")
        .init_array(&[0])
        .fini_array(&[0])
}

/// The error with a library, in a start of a program that needs it and refers to its `x`.
fn problem(elf: &Elf) -> Problem<'static> {
    let program = program_needing(&["x"]).symbol(Symbol::undefined("x")).rela(DATA, 1, "x", 0);
    let scene = Scene::new(&program).bytes("/lib/slul/x", elf);
    let (object, problem) = refused(scene.seal());
    assert_eq!(object, "/lib/slul/x");
    assert!(!problem.to_string().is_empty() && !problem.to_string().contains('\n'));
    problem
}

#[test]
fn the_library_itself_is_sound() {
    let program = program_needing(&["x"]).symbol(Symbol::undefined("x")).rela(DATA, 1, "x", 0);
    assert!(Scene::new(&program).bytes("/lib/slul/x", &whole().build()).seal().is_ok());
}

#[test]
fn file_headers() {
    let elf = whole().build();
    let size = u64::try_from(elf.bytes.len()).unwrap();
    for (position, bytes, expected) in [
        (0, &b"#!"[..], Problem::NotElf),
        (4, &[1], Problem::Class(1)),
        (5, &[2], Problem::Encoding(2)),
        (6, &[2], Problem::Version(1)),
        (20, &[3], Problem::Version(3)),
        (16, &[2], Problem::Type(2)),
        (16, &[1], Problem::Type(1)),
        (E_MACHINE, &[183, 0], Problem::Machine(183)),
        (54, &[32], Problem::ProgramHeaders { count: 8, entry_size: 32 }),
        (E_PHNUM, &[0], Problem::ProgramHeaders { count: 0, entry_size: 56 }),
        (E_PHNUM, &[65], Problem::ProgramHeaders { count: 65, entry_size: 56 }),
        (39, &[1], Problem::Truncated { end: FileOffset((1 << 56) + 64 + 8 * 56), size }),
    ] {
        assert_eq!(problem(&elf.clone().with(position, bytes)), expected);
    }
    assert_eq!(problem(&Elf { bytes: Vec::new() }), Problem::NotElf);
}

#[test]
fn segments() {
    let elf = whole().build();
    let fault = |elf: Elf| match problem(&elf) {
        Problem::Segment { fault, .. } => fault,
        other => panic!("{other}"),
    };
    let with = |number, field, value| fault(elf.clone().with_phdr(number, field, value));
    assert_eq!(with(RW, phdr::MEMSZ, 1), SegmentFault::FileLargerThanMemory);
    assert_eq!(with(RW, phdr::VADDR, DATA + 1), SegmentFault::Misaligned);
    assert_eq!(with(RW, phdr::ALIGN, 3), SegmentFault::Misaligned);
    assert_eq!(with(LAST, phdr::VADDR, DATA + 0x80), SegmentFault::Overlaps);
    assert_eq!(with(RW, phdr::MEMSZ, u64::MAX), SegmentFault::Wraps);
    assert_eq!(with(RW, phdr::FLAGS, 7), SegmentFault::WritableAndExecutable);
    assert_eq!(with(RW, phdr::FLAGS, 4), SegmentFault::ZeroesReadOnly);
    let size = u64::try_from(elf.bytes.len()).unwrap();
    let past = elf.clone().with_phdr(LAST, phdr::OFFSET, 0x1880);
    let end = FileOffset(0x1880 + size - 0x880);
    assert_eq!(problem(&past), Problem::Truncated { end, size });
    assert_eq!(problem(&elf.clone().with(E_PHNUM, &[5])), Problem::NoDynamic);
    let none = (0..5).fold(elf.clone(), |elf, number| elf.with(64 + 56 * number, &[4]));
    assert_eq!(problem(&none), Problem::NoSegments);
    // Too large for memory; an alignment larger than the reservation.
    assert!(matches!(problem(&elf.clone().with_phdr(LAST, phdr::VADDR, TABLES + (1 << 40))), Problem::Map(_)));
    assert!(matches!(problem(&elf.with_phdr(RW, phdr::ALIGN, 1 << 50)), Problem::Map(_)));
}

#[test]
fn more_segments_than_there_is_room_for() {
    let mut bytes = whole().build().bytes;
    bytes.resize(0x20000, 0);
    let mut elf = Elf { bytes }.with(E_PHNUM, &[17]).with(32, &0x10000u64.to_le_bytes());
    for number in 0..17u64 {
        let words = [0, number * 0x1000, 0, 1, 1, 0x1000].map(u64::to_le_bytes).concat();
        let header = [1u32.to_le_bytes(), 4u32.to_le_bytes()].concat();
        elf = elf.with(0x10000 + 56 * usize::try_from(number).unwrap(), &[header, words].concat());
    }
    assert_eq!(problem(&elf), Problem::TooManySegments { limit: 16 });
}

#[test]
fn places_that_program_headers_name() {
    let tls = whole().tls(&[1; 8], 8, 8).build();
    let outside = |table| Problem::OutsideImage { table, vaddr: Vaddr(0x9000) };
    let with = |elf: &Elf, number, field, value| problem(&elf.clone().with_phdr(number, field, value));
    assert_eq!(with(&tls, DYNAMIC, phdr::VADDR, 0x9000), outside(Table::Dynamic));
    let relro = Problem::OutsideImage { table: Table::Relro, vaddr: Vaddr(0x9480) };
    assert_eq!(with(&tls, RELRO, phdr::VADDR, 0x9480), relro);
    assert_eq!(
        with(&tls, RELRO, phdr::MEMSZ, u64::MAX),
        Problem::OutsideImage { table: Table::Relro, vaddr: Vaddr(GOT) }
    );
    assert_eq!(with(&tls, OTHER, phdr::VADDR, 0x9000), outside(Table::TlsImage));
    assert_eq!(with(&tls, OTHER, phdr::MEMSZ, 7), Problem::TableSize { table: Table::TlsImage, size: 8 });
    assert_eq!(with(&tls, OTHER, phdr::ALIGN, 6), Problem::TableSize { table: Table::TlsImage, size: 8 });
    assert_eq!(with(&tls, OTHER, phdr::MEMSZ, 1 << 31), Problem::TlsSize(1 << 31));
}

#[test]
fn half_tables() {
    let elf = whole().build();
    // DT_CHECKSUM, which the loader does not read, in place of one of two entries.
    const OTHER_TAG: u64 = 0x6fff_fdf8;
    for (tag, table) in [
        (consts::DT_STRTAB, Table::Strings),
        (consts::DT_STRSZ, Table::Strings),
        (consts::DT_RELA, Table::Rela),
        (consts::DT_RELASZ, Table::Rela),
        (consts::DT_JMPREL, Table::JmpRel),
        (consts::DT_PLTRELSZ, Table::JmpRel),
        (consts::DT_RELR, Table::Relr),
        (consts::DT_RELRSZ, Table::Relr),
        (consts::DT_INIT_ARRAY, Table::InitArray),
        (consts::DT_INIT_ARRAYSZ, Table::InitArray),
        (consts::DT_FINI_ARRAY, Table::FiniArray),
        (consts::DT_FINI_ARRAYSZ, Table::FiniArray),
    ] {
        assert_eq!(problem(&elf.clone().with_tag(tag, OTHER_TAG)), Problem::HalfTable(table), "{tag:#x}");
    }
}

#[test]
fn tables_outside_and_of_odd_sizes() {
    let elf = whole().build();
    for (tag, table) in [
        (consts::DT_STRTAB, Table::Strings),
        (consts::DT_SYMTAB, Table::Symbols),
        (consts::DT_GNU_HASH, Table::GnuHash),
        (consts::DT_RELA, Table::Rela),
        (consts::DT_JMPREL, Table::JmpRel),
        (consts::DT_RELR, Table::Relr),
        (consts::DT_INIT_ARRAY, Table::InitArray),
        (consts::DT_FINI_ARRAY, Table::FiniArray),
    ] {
        for vaddr in [BSS_END, 0x7_0000, u64::MAX] {
            let expected = Problem::OutsideImage { table, vaddr: Vaddr(vaddr) };
            assert_eq!(problem(&elf.clone().with_entry(tag, vaddr)), expected, "{tag:#x}");
        }
    }
    for (tag, table) in [
        (consts::DT_RELASZ, Table::Rela),
        (consts::DT_RELAENT, Table::Rela),
        (consts::DT_SYMENT, Table::Symbols),
        (consts::DT_PLTRELSZ, Table::JmpRel),
        (consts::DT_RELRSZ, Table::Relr),
        (consts::DT_RELRENT, Table::Relr),
        (consts::DT_INIT_ARRAYSZ, Table::InitArray),
    ] {
        assert_eq!(problem(&elf.clone().with_entry(tag, 25)), Problem::TableSize { table, size: 25 }, "{tag:#x}");
    }
    assert_eq!(problem(&elf.clone().with_entry(consts::DT_SONAME, 9999)), Problem::BadString { offset: 9999 });
    let needs = ElfBuilder::new().entry(consts::DT_NEEDED, 0xffff).build();
    assert_eq!(problem(&needs), Problem::BadString { offset: 0xffff });
}

#[test]
fn versions_outside() {
    let library = whole().symbol(Symbol::undefined("v").weak().version("f", "V")).rela(DATA, 1, "v", 0);
    let library = library.symbol(Symbol::object("d", DATA).of_version("D"));
    for (tag, table) in [(consts::DT_VERSYM, Table::Versym), (consts::DT_VERNEED, Table::Verneed)] {
        let expected = Problem::OutsideImage { table, vaddr: Vaddr(0x7_0000) };
        assert_eq!(problem(&library.build().with_entry(tag, 0x7_0000)), expected);
    }
}

#[test]
fn relocations() {
    let at = |at, r_type, symbol: &str| problem(&whole().rela(at, r_type, symbol, 0).build());
    for r_type in [2, 10, 250] {
        assert_eq!(at(DATA, r_type, ""), Problem::Relocation { r_type, at: Vaddr(DATA) });
    }
    for r_type in [16, 18, 36] {
        let missing = Problem::Unsupported("thread-local symbol of an object without PT_TLS");
        assert_eq!(at(DATA, r_type, ""), missing);
    }
    let not_local = Problem::SymbolKind { symbol: b"x", why: "is not thread-local, but used so" };
    for r_type in [16, 17, 18, 36] {
        assert_eq!(at(DATA, r_type, "x"), not_local);
    }
    let slot = whole().jump_slot(GOT, "").build();
    assert_eq!(problem(&slot), Problem::NoSymbol { r_type: 7, at: Vaddr(GOT) });
    assert_eq!(at(DATA, 5, "x"), Problem::UndefinedSymbol(b"x"), "COPY is of another object's symbol");
    for vaddr in [0, TEXT, TABLES, BSS_END - 6, BSS_END, 0x7_0000, u64::MAX - 3] {
        assert_eq!(at(vaddr, 8, ""), Problem::RelocationOutside { r_type: 8, at: Vaddr(vaddr) });
        assert_eq!(at(vaddr, 1, "x"), Problem::RelocationOutside { r_type: 1, at: Vaddr(vaddr) });
        let relr = whole().relr(&[vaddr & !1]).build();
        assert_eq!(problem(&relr), Problem::RelocationOutside { r_type: 8, at: Vaddr(vaddr & !1) });
    }
    let stray = Problem::RelocationOutside { r_type: 8, at: Vaddr(0) };
    let bitmap = ElfBuilder::new().symbol(Symbol::object("x", DATA)).relr(&[0b11]).build();
    assert_eq!(problem(&bitmap), stray, "a bitmap that follows nothing");
    let far = whole().rela(DATA, 1, "x", 0).build();
    let rela = far.value(consts::DT_RELA).unwrap();
    let index = far.with_word(rela + 8, 0xffff_ffff << 32 | 1);
    assert!(matches!(problem(&index), Problem::OutsideImage { table: Table::Symbols, .. }));
}

#[test]
fn what_is_not_done() {
    for (tag, value, name) in [
        (consts::DT_TEXTREL, 0, "DT_TEXTREL"),
        (consts::DT_FLAGS, 4, "DF_TEXTREL"),
        (consts::DT_PLTREL, 17, "DT_PLTREL of DT_REL"),
        (consts::DT_FILTER, 0, "DT_FILTER"),
        (consts::DT_AUXILIARY, 0, "DT_AUXILIARY"),
        (consts::DT_FLAGS_1, 0x20, "DF_1_INITFIRST"),
        (consts::DT_FLAGS_1, 0x400, "DF_1_INTERPOSE"),
        (consts::DT_RELSZ, 16, "DT_REL"),
        (consts::DT_ANDROID_REL, 0x100, "DT_ANDROID_REL"),
        (consts::DT_ANDROID_RELSZ, 0x100, "DT_ANDROID_REL"),
        (consts::DT_ANDROID_RELA, 0, "DT_ANDROID_RELA"),
        (consts::DT_ANDROID_RELASZ, 0x100, "DT_ANDROID_RELA"),
        (consts::DT_ANDROID_RELR, 0x100, "DT_ANDROID_RELR"),
        (consts::DT_ANDROID_RELRSZ, 8, "DT_ANDROID_RELR"),
        (consts::DT_CREL, 0x100, "DT_CREL"),
        (consts::DT_MOVETAB, 0x100, "DT_MOVETAB"),
        (consts::DT_MOVESZ, 24, "DT_MOVETAB"),
        (consts::DT_AUDIT, 0, "DT_AUDIT"),
        (consts::DT_DEPAUDIT, 0, "DT_DEPAUDIT"),
        (consts::DT_FLAGS_1, 0x100, "DF_1_DIRECT"),
        (consts::DT_FLAGS_1, 0x800, "DF_1_NODEFLIB"),
        (consts::DT_FLAGS_1, 0x400_0000, "DF_1_STUB"),
    ] {
        assert_eq!(problem(&whole().entry(tag, value).build()), Problem::Unsupported(name));
        let scene = Scene::new(&ElfBuilder::new().entry(tag, value));
        assert_eq!(refused(scene.load()), (PROGRAM, Problem::Unsupported(name)), "in the program as well");
    }
}

#[test]
fn notes_that_ask_for_more() {
    let newer = |abi_major, min_loader| Problem::NewerAbi { abi_major, min_loader };
    for (library, expected) in [
        (whole().note(2, 0, 1), newer(2, 1)),
        (whole().note(1, 0, 0x1_0000), newer(1, 0x1_0000)),
        (whole().note(1, 0x10, 1), Problem::AbiFlags(0x10)),
    ] {
        assert_eq!(problem(&library.build()), expected);
        assert_eq!(refused(Scene::new(&library).load()), (PROGRAM, expected), "in the program as well");
    }
    assert!(Scene::new(&whole().note(1, 0xff00_0001, 0)).seal().is_ok(), "flags that may be ignored");
}

#[test]
fn hash_tables_that_lead_nowhere() {
    let gnu = whole().build();
    let table = gnu.value(consts::DT_GNU_HASH).unwrap();
    // No filter, then one bucket whose chain is far away.
    let no_filter = gnu.clone().with_word(table + 8, 0);
    assert_eq!(problem(&no_filter), Problem::TableSize { table: Table::GnuHash, size: 0 });
    let sysv = whole().hash(Hash::SysV).build();
    let table = sysv.value(consts::DT_HASH).unwrap();
    let bucket = sysv.clone().with_word(table + 8, 0xffff_ffff_ffff_ffff);
    assert!(matches!(problem(&bucket), Problem::OutsideImage { table: Table::Symbols | Table::Hash, .. }));
}

#[test]
fn a_chain_without_end_is_noticed_soon() {
    // One bucket; its chain is a loop, and DT_HASH claims as many symbols as there can be.
    let elf = ElfBuilder::new().hash(Hash::SysV).symbol(Symbol::object("y", DATA)).build();
    let table = elf.value(consts::DT_HASH).unwrap();
    let elf = elf.with_word(table, u64::from(u32::MAX) << 32 | 1).with_word(table + 8, 1).with_word(table + 16, 1);
    let began = std::time::Instant::now();
    assert!(matches!(problem(&elf), Problem::TableSize { table: Table::Hash, .. } | Problem::OutsideImage { .. }));
    assert!(began.elapsed().as_secs() < 1, "after {:?}", began.elapsed());
}

#[test]
fn no_memory_for_tables() {
    let scene =
        Scene { arena: Box::leak(Box::new(Arena::new(Source::keeping(|_| None)))), ..Scene::new(&whole()) };
    assert!(matches!(refused(scene.load()).1, Problem::OutOfMemory(OutOfMemory(_))));
}
