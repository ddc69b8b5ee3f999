//! Objects of each machine, loaded on this one: words are relocated by the rules of the machine's psABI.
//!
//! The numbers of relocation types are those of the crate `object`, the values are computed from the psABIs' formulae:
//! B is the load bias, S the symbol's address, A the addend.

use object::elf::{self, RelocationType};
use rtld::base::addr::RuntimeAddr;
use rtld::elf::consts;
use rtld::error::Problem;
use rtld::link::reloc::AT_THREAD_POINTER;
use rtld::link::sealed::Sealed;
use rtld::machine::{Aarch64, Machine, RelocKind, Riscv64, X86_64};
use rtld::native::needs::WhyEager;
use tests::memory::file::{BSS, DATA, GOT, TEXT, TLS};
use tests::memory::scene::{CODE, PROGRAM, STUBS};
use tests::memory::{ElfBuilder, Hash, MemImage, Scene, Symbol};

use crate::{bias, paths, refused, word};

/// The rules of a psABI.
trait Psabi: Machine + Sized {
    /// `e_machine`.
    const MACHINE: u16;
    /// Relocation types: the number of each meaning.
    const TYPES: [(RelocKind, RelocationType); 11];
    /// Whether GLOB_DAT and JUMP_SLOT are S + A instead of S.
    const SLOTS_ADD: bool;
    /// The bit of `st_other` for a variant calling convention: such symbols are bound eagerly.
    const VARIANT: Option<u8>;
    /// The bias that is subtracted from offsets in DTPREL words.
    const DTP_BIAS: u64;

    /// Distance from the thread pointer to the program's own block with that vaddr, size and alignment. Local-exec code
    /// has it compiled in.
    fn local_exec(vaddr: u64, size: u64, align: u64) -> i64;

    /// The number of a type.
    fn r_type(kind: RelocKind) -> u32 {
        let found = Self::TYPES.iter().find(|(known, _)| *known == kind);
        found.unwrap().1.0
    }

    /// A library, or a program.
    fn object(needs: &[&str]) -> ElfBuilder {
        needs.iter().fold(ElfBuilder::of_machine::<Self>(), |elf, name| elf.needs(name))
    }
}

impl Psabi for X86_64 {
    const MACHINE: u16 = 62;
    const TYPES: [(RelocKind, RelocationType); 11] = [
        (RelocKind::None, elf::R_X86_64_NONE),
        (RelocKind::Relative, elf::R_X86_64_RELATIVE),
        (RelocKind::Absolute, elf::R_X86_64_64),
        (RelocKind::GlobDat, elf::R_X86_64_GLOB_DAT),
        (RelocKind::JumpSlot, elf::R_X86_64_JUMP_SLOT),
        (RelocKind::TpOffset, elf::R_X86_64_TPOFF64),
        (RelocKind::DtpModule, elf::R_X86_64_DTPMOD64),
        (RelocKind::DtpOffset, elf::R_X86_64_DTPOFF64),
        (RelocKind::TlsDescriptor, elf::R_X86_64_TLSDESC),
        (RelocKind::Irelative, elf::R_X86_64_IRELATIVE),
        (RelocKind::Copy, elf::R_X86_64_COPY),
    ];
    const SLOTS_ADD: bool = false;
    const VARIANT: Option<u8> = None;
    const DTP_BIAS: u64 = 0;

    // "ELF Handling For Thread-Local Storage", variant II: the block ends at the thread pointer, up to its alignment.
    fn local_exec(vaddr: u64, size: u64, align: u64) -> i64 {
        let end = vaddr.next_multiple_of(align) - vaddr;
        -(size + (align - (size - end % align) % align) % align).cast_signed()
    }
}

