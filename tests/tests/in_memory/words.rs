//! The exact words that relocation writes; the sealed pages; thread-local storage.

use rtld::base::addr::{PageRange, RuntimeAddr, Vaddr};
use rtld::elf::consts::{DT_DEBUG, DT_FLAGS};
use rtld::elf::plan::Protection;
use rtld::error::{Errno, Problem};
use rtld::os::seam::{Image, ImageMut};
use tests::memory::file::{BSS, BSS_END, DATA, DYNAMIC, FINI_ARRAY, GOT, INIT_ARRAY, TABLES, TEXT, phdr};
use tests::memory::scene::PROGRAM;
use tests::memory::{Call, ElfBuilder, Scene, Symbol};

use crate::{bias, program_needing, refused, word};

const NONE: u32 = 0;
const R_64: u32 = 1;
const GLOB_DAT: u32 = 6;
const RELATIVE: u32 = 8;
const TPOFF64: u32 = 18;

#[test]
fn every_type_writes_its_formula() {
    let program = program_needing(&["a"])
        .symbol(Symbol::undefined("f"))
        .rela(DATA, RELATIVE, "", 0x1234)
        .rela(DATA + 8, R_64, "f", -2)
        .rela(GOT, GLOB_DAT, "f", 77)
        .jump_slot(GOT + 8, "f")
        .rela(DATA + 16, NONE, "f", 3)
        .rela(DATA + 25, RELATIVE, "", 1)
        .word(DATA + 16, 16)
        .word(GOT + 8, 0x1406);
    let scene = Scene::new(&program)
        .libraries([("a", ElfBuilder::new().symbol(Symbol::function("f", TEXT + 4)).rela(BSS, R_64, "f", 0))]);
    let sealed = scene.seal().unwrap();
    let function = bias(&sealed, 1) + TEXT + 4;
    assert_eq!(word(&sealed, 0, DATA), bias(&sealed, 0) + 0x1234);
    assert_eq!(word(&sealed, 0, DATA + 8), function - 2);
    assert_eq!(word(&sealed, 0, GOT), function, "the field for the addend means nothing here");
    assert_eq!(word(&sealed, 0, GOT + 8), function);
    assert_eq!(word(&sealed, 0, DATA + 16), 16, "R_X86_64_NONE");
    assert_eq!(word(&sealed, 0, DATA + 25), bias(&sealed, 0) + 1, "no alignment is asked for");
    assert_eq!(word(&sealed, 1, BSS), function, "zeros can be relocated as well");
}

#[test]
fn relr_adds_the_bias_to_what_is_there() {
    // One address, then words 1, 3 and 63 after it, then word 64: the second bitmap follows the first.
    let bitmap = 1 | 1 << 1 | 1 << 3 | 1 << 63;
    let program = (0..16u64)
        .fold(ElfBuilder::new(), |program, number| program.word(DATA + 8 * number, number))
        .relr(&[DATA, bitmap, 0b11, DATA + 80, 0b101]);
    let sealed = Scene::new(&program).seal().unwrap();
    let bias = bias(&sealed, 0);
    for number in 0..16 {
        let relocated = [0, 1, 3, 10, 12].contains(&number);
        let expected = if relocated { bias + number } else { number };
        assert_eq!(word(&sealed, 0, DATA + 8 * number), expected, "word {number}");
    }
    assert_eq!([62, 63, 64, 65].map(|number| word(&sealed, 0, DATA + 8 * number)), [0, bias, bias, 0]);
}

#[test]
fn relocations_without_symbol_have_a_value_of_zero() {
    // gABI: for symbol 0, S is 0.
    let program = ElfBuilder::new().rela(DATA, R_64, "", 0x10);
    assert_eq!(word(&Scene::new(&program).seal().unwrap(), 0, DATA), 0x10);
}

#[test]
fn the_debugger_word_is_set_before_sealing() {
    let scene = Scene::new(&ElfBuilder::new().entry(DT_DEBUG, 0).entry(DT_FLAGS, 8));
    let mut relocated = scene.relocate().unwrap();
    relocated.set_debug(RuntimeAddr(0x1234));
    let sealed = relocated.seal(&scene.os).unwrap();
    let place = sealed.namespace.module(0).dynamic.debug.unwrap();
    assert_eq!(word(&sealed, 0, place.0), 0x1234);
}

#[test]
fn relro_is_read_only_once_sealed_and_nothing_else_is() {
    let scene =
        Scene::new(&program_needing(&["a"])).libraries([("a", ElfBuilder::new().rela(GOT, RELATIVE, "", 1))]);
    let mut sealed = scene.seal().unwrap();
    let module = sealed.namespace.module_mut(1);
    assert_eq!(module.image.plan().relro, Some(PageRange { start: Vaddr(0x2000), end: Vaddr(0x3000) }));
    for (vaddr, write) in [(GOT, false), (DYNAMIC, false), (0x2fff, false), (DATA, true), (BSS_END - 8, true)] {
        assert_eq!(module.image.protection(vaddr), Some(Protection { write, ..Protection::READ }), "{vaddr:#x}");
        let written = module.image.write_word(Vaddr(vaddr & !7), 1);
        assert_eq!(written.is_some(), write, "{vaddr:#x}");
    }
    let code = Protection { execute: true, ..Protection::READ };
    assert_eq!(module.image.protection(TEXT), Some(code));
    assert_eq!(module.image.protection(TABLES), Some(Protection::READ));
    for (_, module) in sealed.namespace.all() {
        assert!(module.image.kept_to_writable_segments());
    }
}

