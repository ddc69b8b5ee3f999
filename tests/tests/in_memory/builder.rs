//! The generated files of the other tests, checked by another ELF reader.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, elf};
use rtld::elf::consts;
use tests::memory::file::{DATA, DYNAMIC, GOT, TABLES, TEXT};
use tests::memory::{ElfBuilder, Hash, Symbol};

fn everything(hash: Hash) -> Vec<u8> {
    let elf = ElfBuilder::library("libx.so")
        .needs("liby.so")
        .string(consts::DT_RUNPATH, "$ORIGIN")
        .symbol(Symbol::function("f", TEXT))
        .symbol(Symbol::object("x", DATA).weak())
        .symbol(Symbol::undefined("g").version("liby.so", "Y_1"))
        .hash(hash)
        .rela(DATA, 1, "f", 8)
        .jump_slot(GOT, "g")
        .relr(&[DATA + 8])
        .init_array(&[TEXT])
        .tls(&[1, 2, 3], 16, 8)
        .note(1, 0, 1);
    elf.build().bytes
}

#[test]
fn another_reader_finds_everything() {
    let bytes = everything(Hash::Gnu);
    let header = elf::FileHeader64::<LittleEndian>::parse(&*bytes).unwrap();
    let phdrs = header.program_headers(LittleEndian, &*bytes).unwrap();
    let loads = phdrs.iter().filter(|phdr| phdr.p_type(LittleEndian) == elf::PT_LOAD);
    let addresses: Vec<u64> = loads.map(|phdr| phdr.p_vaddr(LittleEndian)).collect();
    assert_eq!(addresses, [0, TEXT, GOT, DATA, TABLES]);
    for kind in [elf::PT_DYNAMIC, elf::PT_GNU_RELRO, elf::PT_TLS, elf::PT_NOTE] {
        assert_eq!(phdrs.iter().filter(|phdr| phdr.p_type(LittleEndian) == kind).count(), 1, "{kind:?}");
    }
    let dynamic = phdrs.iter().find_map(|phdr| phdr.dynamic(LittleEndian, &*bytes).unwrap()).unwrap();
    let tags: Vec<u64> = dynamic.iter().map(|entry| entry.d_tag.get(LittleEndian).0.cast_unsigned()).collect();
    for tag in [consts::DT_NEEDED, consts::DT_SONAME, consts::DT_RELR, consts::DT_VERNEED, consts::DT_INIT_ARRAY] {
        assert!(tags.contains(&tag), "{tag:#x}");
    }
    assert_eq!(tags.last(), Some(&consts::DT_NULL));
    assert!(phdrs.iter().any(|phdr| phdr.p_vaddr(LittleEndian) == DYNAMIC));
}