impl Psabi for Aarch64 {
    const MACHINE: u16 = 183;
    const TYPES: [(RelocKind, RelocationType); 11] = [
        (RelocKind::None, elf::R_AARCH64_NONE),
        (RelocKind::Relative, elf::R_AARCH64_RELATIVE),
        (RelocKind::Absolute, elf::R_AARCH64_ABS64),
        (RelocKind::GlobDat, elf::R_AARCH64_GLOB_DAT),
        (RelocKind::JumpSlot, elf::R_AARCH64_JUMP_SLOT),
        (RelocKind::TpOffset, elf::R_AARCH64_TLS_TPREL),
        (RelocKind::DtpModule, elf::R_AARCH64_TLS_DTPMOD),
        (RelocKind::DtpOffset, elf::R_AARCH64_TLS_DTPREL),
        (RelocKind::TlsDescriptor, elf::R_AARCH64_TLSDESC),
        (RelocKind::Irelative, elf::R_AARCH64_IRELATIVE),
        (RelocKind::Copy, elf::R_AARCH64_COPY),
    ];
    const SLOTS_ADD: bool = true;
    const VARIANT: Option<u8> = Some(elf::STO_AARCH64_VARIANT_PCS.0);
    const DTP_BIAS: u64 = 0;

    // AAELF64: the block begins behind a TCB of 16 bytes, aligned like its vaddr.
    fn local_exec(vaddr: u64, _: u64, align: u64) -> i64 {
        (16..).find(|distance| (distance - vaddr.cast_signed()) % align.cast_signed() == 0).unwrap()
    }
}

impl Psabi for Riscv64 {
    const MACHINE: u16 = 243;
    const TYPES: [(RelocKind, RelocationType); 11] = [
        (RelocKind::None, elf::R_RISCV_NONE),
        (RelocKind::Relative, elf::R_RISCV_RELATIVE),
        (RelocKind::Absolute, elf::R_RISCV_64),
        // RISC-V has no other type for a GOT entry.
        (RelocKind::GlobDat, elf::R_RISCV_64),
        (RelocKind::JumpSlot, elf::R_RISCV_JUMP_SLOT),
        (RelocKind::TpOffset, elf::R_RISCV_TLS_TPREL64),
        (RelocKind::DtpModule, elf::R_RISCV_TLS_DTPMOD64),
        (RelocKind::DtpOffset, elf::R_RISCV_TLS_DTPREL64),
        (RelocKind::TlsDescriptor, elf::R_RISCV_TLSDESC),
        (RelocKind::Irelative, elf::R_RISCV_IRELATIVE),
        (RelocKind::Copy, elf::R_RISCV_COPY),
    ];
    const SLOTS_ADD: bool = false;
    const VARIANT: Option<u8> = Some(elf::STO_RISCV_VARIANT_CC.0);
    const DTP_BIAS: u64 = 0x800;

    // psABI: the block begins at the thread pointer, aligned like its vaddr.
    fn local_exec(vaddr: u64, _: u64, align: u64) -> i64 {
        (0..).find(|distance| (distance - vaddr.cast_signed()) % align.cast_signed() == 0).unwrap()
    }
}

/// A start of a program with libraries, by their names.
fn sealed<M: Psabi, const N: usize>(
    program: &ElfBuilder,
    libraries: [(&str, ElfBuilder); N],
) -> Sealed<'static, MemImage<M>> {
    Scene::<M>::of_machine(program).libraries(libraries).seal().unwrap()
}

/// The loader's numbers of relocation types are those of the crate `object`.
fn numbers<M: Psabi>() {
    assert_eq!(M::E_MACHINE, M::MACHINE);
    for (kind, number) in M::TYPES {
        assert_eq!(M::number(kind), number.0, "{} {kind:?}", M::NAME);
    }
    assert_eq!(M::SLOTS_HAVE_ADDENDS, M::SLOTS_ADD);
    for st_other in 0..=u8::MAX {
        let variant = M::VARIANT.is_some_and(|bit| st_other & bit != 0);
        assert_eq!(M::is_variant(st_other), variant, "{} {st_other:#x}", M::NAME);
    }
}