#[test]
fn failing_to_protect_is_an_error() {
    let sealed = |program: &ElfBuilder| {
        let mut scene = Scene::new(program);
        scene.os.fail(Call::Protect, "/lib/slulrtld-x86_64.so.1", Errno::ENOMEM);
        scene.seal()
    };
    let refusal = refused(sealed(&ElfBuilder::new().rela(INIT_ARRAY, RELATIVE, "", 0x1400).init_array(&[0])));
    assert_eq!(refusal, (PROGRAM, Problem::Protect(Errno::ENOMEM)));
    assert!(sealed(&ElfBuilder::new()).is_ok(), "what is not relocated is not sealed");
}

#[test]
fn init_and_fini_arrays_hold_run_time_addresses() {
    let program = ElfBuilder::new()
        .init_array(&[0, 0])
        .fini_array(&[0])
        .rela(INIT_ARRAY, RELATIVE, "", 0x1400)
        .rela(INIT_ARRAY + 8, RELATIVE, "", 0x1410)
        .rela(FINI_ARRAY, RELATIVE, "", 0x1420);
    let sealed = Scene::new(&program).seal().unwrap();
    let module = sealed.namespace.module(0);
    let init: Vec<_> = (0..3).map(|index| module.dynamic.init_array.get(&module.image, index)).collect();
    let bias = bias(&sealed, 0);
    assert_eq!(init, [Some(bias + 0x1400), Some(bias + 0x1410), None]);
    assert_eq!(module.dynamic.fini_array.get(&module.image, 0), Some(bias + 0x1420));
}

#[test]
fn thread_local_offsets_and_images() {
    let program = program_needing(&["a", "b"])
        .tls(b"program!", 24, 8)
        .symbol(Symbol::undefined("x"))
        .symbol(Symbol::tls("mine", 4))
        .rela(DATA, TPOFF64, "x", 2)
        .rela(DATA + 8, TPOFF64, "mine", 0)
        .rela(DATA + 16, TPOFF64, "", 8);
    let library = ElfBuilder::new().tls(b"lib", 5, 64).symbol(Symbol::tls("x", 1)).rela(DATA, TPOFF64, "", 0);
    let sealed = Scene::new(&program)
        .libraries([("a", library), ("b", ElfBuilder::new().tls(&[1; 30], 32, 8))])
        .seal()
        .unwrap();
    let offset = |module: usize| sealed.namespace.module(module).tls.unwrap().distance().unwrap().unsigned_abs();
    assert_eq!(
        sealed.namespace.module(0).tls.unwrap().distance(),
        Some(-24),
        "as local-exec code of the program has it"
    );
    let distance = |module: usize, value: u64| value.wrapping_sub(offset(module));
    assert_eq!(word(&sealed, 0, DATA), distance(1, 1 + 2));
    assert_eq!(word(&sealed, 0, DATA + 8), distance(0, 4));
    assert_eq!(word(&sealed, 0, DATA + 16), distance(0, 8));
    assert_eq!(word(&sealed, 1, DATA), distance(1, 0));

    let size = usize::try_from(sealed.tls.size()).unwrap();
    assert_eq!((sealed.tls.size() % sealed.tls.align(), sealed.tls.align()), (0, 64));
    let mut block = vec![0; size];
    sealed.fill_tls(&mut block).unwrap();
    assert_eq!(&block[size - 24..][..9], b"program!\0");
    let library_at = size - usize::try_from(offset(1)).unwrap();
    assert_eq!(&block[library_at..][..5], b"lib\0\0");
    let filled: usize = block.iter().filter(|&&byte| byte != 0).count();
    assert_eq!(filled, 8 + 3 + 30, "nothing else, and none over another");
    assert!(sealed.fill_tls(&mut block[..8]).is_err(), "a block that is too small");
}

#[test]
fn thread_local_storage_of_zeros_alone_needs_no_image() {
    // PT_TLS without an image: the address of .tbss may lie in no segment.
    let elf = ElfBuilder::new().tls(&[], 16, 8).build().with_phdr(8, phdr::VADDR, 0x8000);
    let scene = Scene::new(&program_needing(&["a"])).bytes("/lib/slul/a", &elf);
    let sealed = scene.seal().unwrap();
    let mut block = vec![0; usize::try_from(sealed.tls.size()).unwrap()];
    assert_eq!(sealed.fill_tls(&mut block), Ok(()));
}
