//! Programs that begin with `#!`: a line that names the loader, zeros, and the program's ELF image.
//!
//! The image begins at [`IMAGE`], whatever the machine, and offsets in its headers count from there. So a segment that
//! a linker has laid out for its machine's pages can be mapped: the sum of the two offsets is as far into a page.

use crate::arch::{ALL, Arch};

/// What such a file begins with (execve(2)).
pub const BEGINS: [u8; 2] = *b"#!";

/// Offset in bytes of the ELF image: a multiple of every machine's largest page.
pub const IMAGE: u64 = 64 << 10;

/// Longest line in bytes, its newline included, that every kernel since Linux 5.1 reads (BINPRM_BUF_SIZE, less a NUL);
/// before, it was 127.
pub const LONGEST: usize = 255;

const _: () = {
    let mut rows: &[Arch] = &ALL;
    while let [arch, rest @ ..] = rows {
        assert!(IMAGE.is_multiple_of(arch.largest_page), "a machine's pages are larger than the offset");
        rows = rest;
    }
};
