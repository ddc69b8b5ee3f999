//! Files with all features, to be broken; and a start that needs them.

use abi::arch::NATIVE;

use super::file::{DATA, Elf, FINI_ARRAY, GOT, INIT_ARRAY, TEXT};
use super::{ElfBuilder, Hash, Symbol};

/// A library that needs `liby.so` and a native one.
#[must_use]
pub fn library(hash: Hash) -> Elf {
    ElfBuilder::library("libx.so")
        .needs("liby.so")
        .needs("libnative.so")
        .hash(hash)
        .symbol(Symbol::function("x", TEXT))
        .symbol(Symbol::object("data", DATA).of_version("X_1"))
        .symbol(Symbol::tls("local", 4))
        .symbol(Symbol::undefined("y"))
        .symbol(Symbol::undefined("inflate").kind(2).version("libnative.so", "N_1"))
        .rela(DATA, 1, "y", 0)
        .rela(DATA + 8, 18, "local", 0)
        .rela(INIT_ARRAY, 8, "", 0x1400)
        .jump_slot(GOT, "inflate")
        .relr(&[DATA + 16, 0b111])
        .init_array(&[0])
        .tls(&[1, 2, 3, 4], 16, 8)
        .note(1, 0, 1)
        .build()
}

/// A library without native needs, with every kind of relocation, and versions of `liby.so`.
#[must_use]
pub fn all_kinds() -> Elf {
    const STT_GNU_IFUNC: u8 = 10;
    let kinds = [(1, "y"), (6, "data"), (16, "local"), (17, "local"), (18, "local"), (5, "shared"), (36, "local")];
    let words = (DATA..).step_by(16).zip(kinds);
    let builder = ElfBuilder::library("libx.so")
        .needs("liby.so")
        .hash(Hash::Gnu)
        .symbol(Symbol::function("x", TEXT).of_version("X_1").old())
        .symbol(Symbol::object("data", DATA))
        .symbol(Symbol::tls("local", 4))
        .symbol(Symbol::function("chosen", TEXT + 8).kind(STT_GNU_IFUNC))
        .symbol(Symbol::undefined("y").version("liby.so", "Y_1"))
        .symbol(Symbol::undefined("shared").kind(1))
        .symbol(Symbol::undefined("nobody").weak());
    words
        .fold(builder, |builder, (at, (r_type, symbol))| builder.rela(at, r_type, symbol, 0))
        .rela(GOT + 16, 37, "", 0x1408)
        .rela(GOT + 24, 6, "chosen", 0)
        .rela(GOT + 32, 6, "nobody", 0)
        .rela(INIT_ARRAY, 8, "", 0x1400)
        .rela(FINI_ARRAY, 8, "", 0x1400)
        .jump_slot(GOT, "y")
        .relr(&[GOT + 40, 0b1011])
        .init_array(&[0])
        .fini_array(&[0])
        .tls(&[1, 2, 3, 4], 16, 8)
        .build()
}

/// A program that needs `libx.so` and `liby.so`.
#[must_use]
pub fn program() -> Elf {
    ElfBuilder::new()
        .needs("libx.so")
        .needs("liby.so")
        .symbol(Symbol::undefined("x").weak())
        .symbol(Symbol::undefined("local").kind(6).weak())
        .rela(DATA, 1, "x", 0)
        .rela(DATA + 8, 18, "local", 0)
        .note(1, 1, 1)
        .build()
}

/// The library that the others need.
#[must_use]
pub fn liby() -> Elf {
    ElfBuilder::library("liby.so")
        .symbol(Symbol::function("y", TEXT).of_version("Y_1"))
        .symbol(Symbol::object("shared", DATA))
        .build()
}

/// The loader: soname and exported symbols.
#[must_use]
pub fn loader() -> Elf {
    ElfBuilder::library(NATIVE.paths.soname).build()
}

/// All samples to be broken, with their names.
#[must_use]
pub fn all() -> Vec<(&'static str, Elf)> {
    vec![
        ("gnu", library(Hash::Gnu)),
        ("sysv", library(Hash::SysV)),
        ("kinds", all_kinds()),
        ("program", program()),
        ("liby", liby()),
    ]
}