/// A word for each type without a symbol, and with one that a library defines.
fn words<M: Psabi>() {
    use RelocKind::{Absolute, GlobDat, JumpSlot, None, Relative};
    let got = if M::r_type(GlobDat) == M::r_type(Absolute) { 0 } else { 0x70 };
    let program = M::object(&["a"])
        .symbol(Symbol::undefined("f"))
        .symbol(Symbol::object("own", DATA + 0x40))
        .rela(DATA, M::r_type(Relative), "", 0x1234)
        .rela(DATA + 8, M::r_type(Absolute), "f", -2)
        .rela(DATA + 16, M::r_type(None), "f", 3)
        .rela(DATA + 24, M::r_type(Absolute), "own", 16)
        .rela(GOT, M::r_type(GlobDat), "f", got)
        .jmprel(GOT + 8, M::r_type(JumpSlot), "f", 0x30)
        .word(DATA + 16, 16);
    let library = M::object(&[]).symbol(Symbol::function("f", TEXT + 4)).rela(BSS, M::r_type(Absolute), "f", 0);
    let sealed = sealed::<M, 1>(&program, [("a", library)]);
    let (b, s) = (bias(&sealed, 0), bias(&sealed, 1) + TEXT + 4);
    assert_eq!(word(&sealed, 0, DATA), b + 0x1234, "B + A");
    assert_eq!(word(&sealed, 0, DATA + 8), s - 2, "S + A");
    assert_eq!(word(&sealed, 0, DATA + 16), 16, "nothing");
    assert_eq!(word(&sealed, 0, DATA + 24), b + DATA + 0x50, "S + A of its own symbol");
    let slots = if M::SLOTS_ADD { [s + got.cast_unsigned(), s + 0x30] } else { [s, s] };
    assert_eq!([GOT, GOT + 8].map(|at| word(&sealed, 0, at)), slots, "S, or S + A");
    assert_eq!(word(&sealed, 1, BSS), s);
}

/// DT_RELR is the same for all machines.
fn packed<M: Psabi>() {
    let program = (0..8u64)
        .fold(M::object(&[]), |program, number| program.word(DATA + 8 * number, number))
        .relr(&[DATA, 0b1011]);
    let sealed = sealed::<M, 0>(&program, []);
    let b = bias(&sealed, 0);
    let expected = [b, b + 1, 2, b + 3, 4, 5, 6, 7];
    assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(|number| word(&sealed, 0, DATA + 8 * number)), expected);
}

/// COPY: the copy has the library's relocated bytes, and all references bind to it.
fn copies<M: Psabi>() {
    use RelocKind::{Absolute, Copy, GlobDat, Relative};
    let program =
        M::object(&["a"]).symbol(Symbol::object("x", BSS + 16).size(16)).rela(BSS + 16, M::r_type(Copy), "x", 0);
    let library = M::object(&[])
        .symbol(Symbol::object("x", DATA).size(16))
        .rela(DATA, M::r_type(Relative), "", 0x77)
        .word(DATA + 8, 0x1122)
        .rela(GOT, M::r_type(GlobDat), "x", 0)
        .rela(GOT + 8, M::r_type(Absolute), "x", 8);
    let sealed = sealed::<M, 1>(&program, [("a", library)]);
    assert_eq!([BSS + 16, BSS + 24].map(|at| word(&sealed, 0, at)), [bias(&sealed, 1) + 0x77, 0x1122]);
    let copy = bias(&sealed, 0) + BSS + 16;
    assert_eq!([GOT, GOT + 8].map(|at| word(&sealed, 1, at)), [copy, copy + 8]);
}

/// IRELATIVE, and a symbol of STT_GNU_IFUNC: the resolvers are kept to be called later.
fn resolvers<M: Psabi>() {
    let program = M::object(&["a"])
        .symbol(Symbol::undefined("chosen"))
        .rela(DATA, M::r_type(RelocKind::Irelative), "", i64::try_from(TEXT).unwrap())
        .rela(DATA + 8, M::r_type(RelocKind::Absolute), "chosen", 0);
    let library =
        M::object(&[]).symbol(Symbol::function("chosen", TEXT + 8).kind(consts::STT_GNU_IFUNC)).hash(Hash::SysV);
    let sealed = sealed::<M, 1>(&program, [("a", library)]);
    let waiting: Vec<_> = sealed.indirect.iter().map(|word| (word.module, word.at.0, word.resolver)).collect();
    let resolver = |module, vaddr| RuntimeAddr(bias(&sealed, module) + vaddr);
    assert_eq!(waiting, [(0, DATA, resolver(0, TEXT)), (0, DATA + 8, resolver(1, TEXT + 8))]);
}

