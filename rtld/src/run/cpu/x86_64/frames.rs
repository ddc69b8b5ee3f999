//! x86_64: unwind entries of assembly, written out as bytes.
//!
//! The installed loader has no unwind tables of compiled code: nothing unwinds through it, and they would be a tenth of its
//! file. The assembler can write the entries of `.cfi_*` directives to one place only, and that is `.debug_frame` here, which
//! stripping takes away. Assembly that stands in a program's backtrace, or that a program may be stopped in, has its entry
//! in `.eh_frame`, which these macros write: a CIE and an FDE as the LSB has them (LSB 5.0, "Exception Frames"; DWARF 5,
//! 6.4.2 for the instructions). The linker keeps one of equal CIEs, and makes the index.

/// Stands before a function's first instruction.
macro_rules! frame_begins {
    () => {
        "88:"
    };
}

/// Stands after a function's last instruction. At the first one the return address is on the top of the stack; the
/// arguments are what holds then, DWARF call frame instructions as assembler lines.
macro_rules! frame_ends {
    ($($instruction:expr),* $(,)?) => {
        concat!(
            "99:\n",
            ".pushsection .eh_frame, \"a\", @unwind\n",
            // CIE: version 1, code and data alignment, return address column, addresses relative to where they stand in
            // 32 bits; CFA at rsp + 8, return address at CFA - 8.
            "90: .long 92f - 91f\n",
            "91: .long 0\n",
            ".byte 1\n",
            ".asciz \"zR\"\n",
            ".uleb128 1\n",
            ".sleb128 -8\n",
            ".uleb128 16\n",
            ".uleb128 1\n",
            ".byte 0x1b\n",
            ".byte 0x0c, 7, 8, 0x90, 1\n",
            ".balign 8, 0\n",
            "92: .long 94f - 93f\n",
            "93: .long 93b - 90b\n",
            ".long 88b - .\n",
            ".long 99b - 88b\n",
            ".uleb128 0\n",
            $($instruction, "\n",)*
            ".balign 8, 0\n",
            "94: .popsection",
        )
    };
}

/// What follows holds from one label on, of which `$from` is the one before.
macro_rules! frame_from {
    ($from:literal, $to:literal) => {
        // DW_CFA_advance_loc1.
        concat!(".byte 2, ", $to, " - ", $from)
    };
}

/// The CFA is that many bytes above the stack pointer.
macro_rules! frame_size {
    ($bytes:literal) => {
        // DW_CFA_def_cfa, register 7.
        concat!(".byte 0x0c, 7, ", $bytes)
    };
}

/// Nobody has called it: backtraces end here.
macro_rules! frame_outermost {
    () => {
        // DW_CFA_undefined of the return address.
        ".byte 7, 16"
    };
}

pub(crate) use {frame_begins, frame_ends, frame_from, frame_outermost, frame_size};
