//! The machines that there is a loader for, or may be one: a table, complete on every host.
//!
//! A machine joins by a row in [`ALL`], and a line in [`NATIVE`].

use crate::libcs::Libc;
use crate::paths::{OfArch, of_arch};

/// Width of addresses in an ELF file: `e_ident[EI_CLASS]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// ELFCLASS32.
    Elf32 = 1,
    /// ELFCLASS64.
    Elf64 = 2,
}

/// Order of bytes in an ELF file: `e_ident[EI_DATA]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ByteOrder {
    /// ELFDATA2LSB.
    Little = 1,
    /// ELFDATA2MSB.
    Big = 2,
}

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// The kernel's name of it (`uname -m`), which is `<arch>` in paths.
    pub name: &'static str,
    /// `e_machine` (gABI, table 4.4).
    pub e_machine: u16,
    /// Class of its programs.
    pub class: Class,
    /// Byte order of its programs.
    pub byte_order: ByteOrder,
    /// The largest page in bytes that its kernels can be built with.
    pub largest_page: u64,
    /// Paths of the libcs' interpreters, in the order of [`Libc::ALL`]: the psABI fixes glibc's.
    interpreters: [&'static str; 2],
    /// Rust's name of the platform.
    pub rust_target: &'static str,
    /// The directory of the machine's libraries below /usr/lib on Debian ("multiarch tuple").
    pub multiarch: &'static str,
    /// The flags of the machine's libraries in glibc's cache of them (`_DL_CACHE_DEFAULT_ID` in its dl-cache.h): 3 for ELF
    /// libraries of glibc, and the machine.
    pub cache_flags: u32,
    /// The installed files with the machine's name in theirs.
    pub paths: OfArch,
}

impl Arch {
    /// Path of a libc's ld.so.
    #[must_use]
    pub const fn interpreter(&self, libc: Libc) -> &'static str {
        let [gnu, musl] = self.interpreters;
        match libc {
            Libc::Gnu => gnu,
            Libc::Musl => musl,
        }
    }

    /// The machine of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|arch| arch.name == name)
    }

    /// The machine that `target_arch` of Rust names.
    #[must_use]
    pub fn of_rust(target_arch: &str) -> Option<&'static Self> {
        let name = if target_arch == "x86" { "i686" } else { target_arch };
        Self::named(name)
    }

    /// The machine with that `e_machine`.
    #[must_use]
    pub fn of_e_machine(e_machine: u16) -> Option<&'static Self> {
        ALL.iter().find(|arch| arch.e_machine == e_machine)
    }
}

/// x86_64 with addresses of 64 bits. (x32 has another interpreter and class, and no loader.)
pub const X86_64: Arch = Arch {
    name: "x86_64",
    e_machine: 62,
    class: Class::Elf64,
    byte_order: ByteOrder::Little,
    largest_page: 4 << 10,
    interpreters: ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"],
    rust_target: "x86_64-unknown-linux-gnu",
    multiarch: "x86_64-linux-gnu",
    cache_flags: 0x303,
    paths: of_arch!("x86_64"),
};

/// 64-bit ARM, little-endian.
pub const AARCH64: Arch = Arch {
    name: "aarch64",
    e_machine: 183,
    class: Class::Elf64,
    byte_order: ByteOrder::Little,
    largest_page: 64 << 10,
    interpreters: ["/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"],
    rust_target: "aarch64-unknown-linux-gnu",
    multiarch: "aarch64-linux-gnu",
    cache_flags: 0xa03,
    paths: of_arch!("aarch64"),
};

/// 64-bit RISC-V with double floats in registers (lp64d).
pub const RISCV64: Arch = Arch {
    name: "riscv64",
    e_machine: 243,
    class: Class::Elf64,
    byte_order: ByteOrder::Little,
    largest_page: 4 << 10,
    interpreters: ["/lib/ld-linux-riscv64-lp64d.so.1", "/lib/ld-musl-riscv64.so.1"],
    rust_target: "riscv64gc-unknown-linux-gnu",
    multiarch: "riscv64-linux-gnu",
    cache_flags: 0x1003,
    paths: of_arch!("riscv64"),
};

/// 32-bit x86. Not ported to; here so that nothing takes 64 bits for granted.
pub const I686: Arch = Arch {
    name: "i686",
    e_machine: 3,
    class: Class::Elf32,
    byte_order: ByteOrder::Little,
    largest_page: 4 << 10,
    interpreters: ["/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"],
    rust_target: "i686-unknown-linux-gnu",
    multiarch: "i386-linux-gnu",
    cache_flags: 3,
    paths: of_arch!("i686"),
};

/// All of them.
pub static ALL: [Arch; 4] = [X86_64, AARCH64, RISCV64, I686];

/// The machine that this is compiled for.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: Arch = X86_64;

/// The machine that this is compiled for.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: Arch = AARCH64;

/// The machine that this is compiled for.
#[cfg(target_arch = "riscv64")]
pub const NATIVE: Arch = RISCV64;

/// The machine that this is compiled for.
#[cfg(target_arch = "x86")]
pub const NATIVE: Arch = I686;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86")))]
compile_error!("this machine is not in the table: add it to abi/src/arch.rs");

#[cfg(target_endian = "big")]
compile_error!("the machines of the table are little-endian");

#[cfg(test)]
mod tests {
    use super::{ALL, Arch, ByteOrder, Class, NATIVE};
    use crate::libcs::Libc;

    #[test]
    fn rows_have_one_name_and_number_each() {
        for (index, arch) in ALL.iter().enumerate() {
            assert_eq!(Arch::named(arch.name), Some(arch));
            assert_eq!(Arch::of_e_machine(arch.e_machine), Some(arch));
            let distinct = |text: fn(&Arch) -> &str| ALL[..index].iter().all(|other| text(other) != text(arch));
            assert!(distinct(|arch| arch.interpreter(Libc::Gnu)) && distinct(|arch| arch.interpreter(Libc::Musl)));
            assert!(distinct(|arch| arch.rust_target) && distinct(|arch| arch.multiarch));
            assert!(distinct(|arch| arch.paths.loader));
        }
        assert_eq!(Arch::of_rust("x86"), Arch::named("i686"));
        assert_eq!(Arch::of_rust("riscv64"), Arch::named("riscv64"));
        assert_eq!(Arch::named("x86-64"), None);
        assert_eq!(Arch::of_e_machine(0), None);
    }

    #[test]
    fn rows_agree_with_themselves() {
        for arch in &ALL {
            assert!(arch.rust_target.starts_with(arch.name) && arch.rust_target.ends_with("-linux-gnu"));
            assert!(arch.largest_page.is_power_of_two() && arch.largest_page >= 4096);
            assert_eq!(arch.name.ends_with("64"), arch.class == Class::Elf64);
            assert_eq!(arch.byte_order, ByteOrder::Little);
            for libc in Libc::ALL {
                assert!(arch.interpreter(libc).starts_with("/lib"), "{}", arch.name);
            }
        }
    }

    #[test]
    fn this_machine_is_a_row() {
        assert_eq!(Arch::named(NATIVE.name), Some(&NATIVE));
        let pointers = if NATIVE.class == Class::Elf64 { 8 } else { 4 };
        assert_eq!(size_of::<usize>(), pointers);
    }
}