/// Words for thread-local variables of the program and of a library, by every model.
fn thread_local<M: Psabi>() {
    use RelocKind::{DtpModule, DtpOffset, TlsDescriptor, TpOffset};
    let program = M::object(&["a", "b"])
        .tls(b"program!", 24, 16)
        .symbol(Symbol::undefined("x"))
        .symbol(Symbol::tls("mine", 4))
        .rela(DATA, M::r_type(TpOffset), "mine", 0)
        .rela(DATA + 8, M::r_type(TpOffset), "x", 2)
        .rela(DATA + 16, M::r_type(TpOffset), "", 8)
        .rela(DATA + 24, M::r_type(DtpModule), "x", 0)
        .rela(DATA + 32, M::r_type(DtpOffset), "x", 1)
        .rela(DATA + 40, M::r_type(TlsDescriptor), "x", 3)
        .rela(DATA + 56, M::r_type(TlsDescriptor), "mine", 0);
    let library = M::object(&[])
        .tls(b"lib", 5, 64)
        .symbol(Symbol::tls("x", 1))
        .rela(DATA, M::r_type(TpOffset), "", 0)
        .rela(DATA + 8, M::r_type(DtpModule), "", 0)
        .rela(DATA + 16, M::r_type(DtpOffset), "x", 0);
    let sealed = sealed::<M, 2>(&program, [("a", library), ("b", M::object(&[]).tls(&[1; 30], 32, 8))]);
    let place = |module: usize| sealed.namespace.module(module).tls.unwrap();
    let own = M::local_exec(TLS, 24, 16);
    assert_eq!(place(0).distance(), Some(own), "as code has it");
    let theirs = place(1).distance().unwrap();
    assert_eq!(theirs.cast_unsigned().wrapping_sub(TLS) % 64, 0, "aligned as its vaddr is");
    let from = |distance: i64, offset: u64| distance.cast_unsigned().wrapping_add(offset);
    let words = |module, count: u64| (0..count).map(|number| word(&sealed, module, DATA + 8 * number)).collect();
    let program: Vec<u64> = words(0, 9);
    let dtp = |offset: u64| offset.wrapping_sub(M::DTP_BIAS);
    let descriptor = CODE.tls_descriptor.0;
    let expected = [
        // S + A, from the thread pointer.
        from(own, 4),
        from(theirs, 1 + 2),
        from(own, 8),
        // The module's number; S + A in its block, minus the bias.
        place(1).id(),
        dtp(1 + 1),
        // A function, and S + A from the thread pointer.
        descriptor,
        from(theirs, 1 + 3),
        descriptor,
        from(own, 4),
    ];
    assert_eq!(program, expected);
    assert_ne!(place(0).id(), place(1).id());
    let library: Vec<u64> = words(1, 3);
    assert_eq!(library, [from(theirs, 0), place(1).id(), dtp(1)]);

    // A thread's block, with every image at its place.
    let mut block = vec![0; usize::try_from(sealed.tls.size()).unwrap()];
    sealed.fill_tls(&mut block).unwrap();
    let at = |distance: i64, size: usize| {
        let start = usize::try_from(distance - sealed.tls.start()).unwrap();
        &block[start..start + size]
    };
    assert_eq!((at(own, 9), at(theirs, 5)), (&b"program!\0"[..], &b"lib\0\0"[..]));
    assert_eq!(at(place(2).distance().unwrap(), 31), [&[1; 30][..], &[0]].concat());
    assert_eq!(block.iter().filter(|&&byte| byte != 0).count(), 8 + 3 + 30, "nothing else, and none over another");
    // The block is next to the thread pointer, or to the TCB that begins there.
    let end = sealed.tls.start() + sealed.tls.size().cast_signed();
    let near = if M::TLS.negative { end } else { sealed.tls.start() - M::TCB_SIZE as i64 };
    assert_eq!(near, 0);
    assert!(sealed.fill_tls(&mut block[..8]).is_err(), "a block that is too small");
}

/// Thread-local variables of a native library: ld.so fills in distances from the thread pointer.
fn native_thread_local<M: Psabi>() {
    use RelocKind::{DtpModule, DtpOffset, TlsDescriptor, TpOffset};
    let program = M::object(&["libnative.so"])
        .symbol(Symbol::undefined("errno").kind(consts::STT_TLS))
        .rela(DATA, M::r_type(TpOffset), "errno", 0)
        .rela(DATA + 8, M::r_type(DtpModule), "errno", 0)
        .rela(DATA + 16, M::r_type(DtpOffset), "errno", 0)
        .rela(DATA + 24, M::r_type(TlsDescriptor), "errno", 0);
    let sealed = sealed::<M, 0>(&program, []);
    assert_eq!(sealed.natives.eager, Some((&b"errno"[..], WhyEager::Tls)));
    let slots: Vec<_> = sealed.natives.slots.iter().map(|slot| (slot.vaddr.0, slot.r_type)).collect();
    let by_distance = M::r_type(TpOffset);
    assert_eq!(slots, [(DATA, by_distance), (DATA + 16, by_distance), (DATA + 32, by_distance)]);
    assert_eq!(word(&sealed, 0, DATA + 8), AT_THREAD_POINTER);
    assert_eq!(word(&sealed, 0, DATA + 24), CODE.tls_descriptor.0);
}

/// Functions of native libraries get first-call stubs, except those with arguments that a stub would lose.
fn native_functions<M: Psabi>() {
    let program = |st_other| {
        M::object(&["libnative.so"])
            .symbol(Symbol::undefined("f").kind(consts::STT_FUNC).other(st_other))
            .rela(GOT, M::r_type(RelocKind::GlobDat), "f", 0)
            .jmprel(GOT + 8, M::r_type(RelocKind::JumpSlot), "f", 0)
    };
    let plain = sealed::<M, 0>(&program(0), []);
    assert_eq!([GOT, GOT + 8].map(|at| word(&plain, 0, at)), [STUBS.address(0).0; 2]);
    assert_eq!(plain.natives.eager, None);
    let variant = sealed::<M, 0>(&program(0x80), []);
    let (words, eager) = match M::VARIANT {
        Some(_) => ([0; 2], Some((&b"f"[..], WhyEager::Variant))),
        None => ([STUBS.address(0).0; 2], None),
    };
    assert_eq!([GOT, GOT + 8].map(|at| word(&variant, 0, at)), words);
    assert_eq!(variant.natives.eager, eager);
    let types: Vec<u32> = variant.natives.slots.iter().map(|slot| slot.r_type).collect();
    assert_eq!(types, [RelocKind::GlobDat, RelocKind::JumpSlot].map(M::r_type), "as ld.so is to fill them");
}

/// A library of another machine is skipped in the search, and refused if no other is found; a program of another
/// machine is refused.
fn others<M: Psabi, Other: Psabi>() {
    let scene = Scene::<M>::of_machine(&M::object(&["a"]))
        .file("/first/a", &Other::object(&[]))
        .file("/second/a", &M::object(&[]))
        .library_path("/first:/second");
    let sealed = scene.seal().unwrap();
    assert_eq!(paths(sealed.namespace.loaded())[1..], ["/second/a"]);
    let problem = Problem::Machine(Other::MACHINE);
    assert_eq!(scene.map("/first/a").map(drop).map_err(|failure| *failure), Err(problem));
    assert_eq!(refused(Scene::<M>::of_machine(&Other::object(&[])).seal()), (PROGRAM, problem));
}

/// Runs each scenario for each machine.
macro_rules! of_each_machine {
    ($($scenario:ident),+) => {
        mod x86_64 { $(#[test] fn $scenario() { super::$scenario::<super::X86_64>(); })+ }
        mod aarch64 { $(#[test] fn $scenario() { super::$scenario::<super::Aarch64>(); })+ }
        mod riscv64 { $(#[test] fn $scenario() { super::$scenario::<super::Riscv64>(); })+ }
    };
}

of_each_machine!(numbers, words, packed, copies, resolvers, thread_local, native_thread_local, native_functions);

#[test]
fn objects_of_other_machines_are_refused() {
    others::<X86_64, Aarch64>();
    others::<X86_64, Riscv64>();
    others::<Aarch64, X86_64>();
    others::<Aarch64, Riscv64>();
    others::<Riscv64, X86_64>();
    others::<Riscv64, Aarch64>();
}
